"""Fixtures of the tests that run real servers (tests/README.md).

`stack` is started once per test file and shared by its tests; a file says what it wants with a
module variable, e.g. STACK = {"settings": {"workers": 2}, "durable": True} (arguments of Stack).
`make_stack` makes further ones, or fresh ones per test, with the same arguments.
With KUDOS_TEST_ATTACH=FILE, `stack` is a service that already runs (see support/attach.py).
"""

import os

import pytest

from support.attach import AttachedStack
from support.stack import LIVE, Stack

LOG_SHOWN = 8000  # characters of each log in a failure


@pytest.fixture(scope="module")
def stack(request):
    """The file's own running stack."""
    if os.environ.get("KUDOS_TEST_ATTACH"):
        yield AttachedStack(os.environ["KUDOS_TEST_ATTACH"])
        return
    made = Stack(**getattr(request.module, "STACK", {}))
    try:
        yield made.start()
    finally:
        made.close()


@pytest.fixture
def make_stack(request):
    """make_stack(**arguments of Stack): a stack for this test alone; not started."""
    made = []

    def make(**arguments):
        made.append(Stack(**{**getattr(request.module, "STACK", {}), **arguments}))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Shows the logs of whatever runs when a test, or its setup, fails."""
    outcome = yield
    report = outcome.get_result()
    if report.failed and call.when in ("setup", "call"):
        for running in LIVE:
            for title, text in running.logs():
                report.sections.append((title, text[-LOG_SHOWN:]))
