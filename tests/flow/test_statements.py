"""Statements, and payouts that are made from them: lines are frozen once, corrections are new lines."""

import concurrent.futures
import csv
import io

import pytest

from support.api import pointers, problem
from support.brand import EUR, Brand, money

STACK = {"roles": "admin"}


@pytest.fixture(name="brand")
def fixture_brand(stack):
    made = Brand(stack)
    made.influencer("anna")
    return made


def pay(brand, contract, headers=None, **members):
    """POSTs a payout from a contract's statement; the answer."""
    return brand.stack.kudos.admin("POST", "/v1/payouts", {
        "contract": contract, "currency": EUR, "from_statement": True, **members}, headers, key=brand.key)


def frozen(brand, payout):
    """[(kind, event, minor, correction)] of its lines."""
    return brand.sql("select kind, event, amount_minor, correction from report.payout_lines"
                     " where payout_id = %s order by position", payout)


def settle(brand, payout, **members):
    """Marks it as paid."""
    answer = brand.api("PATCH", f"/v1/payouts/{payout}", {
        "status": "paid", "paid_at": "2026-05-01T09:00:00Z", **members})
    assert answer.status == 200, answer


def statement(brand, query="", who="anna"):
    """GETs one; its JSON."""
    answer = brand.api("GET", f"/v1/influencers/{brand.influencers[who]}/statement{query}")
    assert answer.status == 200, answer
    return answer.json()


def test_statement_has_a_line_for_everything(brand):
    contract = brand.contract("anna", flat_fee=money(500), per_click=money(2), revenue_share=10, payment_days=14)
    order = brand.sale("anna", 1999, at="2026-03-01T12:00:00Z")
    brand.refund(order, 999, at="2026-03-05T12:00:00Z")
    day = brand.value("select (current_date - 3)::text")
    brand.click("anna", day, 1)
    brand.click("anna", day, None)
    brand.count()
    told = statement(brand)
    assert [(line["day"], line["kind"], line["event"], line["amount_minor"], line["quantity"], line["rule"],
             line["reason"], line["status"]) for line in told["items"]] == [
        ("2026-01-01", "flat_fee", None, 500, 1, "flat_fee", "agreed", "due"),
        ("2026-03-01", "share", "sale", 200, 1, "revenue_share", "only_code", "due"),
        ("2026-03-05", "share", "refund", -100, 1, "revenue_share", "refund_of_credited_order", "due"),
        (day, "clicks", "click", 4, 2, "per_click", "valid_clicks", "due")]
    assert told["items"][1]["base_minor"] == 1999 and told["items"][1]["rate_percent"] == 10
    assert told["items"][1]["due_on"] == "2026-03-15" and told["items"][1]["overdue"] is True
    assert told["items"][3]["unidentified"] == 1 and told["items"][3]["overdue"] is False
    assert told["totals"] == told["balance"] == [
        {"currency": EUR, "earned_minor": 604, "held_minor": 0, "due_minor": 604, "paid_minor": 0}]
    march = statement(brand, "?from=2026-03-01&until=2026-03-05&campaign=spring")
    assert [line["order_id"] for line in march["items"]] == [order]
    assert march["totals"][0]["earned_minor"] == 200 and march["balance"][0]["earned_minor"] == 604
    assert statement(brand, "?campaign=nowhere")["items"] == []
    assert march["items"][0]["contract"] == str(contract)


def test_statement_as_csv(brand):
    brand.contract("anna", revenue_share=10, external_id="=1+1")
    order = brand.sale("anna", 1999)
    answer = brand.api("GET", f"/v1/influencers/{brand.influencers['anna']}/statement?format=csv")
    assert answer.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["order_id"], row["amount_minor"], row["currency"], row["contract"]) for row in rows] == [
        (order, "200", EUR, "'=1+1")]
    brand.influencer("ben")
    nothing = brand.api("GET", f"/v1/influencers/{brand.influencers['ben']}/statement?format=csv")
    assert nothing.status == 200 and nothing.text.count("\r\n") == 1
    for form in ("json", "csv"):
        problem(brand.api("GET", f"/v1/influencers/999999999/statement?format={form}"), 404, "not-found")
    bad = brand.api("GET", f"/v1/influencers/{brand.influencers['ben']}/statement?from=x&format=pdf&extra=1")
    assert pointers(problem(bad, 422)) == {"from", "format", "extra"}


def test_a_payout_freezes_its_lines(brand):
    contract = brand.contract("anna", flat_fee=money(50000), revenue_share=10, payment_days=14)
    order = brand.sale("anna", 1000)
    answer = pay(brand, contract, period_to="2026-03-31")
    assert answer.status == 201, answer
    made = answer.json()
    today = brand.value("select current_date")
    assert made["total"] == {"amount_minor": 50100, "currency": EUR} and made["from_statement"] is True
    assert made["influencer"] == brand.influencers["anna"] and made["campaign"] == brand.campaign
    assert made["lines"] == [{"text": "Flat fee", "amount_minor": 50000},
                             {"text": "Shares of revenue: 1", "amount_minor": 100}]
    assert (made["period_from"], made["period_to"]) == ("2026-01-01", "2026-03-31")
    assert made["due_on"] == str(brand.value("select current_date + 14"))
    assert frozen(brand, made["id"]) == [("flat_fee", None, 50000, False), ("share", "sale", 100, False)]
    assert brand.earned(contract, "earned_minor due_minor in_payouts_minor paid_minor") == (50100, 50100, 50100, 0)
    assert brand.sql("select status, total_minor, due_on - %s, overdue, payout_id from report.payouts_due"
                     " where workspace = %s", today, brand.name) == [("open", 50100, 14, False, made["id"])]
    problem(pay(brand, contract), 409, "nothing-due")
    for change in ({"lines": []}, {"period_to": "2026-04-30"}, {"campaign": None}):
        problem(brand.api("PATCH", f"/v1/payouts/{made['id']}", change), 409, "frozen")
    settle(brand, made["id"], reference="KUDOS 1")
    settle(brand, made["id"])
    problem(brand.api("PATCH", f"/v1/payouts/{made['id']}", {"paid_at": "2026-06-01T00:00:00Z"}), 409, "over")
    problem(brand.api("PATCH", f"/v1/payouts/{made['id']}", {"status": "cancelled"}), 409, "over")
    assert brand.earned(contract, "earned_minor due_minor paid_minor") == (50100, 0, 50100)
    assert brand.api("DELETE", f"/v1/payouts/{made['id']}").status == 200  # hidden from lists, and still paid
    assert brand.earned(contract, "due_minor paid_minor") == (0, 50100)
    assert order in {line["order_id"] for line in statement(brand)["items"]}


def test_refunds_after_the_payout_are_new_lines(brand):
    contract = brand.contract("anna", revenue_share=10)
    order = brand.sale("anna", 1000)
    first = pay(brand, contract).json()["id"]
    settle(brand, first)
    brand.refund(order, 1000)
    assert brand.earned(contract, "earned_minor due_minor paid_minor") == (0, -100, 100)
    problem(pay(brand, contract), 409, "nothing-due")  # nobody is paid less than nothing
    brand.sale("anna", 3000)
    second = pay(brand, contract).json()
    assert second["total"]["amount_minor"] == 200
    assert frozen(brand, second["id"]) == [("share", "sale", 300, False), ("share", "refund", -100, False)]
    assert frozen(brand, first) == [("share", "sale", 100, False)]


def test_what_is_credited_otherwise_later_is_corrected(brand):
    brand.influencer("ben")
    contracts = {who: brand.contract(who, revenue_share=10) for who in ("anna", "ben")}
    order = brand.sale("anna", 1000)
    brand.sale("anna", 700, "keeps")
    paid = pay(brand, contracts["anna"]).json()
    settle(brand, paid["id"])
    # The code turns out to be Ben's.
    brand.sql("update kudos.conversions set code = 'BEN20' where workspace_id = %s and order_id = %s",
              brand.number, order)
    brand.sql("select kudos.credit_conversion(id) from kudos.conversions where workspace_id = %s", brand.number)
    assert brand.earned(contracts["anna"], "earned_minor due_minor paid_minor") == (70, -100, 170)
    assert brand.earned(contracts["ben"]) == 100
    corrected = [line for line in statement(brand)["items"] if line["corrected"]]
    assert [(line["amount_minor"], line["due_minor"], line["reason"]) for line in corrected] == [
        (0, -100, "earned_no_more")]
    brand.sale("anna", 5000)
    assert frozen(brand, pay(brand, contracts["anna"]).json()["id"]) == [
        ("share", "sale", -100, True), ("share", "sale", 500, False)]
    assert frozen(brand, paid["id"]) == [("share", "sale", 100, False), ("share", "sale", 70, False)]
    # Back again: what was taken back is given again.
    brand.sql("update kudos.conversions set code = 'ANNA20' where workspace_id = %s and order_id = %s",
              brand.number, order)
    brand.sql("select kudos.credit_conversion(id) from kudos.conversions where workspace_id = %s", brand.number)
    assert frozen(brand, pay(brand, contracts["anna"]).json()["id"]) == [("share", "sale", 100, True)]
    assert brand.earned(contracts["anna"], "earned_minor in_payouts_minor paid_minor") == (670, 500, 170)


def test_held_lines_and_later_days_wait(brand):
    contract = brand.contract("anna", revenue_share=10, holding_days=20)
    recent = brand.value("select (current_date - 5)::text")
    brand.sale("anna", 1000, at="2026-03-01T00:00:00Z")
    brand.sale("anna", 2000, at="2026-04-01T00:00:00Z")
    brand.sale("anna", 4000, at=f"{recent}T00:00:00Z")
    assert pay(brand, contract, period_to="2026-03-31").json()["total"]["amount_minor"] == 100
    assert pay(brand, contract).json()["total"]["amount_minor"] == 200
    problem(pay(brand, contract), 409, "nothing-due")
    due = brand.sql("select status, total_minor, days_left, overdue from report.payouts_due"
                    " where workspace = %s and status = 'earned'", brand.name)
    assert due == [("earned", 400, 15 + 30, False)]
    soon = brand.value("select (current_date + 46)::text")
    listed = brand.api("GET", f"/v1/reports/payouts_due?status=earned&until={soon}").json()["items"]
    assert [(one["total_minor"], one["overdue"]) for one in listed] == [(400, False)]
    before = brand.value("select (current_date + 45)::text")
    assert brand.api("GET", f"/v1/reports/payouts_due?status=earned&until={before}").json()["items"] == []


def test_a_cancelled_payout_sets_its_lines_free(brand):
    contract = brand.contract("anna", flat_fee=money(500))
    first = pay(brand, contract).json()["id"]
    assert brand.api("PATCH", f"/v1/payouts/{first}", {"status": "cancelled"}).status == 200
    assert brand.earned(contract, "due_minor in_payouts_minor") == (500, 0)
    second = pay(brand, contract).json()["id"]
    problem(brand.api("PATCH", f"/v1/payouts/{first}", {"status": "open"}), 409, "over")
    assert frozen(brand, second) == [("flat_fee", None, 500, False)]


def test_two_at_once_freeze_each_line_once(brand):
    contract = brand.contract("anna", revenue_share=10)
    for _ in range(5):
        brand.sale("anna", 1000)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: pay(brand, contract, period_to="2026-03-31"), range(8)))
    assert sorted(each.status for each in answers) == [201] + [409] * 7
    assert brand.sql("select count(*)::int, sum(amount_minor)::int from report.payout_lines where contract_id = %s",
                     contract) == [(5, 500)]


def test_idempotency_key_and_external_id(brand):
    contract = brand.contract("anna", flat_fee=money(500))
    key = {"Idempotency-Key": f"pay-{contract}"}
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: pay(brand, contract, key, external_id="march"), range(4)))
    assert [each.status for each in answers] == [201] * 4
    assert len({each.json()["id"] for each in answers}) == 1
    found = pay(brand, contract, external_id="march")  # found instead of made anew
    assert (found.status, found.json()["id"]) == (200, answers[0].json()["id"])
    assert brand.value("select count(*) from kudos.payout_lines where contract_id = %s", contract) == 1


def test_currencies_are_paid_apart(brand):
    contract = brand.contract("anna", revenue_share=10)
    brand.sale("anna", 1000)
    brand.sale("anna", 4000, currency="USD")
    assert pay(brand, contract, currency="USD").json()["total"] == {"amount_minor": 400, "currency": "USD"}
    assert pay(brand, contract).json()["total"] == {"amount_minor": 100, "currency": EUR}
    problem(pay(brand, contract, currency="GBP"), 409, "nothing-due")


def test_bad_payouts(stack, brand):
    contract = brand.contract("anna", flat_fee=money(500))
    brand.influencer("ben")
    for members, pointer in (({"contract": None}, "/contract"), ({"lines": []}, "/lines"),
                             ({"contract": 999999999}, "/contract")):
        assert pointers(problem(pay(brand, **{"contract": contract, **members}), 422)) == {pointer}
    assert pointers(problem(pay(brand, contract, influencer="ben"), 409)) == {"/contract"}
    assert pointers(problem(brand.api("POST", "/v1/payouts", {"currency": EUR}), 422)) == {"/influencer"}
    stranger = Brand(stack)
    assert pointers(problem(pay(stranger, contract), 422)) == {"/contract"}
    problem(stranger.api("GET", f"/v1/influencers/{brand.influencers['anna']}/statement"), 404)
