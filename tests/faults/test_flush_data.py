"""What flush is given: poison, odd times, gaps, losses; days; and whether verify sees what is wrong."""

import datetime
import json
import os
import time

import pytest

from support.feeder import Feeder, click, conversion, gap, lost
from support.wait import wait_until

SETTINGS = {"flush_batch_events": 5000}
HOUR_US = 3600 * 10**6


@pytest.fixture(name="stack")
def fixture_stack(make_stack):
    """Stores and a flusher."""
    return make_stack(roles="flush", settings=SETTINGS).start()


def settle(stack, *feeders):
    """Everything sent arrives, once, and the books balance."""
    for feeder in feeders:
        feeder.wait_flushed()
    stack.assert_consistent()


def quarantine(stack, feeder):
    """{seq: (link, human, error)}."""
    return {row[0]: row[1:] for row in stack.postgres.sql(
        "select seq, link_id, human, error from kudos.quarantine where origin = %s order by seq",
        feeder.origin)}


# Poison -------------------------------------------------------------------------------------------

@pytest.mark.short
def test_poison_among_good_ones(stack):
    """Payloads that cannot be decoded and rows that PostgreSQL refuses; the rest goes on."""
    feeder = Feeder(stack)
    feeder.add(500, link=1)
    feeder.add(payload=b"\x01\x01short")
    feeder.add(100, link=1)
    feeder.add(payload=b"\x63" + click()[1:])  # of a version to come
    feeder.add(link=2, time_us=-(2**62))
    feeder.add(link=2, time_us=-(2**63), verdict=1)
    feeder.add(100, link=1)
    feeder.add(payload=b"\x00")
    settle(stack, feeder)
    refused = quarantine(stack, feeder)
    assert sorted(refused) == [501, 602, 603, 604, 705]
    assert refused[603][:2] == (2, True) and refused[604][:2] == (2, False)
    assert refused[603][2].startswith("22008")
    assert refused[602][:2] == (None, None) and "version" in refused[602][2]
    assert stack.rows() == 700
    assert stack.kudos.metric("quarantined_total") == 5
    payload = stack.postgres.value("select payload from kudos.quarantine where seq = 604")
    assert bytes(payload) == feeder.records[604][0]
    # A recovery counts the refused clicks of a link as its shipper did.
    totals = stack.redis.client().hgetall(feeder.keys()[3])
    stack.redis.client().flushall()
    wait_until(lambda: stack.redis.client().hgetall(feeder.keys()[3]) == totals, 10, "totals again")
    assert totals["2"] == "2" and totals["2:x"] == "1"
    settle(stack, feeder)


def test_nothing_but_poison(stack):
    """More refusals than one transaction takes; then the cause goes away."""
    stack.postgres.sql("alter table kudos.clicks add constraint odd check (link_id % 2 = 1)",
                       superuser=True)
    feeder = Feeder(stack, batch=1000).add(12000, link=2).add(300, link=3)
    feeder.wait_flushed(180)
    assert len(quarantine(stack, feeder)) == 12000
    assert stack.rows() == 300
    stack.assert_consistent()
    stack.postgres.sql("alter table kudos.clicks drop constraint odd", superuser=True)
    settle(stack, feeder.add(100, link=2))
    assert stack.rows() == 400


def test_a_fault_of_the_server_is_not_the_rows(stack):
    """A missing table or right is waited for; no click goes to quarantine for it."""
    feeder = Feeder(stack).add(100).ship_all().wait_flushed()
    stack.postgres.sql("alter table kudos.clicks rename to elsewhere")
    feeder.add(100).ship_all()
    wait_until(lambda: stack.kudos.metric("flush_retries_total") >= 3, 20, "flush tries")
    stack.postgres.sql("alter table kudos.elsewhere rename to clicks")
    settle(stack, feeder)
    assert not quarantine(stack, feeder) and stack.rows() == 200


# Gaps and losses ----------------------------------------------------------------------------------

def test_gaps_and_losses(stack):
    """They take part in the sequence, are counted, and become rows; a loss told twice counts once."""
    now = int(time.time() * 1e6)
    feeder = Feeder(stack, batch=50).add_mixed(120)
    feeder.add(payload=gap(121, 1120, "bad checksum in 1.seg"), span=1000)
    feeder.add_mixed(10)
    feeder.add(payload=lost(77, 4242, now - HOUR_US, now))
    feeder.add(payload=lost(77, 4242, now - HOUR_US, now))
    feeder.add(payload=lost(2**64 - 1, 5, 0, 2**63 - 1))
    feeder.add_mixed(10)
    settle(stack, feeder)
    feeder.assert_exactly_once()
    rows = stack.postgres.sql(
        "select first_seq, last_seq, kind::text, count, reason, from_time is null"
        " from kudos.gaps order by id")
    assert rows == [(121, 1120, "damaged", 1000, "bad checksum in 1.seg", True),
                    (1131, 1131, "lost", 4242, None, False),
                    (1132, 1132, "lost", 0, "told before", True),
                    (1133, 1133, "lost", 5, None, True)]
    assert stack.postgres.sql("select seq, applied, gaps from kudos.watermarks") == [
        (1143, 143, 1000)]
    assert "in gaps 1000, lost 4247" in stack.kudos.run("verify").stdout
    assert stack.postgres.sql("select lost_clicks, missing_events from report.data_freshness")[0] \
        == (4247, 1000)


def test_gap_over_the_watermark(stack):
    """A gap of which the first part has been taken over already counts for the rest only."""
    feeder = Feeder(stack).add_mixed(100).ship_all().wait_flushed()
    feeder.inject(90, 150, b"".join(
        len(p).to_bytes(4, "little") + p for p in [gap(90, 150)]))
    wait_until(lambda: feeder.watermark() == 150, 10, "the gap is taken")
    assert stack.postgres.sql("select first_seq, last_seq, count from kudos.gaps") == [
        (101, 150, 50)]
    stack.assert_consistent()


# Times and days -----------------------------------------------------------------------------------

def test_times_and_days(stack):
    """Clocks that are ahead are corrected; old clicks get a day; days are made ahead."""
    now = int(time.time() * 1e6)
    yesterday = datetime.datetime.now(datetime.timezone.utc).date() - datetime.timedelta(days=1)
    feeder = Feeder(stack)
    feeder.add(10, time_us=now + 30 * 60 * 10**6)
    feeder.add(10, time_us=now + 90 * 60 * 10**6)
    feeder.add(10, time_us=2**62)
    feeder.add(10, time_us=now - 24 * HOUR_US)
    feeder.add(10, time_us=0)
    settle(stack, feeder)
    rows = dict(stack.postgres.sql(
        "select case when time > now() + interval '20 minutes' then 'ahead' when time < now() -"
        " interval '1 hour' then 'old' else 'now' end, count(*) from kudos.clicks"
        " where (flags & 2 <> 0) = (time between now() - interval '5 minutes' and now())"
        " group by 1"))
    assert rows == {"ahead": 10, "now": 20, "old": 20}
    assert stack.postgres.value("select count(*) from kudos.clicks_default") == 20
    days = [row[0] for row in stack.postgres.sql(
        "select relname from pg_class where relname ~ '^clicks_[0-9]{8}$' and relkind = 'r'")]
    assert len(days) == 8
    # The next start makes the day that is missing and moves its rows; 1970 is left alone.
    stack.kudos.stop()
    stack.kudos.start()
    name = f"clicks_{yesterday:%Y%m%d}"
    wait_until(lambda: stack.postgres.value(f"select count(*) from kudos.{name}") == 10, 10)
    assert stack.postgres.value("select count(*) from kudos.clicks_default") in (0, 10)
    stack.assert_consistent()


def test_days_are_dropped(stack):
    """Single clicks go after retention_days; the rollups stay, and verify knows."""
    now = int(time.time() * 1e6)
    feeder = Feeder(stack)
    for days in range(6):
        feeder.add(10, time_us=now - days * 24 * HOUR_US)
    settle(stack, feeder)
    stack.kudos.stop()
    stack.kudos.settings["retention_days"] = 2
    stack.kudos.start()
    wait_until(lambda: stack.rows() == 30, 10, "old days are dropped")
    assert stack.postgres.value("select sum(clicks) from kudos.clicks_hourly") == 60
    settle(stack, feeder.add_mixed(100))
    # Clicks that come in later still than that are counted, and not kept.
    feeder.add(5, time_us=now - 10 * 24 * HOUR_US)
    settle(stack, feeder)
    stack.kudos.stop()
    stack.kudos.start()
    wait_until(lambda: stack.rows() == 130, 10, "and dropped")
    stack.assert_consistent()
    assert "rows are kept from" in stack.kudos.run("verify").stdout


def test_making_a_day_under_load(stack):
    """The default partition's rows move while flush goes on writing into it."""
    day = datetime.datetime.now(datetime.timezone.utc).date() - datetime.timedelta(days=40)
    then = int(time.time() * 1e6) - 40 * 24 * HOUR_US
    feeder = Feeder(stack).add(1000, time_us=then).ship_all().wait_flushed()
    for _ in range(20):
        feeder.add(500, time_us=then).ship_all()
        stack.postgres.sql("select kudos.make_click_day(%s)", day)
        feeder.add(500, time_us=then).ship_all().wait_flushed()
        stack.postgres.sql(f"alter table kudos.clicks detach partition kudos.clicks_{day:%Y%m%d}")
        stack.postgres.sql(f"insert into kudos.clicks select * from kudos.clicks_{day:%Y%m%d}")
        stack.postgres.sql(f"drop table kudos.clicks_{day:%Y%m%d}")
    settle(stack, feeder)
    feeder.assert_exactly_once()
    assert stack.postgres.value("select count(*) from kudos.quarantine") == 0


def test_a_detached_day_gets_no_rows(stack):
    """A batch of one day goes to the day's own table only while that is a part of kudos.clicks."""
    day = datetime.datetime.now(datetime.timezone.utc).date() - datetime.timedelta(days=40)
    then = int(time.time() * 1e6) - 40 * 24 * HOUR_US
    name = f"kudos.clicks_{day:%Y%m%d}"
    stack.postgres.sql("select kudos.make_click_day(%s)", day)
    feeder = Feeder(stack)
    settle(stack, feeder.add(100, time_us=then).ship_all())
    assert stack.postgres.value(f"select count(*) from {name}") == 100
    stack.postgres.sql(f"alter table kudos.clicks detach partition {name}")
    feeder.add(100, time_us=then).ship_all().wait_flushed()
    assert stack.postgres.value(f"select count(*) from {name}") == 100
    assert stack.postgres.value("select count(*) from kudos.clicks_default") == 100
    # Another table under the name of a day that has other bounds.
    stack.postgres.sql(f"drop table {name}")
    stack.postgres.sql(f"create table {name} partition of kudos.clicks"
                       " for values from ('1999-01-01') to ('1999-01-02')")
    feeder.add(100, time_us=then).ship_all().wait_flushed()
    assert stack.postgres.value("select count(*) from kudos.clicks_default") == 200
    assert stack.postgres.value("select count(*) from kudos.quarantine") == 0


# The oracle ---------------------------------------------------------------------------------------

DAMAGE = {
    "a row is gone": "delete from kudos.clicks where seq = 50",
    "a row is there twice": "insert into kudos.clicks select * from kudos.clicks where seq = 50",
    "one gone, one twice": "update kudos.clicks set seq = 51 where seq = 50",
    "a row above the watermark": "update kudos.clicks set seq = 5000 where seq = 50",
    "a row of an unknown origin": "update kudos.clicks set origin = 5 where seq = 50",
    "a rollup is off": "update kudos.clicks_hourly set clicks = clicks + 1"
                       " where link_id = (select min(link_id) from kudos.clicks_hourly)",
    "a rollup is gone": "delete from kudos.clicks_hourly"
                        " where link_id = (select min(link_id) from kudos.clicks_hourly)",
    "human is off": "update kudos.clicks_hourly set human = human + 1 where verdict = 'human'"
                    " and link_id = (select min(link_id) from kudos.clicks_hourly"
                    " where verdict = 'human')",
    "a gap is made up": "insert into kudos.gaps (origin, first_seq, last_seq, kind, count)"
                        " select origin, 1, 1, 'damaged', 1 from kudos.watermarks",
    "a gap is not told": "update kudos.watermarks set gaps = gaps + 1, seq = seq + 1",
    "quarantine is emptied": "delete from kudos.quarantine",
    "a conversion is gone": "delete from kudos.conversion_inbox",
    "a conversion is of another event": "update kudos.conversion_inbox set seq = 5000",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_verify_sees(stack, damage):
    """Whatever does not add up in PostgreSQL."""
    feeder = Feeder(stack).add_mixed(100).add(payload=b"\x01\x01", span=1)
    feeder.add(payload=conversion({"event": "sale", "key": "A", "order_id": "A"}))
    settle(stack, feeder)
    stack.kudos.stop()
    stack.postgres.sql(DAMAGE[damage])
    done = stack.kudos.run("verify", check=False)
    assert done.returncode == 1 and "problem: " in done.stdout, done.stdout
    assert "NOT consistent" in done.stdout
    document = json.loads(stack.kudos.run("verify", "--json", check=False).stdout)
    assert document["consistent"] is False


@pytest.mark.parametrize("field", ["1", "1:x", "999"])
def test_verify_sees_totals(stack, field):
    """Live totals that are off, also with a backlog."""
    feeder = Feeder(stack).add(100, link=1).add(50, link=1, verdict=1)
    settle(stack, feeder)
    stack.kudos.stop()
    feeder.add(100, link=1).ship_all()
    assert stack.kudos.run("verify").returncode == 0
    stack.redis.client().hincrby(feeder.keys()[3], field, 1)
    done = stack.kudos.run("verify", check=False)
    assert done.returncode == 1 and f"link {field.split(':')[0]}: Redis counts" in done.stdout


def test_verify_tells_what_it_sees(stack):
    """Backlog, recovering, and stores that are away (2)."""
    feeder = Feeder(stack).add_mixed(100)
    settle(stack, feeder)
    stack.kudos.stop()
    feeder.add_mixed(250).ship_all()
    document = json.loads(stack.kudos.run("verify", "--json").stdout)
    partition = document["partitions"][0]
    assert (partition["state"], partition["backlog"]) == ("consistent", 250)
    assert partition["origins"] == [{"origin": str(feeder.origin), "last_seq": 350, "applied": 100,
                                     "gaps": 0, "backlog": 250, "recovering": None}]
    client = stack.redis.client()
    client.hset(feeder.keys()[1], str(feeder.origin), "99")
    assert "recovering: Redis is behind PostgreSQL" in stack.kudos.run("verify").stdout
    client.hset(feeder.keys()[1], str(feeder.origin), "350")
    client.delete(feeder.keys()[5])
    assert "recovering: the stream lacks its end" in stack.kudos.run("verify").stdout
    client.flushall()
    assert "recovering: Redis waits" in stack.kudos.run("verify").stdout
    stack.redis.stop()
    assert stack.kudos.run("verify", check=False).returncode == 2
    stack.redis.start()
    stack.postgres.stop()
    assert stack.kudos.run("verify", check=False).returncode == 2


def test_verify_under_load(stack):
    """It looks between two passes, as often as one likes, and is never wrong."""
    feeder = Feeder(stack).start(rate=3000)
    for _ in range(30):
        done = stack.kudos.run("verify")
        assert "consistent" in done.stdout
    settle(stack, feeder.stop())


def test_verify_clicks(stack):
    """Ids one a line: found, missing, stored twice, held back, forged."""
    import base64
    import ctypes
    import ctypes.util
    secret = bytes(range(16))
    path = os.path.join(stack.folder, "secret")
    with open(path, "w", encoding="ascii") as file:
        file.write(secret.hex() + "\n")
    sodium = ctypes.CDLL(ctypes.util.find_library("sodium"))

    def make_id(seq, time_us):
        ms = (time_us // 1000).to_bytes(7, "big")
        body = b"\x01" + ms + b"".join(n.to_bytes(8, "big") for n in (feeder.origin, seq, 1))
        tag = ctypes.create_string_buffer(16)
        sodium.crypto_shorthash_siphashx24(tag, body, ctypes.c_ulonglong(len(body)), secret)
        return base64.urlsafe_b64encode(body + tag.raw).decode()

    def look_up(*ids):
        done = stack.kudos.run("verify", "--clicks", "-", check=False, stdin="\n".join(ids) + "\n")
        return done.returncode, done.stdout.splitlines()

    now = int(time.time() * 1e6)
    feeder = Feeder(stack).add(10, time_us=now)
    feeder.add(time_us=now + 5 * HOUR_US).add(time_us=-(2**62)).wait_flushed()
    good = [make_id(seq, now) for seq in range(1, 11)] + [make_id(11, now + 5 * HOUR_US)]
    assert look_up(*good) == (0, ["ids 11, found once 11, missing 0, twice 0, quarantined 0, "
                                  "invalid 0"])
    held, missing = make_id(12, now), make_id(13, now)
    assert look_up(held)[1][0] == f"quarantined {held}" and look_up(held)[0] == 0
    assert look_up(good[0], missing) == (1, [f"missing {missing}", "ids 2, found once 1, missing 1, "
                                             "twice 0, quarantined 0, invalid 0"])
    forged = good[0][:-1] + ("A" if good[0][-1] != "A" else "B")
    assert look_up(forged)[0] == 1 and look_up("x")[1][0] == "invalid x"
    stack.postgres.sql("insert into kudos.clicks select * from kudos.clicks where seq = 3")
    assert look_up(*good)[0] == 1 and look_up(*good)[1][0] == f"twice {good[2]}"
