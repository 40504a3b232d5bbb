"""/v1/campaigns and /v1/codes."""

import pytest

from support.api import audit, ids, make, make_key, pointers, problem, unique

PATH = "/v1/campaigns"


def campaign(stack, **fields):
    """A campaign."""
    return make(stack, PATH, {"name": "Spring", "slug": unique("spring"), "objective": "launch",
                              **fields})


def test_the_shape_that_stays(stack):
    fields = {"name": "Spring launch", "slug": "spring-launch", "objective": "launch",
              "destination": "https://example.com/spring", "hashtag": "#springlaunch",
              "starts_at": "2027-03-01T00:00:00.000000Z", "ends_at": "2027-05-01T00:00:00.000000Z",
              "budget": {"amount_minor": 500000, "currency": "EUR"}}
    answer = stack.kudos.admin("POST", PATH, fields)
    assert answer.status == 201, answer
    made = answer.json()
    assert isinstance(made["id"], int)
    assert {name: made[name] for name in fields} == fields
    assert made["attribution"] == {"window_days": 30, "precedence": "code_first"}
    assert (made["status"], made["targets"], made["tags"], made["utm"]) == ("active", {}, [], None)
    read = stack.kudos.admin("GET", f"{PATH}/{made['id']}")
    assert read.json() == made and read.headers["ETag"] == answer.headers["ETag"]
    assert stack.postgres.sql("select budget_minor, budget_currency from kudos.campaigns"
                              " where id = %s", made["id"]) == [(500000, "EUR")]


def test_further_fields(stack):
    fields = {"brief": "Wear it.\n\nTag us.", "utm": {"source": "{handle}", "medium": "social"},
              "attribution": {"window_days": 14, "precedence": "split"},
              "targets": {"clicks": 1000, "roi": 2.5,
                          "revenue": {"amount_minor": 100, "currency": "USD"}},
              "tags": ["q2"], "notes": "n", "status": "draft", "external_id": unique("x")}
    made = campaign(stack, **fields)
    assert {name: made[name] for name in fields} == fields
    assert campaign(stack, attribution={"precedence": "link_first"})["attribution"] == \
        {"window_days": 30, "precedence": "link_first"}
    assert campaign(stack, budget={"amount": "12.5", "currency": "EUR"})["budget"] == \
        {"amount_minor": 1250, "currency": "EUR"}


def test_slug_from_the_name(stack):
    made = make(stack, PATH, {"name": "Herbst & Winter 2027!", "objective": "awareness"})
    assert made["slug"] == "herbst-winter-2027"
    taken = stack.kudos.admin("POST", PATH, {"name": "Herbst – Winter 2027", "objective": "event"})
    assert pointers(problem(taken, 409, "slug-taken")) == {"/slug"}
    nameless = stack.kudos.admin("POST", PATH, {"name": "春", "objective": "event"})
    assert pointers(problem(nameless, 422)) == {"/slug"}


@pytest.mark.parametrize("fields, pointer", [
    ({"objective": "fun"}, "/objective"), ({"slug": "Spring"}, "/slug"), ({"slug": "-a"}, "/slug"),
    ({"budget": 5}, "/budget"), ({"budget": {"amount": 5.5, "currency": "EUR"}}, "/budget/amount"),
    ({"budget": {"amount_minor": 5.0, "currency": "EUR"}}, "/budget/amount_minor"),
    ({"budget": {"amount_minor": 5, "currency": "EURO"}}, "/budget/currency"),
    ({"budget": {"amount_minor": 5, "amount": "5", "currency": "EUR"}}, "/budget"),
    ({"budget": {"amount_minor": -5, "currency": "EUR"}}, "/budget/amount_minor"),
    ({"attribution": {"window_days": 9999}}, "/attribution/window_days"),
    ({"attribution": {"precedence": "me"}}, "/attribution/precedence"),
    ({"attribution": {"colour": 1}}, "/attribution/colour"),
    ({"targets": {"fame": 1}}, "/targets/fame"), ({"targets": {"clicks": 1.5}}, "/targets/clicks"),
    ({"utm": {"colour": "x"}}, "/utm/colour"), ({"destination": "ftp://x/"}, "/destination"),
    ({"starts_at": "2027-02-01T00:00:00Z", "ends_at": "2027-01-01T00:00:00Z"}, "/ends_at"),
    ({"name": None}, "/name"), ({"budget": []}, "/budget"),
])
def test_bad_fields(stack, fields, pointer):
    made = campaign(stack)
    answer = stack.kudos.admin("PATCH", f"{PATH}/{made['id']}", fields)
    assert pointers(problem(answer, 422, "invalid")) == {pointer}
    assert stack.kudos.admin("GET", f"{PATH}/{made['id']}").json() == made


def test_dates_that_conflict_with_what_is_stored(stack):
    made = campaign(stack, starts_at="2027-02-01T00:00:00Z")
    problem(stack.kudos.admin("PATCH", f"{PATH}/{made['id']}", {"ends_at": "2027-01-01T00:00:00Z"}),
            422)


def test_each_change_is_kept(stack):
    made = campaign(stack, budget={"amount_minor": 1, "currency": "EUR"})
    path = f"{PATH}/{made['id']}"
    stack.kudos.admin("PATCH", path, {"budget": {"amount_minor": 2, "currency": "EUR"}})
    stack.kudos.admin("DELETE", path)
    created, updated, archived = audit(stack, "campaign", made["id"])
    assert created[2]["budget"] == {"amount_minor": 1, "currency": "EUR"}
    assert updated == ("update", {"budget": {"amount_minor": 1, "currency": "EUR"}},
                       {"budget": {"amount_minor": 2, "currency": "EUR"}})
    assert archived == ("archive", {"status": "active"}, {"status": "archived"})
    reader = make_key(stack, scope="read")
    other = campaign(stack)
    shown = stack.kudos.admin("GET", path + "/changes", key=reader).json()["items"]
    assert [entry["action"] for entry in shown] == ["archive", "update", "create"]
    assert shown[1]["before"] == updated[1] and shown[1]["key_name"] == "test" and shown[1]["time"]
    assert ids(stack, path + "/changes", "limit=1") == [entry["id"] for entry in shown]
    assert len(ids(stack, f"{PATH}/{other['id']}/changes")) == 1
    problem(stack.kudos.admin("GET", f"{PATH}/999999999/changes"), 404)


def test_links_follow_their_campaign(stack):
    made = campaign(stack, utm={"source": "{handle}"})
    handle = unique("anna")
    make(stack, "/v1/influencers", {"handle": handle})
    link = stack.kudos.create_link("https://example.com/", campaign=made["slug"],
                                   influencer=handle, click_id=False)
    assert stack.kudos.get(f"/{link['slug']}").location == \
        f"https://example.com/?utm_source={handle}"


# Codes --------------------------------------------------------------------------------------------

def test_codes_of_every_kind(stack):
    made = campaign(stack)
    handle = unique("anna")
    make(stack, "/v1/influencers", {"handle": handle})
    code = unique("ANNA")
    fields = {"code": code, "campaign": made["slug"], "influencer": handle, "percent": 12.5,
              "starts_at": "2027-03-01T00:00:00Z", "ends_at": "2027-05-01T00:00:00Z",
              "max_uses": 100, "max_uses_per_customer": 1, "external_id": unique("shop"),
              "minimum_order": {"amount": "20", "currency": "EUR"}, "tags": ["a"], "notes": "n"}
    one = make(stack, "/v1/codes", fields)
    assert (one["campaign"], one["percent"], one["status"]) == (made["id"], 12.5, "active")
    assert one["minimum_order"] == {"amount_minor": 2000, "currency": "EUR"}
    assert make(stack, "/v1/codes", {**fields, "code": unique()}, 200) == one  # its external_id
    assert make(stack, "/v1/codes", {"code": unique(), "percent": 20})["percent"] == 20
    money = make(stack, "/v1/codes", {"code": unique(),
                                      "amount": {"amount_minor": 500, "currency": "EUR"}})
    assert (money["percent"], money["free_shipping"]) == (None, False)
    assert make(stack, "/v1/codes", {"code": unique(), "free_shipping": True})["free_shipping"]
    taken = stack.kudos.admin("POST", "/v1/codes", {"code": code.lower(), "percent": 5})
    assert pointers(problem(taken, 409, "code-taken")) == {"/code"}
    assert ids(stack, "/v1/codes", f"campaign={made['slug']}") == [one["id"]]
    assert ids(stack, "/v1/codes", f"code={code.lower()}&influencer={handle}") == [one["id"]]
    assert stack.kudos.admin("DELETE", f"/v1/codes/{one['id']}").json()["status"] == "archived"


@pytest.mark.parametrize("fields, pointer", [
    ({"percent": 0}, "/percent"), ({"percent": 101}, "/percent"), ({"percent": 1.234}, "/percent"),
    ({"percent": "20"}, "/percent"), ({"percent": 5, "free_shipping": True}, "/percent"),
    ({"amount": {"amount": 5, "currency": "EUR"}}, "/amount/amount"), ({"code": "A B"}, "/code"),
    ({"max_uses": 0}, "/max_uses"), ({"campaign": "nowhere"}, "/campaign"),
])
def test_bad_codes(stack, fields, pointer):
    body = {"code": unique("C"), **fields}
    assert pointers(problem(stack.kudos.admin("POST", "/v1/codes", body), 422)) == {pointer}
