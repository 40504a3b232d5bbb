"""Sums of earnings that are kept: never read when anything that they are made of has changed since."""

import random

import pytest

from support.brand import Brand, money
from support.wait import wait_until

STACK = {"roles": "admin"}

TERMS = [{"revenue_share": 10, "per_click": money(3)}, {"per_sale": money(250), "cap": money(900)},
         {"per_click": money(5), "per_lead": money(7)},
         {"flat_fee": money(500), "revenue_share": 5, "tiers": [{"from": 3, "revenue_share": 20}]},
         {"bonuses": [{"target": "sales", "from": 2, "amount": money(77)}, {"target": "reach", "from": 500, "amount": money(9)},
                      {"target": "clicks", "from": 3, "amount": money(11)}]}]


class Season:
    """A brand to which anything may happen."""

    def __init__(self, stack, seed):
        self.brand, self.chance = Brand(stack), random.Random(seed)
        self.days = [row[0] for row in self.brand.sql("select (current_date - n)::text from generate_series(1, 6) n")]
        self.brand.make("campaigns", slug="other", name="Other", objective="launch")
        self.orders, self.posts, self.payouts = {}, [], []
        for handle in ("anna", "ben"):
            self.brand.influencer(handle)
        self.contracts = [self.brand.contract(handle, **self.chance.choice(TERMS)) for handle in ("anna", "anna", "ben")]

    def at(self):
        return f"{self.chance.choice(self.days)}T{self.chance.randrange(24):02}:00:00Z"

    def sale(self):
        minor = self.chance.randint(1, 5000)
        order = self.brand.sale(self.chance.choice(("anna", "ben")), minor, at=self.at())
        self.orders[order] = minor

    def refund(self):
        for order in [order for order, left in self.orders.items() if left][:1]:
            part = self.chance.randint(1, self.orders[order])
            self.orders[order] -= part
            self.brand.refund(order, part, at=self.at())

    def lead(self):
        self.brand.tell("lead", external_id=f"L{next(self.brand.ids)}", code="ben20", at=self.at())

    def clicks(self):
        self.brand.click(self.chance.choice(("anna", "ben")), self.chance.choice(self.days), self.chance.choice((1, 2, None)))
        self.brand.sql("update kudos.days set built_at = clock_timestamp() where time_zone = 'UTC'")
        self.brand.sql("insert into kudos.days (time_zone, day, dirty, built_at) select 'UTC', d::date, false, clock_timestamp()"
                       " from unnest(%s) d on conflict (time_zone, day) do update set built_at = clock_timestamp()", self.days)
        self.brand.count()

    def terms(self):
        self.brand.api("PATCH", f"/v1/contracts/{self.chance.choice(self.contracts)}", self.chance.choice([
            {"revenue_share": 33}, {"per_sale": money(1)}, {"holding_days": 3}, {"payment_days": 5}, {"status": "ended"},
            {"status": "active"}, {"starts_on": self.days[3]}, {"ends_on": self.days[1]}, {"ends_on": None}]))

    def contract(self):
        self.contracts.append(self.brand.contract(self.chance.choice(("anna", "ben")), **self.chance.choice(TERMS),
                                                  starts_on=self.chance.choice(self.days),
                                                  campaign=self.chance.choice((None, "spring", "other"))))

    def post(self):
        self.posts.append(self.brand.make("posts", url=f"https://x.example/{next(self.brand.ids)}", campaign="spring",
                                          influencer=self.chance.choice(("anna", "ben")), published_at=f"{self.days[5]}T00:00:00Z"))

    def reach(self):
        if self.posts:
            self.brand.make("post-metrics", post=self.chance.choice(self.posts), reach=self.chance.randint(1, 900),
                            taken_at=self.at())

    def repost(self):
        """Whose it was is seen now, or when it was published."""
        self.brand.sql(f"update kudos.posts set {self.chance.choice(('influencer_id', 'campaign_id'))} = null"
                       " where workspace_id = %s and id = %s", self.brand.number, self.chance.choice(self.posts or [0]))

    def payout(self):
        answer = self.brand.api("POST", "/v1/payouts", {"contract": self.chance.choice(self.contracts), "currency": "EUR",
                                                        "from_statement": True})
        if answer.status == 201:
            self.payouts.append(answer.json()["id"])

    def pay(self):
        if self.payouts:
            self.brand.api("PATCH", f"/v1/payouts/{self.chance.choice(self.payouts)}",
                           {"status": self.chance.choice(("approved", "paid", "cancelled", "open"))})

    def zone(self):
        self.brand.sql("update kudos.workspaces set time_zone = %s where id = %s",
                       self.chance.choice(("UTC", "Pacific/Auckland")), self.brand.number)

    def policy(self):
        self.brand.api("PATCH", f"/v1/campaigns/{self.brand.campaign}", {"attribution": {
            "window_days": 30, "precedence": self.chance.choice(("split", "link_first", "code_first"))}})
        self.brand.stack.kudos.run("reattribute", "--campaign", f"{self.brand.name}/spring", check=False)

    def moved(self):
        self.brand.sql("update kudos.conversions set occurred_at = occurred_at - interval '1 day' where workspace_id = %s"
                       " and id % 3 = 0".replace("%", "%%").replace("%%s", "%s"), self.brand.number)

    def code(self):
        """Somebody else's from now on, and with it what was sold."""
        self.brand.sql("update kudos.codes set influencer_id = %s, code = code where workspace_id = %s and code = 'ANNA20'",
                       self.brand.influencers[self.chance.choice(("anna", "ben"))], self.brand.number)

    STEPS = (sale, sale, sale, refund, refund, lead, clicks, clicks, terms, contract, post, reach, reach, repost, payout, payout, pay, zone,
             policy, moved, code)

    def step(self):
        """Something happens; its name."""
        what = self.chance.choice(self.STEPS)
        what(self)
        return what.__name__

    def wrong(self):
        """Sums that are not those of the lines."""
        return self.brand.sql(
            "select k.id from kudos.contracts k where k.workspace_id = %s and ("
            " exists (select * from kudos.contract_sums(k.id) except all select * from kudos.sum_contract(k.id)) or"
            " exists (select * from kudos.sum_contract(k.id) except all select * from kudos.contract_sums(k.id)))",
            self.brand.number)

    def kept(self):
        """Whether the sums of all contracts are kept, and hold."""
        return self.brand.value("select bool_and(kudos.is_summed(id)) from kudos.contracts where workspace_id = %s"
                                " and agreed_at is not null", self.brand.number)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_no_sum_is_stale(stack, seed):
    season = Season(stack, seed)
    done = []
    for _ in range(60):
        season.brand.keep_sums()
        assert season.kept()
        done += [season.step()]
        assert season.wrong() == [], done
    season.brand.keep_sums()
    assert season.wrong() == [] and season.kept()
    assert season.brand.value("select count(*) from kudos.earnings_touched") == 0


def test_what_is_not_committed_while_sums_are_made(stack):
    """A sale that the builder may not see yet has left a note that it has not taken away."""
    brand = Brand(stack)
    brand.influencer("anna")
    contract = brand.contract("anna", revenue_share=10)
    order = brand.sale("anna", 1000)
    assert brand.earned(contract) == 100
    connection = stack.postgres.connect()
    try:
        connection.autocommit = False
        with connection.cursor() as cursor:
            cursor.execute("update kudos.attributions set amount_minor = 2000 where conversion_id ="
                           " (select id from kudos.conversions where workspace_id = %s and order_id = %s)",
                           (brand.number, order))
            brand.sale("anna", 500)
            brand.keep_sums()
            assert brand.value("select kudos.is_summed(%s)", contract)
            assert brand.earned(contract) == 150
        connection.commit()
    finally:
        connection.close()
    assert not brand.value("select kudos.is_summed(%s)", contract)
    assert brand.earned(contract) == 250


def test_a_fee_is_earned_when_its_day_has_come(stack):
    """Sums of a contract that has not begun are not kept."""
    brand = Brand(stack)
    brand.influencer("anna")
    contract = brand.contract("anna", flat_fee=money(500), starts_on=brand.value("select (current_date + 1)::text"))
    brand.keep_sums()
    assert not brand.value("select kudos.is_summed(%s)", contract) and brand.earned(contract) == 0


def test_what_is_held_is_told_when_it_is_read(stack):
    """Sums do not age: as if they had been made weeks ago."""
    brand = Brand(stack)
    brand.influencer("anna")
    contract = brand.contract("anna", revenue_share=10, holding_days=30)
    brand.sale("anna", 1000, at=brand.value("select (current_date - 10)::text") + "T00:00:00Z")
    assert brand.earned(contract, "held_minor due_minor") == (100, 0)
    brand.sql("update kudos.earned set payable_on = payable_on - 20 where contract_id = %s", contract)
    row = brand.sql("select held_minor::int, due_minor::int from report.earnings where contract_id = %s", contract)
    assert row == [(0, 100)]


def test_flush_keeps_them(make_stack):
    """By itself, within a round or two."""
    stack = make_stack(roles="admin,flush")
    stack.start()
    brand = Brand(stack)
    brand.influencer("anna")
    contract = brand.contract("anna", revenue_share=10)
    brand.sale("anna", 1000)
    wait_until(lambda: brand.value("select kudos.is_summed(%s)", contract), 30, "flush adds up what is earned")
    assert brand.sql("select earned_minor::int from report.earnings where contract_id = %s", contract) == [(100,)]


def test_a_post_that_is_somebody_elses_now(stack):
    """Its reach is no longer what the contract pays for."""
    brand = Brand(stack)
    brand.influencer("anna")
    contract = brand.contract("anna", bonuses=[{"target": "reach", "from": 500, "amount": money(9)}])
    post = brand.make("posts", url="https://x.example/1", campaign="spring", influencer="anna",
                      published_at="2026-02-01T00:00:00Z")
    assert brand.earned(contract) == 0
    brand.make("post-metrics", post=post, taken_at="2026-02-02T00:00:00Z", reach=600)
    assert brand.earned(contract) == 9
    brand.sql("update kudos.posts set influencer_id = null where id = %s", post)
    assert brand.earned(contract) == 0
