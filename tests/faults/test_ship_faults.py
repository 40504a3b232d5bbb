"""The edge half of the pipeline under faults: redirect, ship and Redis die, freeze, go back. Each test
clicks, breaks something, and ends with every promised click stored once and the books balanced."""

import glob
import os
import re
import shutil
import subprocess

import pytest
import redis as redis_client

from support.clicker import Clicker
from support.edge import SETTINGS, count_origins, segments, settle, shipped, start
from support.wait import holds_for, wait_until

STACK = {"settings": SETTINGS}


# Processes ----------------------------------------------------------------------------------------

POINTS = ["ship_before_send:2", "ship_after_send:2", "ship_after_answer:2", "journal_after_write:5",
          "journal_between_segments:2"]


@pytest.mark.parametrize("point", [pytest.param(POINTS[1], marks=pytest.mark.short), POINTS[0],
                                   *POINTS[2:]])
def test_killed_at_an_arrow(make_stack, tmp_path, point):
    """kill -9 before the batch is sent, after Redis has it, between two segments, …"""
    once = str(tmp_path / "once")
    stack, path = start(make_stack, env={"KUDOS_CRASH_AT": point, "KUDOS_CRASH_ONCE": once})
    with Clicker(stack.kudos.port, [path], rate=3000) as clicker:
        wait_until(lambda: glob.glob(once + "*"), 20, f"{point} is reached")
        before = clicker.clicks
        wait_until(lambda: clicker.clicks > before + 5000, 20, "clicks go on")
    settle(stack, clicker)


@pytest.mark.parametrize("point", ["ship_before_delete", "ship_after_delete"])
def test_killed_while_deleting(make_stack, tmp_path, point):
    """kill -9 around the deletion of a segment."""
    once = str(tmp_path / "once")
    stack, path = start(make_stack, journal_keep_s=0, flush_interval_ms=20,
                        env={"KUDOS_CRASH_AT": f"{point}:2", "KUDOS_CRASH_ONCE": once})
    with Clicker(stack.kudos.port, [path], rate=3000) as clicker:
        wait_until(lambda: glob.glob(once + "*"), 30, f"{point} is reached")
        before = clicker.clicks
        wait_until(lambda: clicker.clicks > before + 3000, 20, "clicks go on")
    settle(stack, clicker)
    wait_until(lambda: len(segments(stack)) == 1, 20, "what is flushed goes")


def test_redirect_killed_over_and_over(make_stack):
    """Each death leaves a journal without an end; each is taken up and shipped."""
    stack, path = start(make_stack, workers=2)
    with Clicker(stack.kudos.port, [path], rate=2000) as clicker:
        for _ in range(15):
            before = clicker.clicks
            wait_until(lambda b=before: clicker.clicks > b + 200, 20, "clicks go on")
            stack.kudos.kill_role("redirect")
    settle(stack, clicker)
    assert count_origins(clicker) > 10


def test_ship_frozen_then_woken(make_stack):
    """A shipper that stands still for long: nothing is missed, redirects do not notice."""
    stack, path = start(make_stack)
    with Clicker(stack.kudos.port, [path], rate=2000) as clicker:
        wait_until(lambda: shipped(stack) > 1000, 20, "ship works")
        stack.kudos.freeze("ship")
        before = clicker.clicks
        wait_until(lambda: clicker.clicks > before + 6000, 20, "clicks go on")
        stack.kudos.wake("ship")
    settle(stack, clicker)


@pytest.mark.short
def test_everything_killed_at_once(make_stack):
    """kill -9 of the whole service; the next one ships what the last one left."""
    stack, path = start(make_stack, workers=2)
    with Clicker(stack.kudos.port, [path]) as clicker:
        wait_until(lambda: clicker.clicks > 3000, 20, "clicks come in")
        stack.kudos.kill()
    stack.kudos.start()
    settle(stack, clicker)


def test_stop_in_order_leaves_nothing_behind(make_stack):
    """SIGTERM under load: in flight finished, journal closed, shipped, flushed, exit 0."""
    stack, path = start(make_stack, workers=2)
    with Clicker(stack.kudos.port, [path], rate=3000) as clicker:
        wait_until(lambda: clicker.clicks > 3000, 20, "clicks come in")
        assert stack.kudos.stop() == 0
    assert stack.missing_and_doubled(clicker.ids) == (0, 0)
    assert stack.waiting_in_redis() == 0


# Redis --------------------------------------------------------------------------------------------

@pytest.mark.slow
def test_redis_frozen_for_half_a_minute(make_stack):
    """Redirects go on at the same speed, and the disk is synced all the time."""
    stack, path = start(make_stack)
    with Clicker(stack.kudos.port, [path], rate=1000) as clicker:
        wait_until(lambda: shipped(stack) > 500, 20, "ship works")
        usual = clicker.rate_over(3)
        stack.redis.freeze()
        assert clicker.rate_over(27) > 0.9 * usual
        tracer = ["timeout", "3", "strace", "-c", "-f", "-e", "trace=fdatasync", "-p",
                  str(stack.kudos.role_pid("ship"))]
        if shutil.which("strace"):
            counted = subprocess.run(tracer, capture_output=True, check=False, encoding="utf-8")
            calls = re.search(r"(\d+)\s+fdatasync", counted.stderr)
            assert calls and int(calls[1]) > 20, counted.stderr
        stack.redis.wake()
    settle(stack, clicker)


@pytest.mark.parametrize("load", ["idle", "busy"])
@pytest.mark.parametrize("how", [pytest.param("flushall", marks=pytest.mark.short), "rollback"])
def test_redis_goes_back(make_stack, tmp_path, how, load):
    """Emptied or rolled back, under a shipper that has nothing to send or much."""
    stack, path = start(make_stack)
    copy = str(tmp_path / "copy")
    first = Clicker(stack.kudos.port, [path], rate=3000)
    with first:
        wait_until(lambda: first.clicks > 1000, 20, "clicks come in")
        stack.redis.save_copy(copy)
        wait_until(lambda: first.clicks > 4000, 20, "clicks come in")
    second = Clicker(stack.kudos.port, [path], rate=2000)
    if load == "idle":
        stack.assert_exactly_once(first.ids)
    else:
        second.start()
    if how == "flushall":
        stack.redis.client().flushall()
    else:
        stack.redis.kill()
        stack.redis.restore_copy(copy)
        stack.redis.start()
    if load == "idle":
        second.start()
    before = second.clicks
    wait_until(lambda: second.clicks > before + 3000, 20, "clicks come in")
    second.stop()
    settle(stack, first, second)


def test_redis_goes_back_with_a_backlog(make_stack, tmp_path):
    """What Redis loses was in no table yet: the journal is the only one that has it."""
    stack, path = start(make_stack)
    copy = str(tmp_path / "copy")
    with Clicker(stack.kudos.port, [path], rate=3000) as clicker:
        wait_until(lambda: stack.rows() > 500, 20, "rows come in")
        stack.postgres.freeze()
        stack.redis.save_copy(copy)
        before = shipped(stack)
        wait_until(lambda: shipped(stack) > before + 3000, 20, "a backlog grows")
        stack.redis.kill()
        stack.redis.restore_copy(copy)
        stack.redis.start()
        stack.postgres.wake()
    settle(stack, clicker)


def test_scripts_forgotten(make_stack):
    """NOSCRIPT, again and again."""
    stack, path = start(make_stack)
    client = stack.redis.client()
    with Clicker(stack.kudos.port, [path], rate=2000) as clicker:
        for _ in range(20):
            before = clicker.clicks
            wait_until(lambda b=before: clicker.clicks > b + 150, 20, "clicks come in")
            client.script_flush()
    settle(stack, clicker)


def refuse(stack, how):
    """Makes Redis answer every append with an error; returns what undoes that."""
    client = stack.redis.client()
    if how == "OOM":
        client.config_set("maxmemory", 1)
        return lambda: client.config_set("maxmemory", 0)
    if how == "READONLY":
        client.replicaof("127.0.0.1", 1)
        return lambda: client.replicaof("NO", "ONE")
    if how == "NOREPLICAS":
        client.config_set("min-replicas-to-write", 1)
        return lambda: client.config_set("min-replicas-to-write", 0)
    assert how == "MISCONF"
    in_the_way = os.path.join(stack.redis.folder, "data", "dump.rdb")
    os.mkdir(in_the_way)  # so that no snapshot can be written
    client.config_set("save", "3600 1")
    client.bgsave()
    wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", 10,
               "the snapshot fails")

    def heal():
        os.rmdir(in_the_way)
        client.config_set("save", "")
        client.config_set("stop-writes-on-bgsave-error", "no")
    return heal


@pytest.mark.parametrize("how", ["OOM", "READONLY", "NOREPLICAS", "MISCONF"])
def test_redis_refuses(make_stack, how):
    """Said once, waited for, and nothing is lost."""
    stack, path = start(make_stack)
    with Clicker(stack.kudos.port, [path], rate=2000) as clicker:
        wait_until(lambda: shipped(stack) > 500, 20, "ship works")
        heal = refuse(stack, how)
        wait_until(lambda: stack.kudos.logged(f"role=ship .*redis_refused.*{how}"), 20, "it is said")
        before = clicker.clicks
        wait_until(lambda: clicker.clicks > before + 3000, 20, "clicks go on")
        assert len(stack.kudos.logged(f"role=ship .*redis_refused.*{how}")) == 1
        heal()
    settle(stack, clicker)


def test_redis_loads_for_long(make_stack):
    """LOADING after a restart with much to read."""
    stack, path = start(make_stack)
    client = stack.redis.client(timeout=60)
    client.config_set("key-load-delay", 0)
    client.execute_command("DEBUG", "POPULATE", 20000)
    client.bgrewriteaof()  # or the keys would be in no file
    wait_until(lambda: not client.info("persistence")["aof_rewrite_in_progress"]
               and not client.info("persistence")["aof_rewrite_scheduled"], 20, "keys are on disk")
    with Clicker(stack.kudos.port, [path], rate=2000) as clicker:
        wait_until(lambda: shipped(stack) > 500, 20, "ship works")
        stack.redis.kill()
        stack.redis.settings["key-load-delay"] = 200
        stack.redis.settings["loading-process-events-interval-bytes"] = 1024
        stack.redis.start(wait=False)

        def loading():
            try:
                return stack.redis.client(timeout=5).info("persistence")["loading"]
            except redis_client.RedisError:
                return False
        wait_until(loading, 20, "Redis loads", interval=0.001)
        stack.redis.start()
    settle(stack, clicker)


def test_redis_that_evicts_is_refused(make_stack):
    """A policy that throws keys away: said aloud, not served, until it is put right."""
    stack = make_stack(redis_settings={"maxmemory-policy": "allkeys-lru"},
                       settings={**SETTINGS}, roles="redirect,sync,ship,flush").start(serve=False)
    stack.kudos.start(wait=False)
    wait_until(lambda: stack.kudos.logged("role=ship .*redis_evicts_keys"), 20, "it is said")
    path = "/" + stack.add_link()
    with Clicker(stack.kudos.port, [path], rate=1000) as clicker:
        wait_until(lambda: clicker.clicks > 500, 20, "clicks come in")
        holds_for(lambda: shipped(stack) == 0, 0.5, "nothing is shipped")
        stack.redis.client().config_set("maxmemory-policy", "noeviction")
    settle(stack, clicker)


def test_redis_is_full(make_stack):
    """At redis_backlog_bytes the journal keeps what comes."""
    stack, path = start(make_stack, redis_backlog_bytes=200000)
    with Clicker(stack.kudos.port, [path], rate=3000) as clicker:
        wait_until(lambda: stack.rows() > 500, 20, "rows come in")
        stack.kudos.freeze("flush")
        wait_until(lambda: stack.kudos.metric("ship_full_total") > 3, 20, "Redis is full")
        before = shipped(stack)
        holds_for(lambda: shipped(stack) == before, 0.5, "the journal keeps")
        stack.kudos.wake("flush")
    settle(stack, clicker)


@pytest.mark.short
def test_boot_while_both_stores_are_down(make_stack):
    """Links redirect and clicks are kept; all of them arrive when the stores are there."""
    stack, path = start(make_stack)
    assert stack.kudos.stop() == 0
    stack.redis.kill()
    stack.postgres.kill()
    stack.kudos.start(wait=False)
    wait_until(lambda: stack.kudos.get(path, method="HEAD").status == 302, 20, "links redirect")
    with Clicker(stack.kudos.port, [path], rate=2000) as clicker:
        wait_until(lambda: clicker.clicks > 3000, 20, "clicks come in")
    assert not clicker.without_id
    stack.redis.start()
    stack.postgres.start()
    settle(stack, clicker)
