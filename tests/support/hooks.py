"""Shops that call webhooks: bodies, and signatures as Shopify, Stripe and WooCommerce make them."""

import base64
import hashlib
import hmac
import itertools
import json
import time

from .http import Raw, request
from .wait import wait_until

_ORDERS = itertools.count(1)
FIELDS = {"shopify": "X-Shopify-Hmac-SHA256", "stripe": "Stripe-Signature",
          "woocommerce": "X-WC-Webhook-Signature"}
TOPICS = {"shopify": ("X-Shopify-Topic", "orders/updated"),
          "woocommerce": ("X-WC-Webhook-Topic", "order.updated")}


def sign(kind, secret, body, at=None):
    """The value of the signature field."""
    if kind != "stripe":
        return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()
    at = int(time.time()) if at is None else at
    digest = hmac.new(secret.encode(), b"%d.%s" % (at, body), hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def order_body(kind, order, cents, currency="EUR", code=None, click=None, refunds=(), **more):
    """A paid order with its refunds, [(id, cents)], as a shop tells it."""
    def money(amount):
        return f"{amount // 100}.{amount % 100:02}"
    if kind == "shopify":
        return {"id": order, "total_price": money(cents), "currency": currency,
                "discount_codes": [{"code": code}] if code else [],
                "note_attributes": [{"name": "kudos_id", "value": click}] if click else [],
                "refunds": [{"id": number, "transactions": [
                    {"kind": "refund", "status": "success", "amount": money(amount)}]}
                            for number, amount in refunds], **more}
    if kind == "woocommerce":
        return {"id": order, "status": "completed", "total": money(cents), "currency": currency,
                "coupon_lines": [{"code": code}] if code else [],
                "meta_data": [{"key": "kudos_id", "value": click}] if click else [],
                "refunds": [{"id": number, "total": "-" + money(amount)}
                            for number, amount in refunds], **more}
    if refunds:
        return {"type": "charge.refunded", "created": int(time.time()), "data": {"object": {
            "id": f"ch_{order}", "payment_intent": f"{order}", "currency": currency.lower(),
            "refunds": {"data": [{"id": f"{number}", "amount": amount,
                                  "currency": currency.lower()} for number, amount in refunds]}}}}
    return {"type": "checkout.session.completed", "created": int(time.time()), "data": {"object": {
        "id": f"cs_{order}", "payment_intent": f"{order}", "amount_total": cents,
        "currency": currency.lower(), "payment_status": "paid", "client_reference_id": click,
        "metadata": {"code": code} if code else {}, **more}}}


class HookedShop:
    """A shop with a source; tells what happens in it."""

    def __init__(self, stack, kind, secret=None, service=None):
        self.stack, self.kind = stack, kind
        self.service = service or stack.kudos
        self.secret = secret or f"whsec_{kind}"
        answer = stack.kudos.admin("POST", "/v1/sources",
                                   {"kind": kind, "name": kind, "secrets": [self.secret]})
        assert answer.status == 201, answer.text
        self.source, self.path = answer.json()["id"], answer.json()["path"]
        self.wait_known()

    def wait_known(self):
        """Waits until the source is known where hooks are answered."""
        nothing = b'{"type": "none", "data": {"object": {}}}'
        wait_until(lambda: self.call(nothing, topic="none").status == 200, 10)

    def head(self, body, secret=None, topic=None, at=None):
        """The header fields of a call."""
        fields = {FIELDS[self.kind]: sign(self.kind, secret or self.secret, body, at),
                  "Content-Type": "application/json"}
        if self.kind in TOPICS:
            fields[TOPICS[self.kind][0]] = topic or TOPICS[self.kind][1]
        return fields

    def call(self, body, headers=None, path=None, **how):
        """Sends a body (bytes, or something to send as JSON); the answer."""
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        fields = self.head(body, **how) if headers is None else headers
        return request(self.service.hooks_port, "POST", path or self.path, fields, body)

    def tell(self, order=None, cents=4990, **what):
        """Tells an order; its id. It must be taken."""
        order = order or self.order()
        answer = self.call(order_body(self.kind, order, cents, **what))
        assert answer.status == 200 and answer.json()["outcome"] == "taken", answer
        return order

    @staticmethod
    def order():
        """A new order id."""
        return 10_000 + next(_ORDERS)

    def raw(self):
        """A connection for whatever bytes."""
        return Raw(self.service.hooks_port)
