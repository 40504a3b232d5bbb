"""Touches that are kept for report.attribution_models: never read when anything that they are made of has changed."""

import itertools
import json
import random

import pytest

from support.brand import Brand
from support.wait import wait_until

STACK = {"roles": "admin"}
NAMES = ("anna", "ben", "cleo")


def build(brand):
    """Has the builder do all that there is."""
    while brand.value("select kudos.build_models(7)"):
        pass


class Season:
    """A brand to whose customers anything may happen."""

    def __init__(self, stack, seed):
        self.brand, self.chance = Brand(stack), random.Random(seed)
        for handle in NAMES:
            self.brand.influencer(handle)
        self.other = self.brand.make("campaigns", slug="other", name="Other", objective="launch")
        self.numbers = itertools.count(1)
        self.pool = [{"id": f"c{n}", "origin": 7000 + self.brand.number, "seq": n, "time": self.at(),
                      "link_id": self.brand.links[self.chance.choice(NAMES)]} for n in range(9)]
        self.told = []

    def at(self):
        return f"2026-03-{self.chance.randint(1, 28):02}T{self.chance.randrange(24):02}:00:00Z"

    def record(self, **told):
        self.told.append({"path": "api", "verified": self.chance.random() < 0.9, "occurred_at": self.at(), **told})
        self.brand.sql("select kudos.record_conversion(%s, %s::jsonb)", self.brand.number, json.dumps(self.told[-1]))

    def sale(self):
        order, clicks = f"o{next(self.numbers)}", self.chance.sample(self.pool, self.chance.randint(0, 3))
        told = {"event": "sale", "key": order, "order_id": order, "amount_minor": self.chance.randint(0, 999), "currency": "EUR"}
        if self.chance.random() < 0.7:
            told["customer"] = self.chance.choice(("x@example.com", "y@example.com"))
        if self.chance.random() < 0.5:
            told["code"] = f"{self.chance.choice(NAMES)}20"
        if clicks:
            told.update(touches=clicks, **{f"click_{name}": value for name, value in clicks[0].items()})
        self.record(**told)

    def refund(self):
        """Also of orders that are told later."""
        order = f"o{self.chance.randint(1, 9)}"
        self.record(event="refund", key=f"r{next(self.numbers)}", order_id=order, amount_minor=-1, currency="EUR")

    def alone(self):
        """A page tells a sale by its click alone."""
        click = self.chance.choice(self.pool)
        self.record(event="sale", key=click["id"], **{f"click_{name}": value for name, value in click.items()})

    def invoice(self):
        """A sale that one tells by its invoice, another by the shop's own order and that invoice."""
        number, told = self.chance.randint(1, 4), {"event": "sale", "amount_minor": 500, "currency": "EUR"}
        if self.chance.random() < 0.5:
            self.record(**told, key=f"in_{number}", order_id=f"in_{number}", code=f"{self.chance.choice(NAMES)}20")
        else:
            self.record(**told, key=f"s{number}", order_id=f"s{number}", external_id=f"in_{number}")

    def limit(self):
        """A code may be used so often, and no more."""
        self.brand.sql("update kudos.codes set max_uses = %s where workspace_id = %s and code = %s",
                       self.chance.choice((None, 1, 2)), self.brand.number, f"{self.chance.choice(NAMES)}20".upper())
        self.brand.sql("select kudos.settle_written(100)")

    def more(self):
        """What was told comes once more, with another click or code, or by somebody who proves who they are."""
        for old in self.chance.sample(self.told, min(1, len(self.told))):
            self.record(**{**old, "verified": True, "touches": self.chance.sample(self.pool, 2),
                           **({"code": f"{self.chance.choice(NAMES)}20"} if old["event"] == "sale" else {})})

    def moved(self):
        self.brand.sql("update kudos.links set influencer_id = %s, campaign_id = %s where id = %s",
                       self.brand.influencers[self.chance.choice(NAMES)],
                       self.chance.choice((None, self.other, self.brand.campaign)),
                       self.brand.links[self.chance.choice(NAMES)])

    def code(self):
        self.brand.sql(f"update kudos.codes set {self.chance.choice(('starts_at', 'ends_at', 'inactive_since'))} = %s"
                       " where workspace_id = %s and code = %s", self.chance.choice((None, self.at())), self.brand.number,
                       f"{self.chance.choice(NAMES)}20".upper())

    def codes(self):
        self.brand.sql("update kudos.codes set influencer_id = %s where workspace_id = %s and code = 'ANNA20'",
                       self.brand.influencers[self.chance.choice(NAMES)], self.brand.number)

    def window(self):
        self.brand.api("PATCH", f"/v1/campaigns/{self.brand.campaign}",
                       {"attribution": {"window_days": self.chance.choice((1, 5, 30)), "precedence": "code_first"}})

    def address(self):
        """An influencer turns out to be the customer, or not."""
        self.brand.sql("update kudos.influencers set email = %s where id = %s",
                       self.chance.choice((None, "x@example.com", "y@example.com")),
                       self.brand.influencers[self.chance.choice(NAMES)])

    def robot(self):
        self.brand.sql("update kudos.conversion_touches set problem = 'non_human_click' where origin = %s and seq = %s",
                       7000 + self.brand.number, self.chance.randrange(9))

    def erase(self):
        self.brand.sql("insert into kudos.erasures (workspace_id, subject) values (%s, %s)", self.brand.number,
                       self.chance.choice(("x@example.com", "y@example.com")))

    STEPS = (sale,) * 8 + (refund,) * 3 + (alone, invoice, invoice, limit, more, more, moved, code, codes, window, address, robot, erase)

    def step(self):
        """Something happens; its name."""
        what = self.chance.choice(self.STEPS)
        what(self)
        return what.__name__

    def wrong(self):
        """What the view reads and what is computed now, where they differ."""
        kept = ("select conversion_id, place::bigint, touches::bigint, kind, link_id, code_id, influencer_id, campaign_id,"
                " touched_at from kudos.model_parts where place is not null and conversion_id in"
                " (select id from kudos.conversions where workspace_id = %s)")
        now = "select * from kudos.touches_among(array(select id from kudos.conversions where workspace_id = %s))"
        number = self.brand.number
        return [self.brand.sql(f"({one}) except all ({other})", number, number) for one, other in ((kept, now), (now, kept))
                if self.brand.sql(f"({one}) except all ({other})", number, number)]

    def uneven(self):
        """Conversions whose parts are not their amount."""
        return self.brand.sql(
            "select c.id, m.model from kudos.conversions c cross join (values ('first'), ('last'), ('linear')) m (model)"
            " where c.workspace_id = %s and c.verified and c.amount_minor is distinct from (select sum(r.amount_minor)"
            "  from report.attribution_models r where r.conversion_id = c.id and r.model = m.model)", self.brand.number)


@pytest.mark.parametrize("seed", range(10))
def test_whatever_happens_no_touch_is_stale(stack, seed):
    season, done = Season(stack, seed), []
    for number in range(50):
        if number % 3 < 2:
            build(season.brand)
        done += [season.step()]
        assert season.wrong() == [], done
    build(season.brand)
    assert season.wrong() == [] and season.uneven() == []
    assert season.brand.value("select count(*) from kudos.models_touched") == 0
    assert season.brand.value("select count(*) from kudos.model_touches t join kudos.conversions c on c.id = t.conversion_id"
                              " where c.workspace_id = %s", season.brand.number) > 0


def test_what_is_not_committed_while_touches_are_kept(stack):
    """A link that moves while a sale is told that its writer cannot see."""
    season = Season(stack, 1)
    connection = stack.postgres.connect()
    try:
        connection.autocommit = False
        with connection.cursor() as cursor:
            cursor.execute("update kudos.links set campaign_id = null, influencer_id = %s where workspace_id = %s",
                           (season.brand.influencers["cleo"], season.brand.number))
            click = season.pool[0]
            season.record(event="sale", key="k", order_id="k", amount_minor=5, currency="EUR", verified=True, touches=[click],
                          occurred_at="2026-03-28T23:59:59Z", **{f"click_{name}": value for name, value in click.items()})
            build(season.brand)
        connection.commit()
    finally:
        connection.close()
    assert season.wrong() == []
    assert season.brand.sql("select influencer, campaign from report.attribution_models where workspace = %s and order_id = 'k'"
                            " and model = 'last'", season.brand.name) == [("cleo", None)]


def test_what_everybody_is_called_is_nobody(stack):
    """A reference that more than 200 conversions share joins nothing, and one that does no more joins again."""
    season = Season(stack, 2)
    click = season.pool[0]
    def tell(number, **members):
        season.record(event="sale", key=f"g{number}", order_id=f"g{number}", amount_minor=5, currency="EUR", verified=True,
                      customer="guest", occurred_at="2026-03-28T23:59:59Z", **members)
    def joined():
        assert season.wrong() == []
        return season.brand.value("select count(*) from report.attribution_models where workspace = %s and model = 'last'"
                                  " and position is not null", season.brand.name)
    tell(0, touches=[click], **{f"click_{name}": value for name, value in click.items()})
    for number in range(1, 200):
        tell(number)
    build(season.brand)
    assert joined() == 200
    tell(200)
    assert joined() == 1
    build(season.brand)
    assert joined() == 1
    season.brand.sql("update kudos.conversions set customer = null where workspace_id = %s and key = 'g200'", season.brand.number)
    assert joined() == 200
    build(season.brand)
    assert joined() == 200


def test_flush_keeps_them(make_stack):
    """By itself, within a round or two."""
    stack = make_stack(roles="admin,flush")
    stack.start()
    season = Season(stack, 3)
    season.sale()
    wait_until(lambda: season.brand.value("select count(*) from kudos.models_touched") == 0, 30, "flush keeps touches")
    assert season.wrong() == []
