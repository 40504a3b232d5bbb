"""The harness itself: if these fail, no other result means anything."""

import pytest

from support import process
from support.wait import Timeout, wait_until


def test_ready_and_named(stack):
    assert stack.kudos.ready()
    for role in ("redirect", "sync", "ship", "flush", "admin"):
        assert len(stack.kudos.pids(role)) == 1, role


def test_killed_role_comes_back(stack):
    killed = stack.kudos.kill_role("redirect")
    assert stack.kudos.role_pid("redirect") != killed
    wait_until(stack.kudos.ready)


def test_stores_die_and_come_back(make_stack):
    stack = make_stack(durable=True).start(serve=False)
    stack.redis.client().set("a", "1")
    assert stack.postgres.value("select 1") == 1
    stack.redis.stop()
    assert not stack.redis.answers()
    stack.postgres.kill()
    assert not stack.postgres.answers()
    stack.redis.start()
    stack.postgres.start()
    assert stack.redis.client().get("a") == "1"
    assert stack.postgres.value("select count(*) from kudos.clicks") == 0


def test_frozen_store_is_seen_as_frozen(make_stack):
    stack = make_stack().start(serve=False)
    stack.redis.freeze()
    assert process.state(stack.redis.pid) == "T"
    stack.redis.wake()
    wait_until(stack.redis.answers)


def test_settings_reach_the_service(make_stack):
    stack = make_stack(settings={"workers": 2}).start()
    assert len(stack.kudos.pids("redirect")) == 2
    assert stack.kudos.stop() == 0


def test_bad_setting_is_shown_at_once(make_stack):
    stack = make_stack(settings={"workers": "many"})
    with pytest.raises(AssertionError, match="workers"):
        stack.kudos.start()


def test_wait_until_fails_with_the_reason():
    with pytest.raises(Timeout, match="a thing.*ZeroDivisionError"):
        wait_until(lambda: 1 / 0, 0.05, "a thing")
