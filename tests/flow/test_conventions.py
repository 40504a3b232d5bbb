"""What holds on every route of the admin plane: repeated calls, entity tags, limits, hosts."""

import json
import threading

import pytest

from support.api import audit, ids, make, make_key, make_workspace, problem, unique
from support.http import Raw
from support.wait import wait_until

DESTINATION = "https://example.com/"


def once(key=None):
    """The header."""
    return {"Idempotency-Key": key or unique("key-")}


# Idempotency-Key ----------------------------------------------------------------------------------

BODIES = {
    "/v1/links": lambda: {"destination": DESTINATION, "slug": unique("once")},
    "/v1/influencers": lambda: {"handle": unique("once"), "profiles": [
        {"platform": "x", "url": "https://x.com/a"}], "tags": ["a"]},
    "/v1/campaigns": lambda: {"name": unique("Once "), "objective": "launch"},
    "/v1/codes": lambda: {"code": unique("ONCE"), "percent": 12.5},
    "/v1/domains": lambda: {"host": f"{unique('once')}.example"},
}


@pytest.mark.parametrize("path", BODIES)
def test_a_repeated_call_has_one_effect(stack, path):
    body, header = BODIES[path](), once()
    first = stack.kudos.admin("POST", path, body, header)
    assert first.status == 201, first
    for _ in range(3):
        again = stack.kudos.admin("POST", path, body, header)
        assert (again.status, again.json()) == (201, first.json())
        assert again.headers["Location"] == first.headers["Location"]
        assert again.headers["ETag"] == first.headers["ETag"]
    assert len(audit(stack, path[4:-1], first.json()["id"])) == 1
    problem(stack.kudos.admin("POST", path, {**body, "x": 1}, header), 422)
    other = {**body, "tags": ["other"]} if path != "/v1/domains" else \
        {**body, "click_id": False}
    problem(stack.kudos.admin("POST", path, other, header), 422, "idempotency-key-reused")


def test_the_first_answer_stays_after_a_change(stack):
    body, header = {"destination": DESTINATION}, once()
    first = make(stack, "/v1/links", body, headers=header)
    stack.kudos.admin("PATCH", f"/v1/links/{first['id']}", {"title": "new"})
    assert make(stack, "/v1/links", body, headers=header) == first
    stack.kudos.admin("DELETE", f"/v1/links/{first['id']}")
    assert make(stack, "/v1/links", body, headers=header) == first


def test_without_a_key_each_call_counts(stack):
    assert make(stack, "/v1/links", {"destination": DESTINATION})["id"] != \
        make(stack, "/v1/links", {"destination": DESTINATION})["id"]


def test_what_was_refused_may_be_tried_again(stack):
    header, slug = once(), unique("busy")
    taken = stack.kudos.create_link(DESTINATION, slug=slug)
    body = {"destination": DESTINATION, "slug": slug}
    problem(stack.kudos.admin("POST", "/v1/links", body, header), 409)
    stack.kudos.admin("PATCH", f"/v1/links/{taken['id']}", {"slug": unique("moved")})
    first = make(stack, "/v1/links", body, headers=header)
    assert make(stack, "/v1/links", body, headers=header) == first


def test_keys_belong_to_a_workspace_and_last_a_day(stack):
    body, header = {"destination": DESTINATION}, once()
    first = make(stack, "/v1/links", body, headers=header)
    stranger = make_workspace(stack, unique("brand"))
    theirs = make(stack, "/v1/links", body, headers=header, key=stranger)
    assert theirs["id"] != first["id"]
    other = make_key(stack, scope="write")
    assert make(stack, "/v1/links", body, headers=header, key=other) == first
    stack.postgres.sql("update kudos.idempotency_keys set created_at = now() - interval '24 hours'"
                       " where key = %s", header["Idempotency-Key"])
    later = make(stack, "/v1/links", body, headers=header)
    assert later["id"] != first["id"]
    assert make(stack, "/v1/links", body, headers=header) == later


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "schlüssel"])
def test_bad_keys(stack, key):
    answer = stack.kudos.admin("POST", "/v1/links", {"destination": DESTINATION},
                               {"Idempotency-Key": key})
    problem(answer, 400, "idempotency-key")


@pytest.mark.parametrize("slug", [None, "same"])
def test_at_once(stack, slug):
    body = {"destination": DESTINATION, **({"slug": unique(slug)} if slug else {})}
    header, answers = once(), []

    def call():
        answers.append(stack.kudos.admin("POST", "/v1/links", body, header))
    threads = [threading.Thread(target=call) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status for answer in answers] == [201] * 16
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert stack.postgres.value("select count(*) from kudos.audit_log where after ->> 'slug' = %s",
                                answers[0].json()["slug"]) == 1


def test_external_ids_at_once(stack):
    external, answers = unique("crm"), []

    def call():
        answers.append(stack.kudos.admin("POST", "/v1/links", {"destination": DESTINATION,
                                                               "external_id": external}))
    threads = [threading.Thread(target=call) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status for answer in answers) == [200] * 15 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1


@pytest.mark.parametrize("harm", ["admin", "backends"])
def test_killed_and_sent_again(make_stack, harm):
    """Whoever dies when: each call, repeated until it is answered, has one effect."""
    stack = make_stack(durable=True).start()
    stack.kudos.key()
    stop, done = threading.Event(), []

    def work(number):
        count = 0
        while not stop.is_set():
            count += 1
            name = f"w{number}-{count}"
            while True:
                try:
                    answer = stack.kudos.admin("POST", "/v1/influencers", {"handle": name},
                                               {"Idempotency-Key": name})
                except OSError:
                    continue
                except Exception:  # an answer cut short
                    continue
                if answer.status == 201:
                    done.append((name, answer.json()["id"]))
                    break
                assert answer.status == 503, answer
    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        made = len(done)
        wait_until(lambda: len(done) > made + 20, 30)
        if harm == "admin":
            stack.kudos.kill_role("admin")
        else:
            stack.postgres.sql("select pg_terminate_backend(pid) from pg_stat_activity"
                               " where application_name like 'kudos-admin%%'", superuser=True)
    stop.set()
    for thread in threads:
        thread.join()
    assert len(done) > 100
    stored = dict(stack.postgres.sql("select handle, id from kudos.influencers"))
    assert dict(done) == stored
    assert stack.postgres.value("select count(*) from kudos.audit_log") == len(done)
    assert stack.postgres.value("select count(*) from kudos.idempotency_keys") == len(done)


# ETag, If-Match -----------------------------------------------------------------------------------

@pytest.mark.parametrize("path, change", [
    ("/v1/links", {"title": "b"}), ("/v1/influencers", {"name": "b"}),
    ("/v1/campaigns", {"name": "b"}), ("/v1/codes", {"notes": "b"}),
    ("/v1/domains", {"click_id": False})])
def test_if_match(stack, path, change):
    made = stack.kudos.admin("POST", path, BODIES[path]())
    one, old = f"{path}/{made.json()['id']}", made.headers["ETag"]
    assert old == stack.kudos.admin("GET", one).headers["ETag"]
    assert stack.kudos.admin("GET", one, headers={"If-None-Match": old}).status == 304
    for bad in ('"0"', "x", "", f"W/{old}", old.strip('"')):
        problem(stack.kudos.admin("PATCH", one, change, {"If-Match": bad}), 412, "changed-meanwhile")
    assert stack.kudos.admin("GET", one).headers["ETag"] == old
    changed = stack.kudos.admin("PATCH", one, change, {"If-Match": f'"x", {old}'})
    assert changed.status == 200 and changed.headers["ETag"] != old
    assert changed.headers["ETag"] == stack.kudos.admin("GET", one).headers["ETag"]
    problem(stack.kudos.admin("PATCH", one, change, {"If-Match": old}), 412)
    assert stack.kudos.admin("PATCH", one, change, {"If-Match": "*"}).status == 200
    problem(stack.kudos.admin("PATCH", f"{path}/999999999", change, {"If-Match": old}), 404)
    if path != "/v1/domains":
        problem(stack.kudos.admin("DELETE", one, headers={"If-Match": old}), 412)
        fresh = stack.kudos.admin("GET", one).headers["ETag"]
        assert stack.kudos.admin("DELETE", one, headers={"If-Match": fresh}).status == 200


def test_one_of_many_wins(stack):
    made = stack.kudos.admin("POST", "/v1/influencers", {"handle": unique("race")})
    path, etag, answers = f"/v1/influencers/{made.json()['id']}", made.headers["ETag"], []

    def call(number):
        answers.append(stack.kudos.admin("PATCH", path, {"name": f"n{number}"},
                                         {"If-Match": etag}).status)
    threads = [threading.Thread(target=call, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200] + [412] * 11


# Keys ---------------------------------------------------------------------------------------------

def test_revoked_at_once_although_remembered(stack):
    """A key that was just used is refused on the next request, and nothing is done."""
    for method, path, body in (("POST", "/v1/influencers", {"handle": unique("late")}),
                               ("POST", "/v1/influencers", {"handle": 5}),
                               ("GET", "/v1/influencers", None), ("GET", "/v1/links/1", None),
                               ("PATCH", "/v1/links/1", {"title": "x"})):
        key = make_key(stack)
        assert stack.kudos.admin("GET", "/v1/campaigns", key=key).status == 200
        stack.postgres.sql("update kudos.api_keys set revoked_at = now() where prefix = %s",
                           key[:14])
        problem(stack.kudos.admin(method, path, body, key=key), 401, "unauthorized")
        problem(stack.kudos.admin(method, path, body, key=key), 401, "unauthorized")
    assert ids(stack, "/v1/influencers", "handle=late1") == []


def test_limits(make_stack):
    stack = make_stack(settings={"key_requests_per_minute": 5}).start()
    key, generous = make_key(stack), make_key(stack)
    stack.postgres.sql("update kudos.api_keys set per_minute = 1000 where prefix = %s",
                       generous[:14])
    answers = [stack.kudos.admin("GET", "/v1/links", key=key) for _ in range(7)]
    assert [answer.status for answer in answers] == [200] * 5 + [429] * 2
    assert "may make 5 requests in a minute" in problem(answers[-1], 429, "too-many-requests")["detail"]
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 12
    assert {stack.kudos.admin("GET", "/v1/links", key=generous).status for _ in range(20)} == {200}
    assert stack.kudos.metric("admin_limited_total") == 2
    assert stack.kudos.admin("GET", "/healthz", key=None).status == 200


# Browsers and hosts -------------------------------------------------------------------------------

def test_cors_and_hosts_are_off_unless_set(stack):
    answer = stack.kudos.admin("GET", "/v1/links", headers={"Origin": "https://app.example"})
    assert answer.status == 200
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    assert "Set-Cookie" not in answer.headers
    problem(stack.kudos.admin("OPTIONS", "/v1/links"), 405)


def test_cors_and_hosts(make_stack):
    stack = make_stack(settings={"cors_origins": "https://app.example https://b.example",
                                 "admin_hosts": "127.0.0.1, Admin.Example"}).start()
    preflight = stack.kudos.admin("OPTIONS", "/v1/links", key=None, headers={
        "Origin": "https://app.example", "Access-Control-Request-Method": "POST"})
    assert preflight.status == 204
    assert preflight.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert "Idempotency-Key" in preflight.headers["Access-Control-Allow-Headers"]
    answer = stack.kudos.admin("GET", "/v1/links", headers={"Origin": "https://b.example"})
    assert answer.headers["Access-Control-Allow-Origin"] == "https://b.example"
    assert "Access-Control-Allow-Credentials" not in answer.headers
    other = stack.kudos.admin("GET", "/v1/links", headers={"Origin": "https://evil.example"})
    assert other.status == 200 and "Access-Control-Allow-Origin" not in other.headers
    for host, status in (("admin.example", 200), ("ADMIN.example:8081", 200),
                         ("evil.example", 421), ("127.0.0.1.evil.example", 421), ("", 421)):
        assert stack.kudos.admin("GET", "/v1/links", headers={"Host": host}).status == status, host
    assert stack.kudos.admin("GET", "/healthz", key=None).status == 200


def test_a_raw_answer_has_no_cookie_and_is_not_kept(stack):
    body = json.dumps({"destination": DESTINATION})
    with Raw(stack.kudos.admin_port) as raw:
        raw.send(f"POST /v1/links HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stack.kudos.key()}"
                 f"\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}")
        answer = raw.response()
    assert answer.status == 201 and answer.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in answer.headers
