"""What operators decide about stored clicks afterwards, and the views that tell why clicks were left
out and how many people there were. After everything `kudos verify` finds all books balanced: rows,
rollups, watermarks, and the totals in Redis."""

import time

import pytest

from support.feeder import Feeder
from support.wait import wait_until

STACK = {"roles": "flush", "settings": {"datacenter_asns": "builtin 64500"}}
HOUR = 3600 * 10**6


def now_us():
    return int(time.time() * 1e6)


@pytest.fixture
def link(stack):
    """A link's number and slug, in the default workspace."""
    slug = f"r{now_us()}"
    return stack.postgres.value(
        "insert into kudos.links (workspace_id, domain_id, slug, destination) select workspace_id, id, %s,"
        " 'https://example.com/' from kudos.domains where is_default returning id", slug), slug


def feed(stack, *groups):
    """Stores clicks; each group is (count, fields)."""
    feeder = Feeder(stack)
    for count, fields in groups:
        feeder.add(count, **fields)
    return feeder.wait_flushed()


def reclassify(stack, *arguments, status=0):
    """Standard output of the command; of one that fails, standard error."""
    done = stack.kudos.run("reclassify", *arguments, check=False)
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    return done.stdout if status == 0 else done.stderr


def verdicts(stack, link):
    """{(verdict, rule): rows} of a link."""
    return {(verdict, rule): count for verdict, rule, count in stack.postgres.sql(
        "select verdict::text, rule, count(*)::int from kudos.clicks where link_id = %s group by 1, 2", link)}


def totals(stack, link):
    """(clicks, of these not human) as Redis counts them."""
    client = stack.redis.client()
    return tuple(int(client.hget("kudos:{0}:totals", field) or 0) for field in (link, f"{link}:x"))


def wait_for_totals(stack, link, expected):
    """Redis learns of a step in the next pass of flush."""
    wait_until(lambda: totals(stack, link) == expected,
               what=lambda: f"totals {expected}, found {totals(stack, link)}")


def run_number(output):
    return output.rsplit("--undo ", 1)[1].split()[0]


def test_chosen_clicks_get_another_verdict_and_back(stack, link):
    number, slug = link
    feed(stack, (7, {"link": number, "country": b"US"}), (3, {"link": number, "country": b"DE"}),
         (2, {"link": number, "verdict": 1, "rule": "crawler X", "country": b"US"}))
    assert "7 clicks on 1 links: human -> preview (decided: X drew the card)" in reclassify(
        stack, "--link", f"127.0.0.1/{slug.upper()}", "--country", "US,CA", "--verdict", "human", "--to", "preview",
        "--because", "X drew the card", "--dry-run")
    assert verdicts(stack, number)["human", None] == 10
    said = reclassify(stack, "--link", str(number), "--country", "US", "--verdict", "human", "--to", "preview",
                      "--because", "X drew the card")
    assert "7 clicks reclassified" in said
    decided = ("preview", "decided: X drew the card")
    assert verdicts(stack, number) == {("human", None): 3, decided: 7, ("bot", "crawler X"): 2}
    stack.assert_consistent()
    wait_for_totals(stack, number, (12, 9))
    assert stack.postgres.sql("select clicks::int, human::int from report.link_performance where slug = %s",
                              slug) == [(12, 3)]
    assert stack.postgres.sql(
        "select slug, verdict_before::text, rule_before, verdict::text, rule, clicks::int, reason, undoes"
        " from report.reclassified where workspace = 'default' and slug = %s", slug) == [
        (slug, "human", None, *decided, 7, "X drew the card", None)]
    assert "no click is to be changed" in reclassify(
        stack, "--link", str(number), "--country", "US", "--verdict", "human,preview", "--to", "preview",
        "--because", "X drew the card")
    # Later clicks are counted beside; taking back touches only what the run had changed.
    feed(stack, (1, {"link": number}))
    assert "7 clicks reclassified" in reclassify(stack, "--undo", run_number(said))
    assert verdicts(stack, number) == {("human", None): 11, ("bot", "crawler X"): 2}
    stack.assert_consistent()
    wait_for_totals(stack, number, (13, 2))
    assert stack.postgres.value("select count(*) from kudos.clicks_hourly where link_id = %s and clicks = 0",
                                number) == 0


def test_bursts(stack, link):
    number, slug = link
    start = now_us() - HOUR
    feed(stack, *[(1, {"link": number, "time_us": start + second * 10**6})
                  for second in (0, 300, 600, 601, 602, 604, 900, 905, 1300)])
    said = reclassify(stack, "--link", f"127.0.0.1/{slug}", "--burst", "4/5", "--to", "preview", "--because", "X")
    assert "4 clicks reclassified" in said
    assert stack.postgres.sql("select floor(extract(epoch from time))::bigint - %s from kudos.clicks where link_id = %s"
                              " and verdict = 'preview' order by 1", start // 10**6, number) == [
        (600,), (601,), (602,), (604,)]
    stack.assert_consistent()


def test_networks_of_servers_as_the_setting_is_now(stack, link):
    number, _ = link
    feed(stack, (4, {"link": number, "asn": 64500}), (5, {"link": number, "asn": 64501}), (6, {"link": number}),
         (3, {"link": number, "asn": 64502, "verdict": 4, "rule": "network of servers"}),
         (2, {"link": number, "asn": 64500, "verdict": 1, "rule": "word bot"}))
    assert "7 clicks reclassified" in reclassify(stack, "--servers", "--link", str(number))
    assert verdicts(stack, number) == {
        ("human", None): 14, ("datacenter", "network of servers"): 4, ("bot", "word bot"): 2}
    stack.assert_consistent()


def test_limits_are_looked_at_again(stack, link):
    number, _ = link
    stack.postgres.sql("update kudos.links set max_clicks = 5 where id = %s", number)
    feed(stack, (5, {"link": number, "asn": 7}))
    def used_up():
        return stack.postgres.value("select used_up from kudos.links where id = %s", number)
    feed(stack, (1, {"link": number, "verdict": 1}))  # flush marks after the commit: the next pass has done it
    assert used_up()
    reclassify(stack, "--link", str(number), "--asn", "7", "--to", "bot", "--because", "a farm")
    assert not used_up()
    stack.assert_consistent()


def test_who_earned_a_sale_is_decided_again(stack, link):
    number, _ = link
    stack.postgres.sql("with who as (insert into kudos.influencers (workspace_id, handle) select workspace_id, 'seller'"
                       " from kudos.links where id = %s returning id)"
                       " update kudos.links set influencer_id = who.id from who where links.id = %s", number, number)
    feeder = feed(stack, (1, {"link": number, "asn": 77}))
    sale = stack.postgres.value(
        "insert into kudos.conversions (workspace_id, event, key, occurred_at, occurred_told, path, verified, click_id,"
        " click_verified, click_origin, click_seq, click_link_id, click_time) select workspace_id, 'lead', 'x', now(),"
        " true, 'api', true, 'x', true, origin, seq, link_id, date_trunc('milliseconds', time) from kudos.clicks"
        " where origin = %s returning id", feeder.origin)
    stack.postgres.sql("select kudos.credit_conversion(%s)", sale)
    def status():
        return stack.postgres.sql("select status::text, click_awaited from kudos.conversions where id = %s", sale)[0]
    assert status() == ("credited", False)
    said = reclassify(stack, "--link", str(number), "--asn", "77", "--to", "bot", "--because", "a farm")
    feed(stack, (1, {"link": number}))
    wait_until(lambda: status() == ("unattributed", False), 20, lambda: f"decided again: {status()}")
    reclassify(stack, "--undo", run_number(said))
    feed(stack, (1, {"link": number}))
    wait_until(lambda: status() == ("credited", False), 20, lambda: f"decided again: {status()}")


@pytest.mark.parametrize("arguments", [
    [], ["--to", "bot"], ["--to", "bot", "--because", "x"], ["--to", "robot", "--because", "x", "--link", "1"],
    ["--undo", "1", "--link", "1"], ["--undo", "x"], ["--servers", "--undo", "1"], ["--link", "1"],
    ["--link", "1", "--to", "bot", "--because", "x" * 60], ["--burst", "1/1", "--to", "bot", "--because", "x"]])
def test_wrong_use(stack, arguments):
    assert "usage" in reclassify(stack, *arguments, status=2)


def test_a_bad_value_is_refused_whole(stack):
    assert "22" in reclassify(stack, "--from", "yesterday-ish", "--to", "bot", "--because", "x", status=1)
    assert "23503" in reclassify(stack, "--undo", "999999999999999999", status=1)


def test_while_clicks_arrive(stack):
    number = 10**7
    feed(stack, (2000, {"link": number, "asn": 9}))
    feeder = Feeder(stack).start(rate=1000)
    try:
        reclassify(stack, "--asn", "9", "--to", "invalid", "--because", "a test")
    finally:
        feeder.stop()
    feeder.wait_flushed()
    feeder.assert_exactly_once()
    assert verdicts(stack, number) == {("invalid", "decided: a test"): 2000}
    stack.assert_consistent()


# Views --------------------------------------------------------------------------------------------

def test_filtered_and_visitors(stack, link):
    """By the day of the workspace's time zone; people counted once."""
    number, slug = link
    workspace = stack.postgres.value("insert into kudos.workspaces (name, time_zone) values"
                                     " ('far', 'Pacific/Auckland') returning id")
    campaign = stack.postgres.value("insert into kudos.campaigns (workspace_id, slug, name, objective) values"
                                    " (%s, 'spring', 'Spring', 'traffic') returning id", workspace)
    midnight = stack.postgres.value(
        "select (extract(epoch from date_trunc('day', now() at time zone 'Pacific/Auckland')"
        " at time zone 'Pacific/Auckland') * 1000000)::bigint")
    common = {"link": number, "workspace": workspace, "campaign": campaign}
    before, after = midnight - 10**6, midnight + 10**6
    feed(stack,
         (3, {**common, "time_us": after, "visitor": 11}), (1, {**common, "time_us": after, "visitor": 12}),
         (2, {**common, "time_us": after, "flags": 1}), (1, {**common, "time_us": before, "visitor": 11}),
         (1, {**common, "link": number + 10**6, "time_us": after, "visitor": 12}),
         (5, {**common, "time_us": after, "verdict": 2, "rule": "preview Mastodon"}),
         (4, {**common, "time_us": after, "verdict": 1, "rule": "word bot"}),
         (1, {**common, "time_us": before, "verdict": 1, "rule": "word bot"}))
    def asked(sql):
        return stack.postgres.sql(sql.replace("TODAY", "day = (now() at time zone 'Pacific/Auckland')::date"))
    assert asked("select campaign, slug, verdict::text, rule, clicks::int from report.filtered"
                 " where workspace = 'far' and TODAY order by clicks") == [
        ("Spring", slug, "bot", "word bot", 4), ("Spring", slug, "preview", "preview Mastodon", 5)]
    assert asked("select slug, visitors::int, unidentified::int, human::int from report.visitors_by_link"
                 " where workspace = 'far' and slug is not null order by day") == [(slug, 1, 0, 1), (slug, 2, 2, 6)]
    assert asked("select campaign, visitors::int, unidentified::int, human::int from report.visitors_by_campaign"
                 " where workspace = 'far' and TODAY") == [("Spring", 2, 2, 7)]
    assert asked("select visitors::int, human::int from report.visitors_by_day where workspace = 'far'"
                 " order by day") == [(1, 1), (2, 7)]


def test_only_the_days_asked_for_are_read(stack):
    plan = "\n".join(row[0] for row in stack.postgres.sql(
        "explain (analyze, costs off, timing off) select * from report.filtered where workspace = 'default'"
        " and day = (now() at time zone 'UTC')::date"))
    read = [line for line in plan.splitlines() if "clicks_2" in line and "Scan" in line]
    assert read and sum("never executed" not in line for line in read) == 1, plan
