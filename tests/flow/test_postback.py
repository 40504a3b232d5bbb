"""Conversions on the public plane: by every name and in every form, signed and not; and what is wrong
with those that cannot be used."""

import json

import pytest

from support.api import make_workspace
from support.http import request
from support.shop import SECRET, Shop
from support.wait import wait_until

FORM = "application/x-www-form-urlencoded"


@pytest.fixture(name="shop", scope="module")
def fixture_shop(stack):
    return Shop(stack)


def test_a_sale_by_postback(shop):
    order = shop.order()
    answer = shop.get(token=shop.token, order_id=order, click_id=shop.click(), amount="49.90",
                      currency="eur")
    assert (answer.status, answer.text) == (200, "ok\n")
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert shop.wait(order, status="credited") == {
        "status": "credited", "reason": "only_link", "amount": 4990, "currency": "EUR", "who": "mia",
        "verified": True, "path": "postback", "code": None}


NAMES = {
    "event": ["event", "event_name", "goal"],
    "order_id": ["order_id", "orderId", "ORDER-ID", "order", "order_ref", "transaction_id"],
    "external_id": ["external_id", "event_id", "conversion_id"],
    "click_id": ["click_id", "cid", "clickid", "txid", "subid", "kudos_id"],
    "code": ["code", "coupon", "coupon_code", "promo_code", "discount_code", "voucher"],
    "customer": ["customer", "customer_id", "email"],
    "currency": ["currency", "currency_code"],
    "amount": ["amount", "value", "revenue", "sale_amount", "total", "payout"],
    "amount_minor": ["amount_minor", "amount_cents"],
    "occurred_at": ["occurred_at", "timestamp", "time"],
}
VALUES = {"event": "sale", "external_id": "X-1", "code": "LEO10", "customer": "c@example.com",
          "amount": "12.50", "currency": "EUR", "occurred_at": "2026-11-01T10:00:00Z"}


def test_every_name(shop):
    """Each name, in a query, a form and JSON."""
    click, orders = shop.click("leo"), {}
    for member, names in NAMES.items():
        for name in names:
            order = shop.order()
            told = {"order_id": order, "click_id": click, **VALUES}
            if member == "amount_minor":
                told.pop("amount")
            told[name] = {"click_id": click, "order_id": order, "amount_minor": "1250"}.get(
                member) or told.get(member)
            if name != member:
                told.pop(member, None)
            query = f"?token={shop.token}"
            way = len(orders) % 3
            if way == 0:
                answer = shop.get(token=shop.token, **told)
            elif way == 1:
                answer = request(shop.stack.kudos.port, "POST", f"/-/postback{query}",
                                 {"Content-Type": FORM}, "&".join(
                                     f"{k}={v}".replace("@", "%40") for k, v in told.items()))
            else:
                answer = shop.post(told, query=query)
            assert (answer.status, answer.text) == (200, "ok\n"), (name, answer)
            orders[order] = name
    for order, name in orders.items():
        found = shop.wait(order)
        assert found["amount"] == 1250 and found["currency"] == "EUR", name
        assert found["code"] == "LEO10" and found["who"] == "leo" and found["verified"], name
    assert shop.stack.postgres.value(
        "select count(*) from kudos.conversions where order_id = any (%s) and customer is not null"
        " and external_id = 'X-1' and occurred_at = '2026-11-01T10:00:00Z' and click_problem is null",
        list(orders)) == len(orders)
    readme = open("server/conversions/README.md", encoding="utf-8").read()
    assert all(f"`{name}`" in readme for names in NAMES.values() for name in names
               if name not in ("orderId", "ORDER-ID"))


def test_other_times_and_events(shop):
    """Seconds and milliseconds since 1970; words for the same event; refunds."""
    click = shop.click()
    for told, event in (("purchase", "sale"), ("Sale", "sale"), ("sign_up", "signup"),
                        ("app_install", "install"), ("my_own", "my_own")):
        order = shop.order()
        assert shop.get(token=shop.token, event=told, order_id=order, click_id=click,
                        time="1793527201").status == 200
        shop.wait(order, event)
    order = shop.order()
    assert shop.get(token=shop.token, order_id=order, click_id=click, time="1793527201500",
                    amount="10", currency="EUR").status == 200
    shop.wait(order)
    assert shop.stack.postgres.value("select count(*) from kudos.conversions where occurred_at ="
                                     " to_timestamp(1793527201)") == 6
    order = shop.order()
    assert shop.get(token=shop.token, order_id=order, code="MIA10", amount="10",
                    currency="EUR").status == 200
    shop.wait(order, status="credited")
    assert shop.get(token=shop.token, order_id=order, refund_id="R-1", amount="4",
                    currency="EUR").status == 200
    assert shop.wait(order, "refund", status="credited")["amount"] == -400


def test_statuses(shop):
    """pending is shown and earns nothing until approved; rejected takes back."""
    click, order, never = shop.click(), shop.order(), shop.order()
    sale = {"token": shop.token, "order_id": order, "click_id": click, "amount": "30",
            "currency": "EUR"}
    assert shop.get(status="Pending", **sale).status == 200
    shop.wait(order, status="unverified", amount=3000)
    assert shop.get(status="approved", **sale).status == 200
    shop.wait(order, status="credited", who="mia")
    assert shop.get(status="on-hold", **sale).status == 200
    assert shop.get(status="rejected", **sale).status == 200
    assert shop.get(status="declined", **sale).status == 200
    assert shop.wait(order, "refund", status="credited", who="mia")["amount"] == -3000
    # Rejected before it is told, and while it is pending: it never earns anything.
    sale["order_id"] = never
    assert shop.get(status="canceled", **sale).status == 200
    shop.wait(never, "refund", status="unattributed")
    assert shop.get(status="pending", **sale).status == 200
    shop.wait(never, status="unverified")
    shop.wait(never, "refund", status="unattributed")
    for status, text in (("maybe", "status: must be approved"), ("rejected", "order_id: is required")):
        answer = shop.get(token=shop.token, status=status, click_id=click, amount="1", currency="EUR")
        assert answer.status == 400 and answer.text.startswith(text), answer.text
    answer = shop.get(token=shop.token, status="rejected", order_id=order)
    assert answer.status == 400 and answer.text.startswith("amount: is required")


WRONG = [
    ({}, "order_id: is required"),
    ({"order_id": "A", "amount": "1,667.80", "currency": "EUR"}, "amount: must be a decimal"),
    ({"order_id": "A", "amount": "NaN", "currency": "EUR"}, "amount: must be a decimal"),
    ({"order_id": "A", "amount": "1e3", "currency": "EUR"}, "amount: must be a decimal"),
    ({"order_id": "A", "amount": "1.234", "currency": "EUR"}, "amount: must be a decimal"),
    ({"order_id": "A", "amount": "1.2", "currency": "JPY"}, "amount: must be a decimal"),
    ({"order_id": "A", "amount": "-1", "currency": "EUR"}, "amount: must not be negative"),
    ({"order_id": "A", "amount": "9999999999999999", "currency": "EUR"}, "amount: must be"),
    ({"order_id": "A", "amount": "1"}, "currency: is required"),
    ({"order_id": "A", "amount": "1", "currency": "XXQ"}, "currency: is none"),
    ({"order_id": "A", "amount_minor": "1.5", "currency": "EUR"}, "amount_minor: must be a whole"),
    ({"order_id": "A", "amount_minor": "1", "amount": "1", "currency": "EUR"}, "amount: is given twice"),
    ({"order_id": "A", "order": "B"}, "order_id: is given twice"),
    ({"order_id": "A" * 256}, "order_id: must be a text of 1 to 255"),
    ({"order_id": "A\n"}, "order_id: must not contain control"),
    ({"order_id": "A", "event": "big sale"}, "event: must be a word"),
    ({"order_id": "A", "time": "yesterday"}, "occurred_at: must be a time"),
    ({"order_id": "A", "time": "4102444800"}, "occurred_at: lies in the future"),
    ({"order_id": "A", "source": "shop"}, "source: must be the number"),
    ({"order_id": "A", "source": "0"}, "source: must be the number"),
    ({"order_id": "A", "signature": "abc"}, "signature: must be 64"),
    ({"order_id": "A", "signature": "0" * 64}, "source: is required with"),
    ({"signature": "0" * 64, "order_id": "A", "source": "1"}, "signature: must be the last"),
    ({"order_id": "A", "event": "refund", "refund_id": "R"}, "amount: is required"),
]


def test_what_cannot_be_used(shop):
    """400 with a line that says why, on every path; the pixel is drawn all the same."""
    refused = shop.stack.kudos.metric("conversions_refused_total")
    for told, text in WRONG:
        answer = shop.get(**told)
        assert answer.status == 400 and answer.text.startswith(text), (told, answer.text)
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        if "signature" not in told:
            assert shop.post(told).text == answer.text
        drawn = shop.get("pixel.gif", **told)
        assert (drawn.status, drawn.headers["Content-Type"], len(drawn.body)) == (200, "image/gif", 43)
    count = 3 * len(WRONG) - 3
    wait_until(lambda: shop.stack.kudos.metric("conversions_refused_total") == refused + count, 10,
               "all are counted")
    for body, text in ((b"{", "body: is no JSON"), (b"[1]", "body: must be one"),
                       (b'{"order_id": "A", "order_id": "B"}', "body: is no JSON"),
                       (b'{"order_id": ["A"]}', "order_id: must be a text"),
                       (b'{"order_id": "A", "amount": 1.5, "currency": "EUR"}', "amount: must be a d"),
                       (b'{"order_id": "A", "signature": "' + b"0" * 64 + b'"}', "signature: belongs"),
                       (b'{"order_id": "A", "items": {}}', "items: must be an array"),
                       (b'{"a":' + b"[" * 8000 + b"]" * 8000 + b"}", "body: is"),
                       (b'{"order_id": "\xff"}', "body: is no JSON")):
        answer = shop.post(body, path="beacon")
        assert answer.status == 400 and answer.text.startswith(text), (body[:40], answer.text)
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
    answer = request(shop.stack.kudos.port, path="/-/postback?order_id=%FF")
    assert answer.status == 400 and answer.text == "order_id: must be UTF-8\n"
    answer = request(shop.stack.kudos.port, path="/-/postback?" + "&".join(["x=1"] * 101))
    assert answer.status == 400 and answer.text.startswith("request: has too many")
    assert shop.stack.postgres.value("select count(*) from kudos.conversions where key = 'A'") == 0


def test_what_is_not_known(shop):
    """Names that mean nothing are said, never stored, and cannot smuggle anything into the answer."""
    order = shop.order()
    answer = shop.get(order_id=order, ip="203.0.113.9", amout="5", **{"a\r\nb": "1", "<b>": "2"})
    assert (answer.status, answer.text) == (200, "ok; these are not known here: ip, amout\n")
    shop.wait(order)
    assert "203.0.113.9" not in shop.stack.postgres.value(
        "select string_agg(i::text, '') from kudos.conversion_inbox i")


def test_methods_and_bodies(shop):
    """What is no GET and no small POST."""
    port = shop.stack.kudos.port
    for method, path, allow in (("PUT", "postback", "GET, POST"), ("HEAD", "postback", "GET, POST"),
                                ("POST", "pixel.gif", "GET"), ("GET", "beacon", "POST, OPTIONS"),
                                ("OPTIONS", "postback", "GET, POST")):
        answer = request(port, method, f"/-/{path}")
        assert (answer.status, answer.headers["Allow"]) == (405, allow), (method, path)
    answer = request(port, "OPTIONS", "/-/beacon", {"Origin": "https://shop.example.com"})
    assert answer.status == 204 and answer.headers["Access-Control-Allow-Methods"] == "POST"
    assert shop.post(b"a" * 16385).status == 413
    assert shop.post(b"order_id=A", kind="multipart/form-data; boundary=x").status == 415
    with shop.stack.kudos.raw() as connection:
        connection.send("POST /-/postback HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        assert connection.response().status == 411
    order = shop.order()
    body = json.dumps({"order_id": order, "items": [{"sku": "x" * 15000}]}).encode()
    assert len(body) < 16384 and shop.post(body).status == 200
    shop.wait(order)


def test_bodies_in_pieces_and_in_a_row(shop):
    """A body that comes byte by byte, several requests at once, and what follows them: each is one
    request, and what stands in a body is never taken for one."""
    orders = [shop.order() for _ in range(4)]
    inner = "GET /mia HTTP/1.1\r\nHost: h\r\n\r\n"

    def post(order, extra=""):
        body = f"order_id={order}&x={extra}"
        return f"POST /-/postback HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    with shop.stack.kudos.raw() as connection:
        for byte in post(orders[0]):
            connection.send(byte)
        assert connection.response().status == 200
        connection.send(post(orders[1], inner) + post(orders[2]) + "GET /-/health HTTP/1.1\r\nHost: h\r\n\r\n")
        assert [connection.response().status for _ in range(3)] == [200, 200, 200]
        text = post(orders[3], inner * 300)
        connection.send(text[:1000])
        connection.send(text[1000:])
        assert connection.response().status == 200
        connection.send("GET /-/health HTTP/1.1\r\nHost: h\r\n\r\n")
        assert connection.response().status == 200
    for order in orders:
        shop.wait(order)


def test_signed(shop):
    """A query that was signed, also with a body; one byte changed earns nothing."""
    click, port = shop.click(), shop.stack.kudos.port
    order, other, third = shop.order(), shop.order(), shop.order()
    query = shop.sign(f"order_id={order}&click_id={click}&amount=20&currency=EUR&customer=a%40b.example")
    assert request(port, path=f"/-/postback?{query}").status == 200
    shop.wait(order, status="credited", amount=2000, verified=True)
    # Again, a year later or by somebody who saw it: nothing.
    assert request(port, path=f"/-/pixel.gif?{query}").status == 200
    assert request(port, path=f"/-/postback?{query.replace('amount=20', 'amount=99')}").status == 200
    body = json.dumps({"order_id": other, "click_id": click, "amount": "5", "currency": "EUR"}).encode()
    assert shop.post(body, query="?" + shop.sign("a=1", body)).status == 200
    shop.wait(other, status="credited", amount=500)
    # The signature of one body under another, and of a query whose end became a body.
    bad = body.replace(other.encode(), third.encode())
    assert shop.post(bad, query="?" + shop.sign("a=1", body)).status == 200
    assert shop.wait(third, status="unverified")["verified"] is False
    wait_until(lambda: shop.stack.postgres.sql(
        "select count(*) filter (where outcome = 'repeated'), count(*) filter (where outcome = 'conflict'"
        " and problem = 'bad_signature') from kudos.conversion_inbox i join kudos.conversions c"
        " on c.id = i.conversion_id where c.order_id = %s", order) == [(1, 1)], 10, "both are noted")
    shop.wait(order, status="credited", amount=2000)


def test_unverified_until_a_signed_path_tells(shop):
    """Whoever clicks can read their id: what they tell mints nothing, until the shop tells the same."""
    order, click = shop.order(), shop.click("leo")
    assert shop.post({"order_id": order, "click_id": click, "amount": "1000", "currency": "EUR"},
                     path="beacon").status == 204
    assert shop.wait(order)["status"] == "unverified"
    answer = shop.stack.kudos.admin("POST", "/v1/conversions", {
        "event": "sale", "order_id": order, "amount": "10.00", "currency": "EUR"})
    assert answer.status == 200 and answer.json()["outcome"] == "enriched"
    assert shop.wait(order, status="credited") == {
        "status": "credited", "reason": "only_link", "amount": 1000, "currency": "EUR", "who": "leo",
        "verified": True, "path": "beacon", "code": None}


def test_forged_click_ids(shop):
    """Every bit of an id flipped: stored, with the reason, and nobody credited."""
    click, orders = shop.click(), []
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for at, letter in enumerate(click):
        for bit in range(6):
            forged = click[:at] + alphabet[alphabet.index(letter) ^ 1 << bit] + click[at + 1:]
            orders.append(shop.order())
            assert shop.get(token=shop.token, order_id=orders[-1], click_id=forged, amount="1",
                            currency="EUR").status == 200
    shop.wait(orders[-1])
    wait_until(lambda: shop.stack.postgres.value(
        "select count(*) from kudos.conversions where order_id = any (%s)", orders) == len(orders) == 384,
        30, "all are there")
    assert shop.stack.postgres.sql(
        "select distinct status::text, reason, influencer_id from kudos.conversions"
        " where order_id = any (%s)", orders) == [("unattributed", "bad_signature", None)]


def test_another_workspaces_ids(shop):
    """A source tells for its own workspace, whatever the host name and whosever the click."""
    stack = shop.stack
    key = make_workspace(stack, "rival")
    made = stack.kudos.admin("POST", "/v1/sources", {"kind": "postback", "name": "rival"}, key=key).json()
    order = shop.order()
    assert shop.get(token=made["token"], order_id=order, click_id=shop.click(), code="MIA10",
                    amount="7", currency="EUR").status == 200
    found = shop.wait(order)
    assert (found["status"], found["who"]) == ("unattributed", None)
    assert found["reason"] in ("unknown_click", "unknown_code")
    assert stack.postgres.value("select w.name from kudos.conversions c join kudos.workspaces w"
                                " on w.id = c.workspace_id where order_id = %s", order) == "rival"
    # Signed by one source in the name of another.
    query = shop.sign(f"order_id={order}x&amount=7&currency=EUR", source=made["id"])
    assert request(stack.kudos.port, path=f"/-/postback?{query}").status == 200
    assert shop.wait(f"{order}x")["verified"] is False
    # A token that was revoked.
    assert stack.kudos.admin("DELETE", f"/v1/sources/{made['id']}", key=key).status in (200, 204)
    assert shop.get(token=made["token"], order_id=f"{order}y").status == 200
    assert shop.wait(f"{order}y")["verified"] is False


def test_no_time_is_lost(shop):
    """A conversion told before its click is flushed is credited all the same, and settles with it."""
    order = shop.order()
    assert shop.get("pixel.gif", token=shop.token, order_id=order, click_id=shop.click(),
                    amount="3", currency="EUR").status == 200
    shop.wait(order, status="credited")
    shop.stack.assert_consistent()
    wait_until(lambda: shop.stack.postgres.value(
        "select count(*) from kudos.conversions where click_awaited") == 0, 10, "clicks are there")
    assert SECRET not in shop.stack.kudos.log() and shop.token not in shop.stack.kudos.log()
