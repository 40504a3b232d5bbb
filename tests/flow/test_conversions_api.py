"""Conversions over HTTP: taken once, credited with a reason, in whatever order the facts arrive."""

import concurrent.futures
import itertools
import json
import re

import pytest

from support.http import BROWSER, request
from support.wait import wait_until


class Shop:
    """A campaign with two influencers, each with a link and a code, and a way to tell sales."""

    def __init__(self, stack):
        self.stack = stack
        self.api = stack.kudos.admin
        self.make("campaigns", slug="spring", name="Spring", objective="conversion",
                  destination="https://shop.example.com/")
        for handle in ("anna", "ben"):
            self.make("influencers", handle=handle, name=handle.title(),
                      email=f"{handle}@example.com")
            self.make("links", slug=handle, destination="https://shop.example.com/",
                      campaign="spring", influencer=handle)
            self.make("codes", code=f"{handle.upper()}20", percent=20, campaign="spring",
                      influencer=handle)
        self.orders = itertools.count(1)

    def make(self, kind, **members):
        """POSTs one; returns its id."""
        answer = self.api("POST", f"/v1/{kind}", members)
        assert answer.status == 201, answer.text
        return answer.json()["id"]

    def policy(self, precedence, days=30):
        """Sets the campaign's."""
        found = self.api("GET", "/v1/campaigns?slug=spring").json()["items"][0]["id"]
        answer = self.api("PATCH", f"/v1/campaigns/{found}", {
            "attribution": {"window_days": days, "precedence": precedence}})
        assert answer.status == 200, answer.text

    def click(self, slug, **headers):
        """A visitor's click; its id."""
        answer = request(self.stack.kudos.port, path=f"/{slug}", headers={**BROWSER, **headers})
        return answer.location.partition("kudos_id=")[2]

    def tell(self, headers=None, **members):
        """POSTs a conversion; the answer."""
        return self.api("POST", "/v1/conversions", {"event": "sale", **members}, headers=headers)

    def order(self):
        """A new order id."""
        return f"A-{next(self.orders)}"

    def why(self, number):
        """The explanation."""
        answer = self.api("GET", f"/v1/conversions/{number}/why")
        assert answer.status == 200, answer.text
        return answer.json()

    def settle(self):
        """Clicks are flushed."""
        self.stack.assert_consistent()


@pytest.fixture(name="shop", scope="module")
def fixture_shop(stack):
    return Shop(stack)


MONEY = {"amount": "49.90", "currency": "EUR"}


def test_sale_by_click(shop):
    order = shop.order()
    answer = shop.tell(order_id=order, click_id=shop.click("anna"), **MONEY)
    assert answer.status == 201, answer.text
    assert answer.json() == {"outcome": "created", "id": answer.json()["id"], "status": "credited",
                           "influencer": "anna", "campaign": "spring", "via": "link",
                           "reason": "only_link"}
    shown = shop.api("GET", f"/v1/conversions/{answer.json()['id']}").json()
    assert shown["amount_minor"] == 4990 and shown["currency"] == "EUR"
    assert shown["order_id"] == order and shown["verified"] is True and shown["customer"] is None


def test_sale_by_code_whatever_its_case(shop):
    answer = shop.tell(order_id=shop.order(), code=" anna20 ", **MONEY)
    assert answer.status == 201
    assert (answer.json()["influencer"], answer.json()["via"]) == ("anna", "code")


def test_told_again(shop):
    order = shop.order()
    first = shop.tell(order_id=order, code="BEN20", **MONEY)
    again = shop.tell(order_id=order, code="BEN20", amount_minor=4990, currency="EUR")
    assert (first.status, again.status) == (201, 200)
    assert again.json() == {**first.json(), "outcome": "repeated"}
    other = shop.tell(order_id=order, amount="49.91", currency="EUR")
    assert other.status == 409 and other.json()["errors"][0]["pointer"] == "/amount"
    assert shop.tell(order_id=order, amount="49.90", currency="USD").status == 409
    shown = shop.api("GET", f"/v1/conversions/{first.json()['id']}").json()
    assert shown["amount_minor"] == 4990 and shown["conflicts"] == 2


@pytest.mark.parametrize("precedence,winner,amounts", [
    ("code_first", "ben", {"ben": 5001}), ("last_touch", "ben", {"ben": 5001}),
    ("link_first", "anna", {"anna": 5001}), ("first_touch", "anna", {"anna": 5001}),
    ("split", "ben", {"anna": 2500, "ben": 2501}),
])
def test_both_a_click_and_a_code(shop, precedence, winner, amounts):
    shop.policy(precedence)
    answer = shop.tell(order_id=shop.order(), click_id=shop.click("anna"), code="BEN20",
                       amount_minor=5001, currency="EUR")
    assert answer.json()["influencer"] == winner and answer.json()["reason"] == precedence
    why = shop.why(answer.json()["id"])
    assert {each["influencer"]: each["amount_minor"] for each in why["touches"]
            if each["won"]} == amounts
    assert len(why["touches"]) == 2 and all(each["sentence"] for each in why["touches"])
    shop.policy("code_first")


def test_what_cannot_be_credited_says_why(shop):
    good = shop.click("anna")
    forged = good[:20] + ("A" if good[20] != "A" else "B") + good[21:]
    shop.make("codes", code="OLD", percent=5, campaign="spring", influencer="ben",
              ends_at="2020-01-01T00:00:00Z")
    cases = {
        "no_click_and_no_code": {},
        "bad_signature": {"click_id": forged},
        "unknown_code": {"code": "NOBODYS"},
        "code_expired": {"code": "old"},
        "outside_window": {"click_id": good, "occurred_at": None},
        "self_referral": {"code": "ANNA20", "customer": "Anna@Example.com"},
    }
    shop.stack.postgres.sql("update kudos.campaigns set attribution = attribution"
                            " || '{\"window_days\": 0}' where slug = 'spring'")
    for reason, members in cases.items():
        members = {name: value for name, value in members.items() if value}
        answer = shop.tell(order_id=shop.order(), **members, **MONEY)
        assert answer.status == 201
        assert (answer.json()["status"], answer.json()["reason"]) == ("unattributed", reason)
        assert shop.why(answer.json()["id"])["sentence"]
    shop.policy("code_first")
    rows = shop.stack.postgres.sql("select order_id, reason from report.unattributed"
                                   " where workspace = 'default' order by conversion_id")
    assert {row[1] for row in rows} >= set(cases)


def test_disabled_code_keeps_what_it_earned(shop):
    code = shop.make("codes", code="GONE", percent=5, campaign="spring", influencer="ben")
    before = shop.tell(order_id=shop.order(), code="GONE", **MONEY).json()
    shop.api("PATCH", f"/v1/codes/{code}", {"status": "disabled"})
    after = shop.tell(order_id=shop.order(), code="GONE", **MONEY).json()
    assert (before["status"], after["reason"]) == ("credited", "code_disabled")
    shop.stack.postgres.sql("select kudos.credit_conversion(%s)", before["id"])
    assert shop.why(before["id"])["status"] == "credited"


def test_robots_click_earns_nothing_once_it_is_flushed(shop):
    robot = shop.click("anna", **{"User-Agent": "curl/8.0"})
    sale = shop.tell(order_id=shop.order(), click_id=robot, **MONEY).json()
    shop.settle()
    wait_until(lambda: shop.why(sale["id"])["reason"] == "non_human_click", 10,
               "the click's row is taken into account")
    assert shop.why(sale["id"])["status"] == "unattributed"


def test_refunds_take_back_in_the_same_parts(shop):
    shop.policy("split")
    order = shop.order()
    early = shop.tell(event="refund", refund_id="R-1", order_id=order, amount="10.01",
                      currency="EUR")
    assert (early.status, early.json()["reason"]) == (201, "unknown_order")
    shop.tell(order_id=order, click_id=shop.click("anna"), code="BEN20", amount_minor=5001,
              currency="EUR")
    late = shop.tell(event="refund", refund_id="R-2", order_id=order, amount="40.00",
                     currency="EUR").json()
    for number in (early.json()["id"], late["id"]):
        assert shop.why(number)["status"] == "credited"
    left = dict(shop.stack.postgres.sql(
        "select influencer, sum(amount_minor)::bigint from report.attributions"
        " where order_id = %s and won group by 1", order))
    assert left == {"anna": 2500 - 500 - 2000, "ben": 2501 - 501 - 2000}
    assert shop.tell(event="refund", refund_id="R-2", order_id=order, amount="40.00",
                     currency="EUR").json()["outcome"] == "repeated"
    shop.policy("code_first")


def test_every_order_of_arrival_gives_the_same(shop):
    """A sale told in three parts, its refund, and the code that is entered last or first."""
    click = shop.click("anna")
    ends = set()
    for number, steps in enumerate(itertools.permutations("abcrk")):
        order, code = f"P-{number}", f"PERM{number}"
        told = {
            "a": lambda: shop.tell(order_id=order, **MONEY),
            "b": lambda: shop.tell(order_id=order, click_id=click),
            "c": lambda: shop.tell(order_id=order, code=code, customer="c@example.com"),
            "r": lambda: shop.tell(event="refund", refund_id=f"PR-{number}", order_id=order,
                                   amount="9.90", currency="EUR"),
            "k": lambda: shop.api("POST", "/v1/codes", {
                "code": code, "percent": 5, "campaign": "spring", "influencer": "ben"}),
        }
        for step in steps:
            assert told[step]().status in (200, 201)
        rows = shop.stack.postgres.sql(
            "select event, via::text, influencer, won, share_percent, amount_minor, reason"
            " from report.attributions where order_id = %s order by 1, 2", order)
        ends.add(json.dumps(rows))
    assert len(ends) == 1, ends
    assert '"ben", true, 100, 4990, "code_first"' in ends.pop()


def test_fifty_at_once_are_one(shop):
    order = shop.order()

    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: shop.tell(order_id=order, code="ANNA20", **MONEY),
                                range(50)))
    assert sorted(each.status for each in answers) == [200] * 49 + [201]
    assert len({each.json()["id"] for each in answers}) == 1


def test_idempotency_key(shop):
    order = shop.order()
    key = {"Idempotency-Key": f"k-{order}"}
    first = shop.tell(key, order_id=order, code="ANNA20", **MONEY)
    again = shop.tell(key, order_id=order, code="ANNA20", **MONEY)
    assert first.status == again.status == 201 and first.json() == again.json()
    assert shop.tell(key, order_id=order, code="BEN20", **MONEY).status == 422


def test_many_at_once(shop):
    rows = [{"event": "sale", "order_id": f"M-{n}", "amount_minor": n, "currency": "EUR",
             "code": "ANNA20"} for n in range(1, 1201)]
    rows[3] = {"event": "sale", "order_id": "M-4", "amount": 1.5, "currency": "EUR"}
    rows[7] = rows[6]
    key = {"Idempotency-Key": "many"}
    answer = shop.api("POST", "/v1/conversions", rows, headers=key)
    assert answer.status == 200, answer.text
    told = answer.json()
    assert {name: told[name] for name in ("created", "repeated", "error", "conflict")} == {
        "created": 1198, "repeated": 1, "error": 1, "conflict": 0}
    assert len(told["items"]) == 1200
    assert told["items"][3]["errors"][0]["pointer"] == "/amount" and told["items"][3]["row"] == 3
    assert told["items"][7]["id"] == told["items"][6]["id"]
    assert told["items"][1199]["influencer"] == "anna"
    assert shop.api("POST", "/v1/conversions", rows, headers=key).json() == told
    again = shop.api("POST", "/v1/conversions", rows).json()
    assert (again["created"], again["repeated"]) == (0, 1199)
    count, total = shop.stack.postgres.sql(
        "select count(*), sum(amount_minor) from kudos.conversions where order_id like 'M-%%'")[0]
    assert (count, total) == (1198, sum(range(1, 1201)) - 4 - 8)


def test_many_as_csv(shop):
    text = "event,order_id,amount,currency,code\r\nsale,C-1,12.50,EUR,BEN20\r\nsale,,1,EUR,\r\n"
    answer = shop.api("POST", "/v1/conversions", text.encode(), headers={"Content-Type": "text/csv"})
    assert answer.status == 200, answer.text
    good, bad = answer.json()["items"]
    assert (good["influencer"], bad["line"]) == ("ben", 3)
    broken = shop.api("POST", "/v1/conversions", b'[{"event": "sale", "order_id": "C-2"}, {',
                      headers={"Content-Type": "application/json"})
    assert broken.status == 400
    assert shop.api("GET", "/v1/conversions?order_id=C-2").json()["items"] == []


@pytest.mark.parametrize("members,pointers", [
    ({"event": "Sale!"}, ["/event"]),
    ({"order_id": None}, ["/order_id"]),
    ({"amount": 49.9}, ["/amount"]),
    ({"amount": "1,667.80"}, ["/amount"]),
    ({"amount": "1e3"}, ["/amount"]),
    ({"amount": "NaN"}, ["/amount"]),
    ({"amount": "-1"}, ["/amount"]),
    ({"amount": "1.234"}, ["/amount"]),
    ({"amount": "1.5", "currency": "JPY"}, ["/amount"]),
    ({"amount": "99999999999999999999"}, ["/amount"]),
    ({"amount_minor": 1}, ["/amount"]),
    ({"amount": None, "amount_minor": 1.5}, ["/amount_minor"]),
    ({"currency": "XXZ"}, ["/currency"]),
    ({"currency": None}, ["/currency"]),
    ({"event": "refund"}, ["/refund_id"]),
    ({"occurred_at": "yesterday"}, ["/occurred_at"]),
    ({"occurred_at": "2999-01-01T00:00:00Z"}, ["/occurred_at"]),
    ({"items": {}, "metadata": []}, ["/items", "/metadata"]),
    ({"amunt": "1"}, ["/amunt"]),
])
def test_bad_reports_name_the_place(shop, members, pointers):
    body = {"event": "sale", "order_id": "bad", **MONEY, **members}
    body = {name: value for name, value in body.items() if value is not None}
    answer = shop.api("POST", "/v1/conversions", body)
    assert answer.status == 422, answer.text
    assert sorted({each["pointer"] for each in answer.json()["errors"]}) == pointers
    assert shop.api("GET", "/v1/conversions?order_id=bad").json()["items"] == []


def test_customer_is_nowhere_in_clear(shop):
    shop.tell(order_id=shop.order(), code="ANNA20", customer="secret-person@example.com", **MONEY)
    dump = shop.stack.postgres.sql("select row_to_json(c)::text from kudos.conversions c")
    dump += shop.stack.postgres.sql("select row_to_json(a)::text from kudos.audit_log a")
    assert not any("secret-person" in row[0] for row in dump)


def test_influencer_performance(shop):
    shop.settle()
    rows = shop.stack.postgres.sql(
        "select influencer, sum(revenue_minor)::bigint from report.influencer_performance"
        " where currency = 'EUR' group by 1")
    credited = shop.stack.postgres.value(
        "select sum(amount_minor)::bigint from report.conversions"
        " where status = 'credited' and currency = 'EUR'")
    assert sum(row[1] for row in rows) == credited
    clicks = dict(shop.stack.postgres.sql(
        "select distinct influencer, clicks from report.influencer_performance"
        " where campaign = 'spring'"))
    assert clicks["anna"] >= 8


def test_campaign_performance_and_payouts_due(shop):
    shop.make("posts", url="https://video.example.com/1", campaign="spring", influencer="anna")
    rows = shop.stack.postgres.sql(
        "select currency, revenue_minor, conversions, clicks, influencers, posts"
        " from report.campaign_performance where campaign = 'spring' order by 1")
    credited = shop.stack.postgres.sql(
        "select currency, sum(amount_minor)::bigint, count(*) filter (where event <> 'refund')"
        " from report.conversions where campaign = 'spring' and status = 'credited' group by 1"
        " order by 1")
    assert [row[:3] for row in rows] == credited
    assert rows[0][3] >= 8 and rows[0][4:] == (2, 1)
    late = shop.make("payouts", influencer="anna", currency="EUR", due_on="2020-01-01")
    due = shop.stack.postgres.sql(
        "select payout_id, influencer, overdue, days_left < 0 from report.payouts_due")
    assert due == [(late, "anna", True, True)]


def test_told_by_its_click_alone_and_with_its_order(shop):
    """It is one sale, whichever came first; two orders by one click are two."""
    for click_first in (True, False):
        click, order = shop.click("ben"), shop.order()
        steps = [{"click_id": click}, {"click_id": click, "order_id": order}]
        told = [shop.tell(**step, **MONEY).json()["id"] for step in (steps if click_first else steps[::-1])]
        alone, ordered = told if click_first else told[::-1]
        assert shop.why(alone)["reason"] == "duplicate" and shop.why(alone)["status"] == "unattributed"
        assert shop.why(ordered)["reason"] == "only_link"
        assert shop.tell(click_id=click, order_id=shop.order(), **MONEY).json()["status"] == "credited"


def test_reasons_are_those_documented(shop):
    """README, sentences and schema name the same, and the tests above and this one have given each."""
    shop.make("links", slug="nobody", destination="https://shop.example.com/")
    shop.make("codes", code="NOBODY", percent=5)
    shop.make("codes", code="SOON", percent=5, campaign="spring", influencer="ben",
              starts_at="2999-01-01T00:00:00Z")
    shop.make("codes", code="ONCE", percent=5, campaign="spring", influencer="ben", max_uses=1)
    for _ in range(2):
        shop.tell(order_id=shop.order(), code="ONCE", **MONEY)
    good = shop.click("anna")
    shop.tell(order_id=shop.order(), click_id=shop.click("nobody"), **MONEY)
    shop.tell(order_id=shop.order(), code="NOBODY", **MONEY)
    shop.tell(order_id=shop.order(), code="SOON", **MONEY)
    shop.tell(order_id=shop.order(), click_id=good, occurred_at="2026-01-01T00:00:00Z", **MONEY)
    empty = shop.order()
    shop.tell(order_id=empty, **MONEY)
    shop.tell(event="refund", refund_id=f"R-{empty}", order_id=empty, amount="1.00", currency="EUR")
    shop.tell(event="refund", refund_id="R-none", order_id="none", amount="1.00", currency="EUR")
    shop.stack.postgres.sql(
        "select kudos.record_conversion(id, '{\"event\": \"sale\", \"key\": \"u\", \"order_id\": \"u\", \"path\": \"pixel\","
        " \"verified\": false}') from kudos.workspaces where name = 'default'")
    shop.stack.postgres.sql(
        "select kudos.record_conversion(id, '{\"event\": \"sale\", \"key\": \"v\", \"order_id\": \"v\", \"path\": \"api\","
        " \"verified\": true, \"click_id\": \"x\", \"click_origin\": 1, \"click_seq\": 1, \"click_link_id\": 999999999,"
        " \"click_time\": \"2026-01-01\"}') from kudos.workspaces where name = 'default'")
    shop.stack.postgres.sql(
        "select kudos.record_conversion(l.workspace_id, jsonb_build_object('event', 'sale', 'key', 'w', 'order_id', 'w',"
        " 'path', 'api', 'verified', true, 'click_id', 'w', 'click_origin', 1, 'click_seq', 2, 'click_link_id', l.id,"
        " 'click_time', now() - interval '31 days')) from kudos.links l where l.slug = 'anna'")
    given = set()
    for precedence in ("link_first", "last_touch", "first_touch", "split", "code_first"):
        shop.policy(precedence)
        told = shop.tell(order_id=shop.order(), click_id=good, code="BEN20", **MONEY).json()
        given |= {told["reason"], *(touch["reason"] for touch in shop.why(told["id"])["touches"])}
    given |= {row[0] for row in shop.stack.postgres.sql(
        "select reason from kudos.attributions union select reason from kudos.conversions")}
    source = open("server/conversions/reason.c", encoding="utf-8").read()
    sentences = set(re.findall(r'\{"(\w+)",', source))
    readme = open("server/conversions/README.md", encoding="utf-8").read()
    assert given <= sentences, given - sentences
    assert sentences == given
    missing = [word for word in sentences if f"`{word}`" not in readme and not word.startswith("outranked_")]
    assert missing == []


def test_every_reason_has_a_sentence(shop):
    for number, in shop.stack.postgres.sql("select id from kudos.conversions"):
        why = shop.why(number)
        assert why["sentence"], why
