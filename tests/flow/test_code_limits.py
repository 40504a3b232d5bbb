"""Codes that may be used so often, and what two who write at the same time cannot see of each other: in whatever
order things are told, the same is credited in the end."""

import contextlib
import itertools
import json

import pytest

from support.shop import Shop
from support.wait import wait_until

MONEY = {"amount_minor": 1000, "currency": "EUR"}
CODE_NUMBERS = itertools.count(1)


@pytest.fixture(name="shop", scope="module")
def fixture_shop(stack):
    return Shop(stack)


def tell(shop, **members):
    """POSTs a conversion; its JSON."""
    answer = shop.stack.kudos.admin("POST", "/v1/conversions", {"event": "sale", **MONEY, **members})
    assert answer.status in (200, 201), answer
    return answer.json()


def limited(shop, most, **members):
    """A new code that may be used so often."""
    code = f"ONLY{next(CODE_NUMBERS)}"
    return code, shop.make("codes", code=code, percent=10, campaign="summer", influencer="leo", max_uses=most,
                           **members)["id"]


def settled(shop):
    """Waits until nothing is to be decided again."""
    wait_until(lambda: shop.stack.postgres.value("select count(*) from kudos.unsettled") == 0, 20, "all is settled")


def reasons(shop, code):
    """{order: reason} of what named a code."""
    settled(shop)
    return dict(shop.stack.postgres.sql(
        "select order_id, reason from kudos.conversions where lower(code) = lower(%s) and event <> 'refund'", code))


def at(minute):
    """A time of a day that has gone."""
    return f"2026-03-01T10:{minute:02}:00Z"


def test_used_up(shop, stack):
    code, number = limited(shop, 1)
    first, second = shop.order(), shop.order()
    assert tell(shop, order_id=first, code=code, occurred_at=at(1))["reason"] == "only_code"
    told = tell(shop, order_id=second, code=code.lower(), occurred_at=at(2), click_id="forged")
    assert (told["status"], told["influencer"], told["reason"]) == ("unattributed", None, "code_used_up")
    why = stack.kudos.admin("GET", f"/v1/conversions/{told['id']}/why").json()
    assert why["sentence"] == "The code had been used as often as it may be."
    assert stack.postgres.sql("select order_id, reason from report.unattributed where code = %s", code.lower()) == [
        (second, "code_used_up")]
    assert stack.postgres.sql("select order_id, influencer from report.attribution_models where order_id in (%s, %s)"
                              " and model = 'linear' order by 1", first, second) == [(first, "leo"), (second, None)]
    tell(shop, event="refund", refund_id=f"r{first}", order_id=first)  # what went back was used all the same
    assert reasons(shop, code) == {first: "only_code", second: "code_used_up"}
    assert stack.kudos.admin("PATCH", f"/v1/codes/{number}", {"max_uses": 2}).status == 200
    assert reasons(shop, code) == {first: "only_code", second: "only_code"}
    assert stack.kudos.admin("PATCH", f"/v1/codes/{number}", {"max_uses": 1}).status == 200
    assert reasons(shop, code) == {first: "only_code", second: "code_used_up"}
    assert stack.kudos.admin("PATCH", f"/v1/codes/{number}", {"max_uses": None}).status == 200
    assert reasons(shop, code) == {first: "only_code", second: "only_code"}


def test_a_click_earns_what_a_used_up_code_cannot(shop):
    code, _ = limited(shop, 1)
    tell(shop, order_id=shop.order(), code=code, occurred_at=at(1))
    told = tell(shop, order_id=shop.order(), code=code, click_id=shop.click("mia"))
    assert (told["influencer"], told["via"], told["reason"]) == ("mia", "link", "only_link")


def test_every_order_of_arrival_gives_the_same(shop, stack):
    """Three sales of which two are within the limit, one of them told by somebody unknown at first; a refund; and
    the code. The one whose place is taken earns nothing, whenever it was told."""
    codes = []
    for steps in itertools.permutations("abcvk"):
        number = next(CODE_NUMBERS)
        code = f"ONLY{number}"
        codes.append((code, number))

        def sale(name, minute, code=code, number=number, **more):
            return lambda: tell(shop, order_id=f"{name}{number}", code=code, occurred_at=at(minute), **more)
        told = {
            "a": sale("a", 1), "b": sale("b", 2), "c": sale("c", 3),
            "v": lambda number=number, code=code: stack.postgres.sql(
                "select kudos.record_conversion(1, jsonb_build_object('event', 'sale', 'key', %s, 'order_id', %s,"
                " 'code', %s, 'path', 'pixel', 'verified', false, 'occurred_at', %s))",
                f"v{number}", f"v{number}", code, at(0)),
            "k": lambda code=code: shop.make("codes", code=code, percent=5, campaign="summer", influencer="leo",
                                             max_uses=2)}
        for step in steps:
            told[step]()
    ends = {json.dumps(sorted((order.rstrip("0123456789"), reason) for order, reason in reasons(shop, code).items()))
            for code, _ in codes}
    assert ends == {'[["a", "only_code"], ["b", "only_code"], ["c", "code_used_up"], ["v", "not_signed"]]'}
    # What was not proved is an earlier use from when it is.
    for code, number in codes:
        tell(shop, order_id=f"v{number}")
    for code, number in codes:
        assert reasons(shop, code) == {f"v{number}": "only_code", f"a{number}": "only_code",
                                       f"b{number}": "code_used_up", f"c{number}": "code_used_up"}


def test_told_twice_is_used_once(shop):
    code, _ = limited(shop, 2)
    click, order = shop.click("mia"), shop.order()
    tell(shop, click_id=click, code=code)
    tell(shop, click_id=click, code=code, order_id=order)
    last = tell(shop, order_id=shop.order(), code=code)
    settled(shop)
    assert shop.stack.kudos.admin("GET", f"/v1/conversions/{last['id']}").json()["reason"] == "only_code"


@contextlib.contextmanager
def two_transactions(stack):
    """Two connections, each in a transaction; both are committed in the end, the first one first."""
    first, second = stack.postgres.connect(), stack.postgres.connect()
    first.autocommit = second.autocommit = False
    try:
        yield first.cursor(), second.cursor()
        first.commit()
        second.commit()
    finally:
        first.close()
        second.close()


RECORD = "select kudos.record_conversion(1, %s)"


def report(event, key, **members):
    """A report that somebody proved to have told."""
    return [json.dumps({"event": event, "key": key, "order_id": key, "path": "api", "verified": True,
                        "amount_minor": 1000 if event == "sale" else -1000, "currency": "EUR", **members})]


@pytest.mark.parametrize("refund_ends_first", [False, True])
def test_a_refund_and_its_order_at_the_same_time(shop, stack, refund_ends_first):
    order = shop.order()
    with two_transactions(stack) as pair:
        refund, sale = pair if refund_ends_first else pair[::-1]
        sale.execute(RECORD, report("sale", order, code="MIA10"))
        refund.execute(RECORD, report("refund", f"r{order}", order_id=order))
    shop.wait(order, "refund", status="credited", who="mia")


def test_a_refund_that_names_the_payment_and_its_order_at_the_same_time(shop, stack):
    order = shop.order()
    with two_transactions(stack) as (refund, sale):
        sale.execute(RECORD, report("sale", order, external_id=f"pi{order}", code="MIA10"))
        refund.execute(RECORD, report("refund", f"r{order}", order_id=f"pi{order}"))
    shop.wait(order, "refund", status="credited", who="mia")


def test_a_code_and_a_sale_with_it_at_the_same_time(shop, stack):
    order = shop.order()
    with two_transactions(stack) as (code, sale):
        sale.execute(RECORD, report("sale", order, code="MEANWHILE"))
        code.execute("insert into kudos.codes (workspace_id, campaign_id, influencer_id, code, percent)"
                     " select workspace_id, campaign_id, influencer_id, 'MEANWHILE', 5 from kudos.codes where code = 'LEO10'")
    shop.wait(order, status="credited", who="leo")


def test_the_last_use_twice_at_the_same_time(shop, stack):
    code, _ = limited(shop, 1)
    orders = shop.order(), shop.order()
    with two_transactions(stack) as (one, other):
        one.execute(RECORD, report("sale", orders[0], code=code, occurred_at=at(5)))
        other.execute(RECORD, report("sale", orders[1], code=code, occurred_at=at(4)))
    wait_until(lambda: reasons(shop, code) == {orders[0]: "code_used_up", orders[1]: "only_code"}, 20,
               lambda: f"one of them is credited: {reasons(shop, code)}")


def test_a_sale_by_its_click_alone_and_with_its_order_at_the_same_time(shop, stack):
    order = shop.order()
    link = stack.postgres.value("select id from kudos.links where slug = 'mia'")
    click = {"click_id": f"x{order}", "click_origin": 99, "click_seq": int(order[2:]), "click_link_id": link,
             "click_time": "2026-11-01T10:00:00Z", "occurred_at": "2026-11-01T10:01:00Z"}
    with two_transactions(stack) as (alone, ordered):
        ordered.execute(RECORD, report("sale", order, **click))
        alone.execute(RECORD, report("sale", f"x{order}", **{**click, "order_id": None}))
    wait_until(lambda: stack.postgres.sql("select key, reason from kudos.conversions where click_id = %s order by 1",
                                          f"x{order}") == [(order, "only_link"), (f"x{order}", "duplicate")],
               20, "it is one sale")
