"""Migrations, the analyst's views and role, and that everything explains itself."""

import subprocess

import psycopg2
import pytest

from support.feeder import Feeder

STACK = {"roles": "flush"}

UNEXPLAINED = """
select n.nspname || '.' || c.relname || coalesce('.' || a.attname, '')
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  left join pg_attribute a on a.attrelid = c.oid and a.attnum >= 0 and not a.attisdropped
 where n.nspname in ('kudos', 'report') and c.relkind in ('r', 'v', 'p') and not c.relispartition
   and (obj_description(c.oid, 'pg_class') is null or col_description(c.oid, a.attnum) is null)
union all select nspname from pg_namespace
 where nspname in ('kudos', 'report') and obj_description(oid, 'pg_namespace') is null
union all select typname from pg_type
 where typnamespace = 'kudos'::regnamespace and typtype = 'e' and obj_description(oid, 'pg_type') is null
union all select proname from pg_proc
 where pronamespace = 'kudos'::regnamespace and obj_description(oid, 'pg_proc') is null
"""


def migrate(stack):
    """(exit status, standard output, standard error)."""
    done = stack.kudos.run("migrate", check=False)
    return done.returncode, done.stdout, done.stderr


def test_migrate_again(stack):
    """It can be repeated; nothing is applied twice."""
    status, out, _ = migrate(stack)
    assert status == 0 and "(0 applied now)" in out
    names = [row[0] for row in stack.postgres.sql(
        "select name from kudos.schema_migrations order by name")]
    assert names[:3] == ["001_core", "002_pipeline", "003_report"]
    assert stack.postgres.sql("select w.name, d.host from kudos.domains d join kudos.workspaces w"
                              " on w.id = d.workspace_id where is_default") == [
        ("default", "127.0.0.1")]


def test_several_at_once(make_stack):
    """Machines that are upgraded at the same moment queue; each migration is applied once."""
    stack = make_stack()
    stack.redis.start()
    stack.postgres.start()
    runs = [subprocess.Popen([stack.kudos.binary, "migrate"], env=stack.kudos.environment(),
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(6)]
    outputs = [run.communicate(timeout=60) for run in runs]
    assert [run.returncode for run in runs] == [0] * 6, outputs
    applied = [line for out, _ in outputs for line in out.splitlines() if line.startswith("applied")]
    assert len(applied) == len(set(applied)) == stack.postgres.value(
        "select count(*) from kudos.schema_migrations")


@pytest.mark.parametrize("change, said", [
    ("update kudos.schema_migrations set checksum = 'x' where name = '002_pipeline'",
     "an applied migration must never change"),
    ("insert into kudos.schema_migrations (name, checksum) values ('999_next', 'x')",
     "the database is newer than this binary: it has migration 999_next"),
])
def test_refusals(make_stack, change, said):
    """A changed or an unknown migration."""
    stack = make_stack().start(serve=False)
    stack.postgres.sql(change)
    status, _, err = migrate(stack)
    assert status == 1 and said in err


def test_failed_migration_leaves_nothing(make_stack):
    """One that fails says which, and can be run again."""
    stack = make_stack()
    stack.redis.start()
    stack.postgres.start()
    stack.postgres.sql("create schema kudos")
    stack.postgres.sql("create table kudos.watermarks (x int)")
    status, out, err = migrate(stack)
    assert status == 1 and "applied 001_core" in out
    assert "migration 002_pipeline: 42P07" in err and "already exists" in err
    stack.postgres.sql("drop table kudos.watermarks")
    assert migrate(stack)[0] == 0


def test_everything_explains_itself(stack):
    """A comment on every schema, type, function, table, view and column."""
    assert stack.postgres.sql(UNEXPLAINED) == []


def test_analyst_reads_reports_only(stack):
    """A member of kudos_analyst sees every view and no table; each view begins with the workspace."""
    stack.postgres.sql("create role maria login in role kudos_analyst", superuser=True)
    views = [row[0] for row in stack.postgres.sql(
        "select relname from pg_class where relnamespace = 'report'::regnamespace"
        " and relkind = 'v' order by 1")]
    assert {"clicks", "daily", "data_freshness", "link_performance"} <= set(views)
    connection = psycopg2.connect(host=stack.postgres.folder, dbname="kudos", user="maria")
    connection.autocommit = True
    with connection.cursor() as cursor:
        for view in views:
            cursor.execute(f"select * from report.{view} limit 1")
            assert cursor.description[0].name == "workspace"
        for refused in ("select * from kudos.clicks", "select * from kudos.api_keys",
                        "delete from kudos.links", "create table report.x (y int)"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(refused)
    connection.close()


def test_views_tell_what_was_clicked(stack):
    """Clicks of people and of others, by link and by day, and how fresh the figures are."""
    stack.postgres.sql("insert into kudos.links (workspace_id, domain_id, slug, destination)"
                       " select workspace_id, id, 'seen', 'https://example.com/' from kudos.domains"
                       " where is_default")
    link = stack.postgres.value("select id from kudos.links where slug = 'seen'")
    workspace = stack.postgres.value("select workspace_id from kudos.links where slug = 'seen'")
    fields = {"link": link, "workspace": workspace, "country": b"DE", "language": "de"}
    feeder = Feeder(stack).add(7, **fields).add(3, verdict=1, rule="crawler", **fields)
    feeder.add(2, verdict=3, rule="sec-purpose", **fields).add(1, link=10**9, workspace=10**9)
    feeder.wait_flushed()
    assert stack.postgres.sql(
        "select workspace, slug, clicks, human, not_human, human_24_hours"
        " from report.link_performance where slug = 'seen'") == [("default", "seen", 12, 7, 5, 7)]
    assert stack.postgres.sql(
        "select workspace, slug, sum(clicks), sum(human), sum(bot), sum(other) from report.daily"
        " where slug = 'seen' group by 1, 2") == [("default", "seen", 12, 7, 3, 2)]
    assert stack.postgres.sql(
        "select verdict::text, human, rule, device, country, language, count(*)::int"
        " from report.clicks where slug = 'seen' and time > now() - interval '1 hour'"
        " group by 1, 2, 3, 4, 5, 6 order by 7 desc") == [
        ("human", True, None, "unknown", "DE", "de", 7),
        ("bot", False, "crawler", "unknown", "DE", "de", 3),
        ("prefetch", False, "sec-purpose", "unknown", "DE", "de", 2)]
    # A click on a link that is gone is a row all the same.
    assert stack.postgres.value("select count(*) from report.clicks where slug is null") == 1
    freshness = stack.postgres.sql("select last_hour is not null, stored_at > now() - interval"
                                   " '1 minute', lost_clicks, missing_events, quarantined"
                                   " from report.data_freshness where workspace = 'default'")
    assert freshness == [(True, True, 0, 0, 0)]
    stack.assert_consistent()


def test_days_of_clicks_are_summarised_as_they_fill(stack):
    """Who looks for the click of a sale reads all of its day that is not summarised."""
    stack.postgres.sql("select kudos.make_click_day('2026-01-01')")
    days = stack.postgres.sql(
        "select c.relname, c.reloptions from pg_inherits i join pg_class c on c.oid = i.inhrelid"
        " where i.inhparent = 'kudos.clicks_time'::regclass")
    assert "clicks_20260101_time_idx" in {name for name, _ in days}
    assert [name for name, options in days if "autosummarize=on" not in (options or [])] == []
