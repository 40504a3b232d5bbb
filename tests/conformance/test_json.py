"""JSON bodies of the admin plane against JSONTestSuite (folder json/ of the corpora).

test_parsing: y_ must be parsed, n_ must be refused as malformed (400), i_ must do no harm. A body
that parses may still be refused for what it says: an answer other than 400, or a 400 whose type is
"not-an-object", shows that it was parsed.
"""

import os

import pytest

from support.explain import corpus

MALFORMED = {"invalid-json", "empty", "too-deep"}


def files(folder):
    """[(name, bytes)] of a folder of the corpora."""
    path = corpus(f"json/{folder}")
    for name in sorted(os.listdir(path)):
        with open(os.path.join(path, name), "rb") as file:
            yield name, file.read()


def verdict(stack, body):
    """(status, last part of the problem's type) for a body."""
    answer = stack.kudos.admin("POST", "/v1/links", body, {"Content-Type": "application/json"})
    kind = answer.json()["type"].rsplit(":", 1)[1] if answer.status >= 400 else ""
    return answer.status, kind


def test_parsing(stack):
    wrong, counts = [], {"y": 0, "n": 0, "i": 0}
    for name, body in files("test_parsing"):
        status, kind = verdict(stack, body)
        malformed = status == 400 and kind in MALFORMED
        counts[name[0]] += 1
        if status >= 500 or (name[0] == "y" and malformed) or (name[0] == "n" and not malformed):
            wrong.append(f"{name}: {status} {kind}")
    assert min(counts.values()) >= 10, counts
    assert not wrong, "\n".join(wrong)


def test_transform(stack):
    for name, body in files("test_transform"):
        status, _ = verdict(stack, body)
        assert status in (400, 422), name


@pytest.fixture(autouse=True)
def still_the_same_process(stack):
    """No body may end the process."""
    pid = stack.kudos.role_pid("admin")
    yield
    assert stack.kudos.role_pid("admin") == pid
    assert stack.kudos.create_link()["id"]
