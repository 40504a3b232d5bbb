"""Links reach the redirecting processes: whoever writes them, in whatever order they commit."""

import os
import shutil
import threading
import time

import psycopg2
import pytest

from support.wait import holds_for, wait_until

STACK = {"roles": "redirect,sync"}


def head(service, slug, host=None):
    """Status and destination (without the click id) of a link."""
    answer = service.get(f"/{slug}", {"Host": host} if host else None, method="HEAD")
    return answer.status, answer.location


def wait_for(service, slug, wanted, host=None, timeout=10):
    """Waits until a link answers like this."""
    wait_until(lambda: head(service, slug, host) == wanted, timeout,
               lambda: f"/{slug} answers {wanted}, not {head(service, slug, host)}")


def insert(cursor, slug, destination="https://example.com/"):
    """A link in the default domain."""
    cursor.execute(
        "insert into kudos.links (workspace_id, domain_id, slug, destination)"
        " select workspace_id, id, %s, %s from kudos.domains where is_default", (slug, destination))


def test_change_made_in_psql_is_served_and_undone(stack):
    stack.add_link("https://one.example/", slug="Change")
    wait_for(stack.kudos, "change", (302, "https://one.example/"))
    update = "update kudos.links set {} where slug = 'Change'"
    for column, wanted in (
            ("destination = 'https://two.example/'", (302, "https://two.example/")),
            ("redirect_status = 307", (307, "https://two.example/")),
            ("state = 'disabled'", (404, None)),
            ("state = 'active'", (307, "https://two.example/")),
            ("starts_at = now() + interval '1 day'", (404, None)),
            ("starts_at = '-infinity', expires_at = 'infinity'", (307, "https://two.example/")),
            ("expires_at = now() - interval '1 second'", (410, None)),
            ("fallback = 'https://over.example/'", (302, "https://over.example/")),
            ("expires_at = null", (307, "https://two.example/")),
            ("slug = 'Changed'", (404, None))):
        stack.postgres.sql(update.format(column))
        wait_for(stack.kudos, "change", wanted)
    wait_for(stack.kudos, "changed", (307, "https://two.example/"))
    stack.postgres.sql("update kudos.links set state = 'archived' where slug = 'Changed'")
    wait_for(stack.kudos, "changed", (404, None))


def test_open_transaction_delays_nobody_and_loses_nothing(stack):
    early, late = stack.postgres.connect(), stack.postgres.connect()
    early.autocommit = late.autocommit = False
    with early.cursor() as cursor:
        insert(cursor, "early")
    with late.cursor() as cursor:
        insert(cursor, "late")
    late.commit()
    wait_for(stack.kudos, "late", (302, "https://example.com/"))
    stack.add_link(slug="later")
    assert head(stack.kudos, "early")[0] == 404
    early.commit()
    wait_for(stack.kudos, "early", (302, "https://example.com/"))
    early.close()
    late.close()


def test_rolled_back_changes_are_never_served(stack):
    slug = stack.add_link("https://stays.example/")
    connection = stack.postgres.connect()
    connection.autocommit = False
    with connection.cursor() as cursor:
        cursor.execute("update kudos.links set state = 'archived' where slug = %s", (slug,))
        insert(cursor, "never")
        stack.add_link(slug="meanwhile")
    connection.rollback()
    connection.close()
    stack.add_link(slug="afterwards")
    assert head(stack.kudos, slug) == (302, "https://stays.example/")
    assert head(stack.kudos, "never")[0] == 404


def test_many_writers_whose_commits_overlap(stack):
    """Each holds its transaction open for a while, so that ids, stamps and commits are out of
    order; at the end every link is served."""
    writers, rounds = 8, 25

    def write(writer):
        connection = stack.postgres.connect()
        connection.autocommit = False
        with connection.cursor() as cursor:
            for number in range(rounds):
                insert(cursor, f"w{writer}-{number}", f"https://example.com/{number}")
                if number:
                    cursor.execute("update kudos.links set destination = %s where slug = %s",
                                   ("https://moved.example/", f"w{writer}-{number - 1}"))
                time.sleep(0.001 * (writer * 7 + number * 3 % 11))  # the length of a transaction
                connection.commit()
        connection.close()

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stack.add_link(slug="written")
    for writer in range(writers):
        for number in range(rounds - 1):
            assert head(stack.kudos, f"w{writer}-{number}") == (302, "https://moved.example/")
        assert head(stack.kudos, f"w{writer}-{rounds - 1}")[0] == 302


def test_slugs_swapped_in_one_transaction(stack):
    stack.add_link("https://a.example/", slug="swap-a")
    stack.add_link("https://b.example/", slug="swap-b")
    connection = stack.postgres.connect()
    connection.autocommit = False
    with connection.cursor() as cursor:
        for before, after in (("swap-a", "swap-t"), ("swap-b", "swap-a"), ("swap-t", "swap-b")):
            cursor.execute("update kudos.links set slug = %s where slug = %s", (after, before))
    connection.commit()
    connection.close()
    wait_for(stack.kudos, "swap-a", (302, "https://b.example/"))
    wait_for(stack.kudos, "swap-b", (302, "https://a.example/"))


def test_domains_and_case(stack):
    stack.postgres.sql(
        "insert into kudos.domains (workspace_id, host, case_sensitive)"
        " values (1, 'exact.example', true), (1, 'other.example', false)")
    for host, slug in (("exact.example", "Same"), ("exact.example", "same"),
                       ("other.example", "SAME")):
        stack.postgres.sql(
            "insert into kudos.links (workspace_id, domain_id, slug, destination)"
            " select 1, id, %s, 'https://' || host || '/' || %s from kudos.domains"
            " where host = %s", slug, slug, host)
    stack.add_link("https://default.example/", slug="same")
    for host, slug, wanted in (
            ("exact.example", "Same", "https://exact.example/Same"),
            ("exact.example", "same", "https://exact.example/same"),
            ("other.example", "sAmE", "https://other.example/SAME"),
            ("OTHER.example:8080", "same", "https://other.example/SAME"),
            ("unregistered.example", "SAME", "https://default.example/")):
        wait_for(stack.kudos, slug, (302, wanted), host)
    assert head(stack.kudos, "sAme", "exact.example")[0] == 404
    with pytest.raises(psycopg2.Error, match="case_sensitive cannot change"):
        stack.postgres.sql("update kudos.domains set case_sensitive = false"
                           " where host = 'exact.example'")
    stack.postgres.sql("update kudos.domains set host = 'renamed.example'"
                       " where host = 'other.example'")
    wait_for(stack.kudos, "same", (302, "https://other.example/SAME"), "renamed.example")
    wait_for(stack.kudos, "same", (302, "https://default.example/"), "other.example")


def test_slug_beyond_ascii(stack):
    stack.add_link("https://umlaut.example/", slug="Über-Größe", live=False)
    wait_for(stack.kudos, "%C3%9Cber-Gr%C3%B6%C3%9Fe", (302, "https://umlaut.example/"))
    wait_for(stack.kudos, "%c3%9cBER-GR%c3%b6%c3%9fE", (302, "https://umlaut.example/"))
    assert head(stack.kudos, "%C3%BCber-Gr%C3%B6%C3%9Fe")[0] == 404  # only ASCII is folded


def test_row_that_cannot_be_served_is_left_out(stack):
    slug = stack.add_link("https://fine.example/")
    before = stack.kudos.metric("replica_skipped_total")
    stack.postgres.sql("update kudos.links set destination = %s where slug = %s",
                       "https://bad.example/\r\nSet-Cookie: a=b", slug)
    stack.add_link(slug="goes-on")
    assert head(stack.kudos, slug) == (404, None)
    assert stack.kudos.metric("replica_skipped_total") > before
    link = stack.postgres.value("select id from kudos.links where slug = %s", slug)
    assert stack.kudos.logged(f"replica_row_skipped table=links id={link} ")
    stack.postgres.sql("update kudos.links set destination = 'https://mended.example'"
                       " where slug = %s", slug)
    wait_for(stack.kudos, slug, (302, "https://mended.example/"))


def test_rows_are_never_deleted(stack):
    slug = stack.add_link()
    for statement in ("delete from kudos.links", "delete from kudos.domains",
                      "truncate kudos.links cascade", "truncate kudos.domains cascade"):
        with pytest.raises(psycopg2.Error, match="never deleted") as refused:
            stack.postgres.sql(statement)
        assert "archive" in refused.value.diag.message_hint.lower()
    assert head(stack.kudos, slug)[0] == 302


def test_announced_change_does_not_wait_for_the_poll(make_stack):
    """Not one of many: an announcement that arrives while sync is busy counts too."""
    stack = make_stack(settings={"sync_poll_ms": 60000}).start()
    connection = stack.postgres.connect()
    with connection.cursor() as cursor:
        for number in range(300):
            insert(cursor, f"announced{number}")
            cursor.execute("notify kudos_links")
            if number % 3 == 0:
                wait_for(stack.kudos, f"announced{number}", (302, "https://example.com/"))
    connection.close()
    wait_for(stack.kudos, "announced299", (302, "https://example.com/"))


def test_file_swap_and_removed_replica(make_stack):
    """The replica's files are taken away under everybody: redirects go on, it is built again."""
    stack = make_stack().start()
    stack.add_links(50)
    folder = os.path.join(stack.kudos.settings["data_dir"], "replica")
    shutil.rmtree(folder)
    slug = stack.add_link("https://after.example/")
    assert head(stack.kudos, slug) == (302, "https://after.example/")
    assert head(stack.kudos, "n50")[0] == 302
    assert os.path.isdir(os.path.join(folder, "current"))


def test_starts_from_its_replica_while_postgres_is_down(make_stack):
    stack = make_stack().start()
    stack.add_links(20)
    stack.kudos.stop()
    stack.postgres.stop()
    stack.kudos.start()
    assert head(stack.kudos, "n7")[0] == 302
    assert head(stack.kudos, "unknown")[0] == 404
    assert stack.kudos.metric("sync_errors_total") > 0
    stack.postgres.start()
    stack.add_link(slug="after-the-boot")


def test_waits_for_migrations(make_stack):
    stack = make_stack().start(serve=False)
    stack.postgres.sql("drop schema kudos cascade")
    stack.kudos.start(wait=False)
    wait_until(lambda: stack.kudos.logged("run kudos migrate"))
    assert not stack.kudos.ready()
    stack.kudos.run("migrate")
    stack.add_link(slug="migrated")
    stack.kudos.wait_ready()


def test_stamps_from_a_restored_dump(stack):
    """A dump brings stamps of another server, far in the future: such rows are served, and not
    read again with every poll."""
    slug = stack.add_link("https://restored.example/")
    stack.postgres.sql("alter table kudos.links disable trigger before_write;"
                       f"update kudos.links set changed = '999999999' where slug = '{slug}';"
                       "alter table kudos.links enable always trigger before_write")
    stack.postgres.sql("vacuum full kudos.links")  # new table files, as after a restore
    stack.add_link(slug="after-the-dump")
    assert head(stack.kudos, slug) == (302, "https://restored.example/")
    wait_until(lambda: stack.kudos.logged("replica_compared"))
    before = stack.kudos.metric("replica_changes_total")
    holds_for(lambda: stack.kudos.metric("replica_changes_total") == before, 0.5)
    stack.postgres.sql("update kudos.links set destination = 'https://new.example/'"
                       " where slug = %s", slug)
    wait_for(stack.kudos, slug, (302, "https://new.example/"))


def test_full_map_is_said_and_mended(make_stack):
    stack = make_stack(settings={"replica_map_bytes": 1 << 20}).start()
    stack.add_links(100)
    stack.postgres.sql(
        "insert into kudos.links (workspace_id, domain_id, slug, destination)"
        " select 1, 1, 'f' || n, 'https://example.com/' || repeat('x', 1000)"
        " from generate_series(1, 3000) n")
    wait_until(lambda: stack.kudos.logged("raise replica_map_bytes"))
    assert head(stack.kudos, "n100")[0] == 302
    stack.kudos.stop()
    stack.kudos.settings["replica_map_bytes"] = 1 << 26
    stack.kudos.start()
    stack.wait_live("f3000")
    assert head(stack.kudos, "n100")[0] == 302


def test_second_edge(stack):
    slug = stack.add_link("https://edges.example/")
    edge = stack.service("edge", roles="redirect,sync").start()
    assert head(edge, slug) == (302, "https://edges.example/")
    stack.postgres.sql("update kudos.links set destination = 'https://both.example/'"
                       " where slug = %s", slug)
    wait_for(edge, slug, (302, "https://both.example/"))
    wait_for(stack.kudos, slug, (302, "https://both.example/"))
    assert edge.stop() == 0


def test_rows_written_with_triggers_switched_off(stack):
    """As pg_restore --disable-triggers does: no stamp says that the row changed."""
    slug = stack.add_link("https://before.example/")
    stack.postgres.sql("alter table kudos.links disable trigger before_write")
    stack.postgres.sql("update kudos.links set destination = 'https://unstamped.example/'"
                       " where slug = %s", slug)
    stack.postgres.sql("alter table kudos.links enable always trigger before_write")
    wait_for(stack.kudos, slug, (302, "https://unstamped.example/"))


def test_as_many_changes_as_a_poll_reads_at_once(stack):
    # LOOK_ROWS (256) and around it: from there on they are read in a stream.
    for count in (255, 256, 257, 600):
        slugs = stack.add_links(count, prefix=f"look{count}x")
        for slug in slugs:
            assert head(stack.kudos, slug)[0] == 302, slug
