"""Bulk calls: many links made, changed and archived in one transaction."""

import concurrent.futures
import csv
import io
import json

import pytest

from support.http import Raw
from support.wait import wait_until

DESTINATION = "https://example.com/bulk"
TYPES = {"json": "application/json", "ndjson": "application/x-ndjson", "csv": "text/csv"}


def body_of(kind, rows):
    """Rows in one of the three formats."""
    if kind == "json":
        return json.dumps(rows)
    if kind == "ndjson":
        return "".join(json.dumps(row) + "\n" for row in rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, names)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def bulk(stack, action, rows, kind="json", query="", timeout=60, **headers):
    """One call; `rows` as a list, or the body as text."""
    body = rows if isinstance(rows, (str, bytes)) else body_of(kind, rows)
    return stack.kudos.admin("POST", f"/v1/links/bulk/{action}{query}", body.encode()
                             if isinstance(body, str) else body,
                             headers={"Content-Type": TYPES[kind], **headers}, timeout=timeout)


def good(answer, **counts):
    """The items of an answer, after a look at its numbers."""
    assert answer.status == 200, answer
    answer = answer.json()
    assert {name: answer[name] for name in counts} == counts, answer
    assert [item["row"] for item in answer["items"]] == list(range(len(answer["items"])))
    return answer["items"]


def count(stack, where="true"):
    """Links that there are."""
    return stack.postgres.value(f"select count(*) from kudos.links where {where}")


@pytest.mark.parametrize("kind", list(TYPES))
def test_create(stack, kind):
    rows = [{"slug": f"{kind}-{n}", "destination": f"{DESTINATION}/{n}", "redirect_status": 307,
             "title": f"Nr. {n}, \"{kind}\"", "pass_query": True} for n in range(2500)]
    items = good(bulk(stack, "create", rows, kind), created=2500, error=0)
    for n, item in enumerate(items):
        assert item["status"] == "created" and item["slug"] == f"{kind}-{n}"
        assert item["short_url"] == f"{stack.kudos.settings['base_url']}/{kind}-{n}"
        assert item.get("line") == {"json": None, "ndjson": n + 1, "csv": n + 2}[kind]
    for n in (0, 999, 1000, 2499):
        stack.wait_live(f"{kind}-{n}")
        link = stack.kudos.admin("GET", f"/v1/links/{items[n]['id']}").json()
        assert {name: link[name] for name in rows[n]} == rows[n]
    # The same call again makes nothing.
    again = good(bulk(stack, "create", rows, kind), created=0, existed=2500)
    assert [item["id"] for item in again] == [item["id"] for item in items]
    assert count(stack, f"slug like '{kind}-%'") == 2500


def test_generated_slugs(stack):
    items = good(bulk(stack, "create", [{"destination": DESTINATION}] * 1500), created=1500)
    slugs = {item["slug"] for item in items}
    assert len(slugs) == 1500 and all(len(slug) == 7 for slug in slugs)


def test_errors_are_told_row_by_row(stack):
    stack.kudos.create_link(DESTINATION, slug="bulk-taken")
    before = count(stack)
    items = good(bulk(stack, "create", [
        {"destination": DESTINATION, "slug": "bulk-good"},
        {"destination": "ftp://example.com/", "colour": "red"},
        {"slug": "bulk/bad", "destination": DESTINATION},
        {"destination": DESTINATION + "/other", "slug": "bulk-taken"},
        {"destination": DESTINATION, "campaign": "nowhere", "influencer": 999999},
        {"destination": DESTINATION, "slug": "BULK-good"},
        {"destination": DESTINATION + "/2", "slug": "bulk-GOOD"},
        {"destination": DESTINATION, "rules": [{"if": {"colour": ["red"]}}]},
        {},
        {"destination": DESTINATION, "slug": "bulk-last"},
    ]), created=2, existed=1, error=7)
    assert [item["status"] for item in items] == [
        "created", "error", "error", "error", "error", "existed", "error", "error", "error",
        "created"]
    pointers = [{error["pointer"] for error in item.get("errors", [])} for item in items]
    assert pointers[1] == {"/1/destination", "/1/colour"}
    assert pointers[2] == {"/2/slug"}
    assert pointers[3] == {"/3/slug"} and items[3]["slug"] == "bulk-taken"
    assert pointers[4] == {"/4/campaign", "/4/influencer"}
    assert items[5]["id"] == items[0]["id"]
    assert pointers[6] == {"/6/slug"}
    assert len(pointers[7]) == 1 and pointers[7].pop().startswith("/7/rules/0")
    assert pointers[8] == {"/8/destination"}
    assert count(stack) == before + 2


def test_csv_cells(stack):
    text = ("\ufeffslug;destination;max_clicks;utm;expires_at;pass_query;title\r\n"
            "cell-1;https://example.com/;5;\"{\"\"source\"\": \"\"x\"\"}\";2036-01-01T00:00:00Z;TRUE;'=1+1\r\n"
            ";https://example.com/;;;;;\r\n"
            "cell-3;https://example.com/;many;[];tomorrow;perhaps;\r\n")
    items = good(bulk(stack, "create", text, "csv"), created=2, error=1)
    link = stack.kudos.admin("GET", f"/v1/links/{items[0]['id']}").json()
    assert (link["max_clicks"], link["utm"], link["pass_query"], link["title"]) == (
        5, {"source": "x"}, True, "=1+1")
    assert {error["pointer"] for error in items[2]["errors"]} == {
        "/2/max_clicks", "/2/utm", "/2/expires_at", "/2/pass_query"}
    assert items[2]["line"] == 4


def test_update_and_archive(stack):
    made = good(bulk(stack, "create", [
        {"slug": f"change-{n}", "destination": f"{DESTINATION}/{n}", "title": "old"}
        for n in range(1200)]), created=1200)
    rows = [{"id": item["id"], "destination": DESTINATION + "/new"} if n % 2 else
            {"slug": item["slug"].upper(), "title": None, "redirect_status": 308}
            for n, item in enumerate(made)]
    items = good(bulk(stack, "update", rows, "ndjson"), updated=1200, error=0)
    assert [item["id"] for item in items] == [item["id"] for item in made]
    for n in (2, 3, 1198, 1199):
        link = stack.kudos.admin("GET", f"/v1/links/{made[n]['id']}").json()
        changed = (DESTINATION + "/new", "old", 302) if n % 2 else (
            f"{DESTINATION}/{n}", None, 308)
        assert (link["destination"], link["title"], link["redirect_status"]) == changed
    text = "slug,domain\r\n" + "".join(f"{item['slug']},127.0.0.1\r\n" for item in made)
    good(bulk(stack, "archive", text, "csv"), archived=1200)
    assert count(stack, "slug like 'change-%' and state = 'archived'") == 1200
    wait_until(lambda: stack.kudos.get("/change-1199").status == 404, 10, "it is gone")


def test_update_refuses(stack):
    mine = [stack.kudos.create_link(DESTINATION)["id"] for _ in range(3)]
    stack.kudos.run("workspace", "create", "stranger")
    key = stack.kudos.run("key", "create", "--workspace", "stranger", "--scope", "write",
                          "--name", "t").stdout.splitlines()[-1]
    items = good(bulk(stack, "update", [
        {"id": mine[0], "title": "a"},
        {"id": mine[0], "title": "b"},
        {"id": 987654321, "title": "c"},
        {"title": "d"},
        {"id": mine[1], "slug": "x", "title": "e"},
        {"id": "1", "title": "f"},
        {"id": mine[2], "campaign": "nowhere"},
        {"id": mine[1], "used_up": True},
    ]), updated=1, error=7)
    assert "earlier row" in items[1]["errors"][0]["detail"]
    assert items[2]["errors"][0]["detail"] == "there is no such link"
    assert items[6]["errors"][0]["pointer"] == "/6/campaign"
    assert items[7]["errors"][0]["pointer"] == "/7/used_up"
    # Twice the same, far apart: in another batch.
    rows = [{"id": mine[1], "title": "a"}] + [{"title": "x"}] * 1500 + [{"id": mine[1]}]
    assert "earlier row" in good(bulk(stack, "update", rows), updated=1)[-1]["errors"][0]["detail"]
    # Another workspace's links do not exist.
    answer = bulk(stack, "archive", [{"id": mine[0]}], Authorization=f"Bearer {key}")
    assert good(answer, error=1)[0]["errors"][0]["detail"] == "there is no such link"
    slug = stack.postgres.value(f"select slug from kudos.links where id = {mine[0]}")
    answer = bulk(stack, "create", [{"slug": slug, "destination": DESTINATION}],
                  Authorization=f"Bearer {key}")
    item = good(answer, error=1)[0]
    assert "id" not in item and item["errors"][0]["pointer"] == "/0/slug"


def test_dry_run(stack):
    before = count(stack)
    items = good(bulk(stack, "create", [{"destination": DESTINATION, "slug": "dry"},
                                        {"destination": "x"}], query="?dry_run=true"),
                 dry_run=True, created=1, error=1)
    assert "id" not in items[0] and items[0]["slug"] == "dry"
    assert count(stack) == before


@pytest.mark.parametrize("kind, body, status, words", [
    ("json", "{}", 400, "array"),
    ("json", "", 400, "empty"),
    ("json", '[{"destination":"https://example.com/"},{"destination":]', 400, "row 1"),
    ("ndjson", '{"destination":"https://example.com/"}\n{"a":1,"a":2}\n', 400, "line 2"),
    ("csv", "slug,destination\nx,https://example.com/\ny\n", 400, "line 3, column 2"),
    ("csv", 'slug,destination\nx,"https://example.com/\n', 400, "line 3"),
])
def test_malformed_bodies_change_nothing(stack, kind, body, status, words):
    before = count(stack)
    answer = bulk(stack, "create", body, kind)
    assert answer.status == status and words in answer.json()["detail"], answer
    # Also when what is wrong comes late, after thousands of rows that were already written.
    if kind == "ndjson":
        many = body_of(kind, [{"destination": DESTINATION}] * 5000) + body
        answer = bulk(stack, "create", many, kind)
        assert answer.status == 400 and "line 5002" in answer.json()["detail"], answer
    assert count(stack) == before


def test_limits(stack):
    answer = bulk(stack, "create", "[" + ",".join(["{}"] * 100001) + "]")
    assert (answer.status, answer.json()["type"]) == (413, "urn:kudos:problem:too-many-rows")
    answer = bulk(stack, "create", b" " * (32 * 1024 * 1024 + 1))
    assert (answer.status, answer.json()["type"]) == (413, "urn:kudos:problem:too-large")
    answer = stack.kudos.admin("POST", "/v1/links/bulk/create", b"x",
                               headers={"Content-Type": "text/plain"})
    assert answer.status == 415
    assert bulk(stack, "create", [], query="?dry=1").status == 422
    good(bulk(stack, "create", []), created=0)


def test_others_are_served_meanwhile(stack):
    """Other calls on the admin plane are answered while a bulk call is under way."""
    link = stack.kudos.create_link(DESTINATION)
    rows = [{"destination": DESTINATION}] * 30000
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        call = pool.submit(bulk, stack, "create", rows)
        served = 0
        while not call.done():
            assert stack.kudos.admin("GET", f"/v1/links/{link['id']}").status == 200
            served += 1
        good(call.result(), created=30000)
    assert served > 20


def test_client_leaves(stack):
    """Who leaves in the middle of the answer takes nothing down; all that was sent is done."""
    pid = stack.kudos.role_pid("admin")
    body = body_of("json", [{"destination": DESTINATION, "slug": f"left-{n}"}
                            for n in range(20000)]).encode()
    with Raw(stack.kudos.admin_port) as raw:
        raw.send(f"POST /v1/links/bulk/create HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
                 f"{stack.kudos.key()}\r\nContent-Type: application/json\r\n"
                 f"Content-Length: {len(body)}\r\n\r\n")
        raw.send(body)
        raw.socket.settimeout(60)
        assert raw.receive()
    wait_until(lambda: count(stack, "slug like 'left-%'") == 20000, 30, "all are there")
    good(bulk(stack, "create", json.loads(body)), existed=20000)
    assert stack.kudos.role_pid("admin") == pid


def test_idempotency_key(stack):
    """What has generated slugs can only be repeated safely under a key."""
    rows = [{"destination": f"{DESTINATION}/once/{n}"} for n in range(12000)]
    headers = {"Idempotency-Key": "bulk-once"}
    first = bulk(stack, "create", rows, **headers)
    good(first, created=12000)
    again = bulk(stack, "create", rows, **headers)
    assert (again.status, again.body) == (200, first.body)
    assert count(stack, f"destination like '{DESTINATION}/once/%'") == 12000
    other = bulk(stack, "create", rows[1:], **headers)
    assert (other.status, other.json()["type"]) == (
        422, "urn:kudos:problem:idempotency-key-reused")
    # What was refused as a whole had no effect, and leaves the key free.
    answer = bulk(stack, "create", "[{}", **{"Idempotency-Key": "bulk-bad"})
    assert answer.status == 400
    good(bulk(stack, "create", rows[:1], **{"Idempotency-Key": "bulk-bad"}), created=1)


def test_idempotency_key_together(stack):
    rows = [{"destination": f"{DESTINATION}/both/{n}"} for n in range(3000)]
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: bulk(stack, "create", rows,
                                               **{"Idempotency-Key": "bulk-both"}), range(3)))
    assert {answer.body for answer in answers} == {answers[0].body}
    good(answers[0], created=3000)
    assert count(stack, f"destination like '{DESTINATION}/both/%'") == 3000


def test_too_many_at_once(stack):
    """Beyond TRANSACTIONS_MAX the answer is 503 with Retry-After, at once."""
    rows = [{"destination": DESTINATION}] * 10000
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: bulk(stack, "create", rows), range(8)))
    assert {answer.status for answer in answers} <= {200, 503}
    refused = [answer for answer in answers if answer.status == 503]
    assert refused and len(refused) < 8
    assert all(answer.headers["Retry-After"] for answer in refused)


def test_external_ids(stack):
    rows = [{"external_id": f"ext-{n}", "destination": f"{DESTINATION}/{n}"} for n in range(1500)]
    first = good(bulk(stack, "create", rows), created=1500)
    other = [{**row, "destination": DESTINATION, "slug": f"ext-slug-{n}"} if n % 2 else row
             for n, row in enumerate(rows)]
    again = good(bulk(stack, "create", other), existed=1500, created=0)
    assert [item["id"] for item in again] == [item["id"] for item in first]
    twice = good(bulk(stack, "create", [{"external_id": "ext-x", "destination": DESTINATION}] * 2),
                 created=1, existed=1)
    assert twice[0]["id"] == twice[1]["id"]
    # The slug is taken by a link that has another external_id.
    items = good(bulk(stack, "create", [{"external_id": "ext-y", "destination": DESTINATION,
                                         "slug": first[0]["slug"]}]), error=1)
    assert items[0]["errors"][0]["pointer"] == "/0/slug"
    good(bulk(stack, "update", [{"external_id": "ext-7", "title": "seven"}]), updated=1)
    assert stack.kudos.admin("GET", f"/v1/links/{first[7]['id']}").json()["title"] == "seven"
