"""Waiting for conditions. No test sleeps and hopes."""

import time


class Timeout(AssertionError):
    """A condition did not come true in time."""


def wait_until(condition, timeout=10.0, what=None, interval=0.01):
    """Polls `condition()` until it returns something true, and returns that.

    Exceptions of the condition count as "not yet"; the last one is shown if time runs out.
    `what` (text, or a function that makes it) says in the failure what was waited for.
    """
    deadline = time.monotonic() + timeout
    while True:
        problem = None
        try:
            value = condition()
            if value:
                return value
        except Timeout:
            raise
        except Exception as error:  # pylint: disable=broad-except
            problem = error
        if time.monotonic() > deadline:
            break
        time.sleep(interval)
    text = what() if callable(what) else what or getattr(condition, "__name__", "condition")
    raise Timeout(f"not within {timeout:g} s: {text}" + (f" ({problem!r})" if problem else ""))


def holds_for(condition, seconds, what=None, interval=0.05):
    """Asserts that `condition()` stays true for `seconds`: the opposite of wait_until()."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert condition(), f"did not hold: {what or getattr(condition, '__name__', 'condition')}"
        time.sleep(interval)
