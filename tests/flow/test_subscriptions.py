"""Subscriptions that Stripe tells: the first payment once however it is told, each renewal a sale of its own, and
refunds to whom they belong; and orders that bring all the clicks that the page has kept."""

import itertools
import json
import time

import pytest

from support.hooks import HookedShop, order_body
from support.shop import Shop
from support.wait import wait_until

NUMBERS = itertools.count(1)


@pytest.fixture(name="shop", scope="module")
def fixture_shop(stack):
    return Shop(stack)


@pytest.fixture(name="stripe", scope="module")
def fixture_stripe(stack, shop):  # pylint: disable=unused-argument
    return HookedShop(stack, "stripe")


def event(kind, **members):
    """An event as Stripe tells it."""
    return {"type": kind, "created": int(time.time()), "data": {"object": members}}


def session(number, **metadata):
    """Checkout that began a subscription."""
    return event("checkout.session.completed", id=f"cs_{number}", mode="subscription", payment_status="paid",
                 amount_total=990, currency="eur", payment_intent=None, invoice=f"in_{number}",
                 subscription=f"sub_{number}", metadata=metadata)


def invoice(number, reason="subscription_cycle", kind="invoice.paid", metadata=None, **more):
    """An invoice of a subscription that was paid, as API versions since 2025-03-31 have it."""
    return event(kind, id=f"in_{number}", billing_reason=reason, amount_paid=990, currency="eur",
                 parent={"subscription_details": {"subscription": "sub_1", "metadata": metadata or {}}}, **more)


def payment(number):
    """What an invoice was paid with."""
    return event("invoice_payment.paid", id=f"inpay_{number}", invoice=f"in_{number}", amount_paid=990, currency="eur",
                 payment={"type": "payment_intent", "payment_intent": f"pi_{number}"})


def refund(number):
    """Part of a payment, paid back."""
    return event("charge.refunded", id=f"ch_{number}", object="charge", payment_intent=f"pi_{number}", currency="eur",
                 amount_refunded=90, refunds={"data": [{"id": f"re_{number}", "amount": 90, "currency": "eur"}]})


def tell(stripe, told):
    """Calls the webhook; it must be taken."""
    answer = stripe.call(told)
    assert answer.status == 200 and answer.json()["outcome"] == "taken", answer.text


def settled(stack):
    """Waits until all that was told is recorded, and nothing is to be decided again."""
    stack.wait_recorded()
    wait_until(lambda: stack.postgres.sql(
        "select (select count(*) from kudos.conversion_inbox where due_at is not null), (select count(*) from kudos.unsettled)")
        == [(0, 0)], 30, "all is settled")


def stored(stack, *orders):
    """[(event, order, reason, minor units, who)] of orders."""
    return stack.postgres.sql(
        "select c.event, c.order_id, c.reason, c.amount_minor, i.handle from kudos.conversions c left join kudos.influencers i"
        " on i.id = c.influencer_id where c.order_id = any (%s) order by 1 desc, 2", list(orders))


@pytest.mark.parametrize("own", [True, False], ids=["own order id", "the invoice's id"])
def test_the_first_payment_in_whatever_order_it_is_told(stack, stripe, own):
    orders = []
    for steps in itertools.permutations("sipr"):
        number = f"first{next(NUMBERS)}"
        metadata = {"order_id": f"A-{number}"} if own else {}
        told = {"s": session(number, **metadata, code="MIA10"), "i": invoice(number, "subscription_create"),
                "p": payment(number), "r": refund(number)}
        for step in steps:
            tell(stripe, told[step])
        orders.append(number)
    settled(stack)
    for number in orders:
        name = f"A-{number}" if own else f"in_{number}"
        wanted = [("sale", name, "only_code", 990, "mia"), ("refund", name, "refund_of_credited_order", -90, "mia")]
        if own:
            wanted.insert(1, ("sale", f"in_{number}", "duplicate", 990, None))
        assert stored(stack, name, f"in_{number}", f"pi_{number}") == wanted


def test_the_order_id_of_the_subscription_is_that_of_its_first_invoice(stack, stripe):
    number = f"sub{next(NUMBERS)}"
    tell(stripe, session(number, order_id=f"A-{number}"))
    tell(stripe, invoice(number, "subscription_create", metadata={"order_id": f"A-{number}", "code": "LEO10"}))
    settled(stack)
    assert stored(stack, f"A-{number}", f"in_{number}") == [("sale", f"A-{number}", "only_code", 990, "leo")]


def test_renewals(stack, shop, stripe):
    """By both names that the event has, by the code and the click of the subscription, with their refunds."""
    numbers = [f"renewal{next(NUMBERS)}" for _ in range(3)]
    click = shop.click("leo")
    told = [invoice(numbers[0], metadata={"code": "MIA10", "order_id": "the first one's"}),
            invoice(numbers[0], kind="invoice.payment_succeeded", metadata={"code": "MIA10"}), payment(numbers[0]),
            refund(numbers[0]),
            invoice(numbers[1], discount={"coupon": {"id": "mia10"}}, payment_intent=f"pi_{numbers[1]}"), refund(numbers[1]),
            invoice(numbers[2], metadata={"kudos_id": click})]
    for each in told:
        tell(stripe, each)
    settled(stack)
    names = [f"in_{number}" for number in numbers]
    assert stored(stack, *names) == [
        ("sale", names[0], "only_code", 990, "mia"), ("sale", names[1], "only_code", 990, "mia"),
        ("sale", names[2], "only_link", 990, "leo"),
        ("refund", names[0], "refund_of_credited_order", -90, "mia"),
        ("refund", names[1], "refund_of_credited_order", -90, "mia")]
    assert stack.postgres.value("select count(*) from kudos.conversion_conflicts") == 0


def test_what_is_no_payment_of_a_subscription(stripe):
    for body in (invoice("none", "manual"), event("invoice_payment.paid", invoice="in_none", payment={"type": "charge"}),
                 event("invoice.payment_failed", id="in_none")):
        answer = stripe.call(body)
        assert answer.status == 200 and answer.json()["outcome"] == "ignored", answer.text


def test_a_forged_name_leads_no_refund_away(stack, shop, stripe):
    """Who cannot prove who they are cannot have a refund taken from an order of their own."""
    number = f"led{next(NUMBERS)}"
    stack.kudos.get(f"/-/postback?order_id=EVIL-{number}&external_id=in_{number}&amount=9.90&currency=EUR")
    tell(stripe, invoice(number, metadata={"code": "MIA10"}, payment_intent=f"pi_{number}"))
    tell(stripe, refund(number))
    settled(stack)
    assert stored(stack, f"in_{number}", f"EVIL-{number}") == [
        ("sale", f"EVIL-{number}", "not_signed", 990, None), ("sale", f"in_{number}", "only_code", 990, "mia"),
        ("refund", f"in_{number}", "refund_of_credited_order", -90, "mia")]


@pytest.mark.parametrize("kind", ["shopify", "stripe", "woocommerce"])
def test_all_clicks_that_the_page_has_kept(stack, shop, stripe, kind):
    hooked = stripe if kind == "stripe" else HookedShop(stack, kind)
    clicks, order = [shop.click(slug) for slug in ("mia", "leo", "mia")], hooked.order()
    body = order_body(kind, order, 1000)
    if kind == "shopify":
        body["note_attributes"] = [{"name": "kudos_ids", "value": json.dumps(clicks)}]
    elif kind == "stripe":
        body["data"]["object"]["metadata"] = {"kudos_id": " ".join(clicks)}
    else:
        body["meta_data"] = [{"key": "_kudos_ids", "value": ",".join(clicks)}]
    tell(hooked, body)
    settled(stack)
    assert stored(stack, str(order)) == [("sale", str(order), "only_link", 1000, "mia")]
    assert stack.postgres.sql(
        "select influencer, amount_minor from report.attribution_models where order_id = %s and model = 'linear'"
        " order by position", str(order)) == [("mia", 334), ("leo", 333), ("mia", 333)]
    number = stack.postgres.value("select id from kudos.conversions where order_id = %s", str(order))
    assert stack.kudos.admin("GET", f"/v1/conversions/{number}").json()["click_ids"] == clicks
