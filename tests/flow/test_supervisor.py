"""The supervisor: reload by SIGHUP, restarts, an ordered stop."""

import os

import pytest

from support import process
from support.clicker import Clicker
from support.http import BROWSER, request
from support.wait import wait_until


@pytest.fixture(name="served")
def fixture_served(make_stack):
    """(stack, function that writes the settings file, path of a link)."""
    stack = make_stack()
    stack.kudos.file = os.path.join(stack.kudos.folder, "kudos.conf")

    def write(text):
        with open(stack.kudos.file, "w", encoding="utf-8") as file:
            file.write(text)

    write("target_bytes_max = 1024\n")
    stack.start()
    return stack, write, "/" + stack.add_link()


def status(stack, length):
    """Of a request whose target has that many bytes."""
    path = "/" + "a" * (length - 1)
    return request(stack.kudos.port, path=path, headers=BROWSER).status


def test_reload_applies_what_it_can(served):
    stack, write, path = served
    workers = stack.kudos.pids("redirect")
    assert status(stack, 1024) == 404 and status(stack, 1025) == 414
    with Clicker(stack.kudos.port, [path], rate=1000) as clicker:
        wait_until(lambda: clicker.clicks > 100)
        write("target_bytes_max = 2048\npartitions = 3\n")
        stack.kudos.reload()
        wait_until(lambda: status(stack, 2048) == 404, 10, "the new limit holds")
        assert status(stack, 2049) == 414
        before = clicker.clicks
        wait_until(lambda: clicker.clicks > before + 500)
    assert not clicker.broken and not clicker.refused
    assert stack.kudos.pids("redirect") == workers, "nobody was restarted"
    assert stack.kudos.logged("role=supervisor .*reload_needs_restart.*partitions")
    stack.assert_exactly_once(clicker.ids)


@pytest.mark.parametrize("text,place", [
    ("target_bytes_max = 5\n", "kudos.conf:1"),
    ("\nno_such_setting = 1\n", "kudos.conf:2"),
])
def test_bad_settings_are_refused_and_the_old_stay(served, text, place):
    stack, write, _ = served
    write(text)
    stack.kudos.reload()
    wait_until(lambda: stack.kudos.logged(f"role=redirect .*reload_refused.*{place}"), 10)
    assert stack.kudos.logged(f"role=supervisor .*reload_refused.*{place}")
    assert status(stack, 1024) == 404 and status(stack, 1025) == 414
    assert stack.kudos.stop() == 0
    with pytest.raises(AssertionError, match=place):
        stack.kudos.start()


def restarts(stack, role):
    """Of all processes of a role."""
    return sum(value for name, value in stack.kudos.metrics().items()
               if name.startswith(f'child_restarts_total{{role="{role}",'))


def test_a_role_that_died_is_back_and_counted(served):
    stack, _, path = served
    for role in ("redirect", "sync", "ship", "flush", "admin"):
        stack.kudos.kill_role(role)
        wait_until(lambda r=role: restarts(stack, r) == 1, 10, f"{role} is counted")
    stack.kudos.wait_ready()
    clicks = [request(stack.kudos.port, path=path, headers=BROWSER) for _ in range(10)]
    assert {each.status for each in clicks} == {302}
    stack.assert_consistent()


def test_visitors_go_before_the_stores(served):
    """In a scheduling group of its own, or PostgreSQL's sessions and Redis would weigh as much."""
    stack, _, _ = served
    for pid in stack.kudos.pids("redirect"):
        assert os.getsid(pid) == pid != os.getsid(stack.kudos.pid)
    assert os.getsid(stack.kudos.role_pid("flush")) == os.getsid(stack.kudos.pid)
    raised = os.getpriority(os.PRIO_PROCESS, stack.kudos.role_pid("redirect"))
    assert raised == (-15 if os.geteuid() == 0 else os.getpriority(os.PRIO_PROCESS, 0))
    group = f"/proc/{stack.kudos.role_pid('redirect')}/autogroup"
    if os.path.exists(group):  # not where a service manager or container makes the groups
        with open(group, encoding="ascii") as file:
            assert f" nice {raised}\n" in file.read()


def test_children_end_with_their_supervisor(served):
    stack, _, _ = served
    children = stack.kudos.pids()
    assert len(children) >= 5
    stack.kudos.kill_supervisor()
    wait_until(lambda: not any(map(process.alive, children)), 30, "no child is left behind")
