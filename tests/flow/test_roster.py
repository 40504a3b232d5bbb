"""Rosters: a link and a code for each influencer of a campaign, in one transaction."""

import concurrent.futures
import csv
import io
import itertools
import os
import re

import pytest

from support.api import make_key, make_workspace, pointers, problem
from support.service import ROOT

NUMBERS = itertools.count(1)
CODE = {"template": "{HANDLE}{PERCENT}", "percent": 20}


def campaign(stack, **fields):
    """A new campaign; its JSON."""
    n = next(NUMBERS)
    answer = stack.kudos.admin("POST", "/v1/campaigns", {
        "name": f"Spring {n}", "slug": f"spring-{n}", "objective": "launch",
        "destination": "https://shop.example/spring", **fields})
    assert answer.status == 201, answer
    return answer.json()


def roster(stack, where, body, query="", **headers):
    """One call."""
    if isinstance(body, str):
        headers["Content-Type"] = "text/csv"
        body = body.encode()
    return stack.kudos.admin("POST", f"/v1/campaigns/{where['id']}/roster{query}", body,
                             headers=headers, timeout=60)


def people(*handles, code=CODE, **more):
    """A body."""
    body = {"influencers": [{"handle": handle} for handle in handles], **more}
    return {**body, "code": code} if code else body


def good(answer, **counts):
    """The items of an answer, after a look at its numbers."""
    assert answer.status == 200, answer
    answer = answer.json()
    assert {name: answer[name] for name in counts} == counts, answer
    assert [item["row"] for item in answer["items"]] == list(range(len(answer["items"])))
    return answer["items"]


def made(stack, where):
    """How many influencers, links, codes there are of a campaign."""
    return stack.postgres.sql(
        "select (select count(distinct influencer_id) from kudos.links where campaign_id = %s),"
        " (select count(*) from kudos.links where campaign_id = %s),"
        " (select count(*) from kudos.codes where campaign_id = %s)", *[where["id"]] * 3)[0]


def test_the_shape_to_keep(stack):
    where = campaign(stack)
    answer = roster(stack, where, {"influencers": [{"handle": "shape", "name": "Anna"}],
                                   "code": {"template": "{HANDLE}{PERCENT}", "percent": 20}})
    item, = good(answer, created=1, existed=0, error=0, dry_run=False)
    assert (item["handle"], item["status"]) == ("shape", "created")
    assert item["code"] == {"id": item["code"]["id"], "code": "SHAPE20"}
    link = stack.kudos.admin("GET", f"/v1/links/{item['link']['id']}").json()
    assert {name: link[name] for name in ("id", "slug", "short_url")} == item["link"]
    assert (link["campaign"], link["influencer"]) == (where["id"], item["influencer"])
    code = stack.kudos.admin("GET", f"/v1/codes/{item['code']['id']}").json()
    assert (code["campaign"], code["influencer"]) == (where["id"], item["influencer"])
    assert float(code["percent"]) == 20
    person = stack.kudos.admin("GET", f"/v1/influencers/{item['influencer']}").json()
    assert (person["handle"], person["name"]) == ("shape", "Anna")
    stack.wait_live(link["slug"])
    assert stack.kudos.get(f"/{link['slug']}").location.startswith("https://shop.example/spring")
    # Again: nothing new.
    again, = good(roster(stack, where, people("shape")), created=0, existed=1)
    assert again == {**item, "status": "existed"}
    assert made(stack, where) == (1, 1, 1)


def test_order_and_mixture(stack):
    where = campaign(stack)
    good(roster(stack, where, people("mix2", "mix4")), created=2)
    handles = [f"mix{n}" for n in range(1200)] + ["MIX7", "mix2"]
    items = good(roster(stack, where, people(*handles)), created=1198, existed=4)
    assert [item["handle"] for item in items] == handles
    assert [n for n, item in enumerate(items) if item["status"] == "existed"] == [2, 4, 1200, 1201]
    assert items[1200]["link"] == items[7]["link"] and items[1200]["code"] == items[7]["code"]
    assert made(stack, where) == (1200, 1200, 1200)
    assert len({item["link"]["slug"] for item in items}) == 1200
    assert items[1000]["code"]["code"] == "MIX100020"


def test_twins_in_one_batch(stack):
    where = campaign(stack)
    first, second = good(roster(stack, where, people("twin", "TWIN")), created=1, existed=1)
    assert first["link"] == second["link"] and first["code"] == second["code"]
    assert made(stack, where) == (1, 1, 1)


def test_codes_collide(stack):
    where, other = campaign(stack), campaign(stack)
    codes = [item["code"]["code"] for item in good(roster(
        stack, where, people("col-lide", "coll.ide", "COLLIDE", "collide_")), created=4)]
    assert codes == ["COLLIDE20", "COLLIDE20-2", "COLLIDE20-3", "COLLIDE20-4"]
    item, = good(roster(stack, other, people("collide")), created=1)
    assert item["code"]["code"] == "COLLIDE20-5"
    # After the plain names come random ones.
    handles = ["." * n + "collide" for n in range(1, 10)]
    codes = [item["code"]["code"] for item in good(roster(stack, other, people(*handles)))]
    assert codes[:4] == [f"COLLIDE20-{n}" for n in range(6, 10)]
    assert all(re.fullmatch(r"COLLIDE20-[A-Z0-9]{4}", code) for code in codes[4:])
    assert len(set(codes)) == 9


def test_rows_in_error_hold_up_no_other(stack):
    where = campaign(stack)
    items = good(roster(stack, where, {"influencers": [
        {"handle": "fine1"}, {"name": "no handle"}, {"handle": ""}, {"handle": "x", "colour": 1},
        {"handle": "fine2", "email": "f@example.com", "country": "DE", "tags": ["vip"]},
        {"handle": "prof", "profiles": [{"platform": "tiktok", "url": "https://t.example/p"}]},
        7], "code": CODE}), created=2, error=5)
    assert [item["status"] for item in items] == ["created", "error", "error", "error", "created",
                                                  "error", "error"]
    assert {error["pointer"] for error in items[1]["errors"]} == {"/influencers/1/handle"}
    assert {error["pointer"] for error in items[3]["errors"]} == {"/influencers/3/colour"}
    person = stack.kudos.admin("GET", f"/v1/influencers/{items[4]['influencer']}").json()
    assert (person["email"], person["country"], person["tags"]) == ("f@example.com", "DE", ["vip"])
    assert made(stack, where) == (2, 2, 2)


def test_csv(stack):
    where = campaign(stack, destination=None)
    text = "handle,name,tags\r\ncsv1,\"Eins, A\",\"a,b\"\r\ncsv2,,\r\n,nobody,\r\n"
    items = good(roster(stack, where, text, "?template=%7BHANDLE%7D-%7BPERCENT%7D&percent=12.5"
                        "&destination=https://shop.example/csv"), created=2, error=1)
    assert [item.get("line") for item in items] == [2, 3, 4]
    assert items[0]["code"]["code"] == "CSV1-12-5"
    person = stack.kudos.admin("GET", f"/v1/influencers/{items[0]['influencer']}").json()
    assert (person["name"], person["tags"]) == ("Eins, A", ["a", "b"])
    link = stack.kudos.admin("GET", f"/v1/links/{items[0]['link']['id']}").json()
    assert link["destination"] == "https://shop.example/csv"
    answer = roster(stack, where, text + "a,b\r\n", "?destination=https://shop.example/csv")
    assert answer.status == 400 and "line 5" in answer.json()["detail"]


def test_ndjson(stack):
    where = campaign(stack, destination=None)
    path, query = f"/v1/campaigns/{where['id']}/roster", "?template=%7BHANDLE%7D-%7BPERCENT%7D&percent=10"
    query += "&destination=https://shop.example/lines"
    kind = {"Content-Type": "application/x-ndjson"}
    text = ('{"handle": "line1", "name": "Eins", "tags": ["a", "b"]}\n\n{"handle": "line2"}\n'
            '{"handle": "line3", "tags": "a,b", "colour": 1}\n')
    items = good(stack.kudos.admin("POST", path + query, text.encode(), kind), created=2, error=1)
    assert [item["line"] for item in items] == [1, 3, 4]
    assert {error["pointer"] for error in items[2]["errors"]} == {"/2/tags", "/2/colour"}
    assert items[0]["code"]["code"] == "LINE1-10"
    link = stack.kudos.admin("GET", f"/v1/links/{items[1]['link']['id']}").json()
    assert link["destination"] == "https://shop.example/lines"
    assert stack.kudos.admin("GET", f"/v1/influencers/{items[0]['influencer']}").json()[
        "tags"] == ["a", "b"]
    good(stack.kudos.admin("POST", path + query, text.encode(), kind), existed=2, error=1)
    answer = stack.kudos.admin("POST", path + query, text.encode() + b"{]\n", kind)
    assert "line 5" in problem(answer, 400, "malformed")["detail"]
    for refused in ("text/plain", "application/xml", None):
        answer = stack.kudos.admin("POST", path, text.encode(),
                                   {"Content-Type": refused} if refused else None)
        for allowed in ("application/json", "application/x-ndjson", "text/csv"):
            assert allowed in problem(answer, 415)["detail"]
    assert made(stack, where) == (2, 2, 2)


def test_links_and_codes_have_more_in_common(stack):
    where = campaign(stack)
    item, = good(roster(stack, where, people(
        "common", code={"template": "X{HANDLE}", "amount": {"amount": "5.00", "currency": "EUR"},
                        "max_uses": 10, "ends_at": "2036-01-01T00:00:00Z"},
        link={"destination": "https://shop.example/{handle}", "utm": {"source": "{handle}"}})))
    code = stack.kudos.admin("GET", f"/v1/codes/{item['code']['id']}").json()
    assert (code["code"], code["max_uses"], code["percent"]) == ("XCOMMON", 10, None)
    link = stack.kudos.admin("GET", f"/v1/links/{item['link']['id']}").json()
    assert link["utm"] == {"source": "{handle}"}
    item, = good(roster(stack, where, people("codeless", code=None)), created=1)
    assert item["code"] is None


def test_dry_run(stack):
    where = campaign(stack)
    good(roster(stack, where, people("dry1")), created=1)
    before = stack.postgres.value("select count(*) from kudos.influencers")
    items = good(roster(stack, where, people("dry1", "dry2", "DRY2"), "?dry_run=true"),
                 dry_run=True, created=1, existed=2)
    assert items[0]["influencer"] and items[0]["link"]["id"]
    for item in items[1:]:  # nothing is named that will not be there
        assert item["code"] == {"code": "DRY220"}
        assert "id" not in item["link"] and "influencer" not in item
    assert made(stack, where) == (1, 1, 1)
    assert stack.postgres.value("select count(*) from kudos.influencers") == before


@pytest.mark.parametrize("body, where", [
    ({}, {"/influencers"}),
    ({"influencers": {}, "colour": 1}, {"/influencers", "/colour"}),
    (people("a", code={"template": "{PERCENT}", "percent": 20}), {"/code/template"}),
    (people("a", code={"template": "{HANDLE}{PERCENT}"}), {"/code/template"}),
    (people("a", code={"template": "{HANDLE}", "percent": 200}), {"/code/percent"}),
    (people("a", code={"percent": 20}), {"/code/template"}),
    (people("a", code={**CODE, "code": "X", "campaign": 1}), {"/code/code", "/code/campaign"}),
    (people("a", link={"destination": "x", "slug": "y"}), {"/link/destination", "/link/slug"}),
    (people("a", link=[], code=7), {"/code"}),
])
def test_what_is_refused(stack, body, where):
    there = campaign(stack)
    answer = roster(stack, there, body)
    assert pointers(problem(answer, 422)) == where
    assert made(stack, there) == (0, 0, 0)


def test_campaigns_of_others_and_keys(stack):
    where = campaign(stack)
    problem(roster(stack, {"id": 99999999}, people("a")), 404)
    stranger = make_workspace(stack, "roster-stranger")
    problem(roster(stack, where, people("a"), Authorization=f"Bearer {stranger}"), 404)
    problem(roster(stack, where, people("a"),
                   Authorization=f"Bearer {make_key(stack, scope='read')}"), 403)
    problem(roster(stack, campaign(stack, destination=None), people("a")), 422)
    problem(roster(stack, where, people(*map(str, range(10001)))), 413, "too-many-rows")
    problem(roster(stack, where, people("a"), "?dry_run=1"), 422)
    problem(roster(stack, where, people("a"), "?template=X"), 422)


def test_calls_that_arrive_together(stack):
    where = campaign(stack)
    handles = [f"together{n}" for n in range(700)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: roster(stack, where, people(*handles)), range(4)))
    items = [good(answer) for answer in answers]
    assert sum(answer.json()["created"] for answer in answers) == 700
    for each in items:
        assert [item["link"] for item in each] == [item["link"] for item in items[0]]
        assert [item["code"] for item in each] == [item["code"] for item in items[0]]
    assert made(stack, where) == (700, 700, 700)


def test_idempotency_key(stack):
    where = campaign(stack)
    body = people(*[f"once{n}" for n in range(3000)])
    first = roster(stack, where, body, **{"Idempotency-Key": "roster-once"})
    good(first, created=3000)
    again = roster(stack, where, body, **{"Idempotency-Key": "roster-once"})
    assert (again.status, again.body) == (200, first.body)
    problem(roster(stack, where, people("other"), **{"Idempotency-Key": "roster-once"}), 422,
            "idempotency-key-reused")
    assert stack.postgres.value("select count(*) from kudos.idempotency_pieces"
                                " where key = 'roster-once'") > 1
    assert stack.postgres.sql("select action, resource_id, (after ->> 'created')::int"
                              " from kudos.audit_log where action = 'roster'"
                              " and resource_id = %s", where["id"]) == [
        ("roster", where["id"], 3000)]


def test_blocked_words_stay_in_handles(stack):
    with open(os.path.join(ROOT, "server/links/blocked_words.txt"), encoding="utf-8") as file:
        word = next(line.strip() for line in file if line.strip() and line[0] != "#")
    where = campaign(stack)
    item, = good(roster(stack, where, people(f"{word}-fan")), created=1)
    assert item["code"]["code"] == f"{word.upper()}FAN20"


def test_ten_thousand(stack):
    where = campaign(stack)
    text = io.StringIO()
    csv.writer(text).writerows([["handle", "name"]] + [[f"tt{n}", f"N {n}"] for n in range(10000)])
    good(roster(stack, where, text.getvalue(), "?template=%7BHANDLE%7D"), created=10000)
    assert made(stack, where) == (10000, 10000, 10000)
