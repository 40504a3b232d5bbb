"""The journal under faults: full, damaged, removed, replaced, cut off from power. Each test clicks,
breaks something, and ends with every promised click stored once, or its loss declared."""

import glob
import os
import random
import shutil
import signal
import subprocess
import time

import pytest

from support import process
from support.clicker import Clicker, decode
from support.edge import SETTINGS, count_origins, journal, segments, settle, start
from support.wait import wait_until

STACK = {"settings": SETTINGS}
SYNC_SLACK = 1.0  # seconds that a busy machine may be late with an fdatasync


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
