"""/v1/api-keys, /v1/workspaces, /v1/audit-log and /v1/search."""

import datetime

import pytest

from support.api import audit, ids, make, make_key, make_workspace, pointers, problem, unique
from support.wait import wait_until

PATH = "/v1/api-keys"


def works(stack, key, path="/v1/links?limit=1"):
    """True if a key is taken, False if it is refused."""
    status = stack.kudos.admin("GET", path, key=key).status
    assert status in (200, 401), status
    return status == 200


# Keys ---------------------------------------------------------------------------------------------

def test_a_key_is_made_and_shown_once(stack):
    answer = stack.kudos.admin("POST", PATH, {"name": "shop", "scope": "read"})
    assert answer.status == 201, answer
    made = answer.json()
    assert made["key"].startswith(made["prefix"] + "_") and works(stack, made["key"])
    assert "hash" not in made
    read = stack.kudos.admin("GET", f"{PATH}/{made['id']}").json()
    assert read == {**{name: made[name] for name in made if name != "key"},
                    "last_used_at": read["last_used_at"]}
    wait_until(lambda: stack.kudos.admin("GET", f"{PATH}/{made['id']}").json()["last_used_at"])
    assert made["id"] in ids(stack, PATH, "scope=read")
    secret = made["key"][15:]
    assert not any(secret in text for text in (stack.kudos.log(), stack.postgres.log()))
    for table in ("api_keys", "audit_log", "idempotency_keys"):
        assert stack.postgres.value(f"select count(*) from kudos.{table} t"
                                    " where strpos(t::text, %s) > 0", secret) == 0


def test_a_repeated_call_answers_the_same_key(stack):
    body, header = {"name": "ci", "scope": "write"}, {"Idempotency-Key": unique("k")}
    first = make(stack, PATH, body, headers=header)
    assert make(stack, PATH, body, headers=header) == first and works(stack, first["key"])
    assert first["key"] != make(stack, PATH, body)["key"]
    other = make(stack, PATH, body, headers={"Idempotency-Key": unique("k")})
    assert other["key"] != first["key"]
    rotated = make(stack, f"{PATH}/{first['id']}/rotate", {}, headers={"Idempotency-Key": "r1"})
    assert make(stack, f"{PATH}/{first['id']}/rotate", {}, headers={"Idempotency-Key": "r1"}) == \
        rotated
    assert works(stack, rotated["key"]) and not works(stack, first["key"])
    problem(stack.kudos.admin("POST", f"{PATH}/{first['id']}/rotate", {"overlap_s": 1},
                              {"Idempotency-Key": "r1"}), 422, "idempotency-key-reused")


def test_revoked_at_once(stack):
    made = make(stack, PATH, {"name": "gone", "scope": "admin"})
    assert works(stack, made["key"])
    answer = stack.kudos.admin("DELETE", f"{PATH}/{made['id']}")
    assert answer.status == 200 and answer.json()["revoked_at"]
    assert not works(stack, made["key"])
    problem(stack.kudos.admin("POST", f"{PATH}/{made['id']}/rotate", {}), 404)
    own = make(stack, PATH, {"name": "own", "scope": "admin"})
    assert stack.kudos.admin("DELETE", f"{PATH}/{own['id']}", key=own["key"]).status == 200
    assert not works(stack, own["key"])


def test_rotation_with_an_overlap(stack):
    old = make(stack, PATH, {"name": "app", "scope": "write", "per_minute": 500})
    new = make(stack, f"{PATH}/{old['id']}/rotate", {"overlap_s": 3600})
    assert (new["name"], new["scope"], new["per_minute"]) == ("app", "write", 500)
    assert new["id"] != old["id"] and works(stack, old["key"]) and works(stack, new["key"])
    ends = stack.kudos.admin("GET", f"{PATH}/{old['id']}").json()["expires_at"]
    left = datetime.datetime.fromisoformat(ends.replace("Z", "+00:00")) - \
        datetime.datetime.now(datetime.timezone.utc)
    assert datetime.timedelta(minutes=55) < left < datetime.timedelta(minutes=61)
    assert audit(stack, "api_key", old["id"])[-1][0] == "rotate"
    for bad in ({"overlap_s": -1}, {"overlap_s": "1"}, {"colour": 1}):
        problem(stack.kudos.admin("POST", f"{PATH}/{new['id']}/rotate", bad), 422)


def test_expiry(stack):
    made = make(stack, PATH, {"name": "short", "scope": "read",
                              "expires_at": "2035-01-01T00:00:00Z"})
    assert works(stack, made["key"])
    stack.kudos.admin("PATCH", f"{PATH}/{made['id']}", {"expires_at": "2020-01-01T00:00:00Z"})
    assert not works(stack, made["key"])
    stack.kudos.admin("PATCH", f"{PATH}/{made['id']}", {"expires_at": None})
    assert works(stack, made["key"])


@pytest.mark.parametrize("fields, pointer", [
    ({"scope": "root"}, "/scope"), ({"name": ""}, "/name"), ({"prefix": "kudos_aaaaaaaa"}, "/prefix"),
    ({"hash": "x"}, "/hash"), ({"per_minute": 0}, "/per_minute"),
    ({"revoked_at": "2020-01-01T00:00:00Z"}, "/revoked_at"),
])
def test_bad_fields(stack, fields, pointer):
    answer = stack.kudos.admin("POST", PATH, {"name": "n", "scope": "read", **fields})
    assert pointers(problem(answer, 422)) == {pointer}


# Workspaces ---------------------------------------------------------------------------------------

def test_a_workspace_and_its_first_key(stack):
    name = unique("brand")
    made = make(stack, "/v1/workspaces", {"name": name, "time_zone": "Europe/Berlin"})
    assert (made["name"], made["time_zone"]) == (name, "Europe/Berlin")
    key = make(stack, PATH, {"name": "first", "scope": "admin", "workspace": made["id"]})
    assert key["workspace"] == made["id"]
    link = make(stack, "/v1/links", {"destination": "https://example.com/"}, key=key["key"])
    problem(stack.kudos.admin("GET", f"/v1/links/{link['id']}"), 404)
    assert ids(stack, "/v1/workspaces", key=key["key"]) == [made["id"]]
    assert made["id"] in ids(stack, "/v1/workspaces") and len(ids(stack, "/v1/workspaces")) > 1
    own = f"/v1/workspaces/{made['id']}"
    renamed = stack.kudos.admin("PATCH", own, {"time_zone": "Asia/Tokyo"}, key=key["key"])
    assert renamed.status == 200 and renamed.json()["time_zone"] == "Asia/Tokyo"
    assert stack.kudos.admin("PATCH", own, {"name": name + "x"}).json()["name"] == name + "x"
    other = stack.postgres.value("select id from kudos.workspaces where name = 'default'")
    assert ids(stack, "/v1/workspaces", key=make_key(stack, scope="write")) == [other]
    problem(stack.kudos.admin("GET", f"/v1/workspaces/{other}", key=key["key"]), 404)
    problem(stack.kudos.admin("POST", "/v1/workspaces", {"name": "x"}, key=key["key"]), 403)
    body = {"name": "n", "scope": "read", "workspace": other}
    assert pointers(problem(stack.kudos.admin("POST", PATH, body, key=key["key"]), 422)) == \
        {"/workspace"}
    problem(stack.kudos.admin("POST", PATH, {**body, "workspace": 99999999}), 422)
    taken = stack.kudos.admin("POST", "/v1/workspaces", {"name": name + "x"})
    problem(taken, 409, "name-taken")
    for zone in ("Mars/Base", "", "x" * 65):
        answer = stack.kudos.admin("POST", "/v1/workspaces", {"name": unique(), "time_zone": zone})
        assert pointers(problem(answer, 422)) == {"/time_zone"}


# Audit log ----------------------------------------------------------------------------------------

def test_audit_log_by_filter(stack):
    key = make(stack, PATH, {"name": "auditor", "scope": "admin"})
    made = make(stack, "/v1/campaigns", {"name": unique("Audit "), "objective": "event"},
                key=key["key"])
    for name in ("b", "c"):
        stack.kudos.admin("PATCH", f"/v1/campaigns/{made['id']}", {"name": name}, key=key["key"])

    def entries(query, **more):
        return stack.kudos.admin("GET", f"/v1/audit-log?{query}", **more).json()["items"]
    found = entries(f"resource=campaign&resource_id={made['id']}")
    assert [entry["action"] for entry in found] == ["update", "update", "create"]
    assert (found[0]["before"], found[0]["after"]) == ({"name": "b"}, {"name": "c"})
    assert (found[0]["key"], found[0]["key_name"]) == (key["id"], "auditor")
    assert found[0]["time"].endswith("Z") and found[2]["after"]["objective"] == "event"
    assert [entry["id"] for entry in entries(f"key={key['id']}")] == [e["id"] for e in found]
    assert entries(f"key={key['id']}&action=create")[0]["id"] == found[2]["id"]
    assert entries(f"key={key['id']}&since={found[0]['time']}") == found[:1]
    assert entries(f"key={key['id']}&until={found[0]['time']}") == found[1:]
    stranger = make_workspace(stack, unique("brand"))
    assert entries("", key=stranger) == []
    problem(stack.kudos.admin("GET", "/v1/audit-log?since=yesterday"), 422)
    refused = problem(stack.kudos.admin("GET", "/v1/audit-log", key=make_key(stack, scope="write")), 403)
    assert refused["detail"] == "this takes a key of scope admin; this one's is write"


# Search -------------------------------------------------------------------------------------------

def test_search(stack):
    word = unique("zephyr")
    who = make(stack, "/v1/influencers", {"handle": f"{word}-anna", "name": "Anna"})
    named = make(stack, "/v1/influencers", {"handle": unique(), "name": f"The {word.upper()}!"})
    what = make(stack, "/v1/campaigns", {"name": word.title(), "objective": "launch"})
    code = make(stack, "/v1/codes", {"code": f"{word}20".upper(), "percent": 20})
    link = stack.kudos.create_link("https://example.com/", slug=f"{word.title()}-1", title="T")
    tagged = stack.kudos.create_link("https://example.com/", tags=[word])
    gone = make(stack, "/v1/influencers", {"handle": f"{word}-gone", "status": "archived"})

    def found(text, **more):
        items = stack.kudos.admin("GET", f"/v1/search?q={text}&limit=100", **more).json()["items"]
        return [(item["kind"], item["id"]) for item in items]
    everything = found(word)
    assert set(everything) == {("influencer", who["id"]), ("influencer", named["id"]),
                               ("campaign", what["id"]), ("code", code["id"]),
                               ("link", link["id"]), ("link", tagged["id"]),
                               ("influencer", gone["id"])}
    assert everything[0] == ("campaign", what["id"])  # it fits exactly
    assert everything[-1] == ("influencer", gone["id"])  # archived comes last
    assert found(f"{word}-a") == [("influencer", who["id"])]
    assert found(f"{word.upper()}-1") == [("link", link["id"])]
    assert found("%25" + word) == [] and found("_" * 5) == []
    assert found(word, key=make_workspace(stack, unique("brand"))) == []
    for bad in ("", "q=", "q=a&limit=0", "q=a&colour=1", "q=" + "x" * 101):
        problem(stack.kudos.admin("GET", f"/v1/search?{bad}"), 422)
