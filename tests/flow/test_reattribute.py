"""`kudos reattribute`: a change of policy reaches what was sold before, and no payout that is made."""

import itertools
import json

import pytest

from support.brand import Brand

STACK = {"roles": "admin"}


class Both(Brand):
    """Sales that Anna's click and Ben's code led to."""

    def __init__(self, stack):
        super().__init__(stack)
        self.influencer("anna")
        self.influencer("ben")

    def policy(self, precedence, days=30):
        """Sets the campaign's."""
        answer = self.api("PATCH", f"/v1/campaigns/{self.campaign}", {
            "attribution": {"precedence": precedence, "window_days": days}})
        assert answer.status == 200, answer

    def both(self, order, minor, click=True, code=True, at="2026-03-01 12:00+00"):
        """Told as on any path, with a click that is not flushed."""
        told = {"event": "sale", "key": order, "order_id": order, "path": "api", "verified": True,
                "amount_minor": minor, "currency": "EUR", "occurred_at": at}
        if click:
            told.update(click_id=f"c{order}", click_origin=9, click_seq=int(order.split("-")[1]) + 1,
                        click_link_id=self.links["anna"], click_time="2026-02-20 12:00+00")
        if code:
            told["code"] = "BEN20"
        return self.value("select id from kudos.record_conversion(%s, %s::jsonb)", self.number, json.dumps(told))

    def run(self, *arguments, status=0):
        """The command's output."""
        done = self.stack.kudos.run("reattribute", "--campaign", "spring", "--workspace", self.name, *arguments,
                                    check=False)
        assert done.returncode == status, (done.stdout, done.stderr)
        return done.stdout if status == 0 else done.stderr

    def state(self):
        """Everything that is decided."""
        return self.sql("select c.key, c.status::text, c.reason, c.influencer_id, t.position, t.kind::text, t.won,"
                        " t.share_percent, t.amount_minor, t.reason from kudos.conversions c left join"
                        " kudos.attributions t on t.conversion_id = c.id where c.workspace_id = %s"
                        " order by 1, 5", self.number)

    def money(self, *contracts):
        """What contracts earn, are owed and were paid, line by line."""
        return [self.sql("select kind, order_id, event, day, rule, reason, amount_minor, held_minor, due_minor,"
                         " paid_minor from report.earning_lines where contract_id = %s order by 1, 2, 3, 4, 7", contract)
                for contract in contracts]


@pytest.fixture(name="brand")
def fixture_brand(stack):
    return Both(stack)


def test_policy_change_reaches_what_was_sold(brand):
    sales = [brand.both(f"S-{n}", 1001) for n in range(3)]
    brand.refund("S-0", 1001)
    brand.both("S-8", 500, code=False)
    contracts = {who: brand.contract(who, revenue_share=10) for who in ("anna", "ben")}
    paid = brand.api("POST", "/v1/payouts", {"contract": contracts["ben"], "currency": "EUR", "from_statement": True})
    assert paid.json()["total"]["amount_minor"] == 200
    before = brand.state()
    brand.policy("link_first")
    assert brand.state() == before
    said = brand.run("--dry-run")
    assert "5 conversions looked at, 4 would be credited otherwise" in said
    assert brand.state() == before and brand.value("select count(*) from kudos.reattributions") == 0
    said = brand.run()
    assert "5 conversions decided anew, 4 are credited otherwise" in said
    lines = {line.split()[0]: line for line in said.splitlines()}
    assert "EUR 500 -> 2502 (minor units; conversions 1 -> 5)" in lines["anna"]
    assert "EUR 2002 -> 0 (minor units; conversions 4 -> 0)" in lines["ben"]
    assert {row[3] for row in brand.state()} == {brand.influencers["anna"]}
    # The payout stays as it was made; what is different now is due, or owed back.
    assert brand.earned(contracts["ben"], "earned_minor due_minor in_payouts_minor") == (0, 0, 200)
    assert brand.value("select sum(amount_minor)::int from report.payout_lines where contract_id = %s",
                       contracts["ben"]) == 200
    assert brand.earned(contracts["anna"]) == 250
    assert "5 conversions decided anew, 0 are credited otherwise" in brand.run()
    assert len(sales) == 3


def test_many_batches(brand):
    brand.sql("select kudos.record_conversion(%s, jsonb_build_object('event', 'sale', 'key', 'M-' || n, 'order_id',"
              " 'M-' || n, 'path', 'api', 'verified', true, 'amount_minor', n, 'currency', 'EUR', 'code', 'BEN20',"
              " 'click_id', 'm' || n, 'click_origin', 11, 'click_seq', n, 'click_link_id', %s::bigint,"
              " 'click_time', now() - interval '1 day')) from generate_series(1, 1203) n", brand.number,
              brand.links["anna"])
    brand.policy("split")
    said = brand.run()
    assert "1203 conversions decided anew, 1203 are credited otherwise" in said
    total = 1203 * 1204 // 2
    halves = sum(n // 2 for n in range(1, 1204))
    assert f"EUR 0 -> {halves}" in said and f"EUR {total} -> {total - halves}" in said


def test_wrong_use(brand):
    assert "usage" in brand.stack.kudos.run("reattribute", check=False).stderr
    assert "there is no campaign" in brand.stack.kudos.run("reattribute", "--campaign", "nowhere", check=False).stderr
    Both(brand.stack)
    ambiguous = brand.stack.kudos.run("reattribute", "--campaign", "spring", check=False)
    assert ambiguous.returncode == 1 and "--workspace" in ambiguous.stderr


def test_a_conversion_is_written_once(brand):
    """Crediting updates its row once, and not at all if nothing is different."""
    one = brand.both("S-1", 100)
    row = "select xmin::text, cmax::text, updated_at from kudos.conversions where id = %s"
    before = brand.sql(row, one)
    brand.sql("select kudos.credit_conversion(%s)", one)
    assert brand.sql(row, one)[0][2] == before[0][2]
    brand.policy("link_first")
    updates = "select n_tup_upd from pg_stat_xact_user_tables where relid = 'kudos.conversions'::regclass"
    assert brand.sql(f"begin; select kudos.credit_conversion({one}); {updates}") == [(1,)]


def test_nothing_drifts(stack):
    """A sale with a click and a code in two reports, its refund, the code's entry, a change of policy with
    reattribution, and the click found to be a robot's: in whatever order they arrive, who is credited, what
    contracts earn and what a statement adds up to are the same."""
    ends, orders = {}, list(itertools.permutations("sckrpb"))
    for order in orders[::48]:
        brand = Both(stack)
        brand.sql("update kudos.codes set code = 'OTHER' where workspace_id = %s and code = 'BEN20'", brand.number)
        brand.policy("link_first")
        contracts = [brand.contract(who, revenue_share=10, per_sale={"amount_minor": 50, "currency": "EUR"},
                                    per_click={"amount_minor": 3, "currency": "EUR"}) for who in ("anna", "ben")]
        day = brand.value("select (current_date - 3)::text")
        for visitor in (1, 1, 2):
            brand.click("anna", day, visitor)
        brand.both("D-2", 5001, code=False)  # another sale of Anna's, by the same policy

        def robot(brand=brand, day=day):
            brand.sql("update kudos.clicks set verdict = 'bot' where workspace_id = %s and visitor = 2", brand.number)
            brand.sql("insert into kudos.days (time_zone, day, dirty, built_at) values ('UTC', %s, false,"
                      " clock_timestamp()) on conflict (time_zone, day) do update set built_at = clock_timestamp()", day)

        def policy(brand=brand):
            brand.policy("split")
            brand.run()

        steps = {"s": lambda: brand.both("D-1", 1999, code=False), "c": lambda: brand.both("D-1", 1999, click=False),
                 "k": lambda: brand.make("codes", code="BEN20", percent=5, campaign="spring", influencer="ben"),
                 "r": lambda: brand.refund("D-1", 999), "p": policy, "b": robot}
        for number, step in enumerate(order):
            steps[step]()
            if number == 2:
                brand.count()
        # The last word of the policy: what came after the change is credited by it already.
        brand.count()
        lines = brand.money(*contracts)
        statements = [brand.api("GET", f"/v1/influencers/{brand.influencers[who]}/statement").json()["totals"]
                      for who in ("anna", "ben")]
        state = [row[:3] + row[4:] for row in brand.state() if not row[0].startswith("R")]
        ends.setdefault(json.dumps([state, lines, statements], default=str), order)
    assert len(ends) == 1, list(ends.items())[:2]
    # 1999 - 999 = 1000 split, 5001 Anna's; 2 visitors less one robot.
    totals = json.loads(next(iter(ends)))[2]
    assert [each[0]["earned_minor"] for each in totals] == [500 + 50 + 50 + 25 + 3, 50 + 25]
