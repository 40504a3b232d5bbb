"""flush dies or freezes at every arrow of its way: nothing is lost, nothing is there twice."""

import os

import pytest

from support import process
from support.feeder import Feeder
from support.wait import wait_until

PASS_POINTS = ["flush_before_begin", "flush_after_lock", "flush_inside_copy", "flush_after_copy",
               "flush_after_watermark", "flush_before_commit", "flush_after_commit",
               "flush_after_acknowledge"]
RECOVERY_POINTS = ["recover_prepared", "recover_before", "recover_after"]
NTH = {"flush_before_begin": 20, "flush_after_lock": 20}  # idle passes go by, too
SETTINGS = {"flush_takeover_ms": 400, "redis_timeout_ms": 200, "flush_batch_events": 1000}


def cases(points, *short):
    """The points as parameters, some of them for the short run."""
    return [pytest.param(point, marks=pytest.mark.short) if point in short else point
            for point in points]


def crashing(make_stack, point, nth=1, stop=False, **more):
    """A stack whose flusher dies, or freezes, once, when it comes to `point` the n-th time."""
    stack = make_stack(roles="flush", settings={**SETTINGS, **more})
    stack.kudos.env = {"KUDOS_CRASH_AT": f"{point}:{nth}" + (":stop" if stop else ""),
                       "KUDOS_CRASH_ONCE": os.path.join(stack.folder, "once")}
    return stack


def fired(stack):
    """True once the crash point was taken."""
    return any(name.startswith("once.") for name in os.listdir(stack.folder))


def settle(stack, *feeders):
    """Everything sent arrives, once, and the books balance."""
    for feeder in feeders:
        feeder.wait_flushed()
    for feeder in feeders:
        feeder.assert_exactly_once()
    stack.assert_consistent()


@pytest.mark.parametrize("point", cases(PASS_POINTS, "flush_before_commit", "flush_after_commit"))
def test_killed_in_a_pass(make_stack, point):
    """kill -9 at an arrow of the pass, with several entries and origins on their way."""
    stack = crashing(make_stack, point, nth=NTH.get(point, 2)).start()
    feeders = [Feeder(stack).start(rate=1000) for _ in range(2)]
    wait_until(lambda: fired(stack), 30, f"flush came to {point}")
    for feeder in feeders:
        feeder.stop()
    settle(stack, *feeders)
    assert stack.kudos.logged("child_died.*child=flush")


@pytest.mark.parametrize("point", cases(RECOVERY_POINTS, "recover_after"))
def test_killed_in_a_recovery(make_stack, point):
    """kill -9 in a recovery, of a partition that has a past."""
    stack = crashing(make_stack, point, nth=2).start()
    feeder = Feeder(stack).add_mixed(3000).ship_all()
    feeder.wait_flushed()
    feeder.start(rate=1000)
    stack.redis.client().flushall()
    wait_until(lambda: fired(stack), 30, f"flush came to {point}")
    feeder.stop()
    settle(stack, feeder)


def frozen_pid(stack):
    """The flusher that has stopped itself."""
    pids = stack.kudos.pids("flush")
    stopped = [pid for pid in pids if process.state(pid) == "T"]
    return stopped[0] if stopped else None


@pytest.mark.parametrize("point", cases(PASS_POINTS, "flush_inside_copy"))
def test_frozen_in_a_pass_and_woken_late(make_stack, point):
    """One of two flushers freezes; the other takes over; the first wakes up and must do no harm."""
    stack = crashing(make_stack, point, nth=NTH.get(point, 2), stop=True).start()
    feeder = Feeder(stack).start(rate=1000)
    pid = wait_until(lambda: frozen_pid(stack), 30, f"flush froze at {point}")
    other = stack.service("other", roles="flush", settings=SETTINGS, binary=stack.kudos.binary)
    other.start()
    reached = feeder.watermark()
    wait_until(lambda: feeder.watermark() > reached + 1000, 30, "the other one works")
    process.wake(pid)
    reached = feeder.watermark()
    wait_until(lambda: feeder.watermark() > reached + 1000, 30, "both go on")
    feeder.stop()
    settle(stack, feeder)
    assert pid in stack.kudos.pids("flush"), "the woken one lives"


@pytest.mark.parametrize("point", RECOVERY_POINTS)
def test_frozen_in_a_recovery_and_woken_late(make_stack, point):
    """A recovery from an old snapshot, seconds late, when the other has long gone on."""
    stack = crashing(make_stack, point, nth=2, stop=True).start()
    feeder = Feeder(stack).add_mixed(2000).ship_all()
    feeder.wait_flushed()
    stack.redis.client().flushall()
    pid = wait_until(lambda: frozen_pid(stack), 30, f"flush froze at {point}")
    other = stack.service("other", roles="flush", settings=SETTINGS, binary=stack.kudos.binary)
    other.start()
    feeder.start(rate=1000)
    wait_until(lambda: feeder.watermark() > 3000, 30, "the other one works")
    process.wake(pid)
    reached = feeder.watermark()
    wait_until(lambda: feeder.watermark() > reached + 1000, 30, "both go on")
    feeder.stop()
    settle(stack, feeder)


def test_frozen_holder_is_ended_once(make_stack):
    """Frozen inside COPY, where no timeout of PostgreSQL helps: the other one ends it."""
    stack = crashing(make_stack, "flush_inside_copy", stop=True).start()
    feeder = Feeder(stack).add_mixed(1500).ship_all()
    pid = wait_until(lambda: frozen_pid(stack), 30, "flush froze")
    other = stack.service("other", roles="flush", settings=SETTINGS, binary=stack.kudos.binary)
    other.start()
    feeder.wait_flushed()
    assert other.metric("flush_takeovers_total") == 1
    process.wake(pid)
    settle(stack, feeder.add_mixed(500))
    assert stack.kudos.metric("flush_takeovers_total") == 0


def test_slow_holder_is_not_ended(make_stack):
    """A holder that waits for somebody else's lock works, as far as anybody can."""
    stack = make_stack(roles="flush", settings={**SETTINGS, "flush_takeover_ms": 200}).start()
    feeder = Feeder(stack).add_mixed(100).ship_all()
    feeder.wait_flushed()
    blocker = stack.postgres.connect()
    blocker.autocommit = False
    with blocker.cursor() as cursor:
        cursor.execute("lock table kudos.clicks_hourly in access exclusive mode")
    feeder.add_mixed(100).ship_all()
    other = stack.service("other", roles="flush", settings=SETTINGS, binary=stack.kudos.binary)
    other.start(wait=False)
    wait_until(lambda: stack.kudos.metric("flush_retries_total") + other.metric(
        "flush_retries_total") >= 3, 30, "flushers gave up waiting a few times")
    assert other.metric("flush_takeovers_total") == stack.kudos.metric("flush_takeovers_total") == 0
    blocker.rollback()
    blocker.close()
    settle(stack, feeder)


def test_random_kills_of_two_flushers(make_stack):
    """Two flushers on one partition, killed and frozen in turns while clicks come in."""
    stack = make_stack(roles="flush", settings=SETTINGS).start()
    other = stack.service("other", roles="flush", settings=SETTINGS, binary=stack.kudos.binary)
    other.start()
    feeders = [Feeder(stack).start(rate=1500) for _ in range(3)]
    kills = int(os.environ.get("ROUNDS") or 20)
    for turn in range(kills):
        service = (stack.kudos, other)[turn % 2]
        before = feeders[turn % 3].watermark()
        if turn % 3 == 0:
            service.freeze("flush")
        service.kill_role("flush")
        wait_until(lambda f=feeders[turn % 3], b=before: f.watermark() > b, 30, "it goes on")
    for feeder in feeders:
        feeder.stop()
    settle(stack, *feeders)
