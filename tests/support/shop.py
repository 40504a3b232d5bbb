"""A shop whose sales are told on the public plane: a campaign, two influencers, a source."""

import hashlib
import hmac
import itertools
import urllib.parse

from .http import BROWSER, request
from .wait import wait_until

SECRET = "a secret of thirty-two characters"


class Shop:
    """Makes what is needed on a stack, and tells sales."""

    def __init__(self, stack):
        self.stack, self.numbers = stack, itertools.count(1)
        self.make("campaigns", slug="summer", name="Summer", objective="conversion",
                  destination="https://shop.example.com/")
        for handle in ("mia", "leo"):
            self.make("influencers", handle=handle, name=handle.title())
            self.make("links", slug=handle, destination="https://shop.example.com/",
                      campaign="summer", influencer=handle)
            self.make("codes", code=f"{handle.upper()}10", percent=10, campaign="summer",
                      influencer=handle)
        made = self.make("sources", kind="postback", name="shop", secrets=[SECRET])
        self.source, self.token = made["id"], made["token"]

    def make(self, resource, /, **members):
        """POSTs one; its JSON."""
        answer = self.stack.kudos.admin("POST", f"/v1/{resource}", members)
        assert answer.status == 201, answer.text
        return answer.json()

    def click(self, slug="mia"):
        """A visitor's click; its id."""
        answer = request(self.stack.kudos.port, path=f"/{slug}", headers=BROWSER)
        return answer.location.partition("kudos_id=")[2]

    def order(self):
        """A new order id."""
        return f"S-{next(self.numbers)}"

    def get(self, path="postback", **parameters):
        """GET with these parameters."""
        query = urllib.parse.urlencode(parameters)
        return request(self.stack.kudos.port, path=f"/-/{path}?{query}")

    def post(self, body, path="postback", query="", kind=None, **headers):
        """POST of a body (a dict is sent as JSON)."""
        if kind:
            headers["Content-Type"] = kind
        return request(self.stack.kudos.port, "POST", f"/-/{path}{query}", headers, body)

    def sign(self, query, body=None, secret=SECRET, source=None):
        """The query with its signature at its end."""
        query = f"source={source or self.source}&{query}"
        signed = query.encode() + (b"" if body is None else b"\n" + body)
        message = hashlib.sha256(signed).hexdigest().encode()
        return f"{query}&signature={hmac.new(secret.encode(), message, 'sha256').hexdigest()}"

    def rows(self, order, event="sale"):
        """The conversions of an order."""
        return self.stack.postgres.sql(
            "select c.status::text, c.reason, c.amount_minor, c.currency, i.handle, c.verified,"
            " c.path::text, c.code from kudos.conversions c left join kudos.influencers i"
            " on i.id = c.influencer_id where c.event = %s and c.order_id = %s", event, order)

    def wait(self, order, event="sale", **wanted):
        """Waits until the order is there, and as wanted; its row as a dict."""
        names = ("status", "reason", "amount", "currency", "who", "verified", "path", "code")

        def row():
            rows = self.rows(order, event)
            assert len(rows) <= 1
            return dict(zip(names, rows[0])) if rows else None

        def good():
            found = row()
            return found and all(found[name] == value for name, value in wanted.items())
        wait_until(good, 30, lambda: f"{order} as {wanted}: {row()}")
        return row()
