"""Several touches: click_ids on every path, and what each influencer would earn under each model."""

import itertools
import json
import random

import pytest

from support import models
from support.api import pointers, problem
from support.brand import Brand
from support.shop import Shop
from support.wait import wait_until

DAY = 86400
START = 1772323200  # 2026-03-01 UTC


@pytest.fixture(name="shop", scope="module")
def fixture_shop(stack):
    made = Shop(stack)
    made.make("influencers", handle="zoe")
    made.make("links", slug="zoe", destination="https://shop.example.com/", campaign="summer", influencer="zoe")
    return made


def rows_of(stack, order, model):
    """[(influencer, minor)] in the order of touches."""
    return stack.postgres.sql("select influencer, amount_minor from report.attribution_models where order_id = %s"
                              " and model = %s order by position, conversion_id", order, model)


def tell(shop, **members):
    """POSTs a sale; its JSON."""
    answer = shop.stack.kudos.admin("POST", "/v1/conversions", {"event": "sale", **members})
    assert answer.status in (200, 201), answer
    return answer.json()


def test_all_clicks_are_kept_and_credited_by_model(shop, stack):
    clicks = [shop.click(slug) for slug in ("mia", "leo", "zoe")]
    order = shop.order()
    told = tell(shop, order_id=order, click_ids=clicks, amount_minor=1000, currency="EUR")
    assert (told["influencer"], told["reason"]) == ("zoe", "only_link")  # the last one stands for them
    assert stack.kudos.admin("GET", f"/v1/conversions/{told['id']}").json()["click_ids"] == clicks
    assert rows_of(stack, order, "first") == [("mia", 1000)]
    assert rows_of(stack, order, "last") == [("zoe", 1000)]
    assert rows_of(stack, order, "linear") == [("mia", 334), ("leo", 333), ("zoe", 333)]
    tell(shop, event="refund", refund_id=f"r{order}", order_id=order, amount_minor=999, currency="EUR")
    # A refund takes back so that what is left is in equal parts again.
    assert rows_of(stack, order, "linear") == [("mia", 334), ("mia", -333), ("leo", 333), ("leo", -333),
                                               ("zoe", 333), ("zoe", -333)]
    again = tell(shop, order_id=order, click_ids=clicks[::-1], click_id=clicks[2])
    assert again["outcome"] == "repeated"
    more = tell(shop, order_id=order, click_ids=[shop.click("leo")])
    assert more["outcome"] == "enriched" and len(rows_of(stack, order, "linear")) == 8


def test_forged_strange_and_robots_clicks_do_not_count(shop, stack):
    good, other = shop.click("mia"), shop.click("leo")
    forged = other[:20] + ("A" if other[20] != "A" else "B") + other[21:]
    stranger = Brand(stack)
    stranger.influencer("eve")
    order = shop.order()
    tell(shop, order_id=order, click_ids=[forged, good, "nonsense"], click_id=good, amount_minor=100, currency="EUR")
    assert rows_of(stack, order, "linear") == [("mia", 100)]
    theirs = stack.kudos.admin("POST", "/v1/conversions", {
        "event": "sale", "order_id": order, "click_ids": [good], "amount_minor": 5, "currency": "EUR"},
        key=stranger.key)
    assert theirs.json()["reason"] == "unknown_click"
    assert stack.postgres.sql("select influencer, amount_minor from report.attribution_models where workspace = %s"
                              " and model = 'linear'", stranger.name) == [(None, 5)]
    robot = shop.click("leo")
    order = shop.order()
    tell(shop, order_id=order, click_ids=[robot, good], amount_minor=100, currency="EUR")
    assert rows_of(stack, order, "first") == [("mia", 100)]  # clicked before the other
    stack.assert_consistent()
    stack.kudos.run("reclassify", "--link", "127.0.0.1/mia", "--to", "bot", "--because", "a farm")
    wait_until(lambda: rows_of(stack, order, "first") == [("leo", 100)], 20,
               lambda: f"what is no click does not count: {rows_of(stack, order, 'first')}")


def test_the_same_on_every_path(shop, stack):
    ids = [shop.click("leo"), shop.click("zoe")]
    csv = f"event,order_id,amount_minor,currency,click_ids\r\nsale,csv-1,100,EUR,{ids[0]} {ids[1]}\r\n"
    answer = stack.kudos.admin("POST", "/v1/conversions", csv.encode(), headers={"Content-Type": "text/csv"})
    assert answer.json()["created"] == 1, answer.text
    body = json.dumps({"order_id": "json-1", "amount_minor": 100, "currency": "EUR", "click_ids": ids,
                       "token": shop.token})
    assert shop.post(body, kind="application/json").status < 300
    for order in ("csv-1", "json-1"):
        wait_until(lambda order=order: rows_of(stack, order, "linear") == [("leo", 50), ("zoe", 50)], 20,
                   lambda order=order: f"{order}: {rows_of(stack, order, 'linear')}")


@pytest.mark.parametrize("clicks", ["x", ["y"] * 21, [1], [""], ["a\nb"], ["x" * 129]])
def test_bad_lists(shop, clicks):
    answer = shop.stack.kudos.admin("POST", "/v1/conversions", {"event": "sale", "order_id": "bad", "click_ids": clicks})
    assert pointers(problem(answer, 422)) == {"/click_ids"}


# Properties ---------------------------------------------------------------------------------------

class Random:
    """A brand with three influencers, and random conversions of a few customers."""

    def __init__(self, stack, seed):
        self.brand, self.chance = Brand(stack), random.Random(seed)
        for handle in ("anna", "ben", "cleo"):
            self.brand.influencer(handle)
        self.window = self.chance.choice([1, 10, 30])
        answer = self.brand.api("PATCH", f"/v1/campaigns/{self.brand.campaign}", {
            "attribution": {"window_days": self.window, "precedence": "code_first"}})
        assert answer.status == 200
        self.pool = [(self.when(), self.chance.choice(["anna", "ben", "cleo"]), number + 1) for number in range(8)]
        self.conversions = []
        for number in range(self.chance.randint(1, 6)):
            self.add_sale(f"{seed}-{number}")

    def when(self):
        return START + self.chance.randint(0, 40) * DAY + self.chance.randint(0, 5) * 3600

    def add_sale(self, order):
        chance, time = self.chance, self.when()
        amount = chance.randint(0, 100000)
        self.conversions.append({
            "event": "sale", "order": order, "key": order, "time": time, "amount": amount,
            "customer": chance.choice([None, "x@example.com", "y@example.com"]),
            "clicks": chance.sample(self.pool, chance.randint(0, 4)),
            "code": chance.choice([None, None, "anna", "ben"])})
        while amount > 0 and chance.random() < 0.5:
            part = chance.choice([amount, chance.randint(1, amount)])
            amount -= part
            self.conversions.append({
                "event": "refund", "order": order, "key": f"{order}-{amount}", "time": self.when(), "amount": -part,
                "customer": None, "clicks": [], "code": None})

    def tell(self, told, clicks):
        """Through kudos.record_conversion(), as report_make() would have it."""
        def touch(click, stem=""):
            return {f"{stem}id": f"c{click[2]}", f"{stem}origin": 7, f"{stem}seq": click[2],
                    f"{stem}link_id": self.brand.links[click[1]],
                    f"{stem}time": self.brand.value("select to_timestamp(%s)::text", click[0])}
        report = {"event": told["event"], "key": told["key"], "order_id": told["order"], "path": "api", "verified": True,
                  "amount_minor": told["amount"], "currency": "EUR",
                  "occurred_at": self.brand.value("select to_timestamp(%s)::text", told["time"])}
        if told["customer"]:
            report["customer"] = told["customer"]
        if told["code"]:
            report["code"] = f"{told['code']}20"
        if clicks:
            report.update(touches=[touch(click) for click in clicks],
                          **touch(max(clicks), "click_"))
        told["id"] = self.brand.value("select id from kudos.record_conversion(%s, %s::jsonb)", self.brand.number,
                                      json.dumps(report))

    def tell_all(self):
        """In any order; the clicks of a sale in two reports."""
        parts = []
        for told in self.conversions:
            cut = self.chance.randint(0, len(told["clicks"]))
            parts += [(told, told["clicks"][:cut]), (told, told["clicks"][cut:])]
        self.chance.shuffle(parts)
        for told, clicks in parts:
            self.tell(told, clicks)


@pytest.mark.parametrize("seed", range(8))
def test_models_add_up_and_are_what_python_says(stack, seed):
    made = Random(stack, seed)
    made.tell_all()
    revenue = sum(each["amount"] for each in made.conversions)
    for model in ("first", "last", "linear"):
        found = dict(((order, who), minor) for order, who, minor in made.brand.sql(
            "select order_id, influencer, sum(amount_minor)::bigint from report.attribution_models"
            " where workspace = %s and model = %s group by 1, 2", made.brand.name, model))
        expected = models.credited(model, made.conversions, made.window * DAY)
        kept = {key: minor for key, minor in expected.items() if minor or key in found}
        assert {**dict.fromkeys(kept, 0), **found} == {**dict.fromkeys(found, 0), **kept}, (model, made.conversions)
        assert sum(found.values()) == revenue
    wrong = made.brand.sql(
        "select c.id, m.model from kudos.conversions c cross join (values ('first'), ('last'), ('linear')) m (model)"
        " where c.workspace_id = %s and c.amount_minor is distinct from (select sum(r.amount_minor)"
        "  from report.attribution_models r where r.conversion_id = c.id and r.model = m.model)", made.brand.number)
    assert wrong == []


def test_every_order_of_arrival_gives_the_same_models(stack):
    """Three reports of one sale, another of the same customer, and a refund."""
    ends = set()
    for number, order in enumerate(itertools.permutations(range(5))):
        brand = Random(stack, 1)
        brand.conversions = [
            {"event": "sale", "order": "A", "key": "A", "time": START + 5 * DAY, "amount": 1001, "customer": "x@e.com",
             "clicks": [], "code": None},
            {"event": "sale", "order": "B", "key": "B", "time": START + 6 * DAY, "amount": 77, "customer": "x@e.com",
             "clicks": [], "code": "ben"},
            {"event": "refund", "order": "A", "key": "R", "time": START + 7 * DAY, "amount": -500, "customer": None,
             "clicks": [], "code": None}]
        sale, other, refund = brand.conversions
        clicks = [(START + 5 * DAY - 3600 * n, who, n) for n, who in ((1, "cleo"), (2, "anna"), (3, "ben"))]
        steps = [(sale, clicks[:1]), (sale, clicks[1:2]), (other, clicks[2:]), (refund, []), (sale, clicks[:2])]
        for step in order:
            brand.tell(*steps[step])
        ends.add(json.dumps(brand.brand.sql(
            "select model, event, order_id, influencer, position, amount_minor from report.attribution_models"
            " where workspace = %s order by 1, 2, 3, 5", brand.brand.name)))
        if number >= 30:
            break
    assert len(ends) == 1, ends


def test_touches_are_bounded(stack):
    brand = Random(stack, 2)
    sale = {"event": "sale", "order": "many", "key": "many", "time": START + 30 * DAY, "amount": 12345,
            "customer": "z@example.com", "clicks": [], "code": None}
    for begin in range(0, 70, 20):
        brand.tell(sale, [(START + 20 * DAY + n, "anna", 100 + n) for n in range(begin, min(begin + 20, 70))])
    kept = brand.brand.sql("select min(seq)::int, count(*)::int from kudos.conversion_touches where conversion_id = %s",
                           sale["id"])
    assert kept == [(120, 50)]  # the newest
