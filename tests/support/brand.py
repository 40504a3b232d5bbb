"""A client brand for tests of money: a workspace of its own with a campaign, and short ways to sell."""

import itertools

from .api import make_workspace

EUR = "EUR"


def money(minor, currency=EUR):
    """As the API takes it."""
    return {"amount_minor": minor, "currency": currency}


class Brand:
    """A workspace of its own with a campaign; influencers each with a code and a link."""

    names = itertools.count(1)

    def __init__(self, stack, zone="UTC"):
        self.stack, self.sql, self.value = stack, stack.postgres.sql, stack.postgres.value
        self.name = f"brand{next(self.names)}"
        self.key = make_workspace(stack, self.name)
        self.number = self.value("select id from kudos.workspaces where name = %s", self.name)
        self.sql("update kudos.workspaces set time_zone = %s where id = %s", zone, self.number)
        self.ids = itertools.count(1)
        self.campaign = self.make("campaigns", slug="spring", name="Spring", objective="conversion")
        self.influencers, self.links = {}, {}

    def api(self, method, path, body=None, **headers):
        """A request with the workspace's own key."""
        return self.stack.kudos.admin(method, path, body, headers, key=self.key)

    def make(self, kind, **members):
        """POSTs one; its id."""
        answer = self.api("POST", f"/v1/{kind}", members)
        assert answer.status == 201, answer
        return answer.json()["id"]

    def influencer(self, handle, campaign="spring"):
        """One with a code (HANDLE20) and a link, of a campaign."""
        self.influencers[handle] = self.make("influencers", handle=handle)
        self.make("codes", code=f"{handle.upper()}20", percent=20, campaign=campaign, influencer=handle)
        self.value("insert into kudos.domains (workspace_id, host) values (%s, %s)"
                   " on conflict do nothing returning 1", self.number, f"{self.name}.example") \
            if not self.links else None
        self.links[handle] = self.value(
            "insert into kudos.links (workspace_id, domain_id, slug, destination, influencer_id, campaign_id)"
            " select %s, id, %s, 'https://example.com/', %s, (select id from kudos.campaigns"
            " where workspace_id = %s and slug = %s) from kudos.domains where workspace_id = %s returning id",
            self.number, handle, self.influencers[handle], self.number, campaign, self.number)
        return handle

    def contract(self, handle, **terms):
        """An active one, from the beginning of 2026."""
        return self.make("contracts", **{"influencer": handle, "campaign": "spring", "status": "active",
                                         "starts_on": "2026-01-01", **terms})

    def tell(self, event="sale", minor=None, at="2026-03-01T12:00:00Z", **members):
        """A conversion; its id."""
        told = {"event": event, "occurred_at": at, **members}
        if minor is not None:
            told.update(amount_minor=minor, currency=members.get("currency", EUR))
        if event == "sale":
            told.setdefault("order_id", f"O-{next(self.ids)}")
        answer = self.api("POST", "/v1/conversions", told)
        assert answer.status in (200, 201), answer
        return answer.json()["id"]

    def sale(self, handle, minor, order=None, **members):
        """One by an influencer's code; its order."""
        order = order or f"O-{next(self.ids)}"
        self.tell(minor=minor, order_id=order, code=f"{handle}20", **members)
        return order

    def refund(self, order, minor, at="2026-03-05T12:00:00Z", **members):
        """Takes back a part of an order; the refund's id."""
        return self.tell("refund", minor, at, order_id=order, refund_id=f"R-{next(self.ids)}", **members)

    def click(self, handle, day, visitor, verdict="human", at="12:00", campaign="spring"):
        """A stored click on an influencer's link."""
        self.sql("insert into kudos.clicks (origin, seq, time, link_id, domain_id, workspace_id, campaign_id,"
                 " influencer_id, visitor, verdict, status, flags) select 1, %s, %s::timestamptz, %s, 1, %s,"
                 " (select id from kudos.campaigns where workspace_id = %s and slug = %s), %s, %s, %s, 302, 0",
                 next(self.ids), f"{day} {at}+00", self.links[handle], self.number, self.number, campaign,
                 self.influencers[handle], visitor, verdict)

    def count(self):
        """Counts the days of clicks."""
        while self.value("select kudos.count_clicks(1000)") == 1000:
            pass

    def keep_sums(self):
        """Has the builder add up what contracts have earned, as if the time had passed in which it lets them rest."""
        self.sql("update kudos.earnings_built set built_at = built_at - interval '1 day'")
        while self.value("select kudos.build_earnings()"):
            self.sql("update kudos.earnings_built set built_at = built_at - interval '1 day'")

    def earned(self, contract, columns="earned_minor", currency=EUR):
        """From report.earnings, added up over campaigns: the same before and after sums are kept."""
        sums = ", ".join(f"coalesce(sum({column}), 0)::bigint" for column in columns.split())
        def read():
            return self.sql(f"select {sums} from report.earnings where contract_id = %s and currency = %s",
                            contract, currency)[0]
        row = read()
        self.keep_sums()
        assert read() == row, "what is kept is not what is computed"
        return row[0] if len(row) == 1 else row

    def lines(self, contract):
        """{(kind, key): minor}."""
        return {(kind, key): minor for kind, key, minor in self.sql(
            "select kind, key, amount_minor from report.earning_lines where contract_id = %s", contract)}
