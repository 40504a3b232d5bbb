"""Helpers for tests of the admin plane's API."""

import itertools

_NAMES = itertools.count(1)


def make_key(stack, workspace="default", scope="admin"):
    """A further key."""
    return stack.kudos.run("key", "create", "--workspace", workspace, "--scope", scope,
                           "--name", "test").stdout.splitlines()[-1]


def make_workspace(stack, name):
    """A workspace with a key of its own."""
    stack.kudos.run("workspace", "create", name)
    return make_key(stack, name)


def problem(answer, status, kind=None):
    """Checks that an answer is a problem as RFC 9457 has it; its JSON."""
    assert answer.status == status, answer
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status and body["title"] and body["detail"], body
    assert body["type"].startswith("urn:kudos:problem:")
    if kind:
        assert body["type"] == f"urn:kudos:problem:{kind}", body
    return body


def pointers(body):
    """The fields that a problem names."""
    return {error["pointer"] if "pointer" in error else error["parameter"]
            for error in body["errors"]}


def unique(stem="n"):
    """A name that no other test of this run uses."""
    return f"{stem}{next(_NAMES)}"


def make(stack, path, body, status=201, key="", headers=None):
    """POSTs; the JSON of the answer."""
    answer = stack.kudos.admin("POST", path, body, headers, key=key)
    assert answer.status == status, answer
    return answer.json()


def pages(stack, path, query="", key=""):
    """All pages of a list."""
    cursor = ""
    while cursor is not None:
        answer = stack.kudos.admin("GET", f"{path}?{query}{cursor}", key=key)
        assert answer.status == 200, answer
        yield answer.json()["items"]
        cursor = answer.json()["next_cursor"]
        cursor = cursor and f"&cursor={cursor}"


def ids(stack, path, query="", key=""):
    """The ids of all that a list shows."""
    return [one["id"] for page in pages(stack, path, query, key) for one in page]


def audit(stack, resource, number):
    """(action, before, after) of the audit log's entries on something, oldest first."""
    return stack.postgres.sql("select action, before, after from kudos.audit_log"
                              " where resource = %s and resource_id = %s order by id",
                              resource, number)
