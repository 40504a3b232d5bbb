"""The edge half of the pipeline under faults: redirect, journal, ship, Redis. Each test clicks,
breaks something, and ends with every promised click stored once and the books balanced."""

import glob
import os
import random
import re
import shutil
import signal
import subprocess
import time

import pytest
import redis as redis_client

from support import process
from support.clicker import Clicker, decode
from support.wait import holds_for, wait_until

SETTINGS = {"redis_timeout_ms": 500, "journal_segment_bytes": 65536}
STACK = {"settings": SETTINGS}
SYNC_SLACK = 1.0  # seconds that a busy machine may be late with an fdatasync


def start(make_stack, env=None, **settings):
    """A running stack with one link; (stack, path)."""
    made = make_stack(settings={**SETTINGS, **settings}, env=env).start()
    return made, "/" + made.add_link()


def settle(stack, *clickers):
    """What was promised is there, once, and the books balance."""
    for clicker in clickers:
        assert not clicker.without_id
        stack.assert_exactly_once(clicker.ids)
    stack.assert_consistent()


def journal(stack):
    """The journal folder."""
    return os.path.join(stack.kudos.settings["data_dir"], "journal")


def segments(stack, origin="*"):
    """Segment files, by origin and then by first seq."""
    name = origin if isinstance(origin, str) else f"{origin:016x}"
    return sorted(glob.glob(os.path.join(journal(stack), name, "*.seg")))


def shipped(stack):
    """Seqs that Redis has, of all origins."""
    return sum(map(int, stack.redis.client().hgetall("kudos:{0}:last_seq").values()))


def count_origins(clicker):
    """How many origins the ids of a client name."""
    return len({decode(each)[1] for each in clicker.ids})


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


# The journal's files ------------------------------------------------------------------------------

@pytest.fixture(name="tmpfs")
def fixture_tmpfs(tmp_path):
    """A file system of 256 KiB."""
    folder = str(tmp_path / "small")
    os.mkdir(folder)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], check=False,
                          capture_output=True)
    if done.returncode != 0:
        pytest.skip("needs to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def recorded_losses(stack):
    """Clicks that kudos.gaps says were answered and not journalled."""
    return stack.postgres.value(
        "select coalesce(sum(count), 0)::bigint from kudos.gaps where kind = 'lost'")


@pytest.mark.short
def test_journal_on_a_full_disk(make_stack, tmpfs):
    """No click id then, but an answer; the number lost is told, and it goes on when there is room."""
    stack = make_stack(settings={**SETTINGS, "journal_segment_bytes": 16384}).start(serve=False)
    data = stack.kudos.settings["data_dir"]
    os.makedirs(data, exist_ok=True)
    os.symlink(tmpfs, journal(stack))
    stack.kudos.start()
    path = "/" + stack.add_link()
    stack.kudos.freeze("ship")
    with Clicker(stack.kudos.port, [path], rate=3000) as clicker:
        wait_until(lambda: clicker.without_id > 2000, 30, "the disk is full")
        assert set(clicker.statuses) == {302}
        for name in glob.glob(os.path.join(tmpfs, "*", "*.seg")):
            assert os.path.getsize(name) > 0
        subprocess.run(["mount", "-o", "remount,size=64m", tmpfs], check=True)
        stack.kudos.wake("ship")
        without = clicker.without_id
        ids = len(clicker.ids)
        wait_until(lambda: len(clicker.ids) > ids + 3000, 30, "ids are given out again")
    assert clicker.without_id < without + 6000
    stack.assert_exactly_once(clicker.ids)
    wait_until(lambda: recorded_losses(stack) == clicker.without_id, 30,
               lambda: f"{clicker.without_id} lost, {recorded_losses(stack)} recorded")
    stack.assert_consistent()


def flip(path, offset):
    """Changes one bit of a file."""
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 4]))


def seqs_of(stack, origin):
    """Seqs of an origin that are rows."""
    rows = stack.postgres.sql("select seq from kudos.clicks where origin = %s", origin)
    return {row[0] for row in rows}


def gaps_of(stack, origin):
    """(first, last) of the gaps declared for an origin."""
    return stack.postgres.sql(
        "select first_seq, last_seq from kudos.gaps where origin = %s and kind = 'damaged'"
        " order by first_seq", origin)


@pytest.mark.parametrize("seed", [pytest.param(1, marks=pytest.mark.short), 2, 3])
def test_damaged_segments(make_stack, seed):
    """Bits flipped, a segment cut short, one missing: the rest arrives, exactly the holes are
    declared, and no id is there twice."""
    stack, path = start(make_stack, journal_segment_bytes=16384)
    stack.kudos.freeze("ship")
    with Clicker(stack.kudos.port, [path], rate=4000) as clicker:
        wait_until(lambda: clicker.clicks > 6000, 30, "clicks come in")
    stack.kudos.kill()
    chance = random.Random(seed)
    files = segments(stack)
    assert len(files) > 20
    for name in chance.sample(files[:-1], 4):
        flip(name, chance.randrange(os.path.getsize(name)))
    cut, gone = chance.sample(files[1:-1], 2)
    os.truncate(cut, os.path.getsize(cut) // 3)
    os.unlink(gone)
    with open(files[-1], "ab") as file:
        file.write(b"\x70\0\0\0torn")  # the start of a record that was never finished
    stack.kudos.start()
    wanted = {decode(each)[1:3] for each in clicker.ids}
    (origin,) = {each for each, _ in wanted}
    last = max(seq for _, seq in wanted)

    def accounted():
        holes = sum(b - a + 1 for a, b in gaps_of(stack, origin))
        return len(seqs_of(stack, origin)) + holes >= last
    wait_until(accounted, 30, lambda: f"{last} seqs are rows or gaps: {gaps_of(stack, origin)}")
    missing = {seq for _, seq in wanted} - seqs_of(stack, origin)
    declared = {seq for a, b in gaps_of(stack, origin) for seq in range(a, b + 1)}
    assert missing == declared
    assert 0 < len(missing) < 6000 // 5
    assert stack.missing_and_doubled(clicker.ids)[1] == 0
    stack.assert_consistent()
    assert stack.kudos.metric("gap_events_total") >= len(declared)


def remove_journals(stack):
    """rm -rf of all folders, as often as it takes against a writer that makes new segments."""
    for name in glob.glob(os.path.join(journal(stack), "[0-9a-f]" * 16)):
        inode = os.stat(name).st_ino
        while os.path.exists(name) and os.stat(name).st_ino == inode:
            shutil.rmtree(name, ignore_errors=True)


def test_journal_removed_while_it_is_written(make_stack):
    """rm -rf under a running service: what was open is read to its end, then a new origin. At most
    the clicks of one round are lost, and these are told."""
    stack, path = start(make_stack)
    with Clicker(stack.kudos.port, [path], rate=2000) as clicker:
        wait_until(lambda: clicker.clicks > 2000, 20, "clicks come in")
        remove_journals(stack)
        wait_until(lambda: stack.kudos.logged("journal_vanished|journal_write_failed"), 20,
                   "the writer notices")
        before = clicker.clicks
        wait_until(lambda: clicker.clicks > before + 2000, 20, "clicks go on")
    assert clicker.without_id < 200
    stack.assert_exactly_once(clicker.ids)
    wait_until(lambda: recorded_losses(stack) == clicker.without_id, 30, "the loss is told")
    stack.assert_consistent()
    assert count_origins(clicker) == 2


@pytest.mark.parametrize("ship", ["frozen", "killed"])
def test_journal_removed_behind_ships_back(make_stack, ship):
    """rm -rf of what ship has never seen: it cannot be read any more, so exactly that is declared."""
    stack, path = start(make_stack, journal_segment_bytes=16384)
    with Clicker(stack.kudos.port, [path], rate=2000) as clicker:
        wait_until(lambda: clicker.clicks > 2000, 20, "clicks come in")
        stack.kudos.freeze("ship")
        before = clicker.clicks
        wait_until(lambda: clicker.clicks > before + 2000, 20, "clicks go on")
        remove_journals(stack)
        wait_until(lambda: stack.kudos.logged("journal_vanished|journal_write_failed"), 20,
                   "the writer notices")
        before = clicker.clicks
        wait_until(lambda: clicker.clicks > before + 500, 20, "clicks go on")
        if ship == "killed":
            stack.kudos.kill_role("ship")
        stack.kudos.wake("ship")
        wait_until(lambda: clicker.clicks > before + 2000, 20, "clicks go on")
    wanted = {decode(each)[1:3] for each in clicker.ids}
    origins = {each for each, _ in wanted}
    assert len(origins) == 2

    def missing():
        stored = {(each, seq) for each in origins for seq in seqs_of(stack, each)}
        return wanted - stored

    def declared():
        return {(each, seq) for each in origins for a, b in gaps_of(stack, each)
                for seq in range(a, b + 1)}
    wait_until(lambda: missing() and missing() == declared(), 30,
               lambda: f"{len(missing())} missing, {len(declared())} declared")
    assert stack.missing_and_doubled(clicker.ids)[1] == 0
    stack.assert_consistent()


@pytest.mark.parametrize("how", ["wiped", "older", "copied"])
def test_journal_replaced_between_runs(make_stack, tmp_path, how):
    """An operator restores an older copy, wipes the folder, or serves a copy elsewhere as well."""
    stack, path = start(make_stack)
    copy = str(tmp_path / "copy")
    with Clicker(stack.kudos.port, [path], rate=3000) as first:
        wait_until(lambda: first.clicks > 2000, 20, "clicks come in")
        shutil.copytree(journal(stack), copy)
        wait_until(lambda: first.clicks > 5000, 20, "clicks come in")
    stack.assert_exactly_once(first.ids)
    if how == "copied":
        other = stack.service("other", settings=SETTINGS, roles="ship")
        os.makedirs(other.settings["data_dir"])
        shutil.copytree(journal(stack), os.path.join(other.settings["data_dir"], "journal"))
        other.start()
    else:
        assert stack.kudos.stop() == 0
        shutil.rmtree(journal(stack))
        if how == "older":
            shutil.copytree(copy, journal(stack))
        stack.kudos.start()
    with Clicker(stack.kudos.port, [path], rate=3000) as second:
        wait_until(lambda: second.clicks > 3000, 20, "clicks come in")
    settle(stack, first, second)
    assert not set(first.ids) & set(second.ids)


def test_two_edges_with_many_origins(make_stack):
    """Two machines, their shippers killed in turns."""
    stack, path = start(make_stack, workers=2)
    other = stack.service("other", settings={**SETTINGS, "workers": 2},
                          roles="redirect,sync,ship").start()
    wait_until(lambda: other.get(path, method="HEAD").status == 302, 20, "it serves too")
    with Clicker(stack.kudos.port, [path], rate=1500) as first, \
            Clicker(other.port, [path], rate=1500) as second:
        for _ in range(10):
            before = first.clicks + second.clicks
            wait_until(lambda b=before: first.clicks + second.clicks > b + 500, 20, "clicks go on")
            stack.kudos.kill_role("ship")
            process.send(other.role_pid("ship"), signal.SIGKILL)
    settle(stack, first, second)


def test_several_partitions(make_stack):
    """Three workers in two partitions, each with its keys and its flusher; ship serves both while
    one has no flusher, and through its own deaths and an empty Redis."""
    stack, path = start(make_stack, workers=3, partitions=2)
    client = stack.redis.client()
    with Clicker(stack.kudos.port, [path], connections=24, rate=3000) as clicker:
        wait_until(lambda: all(client.hlen(f"kudos:{{{p}}}:last_seq") for p in (0, 1)), 20,
                   "both partitions are in use")
        process.freeze(stack.kudos.pids("flush")[0])
        for _ in range(3):
            before = clicker.clicks
            wait_until(lambda b=before: clicker.clicks > b + 1000, 20, "clicks go on")
            stack.kudos.kill_role("ship")
        client.flushall()
        stack.kudos.wake("flush")
        before = clicker.clicks
        wait_until(lambda: clicker.clicks > before + 1000, 20, "clicks go on")
    settle(stack, clicker)


# Power cut ----------------------------------------------------------------------------------------

@pytest.fixture(name="powercut", scope="module")
def fixture_powercut(tmp_path_factory):
    """The library that writes down what is durable (tests/support/powercut.c)."""
    library = str(tmp_path_factory.mktemp("powercut") / "powercut.so")
    source = os.path.join(os.path.dirname(__file__), "..", "support", "powercut.c")
    subprocess.run(["gcc", "-D_GNU_SOURCE", "-O1", "-shared", "-fPIC", "-o", library, source,
                    "-ldl"], check=True)
    return library


def cut_power(folder, notes):
    """Leaves of a journal folder only what fsync and fdatasync had made durable."""
    sizes, entries = {}, set()
    with open(notes, encoding="ascii") as file:
        for kind, first, second in map(str.split, file):
            if kind == "F":
                sizes[int(first)] = int(second)  # a segment never shrinks here
            else:
                entries.add((int(first), int(second)))

    def keep(parent, path):
        inode = os.stat(path).st_ino
        if (os.stat(parent).st_ino, inode) not in entries:
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
            return False
        if not os.path.isdir(path):
            os.truncate(path, sizes.get(inode, 0))
        return True
    for name in os.listdir(folder):
        origin = os.path.join(folder, name)
        if os.path.isdir(origin) and keep(folder, origin):
            for segment in os.listdir(origin):
                keep(origin, os.path.join(origin, segment))


@pytest.mark.parametrize("frozen", [pytest.param(None, marks=pytest.mark.short), "flush", "redis"])
def test_power_cut(make_stack, tmp_path, powercut, frozen):
    """The machine with the journals loses power: at most the last journal_sync_ms of clicks are
    lost, and nothing that Redis had; even if Redis then loses everything, too."""
    notes = str(tmp_path / "notes")
    stack = make_stack(settings={**SETTINGS, "journal_sync_ms": 200, "workers": 2},
                       env={"LD_PRELOAD": powercut, "POWERCUT_LOG": notes}).start()
    path = "/" + stack.add_link()
    with Clicker(stack.kudos.port, [path], rate=3000) as clicker:
        wait_until(lambda: stack.rows() > 2000, 30, "rows come in")
        if frozen == "flush":
            stack.kudos.freeze("flush")
        elif frozen:
            stack.redis.freeze()
        before = clicker.clicks
        wait_until(lambda: clicker.clicks > before + 4000, 30, "clicks go on")
        cut_at = time.time()
        stack.kudos.kill()
    stack.redis.wake()
    had = {int(origin): int(seq) for origin, seq in
           stack.redis.client().hgetall("kudos:{0}:last_seq").items()}
    cut_power(journal(stack), notes)
    stack.redis.client().flushall()
    stack.kudos.env = {}
    stack.kudos.start()
    ids = [decode(each)[1:3] for each in clicker.ids]
    old = [each for each in clicker.ids if decode(each)[0] < (cut_at - 0.2 - SYNC_SLACK) * 1000]
    assert len(old) > 2000
    stack.assert_exactly_once(old)
    stack.assert_consistent()
    assert stack.missing_and_doubled(clicker.ids)[1] == 0
    for origin, last in had.items():
        assert seqs_of(stack, origin) >= {seq for each, seq in ids if each == origin and seq <= last}
        # The name of a later segment may have outlived what came before it: then that is declared.
        assert all(first > last for first, _ in gaps_of(stack, origin))


def test_powercut_takes_something_away(make_stack, tmp_path, powercut):
    """The tool itself: what ship has not synced is gone."""
    notes = str(tmp_path / "notes")
    stack = make_stack(settings={**SETTINGS, "journal_sync_ms": 60000},
                       env={"LD_PRELOAD": powercut, "POWERCUT_LOG": notes}).start()
    path = "/" + stack.add_link()
    with Clicker(stack.kudos.port, [path], rate=3000) as clicker:
        wait_until(lambda: clicker.clicks > 1000, 30, "clicks come in")
    stack.kudos.kill()
    assert sum(map(os.path.getsize, segments(stack))) > 50000
    cut_power(journal(stack), notes)
    assert sum(map(os.path.getsize, segments(stack))) < 50000
