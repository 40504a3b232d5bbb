"""kudos reclassify dies at either side of its commit, and Redis goes back after it: no count is lost
or made twice, and the same command goes on."""

import os

import pytest

from support.feeder import Feeder

ARGUMENTS = ("--asn", "9", "--verdict", "human", "--to", "bot", "--because", "a farm")


def decided(stack):
    return stack.postgres.value("select count(*) from kudos.clicks where rule = 'decided: a farm'")


@pytest.mark.parametrize("point, moved", [("reclassify_before_commit", 0), ("reclassify_after_commit", 1500)])
def test_killed_at_its_commit(make_stack, point, moved):
    stack = make_stack(roles="flush").start()
    Feeder(stack).add(1500, asn=9).add(500, asn=8).wait_flushed()
    died = stack.kudos.run("reclassify", *ARGUMENTS, check=False, env={
        "KUDOS_CRASH_AT": f"{point}:1", "KUDOS_CRASH_ONCE": os.path.join(stack.folder, "once")})
    assert died.returncode < 0
    assert decided(stack) == moved
    stack.assert_consistent()
    stack.kudos.run("reclassify", *ARGUMENTS)
    assert decided(stack) == 1500
    assert stack.postgres.value("select count(*) from kudos.reclassified") == 1500
    assert stack.postgres.value("select count(*) from kudos.reclassifications where ended_at is null") == 0
    stack.assert_consistent()


def test_redis_goes_back_behind_it(make_stack):
    """Restored from a file that is older than the decision."""
    stack = make_stack(roles="flush").start()
    feeder = Feeder(stack).add(1000, asn=9).wait_flushed()
    client = stack.redis.client()
    kept = {key: client.hgetall(key) for key in ("kudos:{0}:totals", "kudos:{0}:last_seq", "kudos:{0}:flushed")}
    stack.kudos.run("reclassify", *ARGUMENTS)
    stack.assert_consistent()
    with client.pipeline() as pipe:
        for key, fields in kept.items():
            pipe.delete(key)
            pipe.hset(key, mapping=fields)
        pipe.execute()
    stack.assert_consistent()
    assert client.hget("kudos:{0}:totals", "1:x") == "1000"
    feeder.assert_exactly_once()
