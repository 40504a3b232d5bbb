"""/v1/influencers: people and their profiles."""

import pytest

from support.api import audit, ids, make, make_workspace, pointers, problem, unique

PATH = "/v1/influencers"
INSTAGRAM = {"platform": "Instagram", "url": "https://www.instagram.com/anna", "followers": 120000,
             "external_id": "ig-1", "handle": "anna.berg"}
YOUTUBE = {"platform": "youtube", "url": "https://youtube.com/@anna"}


def test_every_field_comes_back(stack):
    fields = {"handle": "Anna", "name": "Anna Berg", "email": "anna@example.com",
              "contact": "Agent: Bea\n+49 30 1", "country": "DE", "tags": ["running", "vegan"],
              "notes": "Likes\tmornings.\nCall first.", "status": "paused", "external_id": "crm-7",
              "profiles": [YOUTUBE, INSTAGRAM]}
    answer = stack.kudos.admin("POST", PATH, fields)
    assert answer.status == 201, answer
    made = answer.json()
    assert answer.headers["Location"] == f"{PATH}/{made['id']}"
    expected = {**fields, "profiles": [{**INSTAGRAM, "platform": "instagram"},
                                       {**YOUTUBE, "followers": None, "handle": None,
                                        "external_id": None}]}
    assert {name: made[name] for name in expected} == expected
    read = stack.kudos.admin("GET", f"{PATH}/{made['id']}")
    assert read.json() == made and read.headers["ETag"] == answer.headers["ETag"]
    assert stack.postgres.value("select count(*) from kudos.influencer_profiles"
                                " where influencer_id = %s", made["id"]) == 2


def test_little_is_enough(stack):
    made = make(stack, PATH, {"handle": unique("ben")})
    assert (made["name"], made["email"], made["status"], made["tags"], made["profiles"]) == \
        ("", None, "active", [], [])


def test_handles_are_unique_whatever_the_case(stack):
    handle = unique("Chloe")
    make(stack, PATH, {"handle": handle})
    taken = stack.kudos.admin("POST", PATH, {"handle": handle.upper()})
    assert pointers(problem(taken, 409, "handle-taken")) == {"/handle"}
    other = make(stack, PATH, {"handle": unique()})
    problem(stack.kudos.admin("PATCH", f"{PATH}/{other['id']}", {"handle": handle.lower()}), 409,
            "handle-taken")
    stranger = make_workspace(stack, unique("brand"))
    make(stack, PATH, {"handle": handle}, key=stranger)


def test_profiles_are_replaced_as_a_whole(stack):
    made = make(stack, PATH, {"handle": unique(), "profiles": [INSTAGRAM, YOUTUBE]})
    path = f"{PATH}/{made['id']}"
    more = {**INSTAGRAM, "followers": 130000}
    answer = stack.kudos.admin("PATCH", path, {"profiles": [more]})
    changed = answer.json()
    assert changed["profiles"] == [{**more, "platform": "instagram"}]
    read = stack.kudos.admin("GET", path)
    assert read.json() == changed and read.headers["ETag"] == answer.headers["ETag"]
    kept = stack.kudos.admin("PATCH", path, {"name": "A"}).json()
    assert kept["profiles"] == changed["profiles"]
    assert stack.kudos.admin("PATCH", path, {"profiles": []}).json()["profiles"] == []
    assert stack.kudos.admin("GET", path).json()["profiles"] == []


@pytest.mark.parametrize("fields, pointer", [
    ({"handle": ""}, "/handle"), ({"handle": None}, "/handle"), ({"email": "anna"}, "/email"),
    ({"country": "de"}, "/country"), ({"country": "Germany"}, "/country"),
    ({"tags": "x"}, "/tags"), ({"tags": [""]}, "/tags"), ({"tags": [1]}, "/tags"),
    ({"status": "gone"}, "/status"), ({"notes": "a\x01b"}, "/notes"),
    ({"name": "a\nb"}, "/name"), ({"profiles": {}}, "/profiles"),
    ({"profiles": [{"platform": "x"}]}, "/profiles/0"),
    ({"profiles": [YOUTUBE, YOUTUBE]}, "/profiles/1"),
    ({"profiles": [{**YOUTUBE, "followers": -1}]}, "/profiles/0"),
    ({"profiles": [{**YOUTUBE, "url": "javascript:alert(1)"}]}, "/profiles/0"),
    ({"profiles": [{**YOUTUBE, "color": 1}]}, "/profiles/0"), ({"id": 3}, "/id"),
    ({"colour": "red"}, "/colour"),
])
def test_bad_fields(stack, fields, pointer):
    made = make(stack, PATH, {"handle": unique()})
    answer = stack.kudos.admin("PATCH", f"{PATH}/{made['id']}", fields)
    assert pointers(problem(answer, 422, "invalid")) == {pointer}
    assert stack.kudos.admin("GET", f"{PATH}/{made['id']}").json() == made


def test_found_by_external_id(stack):
    first = make(stack, PATH, {"handle": unique("dora"), "external_id": "crm-42", "name": "Dora"})
    again = make(stack, PATH, {"handle": unique("other"), "external_id": "crm-42"}, 200)
    assert again == first


def test_filters_and_archive(stack):
    tag = unique("tag")
    anna = make(stack, PATH, {"handle": unique("anna"), "tags": [tag, "b"], "country": "AT",
                              "profiles": [{"platform": "tiktok", "url": "https://tiktok.com/@a"}]})
    ben = make(stack, PATH, {"handle": unique("ben"), "tags": [tag]})
    assert ids(stack, PATH, f"tag={tag}") == [ben["id"], anna["id"]]
    assert ids(stack, PATH, f"tag={tag}&country=AT") == [anna["id"]]
    assert ids(stack, PATH, f"tag={tag}&platform=TikTok") == [anna["id"]]
    assert ids(stack, PATH, f"handle={ben['handle'].upper()}") == [ben["id"]]
    answer = stack.kudos.admin("DELETE", f"{PATH}/{ben['id']}")
    assert answer.status == 200 and answer.json()["status"] == "archived"
    assert ids(stack, PATH, f"tag={tag}") == [anna["id"]]
    assert ids(stack, PATH, f"tag={tag}&status=all") == [ben["id"], anna["id"]]
    assert ids(stack, PATH, f"tag={tag}&status=archived&limit=1") == [ben["id"]]
    stack.kudos.admin("PATCH", f"{PATH}/{ben['id']}", {"status": "active"})
    assert ids(stack, PATH, f"tag={tag}&limit=1") == [ben["id"], anna["id"]]
    problem(stack.kudos.admin("GET", f"{PATH}?status=gone"), 422)


def test_changes_are_on_record(stack):
    made = make(stack, PATH, {"handle": unique("eva"), "name": "Eva"})
    path = f"{PATH}/{made['id']}"
    stack.kudos.admin("PATCH", path, {"name": "Eva K", "tags": ["x"], "handle": made["handle"]})
    stack.kudos.admin("PATCH", path, {"name": "Eva K"})  # changes nothing
    stack.kudos.admin("DELETE", path)
    created, updated, archived = audit(stack, "influencer", made["id"])
    assert created[0] == "create" and created[1] is None and created[2]["name"] == "Eva"
    assert updated == ("update", {"name": "Eva", "tags": []}, {"name": "Eva K", "tags": ["x"]})
    assert archived == ("archive", {"status": "active"}, {"status": "archived"})
