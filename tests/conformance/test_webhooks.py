"""Signature vectors and bodies of shops' webhooks (folder webhooks/ of the corpora).

A vector says its secret, the body as it came, the fields of the head, and what must be answered; those
of Stripe also at what time, so they go to an admin whose clock stands there (libfaketime). The bodies
are signed anew, sent twice, and must be the conversions that they tell.
"""

import base64
import glob
import json
import os

import pytest

from support.api import make
from support.explain import corpus
from support.hooks import HookedShop, sign
from support.http import Raw
from support.wait import wait_until

TOPICS = {"shopify": ("X-Shopify-Topic", "orders/create"),
          "woocommerce": ("X-WC-Webhook-Topic", "order.created")}
# The columns of a conversion: event, order_id, key, amount_minor, currency, code, click_id, and the
# year in which it occurred.
TOLD = {
    "shopify_order_create": [
        ("sale", "450789469", "450789469", 40994, "USD", "TENOFF", None, 2008)],
    "shopify_order_coupon_refunded": [
        ("sale", "123456", "123456", 166780, "USD", "Lovi", None, 2016),
        ("refund", "123456", "42214031449", -166780, "USD", None, None, 2019)],
    "stripe_checkout_session_completed": [
        ("sale", "pi_1PgafyB7WZ01zgkWSjxsAJo3", "pi_1PgafyB7WZ01zgkWSjxsAJo3", 2421, "USD", None,
         "ck_0123456789abcdef", 2025)],
    "stripe_charge_refunded": [
        ("refund", "ch_1PgafuB7WZ01zgkWXYmPNZs8", "ch_1PgafuB7WZ01zgkWXYmPNZs8/100", -100, "USD", None,
         None, 2025)],
    "woocommerce_order_727": [("sale", "727", "727", 2735, "USD", "maya10", None, 2017)],
}


def vectors():
    with open(corpus("webhooks/signature_vectors.json"), encoding="utf-8") as file:
        return json.load(file)


def preload():
    """The library that sets a process' clock."""
    found = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
    if not found:
        pytest.skip("libfaketime is not installed")
    return found[0]


def send(service, path, headers, body):
    """POSTs with fields that may come twice; the answer."""
    lines = [f"{name}: {value}" for name, values in headers.items()
             for value in (values if isinstance(values, list) else [values])]
    with Raw(service.hooks_port) as raw:
        raw.send("\r\n".join([f"POST {path} HTTP/1.1", "Host: shop", f"Content-Length: {len(body)}",
                              *lines, "", ""]).encode() + body)
        return raw.response()


class Servers:
    """The service, and an admin for each time that a vector asks for; sources by secret."""

    def __init__(self, stack):
        self.stack, self.by_time, self.paths = stack, {None: stack.kudos}, {}

    def at(self, seconds):
        """The one whose clock stands there."""
        if seconds not in self.by_time:
            made = self.stack.service(f"at{seconds}", roles="admin", settings={"admin_connections": 2},
                                      env={
                "LD_PRELOAD": preload(), "FAKETIME": f"{seconds}", "FAKETIME_FMT": "%s", "TZ": "UTC",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1"})
            self.by_time[seconds] = made.start(wait=False)
            wait_until(lambda: b"hooks_total" in made.admin("GET", "/metrics", key=None).body, 20)
        return self.by_time[seconds]

    def path(self, service, kind, secret):
        """Where a source with this secret is called; it is known there."""
        if (kind, secret) not in self.paths:
            self.paths[kind, secret] = make(self.stack, "/v1/sources", {
                "kind": kind, "name": kind, "secrets": [secret]})["path"]
        path = self.paths[kind, secret]
        wait_until(lambda: send(service, path, {}, b"").status == 401, 10, "the source is known")
        return path


@pytest.fixture(name="servers", scope="module")
def fixture_servers(stack):
    return Servers(stack)


def test_signature_vectors(servers):
    wrong, seen = [], {200: 0, 401: 0, None: 0}
    for vector in vectors():
        note = vector["note"]
        service = servers.at(note["now"] if isinstance(note, dict) else None)
        path = servers.path(service, vector["provider"], vector["secret"])
        body = base64.b64decode(vector["body_b64"])
        status = send(service, path, vector["headers"], body).status
        seen[vector["expect"]] += 1
        if status != vector["expect"] and (vector["expect"] is not None or status not in (200, 401)):
            wrong.append(f"{vector['id']}: {status} instead of {vector['expect']}")
    assert sum(seen.values()) >= 38 and min(seen[200], seen[401]) >= 9, seen
    assert not wrong, "\n".join(wrong)


@pytest.fixture(name="shops", scope="module")
def fixture_shops(stack):
    return {kind: HookedShop(stack, kind, secret="bodies")
            for kind in ("shopify", "stripe", "woocommerce")}


@pytest.mark.parametrize("name", TOLD)
def test_bodies(stack, shops, name):
    with open(corpus(f"webhooks/{name}.json"), "rb") as file:
        body = file.read()
    shop = shops[name.partition("_")[0]]
    topic = TOPICS.get(shop.kind, (None, None))[1]
    for _ in range(2):
        answer = shop.call(body, topic=topic)
        assert answer.json() == {"outcome": "taken", "conversions": len(TOLD[name])}, answer

    def rows():
        return stack.postgres.sql(
            "select event, order_id, key, amount_minor, currency, code, click_id,"
            " extract(year from occurred_at)::int from kudos.conversions where path = %s"
            " and key = any (%s) order by event desc", shop.kind, [told[2] for told in TOLD[name]])
    wait_until(lambda: stack.postgres.value(
        "select count(*) from kudos.conversion_inbox where processed_at is not null and source_id ="
        " %s and told ->> 'key' = %s", shop.source, TOLD[name][-1][2]) == 2, 20, "both are recorded")
    assert rows() == TOLD[name]


def test_every_body_of_the_corpus_is_here():
    found = {os.path.basename(path)[:-5] for path in glob.glob(str(corpus("webhooks")) + "/*_*.json")}
    assert found - {"signature_vectors"} == set(TOLD)
    assert sign("shopify", "hush", b"x")
