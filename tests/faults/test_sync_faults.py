"""sync is killed, PostgreSQL dies, falls back or hangs: afterwards the replica holds exactly what
PostgreSQL holds, and redirects never paused."""

import os
import random
import subprocess

import pytest

from support import process
from support.stores import PG_BIN
from support.wait import wait_until

STACK = {"roles": "redirect,sync"}
ROUNDS = int(os.environ.get("ROUNDS", "10"))
SEED = int(os.environ.get("SEED", "0")) or random.randrange(1 << 30)


def status(service, slug):
    """HTTP status of a link."""
    return service.get(f"/{slug}", method="HEAD").status


def answers(service, slugs):
    """What each slug answers, one connection for all."""
    found = {}
    with service.raw() as connection:
        for slug in slugs:
            connection.send(f"HEAD /{slug} HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = connection.response(head_only=True)
            found[slug] = answer.location if answer.status == 302 else answer.status
    return found


def expected(postgres, slugs):
    """What each slug should answer, as PostgreSQL sees it now."""
    rows = dict(postgres.sql("select slug_key, case state when 'active' then destination end"
                             " from kudos.links where slug_key = any(%s)", slugs))
    return {slug: rows.get(slug) or 404 for slug in slugs}


def assert_equal(stack, slugs, timeout=20):
    """Waits until the replica serves what PostgreSQL holds; then nothing may be missing."""
    wanted = expected(stack.postgres, slugs)

    def difference():
        found = answers(stack.kudos, slugs)
        return {slug: (found[slug], wanted[slug]) for slug in slugs if found[slug] != wanted[slug]}
    wait_until(lambda: not difference(), timeout,
               lambda: f"replica and PostgreSQL differ (found, wanted): {difference()}")


def change_something(stack, rng, slugs):
    """One of the things that happen to links; may add to `slugs`."""
    slug = rng.choice(slugs)
    kind = rng.randrange(4)
    if kind == 0:
        slugs.append(stack.add_link(f"https://example.com/{rng.random()}", live=False))
    elif kind == 1:
        stack.postgres.sql("update kudos.links set destination = %s where slug = %s",
                           f"https://example.com/{rng.random()}", slug)
    elif kind == 2:
        stack.postgres.sql("update kudos.links set state = case state when 'active' then 'archived'"
                           " else 'active' end::kudos.link_state where slug = %s", slug)
    else:
        stack.postgres.sql("update kudos.links set slug = slug || 'm' where slug = %s"
                           " and octet_length(slug) < 60", slug)
        slugs.append(slug + "m")


@pytest.mark.short
@pytest.mark.parametrize("point", ["sync_before_commit", "sync_after_commit"])
def test_killed_around_the_commit_of_a_change(make_stack, tmp_path, point):
    stack = make_stack(env={"KUDOS_CRASH_AT": f"{point}:2",
                            "KUDOS_CRASH_ONCE": str(tmp_path / "once")}).start()
    slugs = stack.add_links(30)
    first = stack.kudos.role_pid("sync")
    for number in range(3):
        slugs.append(stack.add_link(f"https://example.com/{number}"))
    wait_until(lambda: not process.alive(first), 10, "the crash point is reached")
    slugs.append(stack.add_link("https://example.com/successor"))
    assert_equal(stack, slugs)


@pytest.mark.parametrize("point", ["sync_before_rename", "sync_after_rename"])
def test_killed_around_the_swap_of_a_snapshot(make_stack, tmp_path, point):
    stack = make_stack(env={"KUDOS_CRASH_AT": f"{point}:1",
                            "KUDOS_CRASH_ONCE": str(tmp_path / "once")}).start(serve=False)
    stack.postgres.sql(
        "insert into kudos.links (workspace_id, domain_id, slug, destination)"
        " select 1, 1, 'n' || n, 'https://example.com/' || n from generate_series(1, 500) n")
    stack.kudos.start()
    assert os.listdir(tmp_path), "the crash point was not reached"
    slugs = [f"n{n}" for n in range(1, 501)]
    slugs.append(stack.add_link("https://example.com/successor"))
    assert_equal(stack, slugs)
    folder = os.path.join(stack.kudos.settings["data_dir"], "replica")
    assert len([name for name in os.listdir(folder) if name.startswith("s-")]) == 1


@pytest.mark.slow
def test_killed_at_random_while_links_change(make_stack):
    print(f"SEED={SEED} ROUNDS={ROUNDS}")
    rng = random.Random(SEED)
    stack = make_stack().start()
    slugs = stack.add_links(50)
    for _ in range(ROUNDS):
        pid = stack.kudos.role_pid("sync")
        for _ in range(rng.randrange(1, 15)):
            change_something(stack, rng, slugs)
        process.kill(pid)
        for _ in range(rng.randrange(5)):
            change_something(stack, rng, slugs)
        assert status(stack.kudos, "unknown-slug") == 404
        wait_until(lambda gone=pid: stack.kudos.pids("sync") not in ([], [gone]), 15,
                   "sync runs again")
    assert_equal(stack, slugs)


@pytest.mark.short
def test_changes_while_sync_is_dead(make_stack):
    """A service with only a redirect role on the same folder, then sync comes back."""
    stack = make_stack().start()
    slugs = stack.add_links(30)
    stack.kudos.stop()
    rng = random.Random(SEED)
    for _ in range(40):
        change_something(stack, rng, slugs)
    stack.kudos.start()
    assert_equal(stack, slugs)


@pytest.mark.parametrize("end", ["kill", "immediate", "backends"])
def test_postgres_dies_while_links_change(make_stack, end):
    rng = random.Random(SEED)
    stack = make_stack().start()
    slugs = stack.add_links(40)
    for _ in range(3):
        for _ in range(10):
            change_something(stack, rng, slugs)
        if end == "kill":
            stack.postgres.kill()
        elif end == "immediate":
            stack.postgres.stop("immediate")
        else:
            for pid in stack.postgres.backends():
                process.kill(pid)
        assert status(stack.kudos, "n1") in (302, 404)
        stack.postgres.start()
        wait_until(lambda: change_something(stack, rng, slugs) or True)
        assert_equal(stack, slugs)


def test_postgres_frozen(make_stack):
    """Redirects go on, sync obeys SIGTERM, and catches up after."""
    stack = make_stack().start()
    slugs = stack.add_links(20)
    stack.postgres.freeze()
    assert status(stack.kudos, "n20") == 302
    assert stack.kudos.stop(timeout=20) == 0
    stack.postgres.wake()
    slugs.append(stack.add_link("https://example.com/woken", live=False))
    stack.kudos.start()
    stack.postgres.freeze()
    assert status(stack.kudos, "n20") == 302
    stack.postgres.wake()
    slugs.append(stack.add_link("https://example.com/again"))
    assert_equal(stack, slugs)


def test_postgres_falls_back_to_an_older_copy(make_stack, tmp_path):
    """What was committed after the copy never was: links made since are gone, changed ones are as
    before, archived ones are back; and what is changed next is served at once."""
    stack = make_stack().start()
    slugs = stack.add_links(200)
    stack.postgres.stop()
    copy = str(tmp_path / "copy")
    stack.postgres.save_copy(copy)
    stack.postgres.start()
    stack.postgres.sql("update kudos.links set destination = 'https://lost.example/' where id = 5;"
                       "update kudos.links set state = 'archived' where id = 6;"
                       "update kudos.links set slug = 'renamed' where id = 7")
    slugs += [f"l{n}" for n in range(1, 101)] + ["renamed"]
    stack.add_links(100, "l")
    assert_equal(stack, slugs)
    stack.postgres.stop()
    stack.postgres.restore_copy(copy)
    assert answers(stack.kudos, ["n5"])["n5"] == "https://lost.example/"  # the last that was known
    stack.postgres.start()
    slugs.append(stack.add_link("https://example.com/next", slug="next"))
    assert_equal(stack, slugs)
    assert answers(stack.kudos, ["l1", "renamed"]) == {"l1": 404, "renamed": 404}


def test_database_is_dropped_and_restored_from_a_dump(make_stack, tmp_path):
    """In the same cluster: stamps in the dump lie below what sync has seen."""
    stack = make_stack().start()
    slugs = stack.add_links(50)
    dump = str(tmp_path / "dump")
    base = ["-h", stack.postgres.folder, "-U", "postgres"]
    with open(dump, "wb") as file:
        subprocess.run([f"{PG_BIN}/pg_dump", *base, "-Fc", "kudos"], check=True, stdout=file)
    stack.postgres.sql("update kudos.links set destination = 'https://lost.example/' where id = 5")
    slugs.append(stack.add_link("https://example.com/after-the-dump"))
    subprocess.run([f"{PG_BIN}/dropdb", *base, "--force", "kudos"], check=True)
    subprocess.run([f"{PG_BIN}/createdb", *base, "-O", "kudos", "kudos"], check=True)
    assert status(stack.kudos, "n1") == 302
    subprocess.run([f"{PG_BIN}/pg_restore", *base, "-d", "kudos", dump], check=True)
    slugs.append(stack.add_link("https://example.com/after-the-restore"))
    assert_equal(stack, slugs)


def test_killed_while_it_compares(make_stack, tmp_path):
    """More links than one chunk; the crash falls into the comparison, which then starts over."""
    stack = make_stack(env={"KUDOS_CRASH_AT": "sync_before_commit:3",
                            "KUDOS_CRASH_ONCE": str(tmp_path / "once")}).start()
    stack.add_links(60000)
    stack.postgres.stop()
    copy = str(tmp_path / "copy")
    stack.postgres.save_copy(copy)
    stack.postgres.start()
    stack.postgres.sql("update kudos.links set destination = 'https://lost.example/'")
    wait_until(lambda: answers(stack.kudos, ["n60000"])["n60000"] == "https://lost.example/", 30)
    stack.postgres.stop()
    stack.postgres.restore_copy(copy)
    stack.postgres.start()
    slugs = [f"n{n}" for n in range(1, 60001, 97)]
    assert_equal(stack, slugs, 60)
    assert (tmp_path / "once.sync_before_commit").exists()


def test_more_killed_readers_than_the_reader_table_has_room_for(make_stack):
    """LMDB's table has 126 slots by default, and a killed process leaves its own taken."""
    stack = make_stack(settings={"workers": 70}).start()
    stack.add_links(10)
    killed = set()
    for _ in range(3):
        for pid in stack.kudos.pids("redirect"):
            process.kill(pid)
            killed.add(pid)
        wait_until(lambda: len(set(stack.kudos.pids("redirect")) - killed) == 70, 60,
                   "all redirect processes run again")
        wait_until(lambda: status(stack.kudos, "n10") == 302, 30)
    assert len(killed) == 210
    slugs = [stack.add_link(), "n1", "n10"]
    wait_until(stack.kudos.ready, 30)
    assert_equal(stack, slugs)
    assert not stack.kudos.logged("READERS_FULL")
    assert stack.kudos.metric("replica_errors_total") == 0


@pytest.mark.short
def test_full_disk(make_stack):
    """Nobody dies of it, what was served goes on, and with room again it catches up."""
    stack = make_stack().start(serve=False)
    folder = stack.kudos.settings["data_dir"]
    os.makedirs(folder, exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder],
                      stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("may not mount")
    try:
        stack.kudos.start()
        slugs = stack.add_links(500)
        pids = stack.kudos.pids()
        stack.postgres.sql(
            "insert into kudos.links (workspace_id, domain_id, slug, destination)"
            " select 1, 1, 'f' || n, 'https://example.com/' || repeat('x', 100)"
            " from generate_series(1, 20000) n")
        wait_until(lambda: stack.kudos.logged("the disk is full"))
        assert status(stack.kudos, "n500") == 302
        subprocess.run(["mount", "-o", "remount,size=64m", folder], check=True)
        stack.wait_live("f20000", 20)
        assert_equal(stack, slugs + ["f1", "f777", "f20000"])
        assert stack.kudos.pids() == pids
    finally:
        stack.kudos.kill()
        subprocess.run(["umount", folder], check=True)
