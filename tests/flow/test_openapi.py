"""/v1/openapi.json is a good description, and a true one: each route's example is executed, and each
route refuses whoever may not call it. Both are made from the document, so a new route is tested too."""

import json
import re
import time

import pytest

from support.api import make_key, make_workspace, pointers, problem
from support.openapi import check_document, matches, operations
from support.wait import wait_until

LESSER = {"read": "conversions", "write": "read", "admin": "write", "conversions": "read"}


@pytest.fixture(name="document", scope="module")
def fixture_document(stack):
    """The description, as anybody may read it."""
    answer = stack.kudos.admin("GET", "/v1/openapi.json", key=None)
    assert answer.status == 200
    return answer.json()


def body_of(operation):
    """(body, headers) of an operation's example; (None, {}) if it takes none."""
    content = operation.get("requestBody", {}).get("content", {})
    for kind, media in content.items():
        example = media.get("example")
        if example is not None:
            body = example if isinstance(example, str) else json.dumps(example)
            return body.encode(), {"Content-Type": kind}
    return None, {}


NAMES = {"view": "daily"}  # what stands in other braces than {id}


class Made:
    """What the examples have made: ids by the path of their collection."""

    def __init__(self):
        self.ids = {}

    def path(self, path):
        """The path with its braces filled in."""
        for name in re.findall(r"\{(\w+)\}", path):
            stem = path.split("/{")[0]
            if name == "id":
                path = path.replace("{id}", str(self.ids[stem]))
                continue
            path = path.replace("{%s}" % name, NAMES[name])
        return path


def call(stack, made, method, path, operation, key=""):
    """Executes an operation's example."""
    body, headers = body_of(operation)
    query = operation.get("x-example-query", "")
    return stack.kudos.admin(method, made.path(path) + query, body, headers, key=key)


def check_answer(document, operation, answer):
    """That it is one of those described."""
    responses = operation["responses"]
    assert str(answer.status) in responses, (operation["operationId"], answer)
    content = responses[str(answer.status)].get("content", {})
    kind = answer.headers.get("Content-Type", "").split(";")[0]
    assert not content or kind in content, (operation["operationId"], kind)
    if kind == "application/json":
        wrong = matches(document, content[kind]["schema"], answer.json())
        assert wrong is None, (operation["operationId"], wrong)


def in_turn(document):
    """Operations in an order in which each finds what it needs: what makes, what else is POSTed,
    what reads and changes, what takes away."""
    def rank(entry):
        method, path, _ = entry
        return {"POST": 1 if "{id}" in path else 0, "GET": 2, "PATCH": 3, "DELETE": 4}[method]
    return sorted(operations(document), key=rank)


def test_the_document_is_valid(document):
    check_document(document)


def test_every_example_works(stack, document):
    made = Made()
    for method, path, operation in in_turn(document):
        answer = call(stack, made, method, path, operation)
        check_answer(document, operation, answer)
        if method == "POST" and "{" not in path and answer.status == 201:
            made.ids[path] = answer.json()["id"]
        elif method == "POST" and answer.status == 200 and answer.json().get("items"):
            made.ids.setdefault(path, answer.json()["items"][0].get("id"))
        assert operation.get("requestBody") is None or body_of(operation)[0], \
            f"{method} {path} has no example"


def test_every_route_takes_only_what_it_describes(stack, document):
    made = Made()
    made.ids = dict.fromkeys((path.split("/{")[0] for path in document["paths"]), 1)
    for method, path, operation in operations(document):
        if operation.get("security") == [] or operation.get("x-streams"):
            continue
        if "application/json" in operation.get("requestBody", {}).get("content", {}):
            where = made.path(path)
            answer = stack.kudos.admin(method, where, {"no-such-field": 1})
            assert "/no-such-field" in pointers(problem(answer, 422)), where
            problem(stack.kudos.admin(method, where, b"{}", {"Content-Type": "text/html"}), 415)
            problem(stack.kudos.admin(method, where, b'{"a":1,"a":2}',
                                      {"Content-Type": "application/json"}), 422, "duplicate-name")
            problem(stack.kudos.admin(method, where, b'{"a":"\\u0000"}',
                                      {"Content-Type": "application/json"}), 422, "nul")
            problem(stack.kudos.admin(method, where, b"", {"Content-Type": "application/json"}),
                    400, "empty")
            problem(stack.kudos.admin(method, where, b"[]", {"Content-Type": "application/json"}),
                    400, "not-an-object")
            problem(stack.kudos.admin(method, where, b'{"a":1', {"Content-Type":
                                                                 "application/json"}), 400)


# Who may ------------------------------------------------------------------------------------------

# What flush keeps ahead, and its notes of what is to be kept anew.
OWN_PACE = ("unsettled", "earnings_touched", "earnings_built", "earned", "models_touched", "model_touches", "model_crowds")


def everything(stack):
    """All that is in the database, but for what a refused call may touch and what changes by itself."""
    tables = [row[0] for row in stack.postgres.sql(
        "select format('%%I.%%I', schemaname, tablename) from pg_tables where schemaname = 'kudos'"
        " and tablename not in ('api_keys', 'visitor_salts', 'watermarks') and tablename <> all (%s)", list(OWN_PACE))]
    return {table: stack.postgres.value(f"select md5(string_agg(t::text, '' order by t::text))"
                                        f" from {table} t") for table in tables}


def test_who_may(stack, document):
    """Another workspace's key, a lesser scope, an expired, a revoked, a wrong and no key: refused on
    every route, in the same way whether the thing exists or not, and nothing is changed."""
    made, stranger = Made(), make_workspace(stack, "stranger")
    for path in dict.fromkeys(path.split("/{")[0] for path in document["paths"]):
        listed = stack.kudos.admin("GET", f"{path}?status=all" if path in (
            "/v1/campaigns", "/v1/influencers", "/v1/codes") else path)
        items = listed.json().get("items") if listed.status == 200 and "application/json" in listed.headers[
            "Content-Type"] else None
        made.ids[path] = items[0]["id"] if items and "id" in items[0] else 1
    made.ids["/v1/workspaces"] = stack.postgres.value(
        "select id from kudos.workspaces where name = 'default'")
    bad = {name: make_key(stack) for name in ("expired", "revoked")}
    for key in bad.values():  # remembered as good
        assert stack.kudos.admin("GET", "/v1/links", key=key).status == 200
    stack.postgres.sql("update kudos.api_keys set expires_at = now() where prefix = %s",
                       bad["expired"][:14])
    stack.postgres.sql("update kudos.api_keys set revoked_at = now() where prefix = %s",
                       bad["revoked"][:14])
    bad["wrong"] = bad["expired"][:-1] + ("A" if bad["expired"][-1] != "A" else "B")
    lesser = {scope: make_key(stack, scope=scope) for scope in set(LESSER.values())}
    before = everything(stack)
    for method, path, operation in operations(document):
        if operation.get("security") == []:
            continue
        where = f"{method} {path}"
        for name, key in {**bad, "none": None}.items():
            answer = call(stack, made, method, path, operation, key=key)
            body = problem(answer, 401, "unauthorized")
            assert "errors" not in body, (where, name)
        answer = call(stack, made, method, path, operation, key=lesser[LESSER[operation["x-scope"]]])
        problem(answer, 403, "forbidden")
        if "{id}" in path and not operation.get("x-own"):
            theirs = call(stack, made, method, path, operation, key=stranger)
            nothing = Made()
            nothing.ids = dict.fromkeys(made.ids, 999999999)
            none = call(stack, nothing, method, path, operation, key=stranger)
            assert problem(theirs, 404, "not-found") == problem(none, 404, "not-found"), where
    assert everything(stack) == before


# PostgreSQL away ----------------------------------------------------------------------------------

def test_every_route_says_at_once_that_postgresql_is_away(make_stack):
    stack = make_stack(durable=True).start()
    document = stack.kudos.admin("GET", "/v1/openapi.json", key=None).json()
    assert stack.kudos.admin("GET", "/v1/links").status == 200  # the key is remembered
    made = Made()
    made.ids = dict.fromkeys((path.split("/{")[0] for path in document["paths"]), 1)
    stack.postgres.stop("immediate")
    for method, path, operation in operations(document):
        if operation.get("security") == [] or path == "/v1/links/{id}/stats":
            continue  # they need no PostgreSQL
        begun = time.monotonic()
        answer = call(stack, made, method, path, operation)
        assert time.monotonic() - begun < 2, (method, path)
        problem(answer, 503)
        assert int(answer.headers["Retry-After"]) >= 1, (method, path)
    stack.postgres.start()
    wait_until(lambda: stack.kudos.admin("GET", "/v1/links").status == 200, 10)
