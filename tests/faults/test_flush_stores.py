"""Redis and PostgreSQL fail under flush: killed, frozen, emptied, rolled back, cut off."""

import os
import shutil
import time

import pytest

from support import process
from support.clicker import Clicker
from support.feeder import Feeder
from support.pgproxy import CommitProxy
from support.service import ROOT
from support.wait import holds_for, wait_until

SETTINGS = {"flush_takeover_ms": 1000, "redis_timeout_ms": 500, "flush_batch_events": 1000}


@pytest.fixture(name="stack")
def fixture_stack(make_stack):
    """Stores and a flusher."""
    return make_stack(roles="flush", settings=SETTINGS).start()


def settle(stack, *feeders):
    """Everything sent arrives, once, and the books balance."""
    for feeder in feeders:
        feeder.wait_flushed()
    for feeder in feeders:
        feeder.assert_exactly_once()
    stack.assert_consistent()


# PostgreSQL ---------------------------------------------------------------------------------------

def test_postmaster_killed(stack):
    """kill -9 of the postmaster while batches go in, three times."""
    feeder = Feeder(stack).start(rate=2000)
    for _ in range(3):
        before = feeder.watermark()
        wait_until(lambda b=before: feeder.watermark() > b + 500, 30, "batches go in")
        stack.postgres.kill()
        stack.postgres.start()
    settle(stack, feeder.stop())


def test_immediate_stop_and_a_while_away(stack):
    """PostgreSQL stops as in a crash and stays away; redis keeps what comes, then all catches up."""
    feeder = Feeder(stack).start(rate=2000)
    wait_until(lambda: feeder.watermark() > 1000, 30, "batches go in")
    stack.postgres.stop("immediate")
    wait_until(lambda: stack.kudos.metric("postgres_up") == 0, 10, "flush noticed")
    away = feeder.last
    wait_until(lambda: feeder.last > away + 5000, 30, "clicks come in meanwhile")
    failures = stack.kudos.logged("flush_failed")
    assert len(failures) == len({line.partition("error=")[2] for line in failures}), failures
    stack.postgres.start()
    settle(stack, feeder.stop())
    assert stack.kudos.logged("flush_resumed")


def test_postgres_away_while_visitors_come(make_stack):
    """The whole service without PostgreSQL, KUDOS_TEST_AWAY_S seconds (default 4) at 1,000 clicks a
    second: every visitor is sent on, with an id, and all of it arrives afterwards. Redis fills up on
    the way, so that the journal has to keep the rest."""
    seconds = int(os.environ.get("KUDOS_TEST_AWAY_S", "4"))
    stack = make_stack(settings={"redis_backlog_bytes": 65536}).start()
    path = "/" + stack.add_link()
    with Clicker(stack.kudos.port, [path], rate=1000) as clicker:
        wait_until(lambda: stack.rows() > 500, 30, "clicks are flushed")
        stack.postgres.stop("immediate")
        away = clicker.clicks
        wait_until(lambda: clicker.clicks >= away + 1000 * seconds, seconds + 60, "clicks come in")
        assert stack.kudos.metric("journal_backlog_events") > 500 * seconds
        stack.postgres.start()
    assert set(clicker.statuses) == {302} and not clicker.without_id
    assert not clicker.broken and not clicker.refused
    stack.assert_exactly_once(clicker.ids)
    stack.assert_consistent()


def test_backend_killed_in_copy(make_stack):
    """kill -9 of the server process in the middle of a COPY: PostgreSQL restarts itself."""
    stack = make_stack(roles="flush", settings=SETTINGS)
    stack.kudos.env = {"KUDOS_CRASH_AT": "flush_inside_copy:3:stop"}
    stack.start()
    feeder = Feeder(stack).start(rate=2000)
    frozen = wait_until(lambda: [pid for pid in stack.kudos.pids("flush")
                                 if process.state(pid) == "T"], 30, "flush froze in a COPY")[0]
    process.kill(wait_until(lambda: stack.postgres.backends("COPY"), 10, "a COPY runs")[0])
    process.wake(frozen)
    settle(stack, feeder.stop())


def test_backend_terminated_over_and_over(stack):
    """pg_terminate_backend at random moments."""
    feeder = Feeder(stack).start(rate=3000)
    for _ in range(30):
        before = feeder.watermark()
        stack.postgres.sql("select pg_terminate_backend(pid) from pg_stat_activity"
                           " where application_name = 'kudos-flush'")
        wait_until(lambda b=before: feeder.watermark() > b, 30, "it goes on")
    settle(stack, feeder.stop())


def proxied(make_stack):
    """A flusher whose PostgreSQL is behind a wire that can be cut."""
    stack = make_stack(roles="flush", settings=SETTINGS)
    proxy = CommitProxy(os.path.join(stack.folder, "wire"), stack.postgres)
    stack.start(serve=False)
    direct = stack.kudos.settings["database_url"]
    stack.kudos.settings["database_url"] = proxy.url
    stack.kudos.start()
    stack.kudos.settings["database_url"] = direct
    return stack, proxy


@pytest.mark.parametrize("mode", [pytest.param("answer", marks=pytest.mark.short), "request",
                                  "late"])
def test_commit_cut_off(make_stack, mode):
    """The connection dies at COMMIT: done, not done, or done while the next try already waits."""
    stack, proxy = proxied(make_stack)
    feeder = Feeder(stack).start(rate=2000)
    for count in range(1, 4):
        proxy.fail(mode)
        proxy.wait_fired(count)
        if mode == "late":
            stuck = feeder.watermark()
            wait_until(lambda: stack.postgres.value(
                "select count(*) from pg_locks where locktype = 'advisory' and not granted") == 1,
                10, "the next try waits for the lock")
            assert feeder.watermark() == stuck
            proxy.release()
    feeder.stop()
    settle(stack, feeder)
    proxy.close()


def test_postgres_restored_to_an_older_copy(stack):
    """PostgreSQL loses commits that Redis was told of; the journals still have them."""
    feeders = [Feeder(stack).add_mixed(3000).ship_all().wait_flushed() for _ in range(2)]
    stack.postgres.stop()
    copy = os.path.join(stack.folder, "copy")
    stack.postgres.save_copy(copy)
    stack.postgres.start()
    feeders.append(Feeder(stack))
    for feeder in feeders:
        feeder.add_mixed(2000).ship_all().wait_flushed()
    stack.postgres.stop("immediate")
    stack.postgres.restore_copy(copy)
    for feeder in feeders:
        feeder.add_mixed(100).ship_all()
    stack.postgres.start()
    settle(stack, *feeders)
    assert stack.kudos.logged("recovered.*reason=postgres_went_back")


def test_postgres_frozen(stack):
    """PostgreSQL hangs without a word, then goes on."""
    feeder = Feeder(stack).start(rate=1000)
    wait_until(lambda: feeder.watermark() > 500, 30, "batches go in")
    stack.postgres.freeze()
    before = feeder.last
    wait_until(lambda: feeder.last > before + 2000, 30, "clicks come in meanwhile")
    stack.postgres.wake()
    settle(stack, feeder.stop())


# Redis --------------------------------------------------------------------------------------------

@pytest.mark.short
def test_flushall(stack):
    """Redis is emptied, under load and at rest."""
    feeder = Feeder(stack).start(rate=2000)
    for _ in range(3):
        before = feeder.watermark()
        wait_until(lambda b=before: feeder.watermark() > b + 500, 30, "batches go in")
        stack.redis.client().flushall()
    settle(stack, feeder.stop())
    stack.redis.client().flushall()
    wait_until(lambda: stack.redis.client().exists("kudos:{0}:ready"), 10, "it recovers at rest")
    assert feeder.last_seq() == feeder.last
    settle(stack, feeder)


def test_redis_killed(stack):
    """kill -9 of Redis, mid-batch, several times; it comes back with what was on its disk."""
    feeder = Feeder(stack).start(rate=2000)
    for _ in range(4):
        before = feeder.watermark()
        wait_until(lambda b=before: feeder.watermark() > b + 300, 30, "batches go in")
        stack.redis.kill()
        stack.redis.start()
    settle(stack, feeder.stop())


def test_redis_frozen(stack):
    """Redis hangs for longer than the time limit: flush gives its lock back meanwhile."""
    feeder = Feeder(stack).start(rate=1000)
    wait_until(lambda: feeder.watermark() > 500, 30, "batches go in")
    stack.redis.freeze()
    wait_until(lambda: stack.kudos.metric("redis_up") == 0, 10, "flush noticed")
    stack.redis.wake()
    settle(stack, feeder.stop())
    assert stack.kudos.metric("recoveries_total") <= 2


@pytest.mark.parametrize("when", ["backlog", "flushed"])
def test_redis_rolled_back(stack, when):
    """Redis comes back with an older append-only file, with unflushed entries in it or without."""
    feeders = [Feeder(stack).add_mixed(1000).ship_all().wait_flushed() for _ in range(2)]
    if when == "backlog":
        stack.kudos.stop()
        for feeder in feeders:
            feeder.add_mixed(500).ship_all()
    stack.redis.stop()
    copy = os.path.join(stack.folder, "copy")
    stack.redis.save_copy(copy)
    stack.redis.start()
    if when == "backlog":
        stack.kudos.start()
    for feeder in feeders:
        feeder.add_mixed(1500).ship_all().wait_flushed()
    stack.redis.stop()
    stack.redis.restore_copy(copy)
    stack.redis.start()
    for feeder in feeders:
        feeder.add_mixed(100)
    settle(stack, *feeders)
    assert stack.kudos.logged("recovered.*reason=redis_went_back")


@pytest.mark.parametrize("torn", [1, 300, 20000])
def test_torn_append_only_file(stack, torn):
    """The tail of the append-only file is cut off in the middle of whatever stood there."""
    stack.redis.client().config_set("aof-load-truncated", "yes")
    feeder = Feeder(stack, batch=50).add_mixed(3000).ship_all().wait_flushed()
    feeder.add_mixed(2000).ship_all()
    stack.redis.kill()
    path = stack.redis.append_only_files()[-1]
    os.truncate(path, os.path.getsize(path) - torn)
    stack.redis.start()
    settle(stack, feeder)


def test_redis_out_of_memory(stack):
    """Redis refuses what takes memory; acknowledging frees some, so that it gets going again."""
    feeder = Feeder(stack).add_mixed(2000).ship_all().wait_flushed()
    stack.kudos.freeze("flush")
    feeder.add_mixed(20000).ship_all()
    client = stack.redis.client()
    client.config_set("maxmemory", client.info("memory")["used_memory"] - 500000)
    stack.kudos.wake("flush")
    wait_until(lambda: feeder.watermark() == feeder.last, 30, "all is flushed")
    wait_until(lambda: client.xlen(feeder.keys()[5]) == 0, 10, "and acknowledged")
    client.config_set("maxmemory", 0)
    settle(stack, feeder.add_mixed(100))
    assert stack.kudos.metric("recoveries_total") == 1


@pytest.mark.parametrize("fault", ["read-only", "misconf"])
def test_redis_refuses_writes(stack, fault):
    """READONLY (a replica), MISCONF (its disk is full): flush waits, then goes on by itself."""
    client = stack.redis.client()
    feeder = Feeder(stack).add_mixed(500).ship_all().wait_flushed()
    stack.kudos.freeze("flush")
    feeder.add_mixed(500).ship_all()
    if fault == "read-only":
        client.replicaof("127.0.0.1", "1")
    else:
        folder = os.path.join(stack.folder, "redis", "data")
        client.config_set("save", "3600 1")
        shutil.rmtree(folder)  # the next snapshot cannot be written
        client.execute_command("BGSAVE")
        wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", 10)
        os.makedirs(folder)
    stack.kudos.wake("flush")
    wait_until(lambda: feeder.watermark() == feeder.last, 30, "PostgreSQL has everything")
    holds_for(lambda: client.xlen(feeder.keys()[5]) > 0, 0.5, "and Redis cannot be told")
    if fault == "read-only":
        client.replicaof("no", "one")
    else:
        client.config_set("save", "")
        client.config_set("stop-writes-on-bgsave-error", "no")
    wait_until(lambda: client.xlen(feeder.keys()[5]) == 0, 30, "it is told")
    feeder.add_mixed(10)
    settle(stack, feeder)


def test_scripts_forgotten(stack):
    """NOSCRIPT: SCRIPT FLUSH at any time changes nothing."""
    feeder = Feeder(stack).start(rate=1000)
    for _ in range(20):
        before = feeder.watermark()
        stack.redis.client().script_flush()
        wait_until(lambda b=before: feeder.watermark() > b, 20, "it goes on")
    settle(stack, feeder.stop())


# Starting and stopping ----------------------------------------------------------------------------

@pytest.mark.short
def test_stop_empties_the_stream(stack):
    """SIGTERM: flush goes on until nothing is left, over many batches."""
    feeder = Feeder(stack).add_mixed(100).ship_all().wait_flushed()
    stack.kudos.freeze("flush")
    feeder.add_mixed(10000).ship_all()
    assert stack.kudos.stop() == 0
    assert feeder.watermark() == feeder.last
    assert stack.waiting_in_redis() == 0
    feeder.assert_exactly_once()
    stack.assert_consistent()


@pytest.mark.parametrize("away", ["redis", "postgres"])
def test_stop_while_a_store_is_away(stack, away):
    """It leaves soon, in order, and what is left is taken by the next start."""
    feeder = Feeder(stack).add_mixed(100).ship_all().wait_flushed()
    stack.kudos.freeze("flush")
    feeder.add_mixed(1000).ship_all()
    store = getattr(stack, away)
    store.stop()
    begin = time.monotonic()
    assert stack.kudos.stop() == 0
    assert time.monotonic() - begin < 15
    store.start()
    stack.kudos.start()
    settle(stack, feeder)


def test_boot_while_both_stores_are_away(stack):
    """It waits for them, is not ready, and then goes on by itself."""
    feeder = Feeder(stack).add_mixed(100).ship_all().wait_flushed()
    stack.kudos.stop()
    stack.redis.stop()
    stack.postgres.stop()
    stack.kudos.start(wait=False)
    wait_until(lambda: stack.kudos.metric("flush_retries_total") >= 3, 20, "flush tries")
    assert not stack.kudos.ready()
    stack.postgres.start()
    stack.redis.start()
    stack.kudos.wait_ready()
    settle(stack, feeder.add_mixed(100))


# What the stream holds ----------------------------------------------------------------------------

def test_batches_twice_out_of_order_with_a_hole(stack):
    """Entries that append.lua would never have let in."""
    feeder = Feeder(stack).add_mixed(1000).ship_all().wait_flushed()
    # The same again, whole and in part: dropped and taken out.
    feeder.inject(1, 1000)
    feeder.inject(500, 900)
    wait_until(lambda: stack.redis.client().xlen(feeder.keys()[5]) == 0, 10, "they are taken out")
    assert stack.kudos.metric("flush_duplicates_total") == 1401
    assert stack.kudos.metric("recoveries_total") == 1, "no cause for a recovery"
    # Overlapping the watermark: the rest is new. Out of order, then with a hole: recovered.
    feeder.add_mixed(300)
    feeder.inject(900, 1100)
    wait_until(lambda: feeder.watermark() == 1100, 10, "what is new is taken")
    feeder.inject(1201, 1300)
    feeder.inject(1101, 1200)
    settle(stack, feeder)
    feeder.add_mixed(300)
    feeder.inject(1400, 1500)
    settle(stack, feeder)
    assert stack.kudos.logged("recovered.*reason=hole")


def test_unreadable_entries(stack):
    """Entries that are none, or whose records do not fit: recovered, since the journal has the truth."""
    feeder = Feeder(stack).add_mixed(100).ship_all().wait_flushed()
    client = stack.redis.client()
    for fields in ({"x": "y"}, {"o": "0", "f": "1", "l": "1", "b": ""},
                   {"o": str(feeder.origin), "f": "101", "l": "99999999999999999999", "b": "x"},
                   {"o": "-5", "f": "2", "l": "1", "b": ""}):
        client.xadd(feeder.keys()[5], fields)
        wait_until(lambda: client.xlen(feeder.keys()[5]) == 0, 20, "the partition was recovered")
    for spoil in (lambda b: b"", lambda b: b[:-1], lambda b: b + b"\0", lambda b: b[:3],
                  lambda b: b"\xff\xff\xff\xff" + b):
        first = feeder.last + 1
        good = feeder.add_mixed(100).encode(first, feeder.last)[0]
        before = stack.kudos.metric("recoveries_total")
        feeder.inject(first, feeder.last, spoil(good))
        wait_until(lambda n=before: stack.kudos.metric("recoveries_total") > n, 20, "recovered")
        settle(stack, feeder)


def test_backlog_of_many_origins_during_a_recovery(stack):
    """Redis went back for one origin while others have far more waiting than one batch takes; one of
    these has lost its journal since, so that the stream holds its only copy."""
    old = Feeder(stack).add_mixed(500).ship_all().wait_flushed()
    stack.kudos.freeze("flush")
    feeders = [Feeder(stack).add_mixed(4000).ship_all() for _ in range(4)]
    orphan = Feeder(stack).add_mixed(4000).ship_all()
    stack.redis.client().hset(old.keys()[1], str(old.origin), "100")
    stack.kudos.wake("flush")
    wait_until(lambda: orphan.watermark() == orphan.last, 60, "the orphan's clicks are saved")
    settle(stack, old, orphan, *feeders)
    assert len(stack.kudos.logged("recovered.*reason=redis_went_back")) == 1


def test_origin_that_waits_for_an_event_in_no_journal(stack):
    """One origin is stopped and said so; the others go on; an operator declares the gap."""
    broken, other = Feeder(stack), Feeder(stack)
    broken.add_mixed(100).ship_all().wait_flushed()
    broken.add_mixed(200)
    client = stack.redis.client()

    def blocked():
        if client.xlen(broken.keys()[5]) == 0:
            broken.inject(201, 300)
        return stack.kudos.metric("flush_blocked_origins") == 1
    wait_until(blocked, 30, "the origin is stopped")
    recoveries = stack.kudos.metric("recoveries_total")
    other.add_mixed(5000)
    other.wait_flushed()
    other.assert_exactly_once()
    assert stack.kudos.metric("recoveries_total") == recoveries, "no recovery for ever"
    assert stack.kudos.logged(f"origin_blocked.*{broken.origin}")
    stack.kudos.run("gap", "declare", "--origin", str(broken.origin), "--first", "101",
                    "--last", "200", "--reason", "the disk was lost")
    for seq in range(101, 201):
        del broken.records[seq]
    wait_until(lambda: broken.watermark() == 300, 30, "it goes on")
    wait_until(lambda: stack.kudos.metric("flush_blocked_origins") == 0, 10, "nothing is stopped")
    stack.assert_consistent()
    rows = stack.postgres.sql("select first_seq, last_seq, kind::text, count, reason from kudos.gaps")
    assert rows == [(101, 200, "declared", 100, "the disk was lost")]
    broken.assert_exactly_once()


def test_acknowledge(stack):
    """The script by itself: identity, `flushed` only rises, and rises with every entry named."""
    feeder = Feeder(stack, batch=10).add(20).ship_all().wait_flushed()
    stack.kudos.stop()
    feeder.add(20).ship_all()
    client, keys = feeder.redis(), feeder.keys()
    with open(os.path.join(ROOT, "server/clicks/acknowledge.lua"), encoding="utf-8") as file:
        script = client.register_script(file.read())
    origin, other = str(feeder.origin), "5"

    def acknowledge(*arguments):
        deleted = script(keys=[keys[2], keys[4], keys[5]], args=arguments)
        return deleted, {k.decode(): int(v) for k, v in client.hgetall(keys[2]).items()}
    (first, _), (second, _) = client.xrange(keys[5])
    size = int(client.get(keys[4]))
    # Another batch under that id: it stays; what PostgreSQL has is told all the same.
    assert acknowledge(2, first, origin, 21, 29, 29, first, other, 21, 30, 7) == (
        0, {origin: 29, other: 7})
    assert acknowledge(0, origin, 9, other, 100) == (0, {origin: 29, other: 100})
    # Numbers, not text: 100 is more than 29.
    assert acknowledge(1, "1-1", other, 1, 1, 99) == (0, {origin: 29, other: 100})
    client.hdel(keys[2], origin)  # both stores fell back
    assert acknowledge(1, first, origin, 21, 30, 30) == (1, {origin: 30, other: 100})
    assert 0 < int(client.get(keys[4])) < size
    assert acknowledge(2, first, origin, 21, 30, 30, second, origin, 31, 40, 40) == (
        1, {origin: 40, other: 100})
    assert client.xlen(keys[5]) == 0 and client.get(keys[4]) == b"0"
