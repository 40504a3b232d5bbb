"""Daily figures (kudos.clicks_daily, kudos.uniques_daily): whatever comes, late, changed, moved to
another time zone or dropped, a built day says what its rows say."""

import random
import time

import pytest

from support.feeder import Feeder
from support.wait import wait_until

STACK = {"roles": "flush"}
DAY = 24 * 3600 * 10**6

# What each dimension is in single clicks.
VALUES = """(values ('country', c.country), ('device', c.device::text), ('os', c.os), ('browser', c.browser),
 ('app', c.app), ('platform', c.platform), ('medium', c.medium::text), ('referrer', c.referrer_host),
 ('route', c.route::text), ('variant', c.variant::text),
 ('reason', case when c.verdict <> 'human' then c.verdict || coalesce(': ' || c.rule, '') end))
 as v (dimension, value)"""
RAW = """(select c.*, (c.time at time zone w.time_zone)::date as day from kudos.clicks c
 join kudos.workspaces w on w.id = c.workspace_id) as c"""
CLASSES = f"""select c.workspace_id, c.day, c.link_id, c.campaign_id, v.dimension, coalesce(v.value, ''),
 count(*), count(*) filter (where c.verdict = 'human') from {RAW} cross join lateral {VALUES}
 where v.dimension <> 'reason' or v.value is not null group by 1, 2, 3, 4, 5, 6"""
BUILT_CLASSES = """select n.workspace_id, n.day, n.link_id, n.campaign_id, v.dimension, r.key,
 (r.value ->> 0)::bigint, (r.value ->> 1)::bigint from kudos.clicks_daily n cross join lateral (values
 ('country', n.country), ('device', n.device), ('os', n.os), ('browser', n.browser), ('app', n.app),
 ('platform', n.platform), ('medium', n.medium), ('referrer', n.referrer), ('route', n.route),
 ('variant', n.variant), ('reason', n.reason)) as v (dimension, counts) cross join lateral jsonb_each(v.counts) r"""
TOTALS = "count(*), count(*) filter (where verdict = 'human')," \
    " count(distinct visitor) filter (where verdict = 'human')," \
    " count(*) filter (where verdict = 'human' and visitor is null)," \
    " count(*) filter (where verdict = 'bot')"
GRAINS = " union all ".join(
    f"select c.workspace_id, c.day, '{grain}' as grain, {campaign} as campaign, {link} as link, {TOTALS}"
    f" from {RAW} group by 1, 2, 3, 4, 5" for grain, campaign, link in (
        ("workspace", "null::bigint", "null::bigint"), ("campaign", "campaign_id", "null::bigint"),
        ("influencer", "null::bigint", "null::bigint"), ("pair", "campaign_id", "null::bigint"),
        ("link", "null::bigint", "link_id")))
BUILT_GRAINS = """select workspace_id, day, grain::text, campaign_id, link_id, clicks, human, visitors,
 unidentified, bot from kudos.uniques_daily"""
HOURS = """select link_id, sum(clicks) as clicks, sum(human) as human from kudos.clicks_hourly group by 1"""


def at(days_ago, hour=12):
    """Microseconds of a time so many days ago (UTC)."""
    return int(time.time() * 1e6) // DAY * DAY - days_ago * DAY + hour * 3600 * 10**6


def waiting(stack):
    """Whether anything is still to be built."""
    return stack.postgres.value(
        "select exists (select from kudos.days_touched) or exists (select from kudos.days where dirty"
        " and day <= kudos.last_closed_day(time_zone))")


def let_time_pass(stack):
    """Days are not built twice within ten minutes, and clicks may come in two batches: as if the
    minutes had passed."""
    stack.postgres.sql("update kudos.days set built_at = built_at - interval '1 hour' where dirty")


def build(stack):
    """Waits until every closed day is built."""
    def done():
        let_time_pass(stack)
        stack.postgres.sql("select kudos.build_day()")
        return not waiting(stack)
    wait_until(done, 60, "all days are built")


def stuck(stack):
    """Server processes of builders that wait for a lock."""
    return [row[0] for row in stack.postgres.sql(
        "select pid from pg_stat_activity where application_name = 'kudos-daily' and wait_event_type = 'Lock'")]


def differences(stack):
    """What built days say and their rows do not, or the other way round."""
    closed = " where day <= (select built_until from kudos.zones z join kudos.workspaces w using (time_zone)" \
        " where w.id = workspace_id)"
    return [row for expected, built in ((CLASSES, BUILT_CLASSES), (GRAINS, BUILT_GRAINS))
            for one, other in ((expected, built), (built, expected))
            for row in stack.postgres.sql(f"select * from (select * from ({one}) x {closed}"
                                          f" except all select * from ({other}) y {closed}) z limit 5")]


@pytest.fixture(name="brand")
def fixture_brand(stack):
    """(workspace, campaign) far from UTC."""
    workspace = stack.postgres.value(
        "insert into kudos.workspaces (name, time_zone) values (%s, 'Pacific/Auckland') returning id",
        f"brand{time.time_ns()}")
    return workspace, stack.postgres.value(
        "insert into kudos.campaigns (workspace_id, slug, name, objective) values"
        " (%s, 'spring', 'Spring', 'traffic') returning id", workspace)


def feed(stack, brand, count, days=range(2, 6)):
    """Clicks of all kinds on some days."""
    feeder = Feeder(stack)
    for _ in range(count):
        feeder.add(workspace=brand[0], campaign=random.choice((0, brand[1])), link=random.randrange(1, 5),
                   time_us=at(random.choice(days), random.randrange(24)), verdict=random.choice((0, 0, 0, 1, 2, 4)),
                   rule=random.choice(("", "crawler", "decided: a: b")), visitor=random.randrange(20),
                   referrer=random.choice(("", "instagram.com", "t.co")), country=random.choice((b"DE", b"\0\0")))
    return feeder.wait_flushed()


def test_built_by_flush(stack, brand):
    """By itself, and equal to rows and hours."""
    feed(stack, brand, 800)
    wait_until(lambda: let_time_pass(stack) or not waiting(stack), 60, "flush builds all days")
    assert stack.postgres.value("select sum(clicks) from kudos.clicks_daily where workspace_id = %s", brand[0]) == 800
    assert differences(stack) == []
    assert stack.postgres.sql(
        f"select * from ({HOURS}) h except select link_id, sum(clicks), sum(human) from kudos.uniques_daily"
        " where grain = 'link' group by 1") == []
    stack.assert_consistent()


def test_late_clicks(stack, brand):
    """They make their day be built again; not more often than every ten minutes."""
    feed(stack, brand, 100)
    build(stack)
    built = stack.postgres.value("select sum(clicks) from kudos.uniques_daily where grain = 'workspace'"
                                 " and workspace_id = %s", brand[0])
    feed(stack, brand, 50, days=[2])
    stack.postgres.sql("select kudos.build_day()")
    wait_until(lambda: stack.postgres.value("select count(*) from kudos.days where dirty and built_at is not null"),
               what="the day waits")
    build(stack)
    assert differences(stack) == []
    assert stack.postgres.value("select sum(clicks) from kudos.uniques_daily where grain = 'workspace'"
                                " and workspace_id = %s", brand[0]) == built + 50


def test_reclassified_days(stack, brand):
    feed(stack, brand, 200)
    build(stack)
    stack.kudos.run("reclassify", "--referrer", "t.co", "--to", "datacenter", "--because", "found out")
    assert stack.postgres.value("select count(*) from kudos.days_touched")
    build(stack)
    assert differences(stack) == []
    assert stack.postgres.value("select count(*) from kudos.clicks_daily"
                                " where reason ? 'datacenter: decided: found out'") > 0
    stack.assert_consistent()


def test_another_time_zone(stack, brand):
    feed(stack, brand, 200)
    build(stack)
    stack.postgres.sql("update kudos.workspaces set time_zone = 'America/Los_Angeles' where id = %s", brand[0])
    build(stack)
    assert differences(stack) == []


@pytest.mark.parametrize("figure", ["uniques_daily set visitors = visitors + 1 where grain = 'pair'",
                                    "uniques_daily set bot = bot + 1 where grain = 'workspace'",
                                    "clicks_daily set human = human - 1 where human > 0 and link_id = 2",
                                    "clicks_daily set app = '{\"\": [1, 1]}' where clicks > 1 and link_id = 2"])
def test_verify_finds_wrong_figures(stack, brand, figure):
    """Of built days; not of those that are to be built again."""
    feed(stack, brand, 200, days=[3, 4])
    build(stack)
    stack.assert_consistent()
    table, change = figure.split(" ", 1)
    day, before = stack.postgres.sql(f"select max(day), count(*) from kudos.{table} where workspace_id = %s", brand[0])[0]
    stack.postgres.sql(f"update kudos.{table} {change} and workspace_id = %s and day = %s", brand[0], day)
    done = stack.verify()
    assert done.returncode == 1 and "NOT consistent" in done.stdout
    assert f"problem: day {day} (Pacific/Auckland), workspace {brand[0]}" in done.stdout, done.stdout
    stack.postgres.sql("insert into kudos.days_touched (hour) values (%s::timestamp at time zone 'Pacific/Auckland')", day)
    assert stack.verify().returncode == 0
    build(stack)
    stack.assert_consistent()
    stack.postgres.sql(f"delete from kudos.{table} where workspace_id = %s and day = %s", brand[0], day)
    assert "daily figures nothing, rows {" in stack.verify().stdout or table == "clicks_daily"
    assert stack.verify().returncode == 1
    stack.postgres.sql("insert into kudos.days_touched (hour) values (%s::timestamp at time zone 'Pacific/Auckland')", day)
    build(stack)
    assert stack.postgres.value(f"select count(*) from kudos.{table} where workspace_id = %s", brand[0]) == before


def test_values_without_end(stack, brand):
    """Whatever strangers send as their referrer, a link has a bounded number of rows."""
    feeder = Feeder(stack)
    for number in range(300):
        feeder.add(1 + (number < 5), workspace=brand[0], link=77, time_us=at(2), referrer=f"h{number}.example")
    feeder.wait_flushed()
    build(stack)
    hosts = stack.postgres.value("select referrer from kudos.clicks_daily where link_id = 77"
                                 " and workspace_id = %s", brand[0])
    assert len(hosts) == 101 and hosts["(other)"] == [200, 200] and hosts["h3.example"] == [2, 2]
    # The other tests compare with rows.
    stack.postgres.sql("update kudos.clicks set referrer_host = null where link_id = 77")
    stack.postgres.sql("insert into kudos.days_touched (hour) select distinct date_trunc('hour', time)"
                       " from kudos.clicks where link_id = 77")
    build(stack)
    assert differences(stack) == []


@pytest.mark.parametrize("end", ["backend", "flush"])
def test_ended_in_the_middle(stack, brand, end):
    """A builder that is stuck holds up no click; ended, it has done nothing, and the next one does it."""
    connection = stack.postgres.connect()
    try:
        connection.autocommit = False
        with connection.cursor() as cursor:
            cursor.execute("lock table kudos.uniques_daily in access exclusive mode")
            feed(stack, brand, 100)
            stack.postgres.sql("update kudos.days set built_at = built_at - interval '1 hour'")
            wait_until(lambda: stuck(stack), 30, "the builder is stuck")
            feed(stack, brand, 100)
            if end == "flush":
                stack.kudos.kill_role("flush")
            for pid in stuck(stack):
                stack.postgres.sql("select pg_terminate_backend(%s)", pid)
    finally:
        connection.close()
    feed(stack, brand, 20)
    build(stack)
    assert differences(stack) == []
    stack.assert_consistent()


def test_clicks_of_conversions(stack, brand):
    """What is known of them is copied, once they are there."""
    feeder = Feeder(stack).add(1, workspace=brand[0], link=3, referrer="retailmenot.com", country=b"FR", time_us=at(1))
    feeder.wait_flushed()
    stack.postgres.sql(
        "insert into kudos.conversions (workspace_id, event, key, occurred_at, occurred_told, path, verified,"
        " click_origin, click_seq, click_link_id, click_time, click_awaited) select workspace_id, 'sale', 'A', now(),"
        " true, 'api', true, origin, seq, link_id, date_trunc('milliseconds', time), true from kudos.clicks"
        " where origin = %s", feeder.origin)
    wait_until(lambda: stack.postgres.sql(
        "select f.referrer_host, f.country from kudos.conversion_clicks f join kudos.conversions c"
        " on c.id = f.conversion_id where c.workspace_id = %s and f.looked", brand[0]) == [("retailmenot.com", "FR")],
        30, "the click is looked at")


def test_days_whose_rows_are_dropped_stay(stack, brand):
    """Last: it drops days."""
    feed(stack, brand, 200)
    build(stack)
    def rows():
        return stack.postgres.sql("select * from kudos.clicks_daily order by workspace_id, day, link_id, campaign_id")
    before = rows()
    assert before
    stack.postgres.sql("select kudos.drop_click_days(current_date - 1)")
    Feeder(stack).add(3, workspace=brand[0], link=1, time_us=at(3)).wait_flushed()
    build(stack)
    assert rows() == before
