"""/v1/posts, /v1/post-metrics, /v1/contracts and /v1/payouts."""

import pytest

from support.api import audit, ids, make, make_workspace, pointers, problem, unique

EUR = {"currency": "EUR"}


@pytest.fixture(name="names", scope="module")
def fixture_names(stack):
    """A campaign's slug and an influencer's handle."""
    slug, handle = unique("spring"), unique("anna")
    make(stack, "/v1/campaigns", {"name": "Spring", "slug": slug, "objective": "launch"})
    make(stack, "/v1/influencers", {"handle": handle})
    return {"campaign": slug, "influencer": handle}


def test_posts(stack, names):
    links = [stack.kudos.create_link("https://example.com/")["id"] for _ in range(2)]
    url = f"https://tiktok.com/@anna/{unique()}"
    fields = {"url": url, "platform": "TikTok", **names, "title": "First look",
              "published_at": "2027-03-02T18:00:00Z", "author_credit": "@anna", "tags": ["a"],
              "links": links[::-1], "external_id": unique("p"), "notes": "n"}
    made = make(stack, "/v1/posts", fields)
    assert (made["links"], made["platform"], made["status"]) == (links, "tiktok", "active")
    assert make(stack, "/v1/posts", {**fields, "url": url + "x"}, 200) == made
    taken = stack.kudos.admin("POST", "/v1/posts", {"url": url})
    assert pointers(problem(taken, 409, "url-taken")) == {"/url"}
    assert ids(stack, "/v1/posts", f"link={links[0]}") == [made["id"]]
    assert ids(stack, "/v1/posts", f"platform=TIKTOK&campaign={names['campaign']}") == [made["id"]]
    path = f"/v1/posts/{made['id']}"
    assert stack.kudos.admin("PATCH", path, {"links": []}).json()["links"] == []
    assert stack.kudos.admin("DELETE", path).json()["status"] == "archived"
    assert [entry[0] for entry in audit(stack, "post", made["id"])] == \
        ["create", "update", "archive"]


@pytest.mark.parametrize("fields, pointer", [
    ({"url": "javascript:1"}, "/url"), ({"links": [999999999]}, "/links"), ({"links": "1"}, "/links"),
    ({"links": [1, 1]}, "/links"), ({"campaign": "nowhere"}, "/campaign"),
])
def test_bad_posts(stack, fields, pointer):
    body = {"url": f"https://x.com/{unique()}", **fields}
    assert pointers(problem(stack.kudos.admin("POST", "/v1/posts", body), 422)) == {pointer}


def test_a_strangers_link_is_none(stack):
    stranger = make_workspace(stack, unique("brand"))
    theirs = make(stack, "/v1/links", {"destination": "https://example.com/"}, key=stranger)
    body = {"url": f"https://x.com/{unique()}", "links": [theirs["id"]]}
    assert pointers(problem(stack.kudos.admin("POST", "/v1/posts", body), 422)) == {"/links"}


def test_post_metrics(stack):
    post = make(stack, "/v1/posts", {"url": f"https://x.com/{unique()}"})
    numbers = {"reach": 1000, "impressions": 1500, "engagements": 90, "likes": 50, "comments": 10,
               "saves": 20, "shares": 10, "sentiment": -0.25}
    first = make(stack, "/v1/post-metrics", {"post": post["id"], "taken_at": "2027-03-03T00:00:00Z",
                                             "source": "tool", **numbers})
    assert {name: first[name] for name in numbers} == numbers
    assert first["post"] == post["id"]
    same = stack.kudos.admin("POST", "/v1/post-metrics", {
        "post": post["url"], "taken_at": "2027-03-03T00:00:00Z", "source": "tool", "reach": 1})
    problem(same, 409, "reading-taken")
    later = make(stack, "/v1/post-metrics", {"post": post["url"], "reach": 2000})
    assert later["source"] == "manual" and later["taken_at"].endswith("Z")
    listed = f"post={post['id']}&since=2027-03-02T00:00:00Z&until=2027-03-04T00:00:00Z"
    assert ids(stack, "/v1/post-metrics", listed) == [first["id"]]
    for bad in ({"reach": -1}, {"sentiment": 2}, {"reach": 1.5}, {"post": 999999999}):
        problem(stack.kudos.admin("POST", "/v1/post-metrics", {"post": post["id"], **bad}), 422)


def test_contracts(stack, names):
    fields = {**names, "flat_fee": {"amount": "500.00", **EUR}, "per_click": {"amount_minor": 5, **EUR},
              "per_lead": {"amount_minor": 100, **EUR}, "per_sale": {"amount_minor": 250, **EUR},
              "revenue_share": 7.5, "cap": {"amount": "5000", **EUR},
              "tiers": [{"from": 100, "revenue_share": 10},
                        {"from": 500, "per_sale": {"amount": "3", **EUR}}],
              "bonuses": [{"target": "sales", "from": 50, "amount": {"amount_minor": 1, **EUR}}],
              "deliverables": "2 reels\n3 stories", "otherwise": "No fee.", "payment_days": 14,
              "holding_days": 30, "starts_on": "2027-03-01", "ends_on": "2027-05-31",
              "signed_on": "2027-02-20", "status": "active", "external_id": unique("c")}
    made = make(stack, "/v1/contracts", fields)
    assert made["flat_fee"] == {"amount_minor": 50000, **EUR}
    assert made["tiers"][1]["per_sale"] == {"amount_minor": 300, **EUR}
    assert (made["revenue_share"], made["starts_on"], made["otherwise"]) == \
        (7.5, "2027-03-01", "No fee.")
    little = make(stack, "/v1/contracts", {"influencer": names["influencer"]})
    assert (little["payment_days"], little["holding_days"], little["status"]) == (30, 0, "draft")
    assert ids(stack, "/v1/contracts", f"campaign={names['campaign']}") == [made["id"]]


@pytest.mark.parametrize("fields, pointer", [
    ({"flat_fee": {"amount": 5.5, **EUR}}, "/flat_fee/amount"), ({"revenue_share": 0}, "/revenue_share"),
    ({"revenue_share": 101}, "/revenue_share"), ({"tiers": [{"from": 1}]}, "/tiers/0"),
    ({"tiers": [{"from": 1, "per_sale": {"amount": 1.5, **EUR}}]}, "/tiers/0"),
    ({"bonuses": [{"target": "fame", "from": 1, "amount": {"amount_minor": 1, **EUR}}]}, "/bonuses/0"),
    ({"payment_days": 400}, "/payment_days"), ({"starts_on": "2027-02-30"}, "/starts_on"),
    ({"starts_on": "2027-03-02", "ends_on": "2027-03-01"}, "/ends_on"),
    ({"influencer": "nobody"}, "/influencer"),
])
def test_bad_contracts(stack, names, fields, pointer):
    body = {"influencer": names["influencer"], **fields}
    assert pointers(problem(stack.kudos.admin("POST", "/v1/contracts", body), 422)) == {pointer}


def test_payouts(stack, names):
    contract = make(stack, "/v1/contracts", {"influencer": names["influencer"]})
    made = make(stack, "/v1/payouts", {
        **names, "contract": contract["id"], **EUR, "due_on": "2027-04-01",
        "period_from": "2027-03-01", "period_to": "2027-03-31",
        "lines": [{"text": "Fee", "amount": "500.00"}, {"text": "Refund", "amount_minor": -1250}]})
    assert made["lines"] == [{"text": "Fee", "amount_minor": 50000},
                             {"text": "Refund", "amount_minor": -1250}]
    assert made["total"] == {"amount_minor": 48750, **EUR} and made["status"] == "open"
    path = f"/v1/payouts/{made['id']}"
    unpaid = stack.kudos.admin("PATCH", path, {"status": "paid"})
    assert pointers(problem(unpaid, 422)) == {"/paid_at"}
    more = stack.kudos.admin("PATCH", path, {"lines": [{"text": "Fee", "amount_minor": 1}]})
    assert more.json()["total"] == {"amount_minor": 1, **EUR}
    paid = stack.kudos.admin("PATCH", path, {"status": "paid", "reference": "KUDOS 1",
                                             "paid_at": "2027-03-30T09:00:00Z"}).json()
    assert (paid["status"], paid["reference"]) == ("paid", "KUDOS 1")
    assert ids(stack, "/v1/payouts", "status=paid&due_before=2027-04-02") == [made["id"]]
    assert ids(stack, "/v1/payouts", "due_before=2027-04-01") == []
    for fields, pointer in (({"lines": [{"text": "x"}]}, "/lines/0"),
                            ({"lines": [{"text": "x", "amount": "1"}]}, "/lines/0"),
                            ({"lines": {}}, "/lines"), ({"currency": "USD"}, "/currency")):
        assert pointers(problem(stack.kudos.admin("PATCH", path, fields), 422)) == {pointer}
