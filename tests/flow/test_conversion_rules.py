"""What the page about conversions promises, sentence by sentence, beside what other files try: amounts, identity for
ever, events of one's own, forged and foreign click ids, money to the minor unit."""

import base64
import concurrent.futures
import json

import pytest

from support.brand import Brand
from support.shop import Shop
from support.wait import wait_until

MONEY = {"amount": "49.90", "currency": "EUR"}


@pytest.fixture(name="shop", scope="module")
def fixture_shop(stack):
    return Shop(stack)


def post(shop, body, **how):
    """POST /v1/conversions; the answer."""
    return shop.stack.kudos.admin("POST", "/v1/conversions", body, **how)


def tell(shop, **members):
    """Tells a sale that must be taken; its JSON."""
    answer = post(shop, {"event": "sale", **members})
    assert answer.status in (200, 201), answer.text
    return answer.json()


@pytest.mark.parametrize("money,detail", [
    ({"amount": "1,667.80"}, "must be a decimal number with at most 2 digits behind the point (EUR)"),
    ({"amount": "1.667,80"}, "must be a decimal number with at most 2 digits behind the point (EUR)"),
    ({"amount": "NaN"}, "must be a decimal number with at most 2 digits behind the point (EUR)"),
    ({"amount": "Infinity"}, "must be a decimal number with at most 2 digits behind the point (EUR)"),
    ({"amount": "1e2"}, "must be a decimal number with at most 2 digits behind the point (EUR)"),
    ({"amount": "0x10"}, "must be a decimal number with at most 2 digits behind the point (EUR)"),
    ({"amount": "49.900"}, "must be a decimal number with at most 2 digits behind the point (EUR)"),
    ({"amount": "9999999999999999999999"}, "must be a decimal number with at most 2 digits behind the point (EUR)"),
    ({"amount": "0.5", "currency": "JPY"}, "must be a decimal number with at most 0 digits behind the point (JPY)"),
    ({"amount": "1.2345", "currency": "KWD"}, "must be a decimal number with at most 3 digits behind the point (KWD)"),
    ({"amount": "-1.00"}, "must not be negative: money that goes back is event refund"),
    ({"amount_minor": -1}, "must not be negative: money that goes back is event refund"),
    ({"amount_minor": 10**16}, "is too large"),
    ({"amount_minor": "100"}, "must be a whole number of minor units (cents)"),
    ({"amount": 49.9}, "must be a decimal number in a text, such as \"49.90\"; a JSON number may have lost a cent"),
    ({"amount": 50}, "must be a decimal number in a text, such as \"49.90\"; a JSON number may have lost a cent"),
    ({"amount": "1.00", "amount_minor": 100}, "is given twice: send amount or amount_minor"),
])
def test_amounts_that_are_none_say_why(shop, money, detail):
    order = shop.order()
    answer = post(shop, {"event": "sale", "order_id": order, "currency": "EUR", **money})
    assert answer.status == 422 and [each["detail"] for each in answer.json()["errors"]] == [detail], answer.text
    assert shop.rows(order) == []
    if isinstance(money.get("amount"), str) and len(money) < 2 or "currency" in money:
        refused = shop.get(token=shop.token, order_id=order, **{"currency": "EUR", **money})
        assert refused.status == 400 and "amount" in refused.text, refused.text


@pytest.mark.parametrize("amount,currency,minor", [
    ("0.1", "EUR", 10), ("1667.80", "USD", 166780), ("5", "JPY", 5), ("1.234", "KWD", 1234), ("0", "EUR", 0),
    ("9999999999999.99", "EUR", 999999999999999)])
def test_amounts_are_kept_to_the_minor_unit(shop, amount, currency, minor):
    order = shop.order()
    tell(shop, order_id=order, amount=amount, currency=currency, code="MIA10")
    assert shop.rows(order)[0][2:4] == (minor, currency)


def test_fifty_at_once_and_again_a_year_later(shop, stack):
    order, click = shop.order(), shop.click("mia")

    def one(number):
        if number % 2:
            return shop.get(token=shop.token, order_id=order, click_id=click, **MONEY).status
        return post(shop, {"event": "sale", "order_id": order, "click_id": click, **MONEY},
                    headers={"Idempotency-Key": f"{order}/{number}"}).status
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        assert set(pool.map(one, range(50))) <= {200, 201}
    first = shop.wait(order, status="credited", who="mia")
    stack.postgres.sql("update kudos.conversions set received_at = received_at - interval '1 year',"
                       " occurred_at = occurred_at - interval '1 year', updated_at = updated_at - interval '1 year'"
                       " where order_id = %s", order)
    stack.postgres.sql("delete from kudos.idempotency_keys")
    assert {one(0), one(1)} == {200}
    stack.wait_recorded()
    assert len(shop.rows(order)) == 1 and shop.rows(order)[0][2] == first["amount"] == 4990
    outcomes = stack.postgres.sql("select outcome, count(*) from kudos.conversion_inbox where told ->> 'order_id' = %s"
                                  " group by 1", order)
    assert {outcome for outcome, _ in outcomes} <= {"created", "repeated"} and sum(n for _, n in outcomes) == 26


def test_another_amount_changes_nothing_on_any_path(shop, stack):
    order = shop.order()
    number = tell(shop, order_id=order, code="MIA10", **MONEY)["id"]
    assert post(shop, {"event": "sale", "order_id": order, "amount": "49.91", "currency": "EUR"}).status == 409
    assert post(shop, {"event": "sale", "order_id": order, "amount": "49.90", "currency": "USD"}).status == 409
    assert shop.get(token=shop.token, order_id=order, amount="1.00", currency="EUR").status == 200
    assert shop.get(order_id=order, amount="2.00", currency="EUR").status == 200  # nobody's word
    wait_until(lambda: stack.postgres.sql(
        "select path::text, verified, amount_minor, currency from kudos.conversion_conflicts where conversion_id = %s"
        " order by amount_minor, currency", number) == [
            ("postback", True, 100, "EUR"), ("postback", False, 200, "EUR"), ("api", True, 4990, "USD"),
            ("api", True, 4991, "EUR")], 20, "each is noted")
    assert shop.rows(order)[0][:5] == ("credited", "only_code", 4990, "EUR", "mia")


def test_events_of_ones_own(shop, stack):
    """Each event has its own keys: the same order may be a trial, a sale and a lead."""
    order, click = shop.order(), shop.click("leo")
    for event in ("trial_started", "lead", "signup", "install", "sale"):
        answer = post(shop, {"event": event, "order_id": order, "click_id": click})
        assert answer.status == 201 and answer.json()["influencer"] == "leo", answer.text
        assert post(shop, {"event": event, "order_id": order, "click_id": click}).json()["outcome"] == "repeated"
    assert shop.get(token=shop.token, event="Trial_Started", external_id=f"x{order}", click_id=click).status == 200
    wait_until(lambda: stack.postgres.sql("select event, status::text from kudos.conversions where external_id = %s",
                                          f"x{order}") == [("trial_started", "credited")], 20, "it is taken by postback")
    for event in ("Trial", "1st", "a-b", "x" * 33, ""):
        assert post(shop, {"event": event, "order_id": order}).status == 422, event


def test_every_bit_of_a_click_id(shop, stack):
    """None can be changed; what came with a changed one is kept, with the reason, and credited to nobody."""
    click = shop.click("mia")
    raw = base64.urlsafe_b64decode(click + "=" * (-len(click) % 4))
    rows = [{"event": "sale", "order_id": "bit-none", "click_id": click, **MONEY}]
    for bit in range(8 * len(raw)):
        forged = bytearray(raw)
        forged[bit // 8] ^= 1 << bit % 8
        rows.append({"event": "sale", "order_id": f"bit-{bit}", **MONEY,
                     "click_id": base64.urlsafe_b64encode(forged).decode().rstrip("=")})
    answer = post(shop, rows)
    assert answer.status == 200 and answer.json()["created"] == len(rows), answer.text[:300]
    good, *bad = answer.json()["items"]
    assert (good["influencer"], good["reason"]) == ("mia", "only_link")
    assert {(each["status"], each["influencer"], each["reason"]) for each in bad} == {
        ("unattributed", None, "bad_signature")}
    assert stack.postgres.value("select count(*) from kudos.attributions a join kudos.conversions c on c.id = a.conversion_id"
                                " where c.order_id like 'bit-%%' and a.won") == 1
    # By the public path as well, and by the page script's, which has several.
    forged = rows[100]["click_id"]
    assert shop.get(token=shop.token, order_id="bit-postback", click_id=forged, **MONEY).status == 200
    body = json.dumps({"order_id": "bit-several", "click_ids": [forged, click], "click_id": forged, **MONEY}).encode()
    assert shop.post(body, query=f"?token={shop.token}", kind="application/json").status == 200
    shop.wait("bit-postback", status="unattributed", reason="bad_signature")
    shop.wait("bit-several", status="unattributed", reason="bad_signature")


def test_what_belongs_to_another_workspace(shop, stack):
    """Neither its click ids nor its codes earn anything here, and nothing of it is shown."""
    stranger = Brand(stack)
    stranger.influencer("eve")
    order = shop.order()
    answer = post(shop, {"event": "sale", "order_id": order, "click_id": shop.click("mia"), "code": "MIA10", **MONEY},
                  key=stranger.key)
    told = answer.json()
    assert answer.status == 201 and (told["status"], told["influencer"], told["campaign"]) == ("unattributed", None, None)
    why = stack.kudos.admin("GET", f"/v1/conversions/{told['id']}/why", key=stranger.key).json()
    assert {(touch["reason"], touch["influencer"], touch["link"]) for touch in why["touches"]} == {
        ("unknown_code", None, None), ("unknown_click", None, None)}
    assert stack.kudos.admin("GET", f"/v1/conversions/{told['id']}").status == 404  # nor the other way round
    assert tell(shop, order_id=order, code="MIA10", **MONEY)["outcome"] == "created"  # the same order id is another's


def test_nobody_earns_by_buying_from_themselves(shop, stack):
    shop.make("influencers", handle="ann", name="Ann", email="Ann@Example.com")
    shop.make("links", slug="ann", destination="https://shop.example.com/", campaign="summer", influencer="ann")
    click = shop.click("ann")
    own = tell(shop, order_id=shop.order(), click_id=click, customer=" ANN@example.COM ", **MONEY)
    assert (own["status"], own["reason"]) == ("unattributed", "self_referral")
    both = tell(shop, order_id=shop.order(), click_id=click, code="MIA10", customer="ann@example.com", **MONEY)
    assert (both["influencer"], both["reason"]) == ("mia", "only_code")
    why = stack.kudos.admin("GET", f"/v1/conversions/{both['id']}/why").json()
    assert [touch["reason"] for touch in why["touches"]] == ["only_code", "self_referral"]
    other = tell(shop, order_id=shop.order(), click_id=click, customer="bea@example.com", **MONEY)
    assert other["influencer"] == "ann"


def test_parts_add_up_under_every_precedence(shop, stack):
    """Of the sale, of each partial refund, and of what is left, to the minor unit."""
    campaign = stack.kudos.admin("GET", "/v1/campaigns?slug=summer").json()["items"][0]["id"]
    click = shop.click("leo")
    for precedence in ("code_first", "link_first", "last_touch", "first_touch", "split"):
        assert stack.kudos.admin("PATCH", f"/v1/campaigns/{campaign}", {
            "attribution": {"window_days": 30, "precedence": precedence}}).status == 200
        for minor in (1, 2, 4999, 5000):
            order = shop.order()
            tell(shop, order_id=order, click_id=click, code="MIA10", amount_minor=minor, currency="EUR")
            for number, back in enumerate((minor // 3, minor - minor // 3)):
                if back:
                    assert post(shop, {"event": "refund", "refund_id": f"r{number}-{order}", "order_id": order,
                                       "amount_minor": back, "currency": "EUR"}).status == 201
            sums = stack.postgres.sql(
                "select c.amount_minor, sum(a.amount_minor)::bigint from kudos.conversions c join kudos.attributions a"
                " on a.conversion_id = c.id and a.won where c.order_id = %s group by c.id", order)
            assert sums and all(amount == parts for amount, parts in sums), (precedence, minor, sums)
            assert sum(parts for _, parts in sums) == 0
            left = stack.postgres.sql("select influencer, sum(amount_minor)::bigint from report.attributions"
                                      " where order_id = %s and won group by 1", order)
            assert all(rest == 0 for _, rest in left), (precedence, minor, left)
