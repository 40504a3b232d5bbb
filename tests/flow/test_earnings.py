"""Earnings by contract: every term, refunds, rounding, tiers, bonuses, caps, holding periods, and a
model in Python that works out the same a second time."""

import json
import random

import pytest

from support import earnings
from support.brand import EUR, Brand, money

STACK = {"roles": "admin"}

@pytest.fixture(name="brand")
def fixture_brand(stack):
    made = Brand(stack)
    made.influencer("anna")
    return made


def test_flat_fee_is_earned_once_the_contract_begins(brand):
    contract = brand.contract("anna", flat_fee=money(50000))
    assert brand.earned(contract, "earned_minor flat_fee_minor due_minor") == (50000, 50000, 50000)
    for members in ({"starts_on": "2099-01-01"}, {"status": "draft"}):
        other = brand.contract("anna", flat_fee=money(1), **members)
        assert brand.earned(other) == 0
    brand.api("PATCH", f"/v1/contracts/{contract}", {"status": "ended"})
    assert brand.earned(contract) == 50000


def test_leads_sales_and_share(brand):
    contract = brand.contract("anna", per_lead=money(100), per_sale=money(250), revenue_share=7.5)
    brand.tell("lead", external_id="L1", code="anna20")
    brand.tell("signup", external_id="S1", code="anna20")
    brand.sale("anna", 4990)
    brand.sale("anna", 3333)
    assert brand.earned(contract, "leads_minor sales_minor share_minor leads sales") == \
        (100, 500, 374 + 250, 1, 2)  # 374.25, and 249.975
    assert brand.earned(contract) == 100 + 500 + 624


def test_analysts_may_read_it(brand):
    contract = brand.contract("anna", revenue_share=10, per_click=money(1), cap=money(90))
    brand.sale("anna", 1000)
    for view in ("earnings", "earning_lines", "payouts_due", "payout_lines", "attribution_models"):
        rows = brand.sql(f"set role kudos_analyst; select * from report.{view} where workspace = '{brand.name}'",
                         superuser=True)
        assert rows or view == "payout_lines"
    assert brand.earned(contract) == 90


def test_two_currencies_are_two_rows(brand):
    contract = brand.contract("anna", per_sale=money(250), revenue_share=10)
    brand.sale("anna", 1000)
    brand.sale("anna", 2000, currency="USD")
    assert brand.earned(contract) == 500 + 100
    assert brand.earned(contract, "earned_minor share_minor", "USD") == (200, 200)


def test_refunds_claw_back_to_the_cent(brand):
    contract = brand.contract("anna", per_sale=money(250), revenue_share=8)
    order = brand.sale("anna", 999)  # 79.92 -> 80
    for _ in range(2):
        brand.refund(order, 333)     # left 666 -> 53.28 -> 53; 333 -> 26.64 -> 27
    assert brand.earned(contract, "share_minor sales_minor refunds_minor") == (27, 250, -53)
    brand.refund(order, 333)
    assert brand.earned(contract, "earned_minor sales refunds") == (0, 1, 3)


def test_a_refund_belongs_to_the_contract_of_its_sale(brand):
    old = brand.contract("anna", revenue_share=10, ends_on="2026-03-31")
    new = brand.contract("anna", revenue_share=20, starts_on="2026-04-01")
    order = brand.sale("anna", 1000, at="2026-03-31T23:59:59Z")
    brand.sale("anna", 1000, at="2026-04-01T00:00:00Z")
    brand.refund(order, 1000, at="2026-04-05T00:00:00Z")
    assert (brand.earned(old), brand.earned(new)) == (0, 200)


def test_days_are_those_of_the_workspace(stack):
    brand = Brand(stack, "Pacific/Auckland")
    brand.influencer("anna")
    contract = brand.contract("anna", revenue_share=10, starts_on="2026-03-02", ends_on="2026-03-02")
    brand.sale("anna", 100, at="2026-03-01T10:59:59Z")  # 23:59:59 on the first
    brand.sale("anna", 1000, at="2026-03-01T11:00:00Z")
    brand.sale("anna", 1000, at="2026-03-02T10:59:59Z")
    brand.sale("anna", 100, at="2026-03-02T11:00:00Z")
    assert brand.earned(contract) == 200


def test_a_campaigns_contract_goes_before_one_for_all(brand):
    brand.make("campaigns", slug="other", name="Other", objective="launch")
    everywhere = brand.contract("anna", campaign=None, revenue_share=5)
    spring = brand.contract("anna", revenue_share=10)
    brand.sale("anna", 1000)
    brand.make("codes", code="ANNAX", percent=5, campaign="other", influencer="anna")
    brand.tell(minor=1000, code="annax")
    assert (brand.earned(everywhere), brand.earned(spring)) == (50, 100)
    assert brand.sql("select campaign, earned_minor from report.earnings where contract_id = %s",
                     everywhere) == [("other", 50)]


def test_tiers_take_the_place_of_the_terms(brand):
    contract = brand.contract("anna", per_sale=money(100), revenue_share=1, tiers=[
        {"from": 3, "revenue_share": 10}, {"from": 4, "per_sale": money(7)}])
    orders = [brand.sale("anna", 1000, at=f"2026-03-0{day}T00:00:00Z") for day in range(1, 6)]
    assert brand.earned(contract) == 2 * 110 + 100 + 7 + 7
    brand.refund(orders[0], 1000)  # the sales behind it move up
    assert brand.earned(contract) == 2 * 110 + 100 + 7
    assert brand.sql("select distinct rule from report.earning_lines where contract_id = %s and event = 'sale'"
                     " and rule like 'tier%%' order by 1", contract) == [
        ("tier from 3: revenue_share",), ("tier from 4: per_sale",)]


def test_bonuses(brand):
    contract = brand.contract("anna", bonuses=[
        {"target": "sales", "from": 2, "amount": money(1000)},
        {"target": "leads", "from": 1, "amount": money(10)},
        {"target": "clicks", "from": 3, "amount": money(300)},
        {"target": "reach", "from": 500, "amount": money(5)}])
    orders = [brand.sale("anna", 100), brand.sale("anna", 100)]
    assert brand.lines(contract) == {("bonus", "sales:2"): 1000}
    brand.tell("lead", external_id="L", code="anna20")
    post = brand.make("posts", url="https://x.example/1", campaign="spring", influencer="anna",
                      published_at="2026-02-01T00:00:00Z")
    for day, reach in ((1, 400), (2, 499), (3, 480)):
        brand.make("post-metrics", post=post, taken_at=f"2026-02-0{day}T00:00:00Z", reach=reach)
    today = brand.value("select current_date - 3")
    for visitor in (1, 2, None):
        brand.click("anna", today, visitor)
    brand.count()
    assert brand.lines(contract) == {("bonus", "sales:2"): 1000, ("bonus", "leads:1"): 10,
                                     ("bonus", "clicks:3"): 300}
    brand.make("post-metrics", post=post, taken_at="2026-02-04T00:00:00Z", reach=500)
    brand.refund(orders[0], 100)
    assert brand.lines(contract) == {("bonus", "leads:1"): 10, ("bonus", "clicks:3"): 300,
                                     ("bonus", "reach:500"): 5}


def test_cap(brand):
    contract = brand.contract("anna", flat_fee=money(500), revenue_share=10, cap=money(650))
    orders = [brand.sale("anna", 1000, at=f"2026-03-0{day}T00:00:00Z") for day in (1, 2, 3)]
    brand.sale("anna", 1000, currency="USD")  # the cap counts its own currency
    assert brand.earned(contract, "earned_minor capped_minor") == (650, 150)
    assert brand.earned(contract, "earned_minor capped_minor", "USD") == (100, 0)
    brand.refund(orders[0], 1000)
    assert brand.earned(contract, "earned_minor capped_minor") == (650, 50)
    brand.refund(orders[1], 1000)
    assert brand.earned(contract, "earned_minor capped_minor") == (600, 0)


def test_holding_period(brand):
    contract = brand.contract("anna", flat_fee=money(7), revenue_share=10, holding_days=30)
    day = brand.value("select (current_date - 29)::text")
    order = brand.sale("anna", 1000, at=f"{day}T00:00:00Z")
    brand.sale("anna", 2000, at="2026-03-01T00:00:00Z")
    brand.refund(order, 500, at=f"{day}T01:00:00Z")
    assert brand.earned(contract, "earned_minor held_minor due_minor paid_minor") == (257, 50, 207, 0)


def test_valid_clicks(brand):
    contract = brand.contract("anna", per_click=money(5))
    day = brand.value("select (current_date - 3)::text")
    for visitor in (1, 1, 2, None, None):
        brand.click("anna", day, visitor)
    brand.click("anna", day, 3, verdict="bot")
    brand.click("anna", brand.value("select (current_date - 2)::text"), 1, at="00:00:01")
    assert brand.earned(contract) == 0  # not counted yet
    brand.count()
    assert brand.earned(contract, "clicks_minor valid_clicks unidentified_clicks") == (25, 5, 2)
    assert brand.value("select sum(human)::int from kudos.click_earnings_daily where workspace_id = %s",
                       brand.number) == 6
    # Today goes on: shown, and not payable.
    brand.click("anna", brand.value("select current_date::text"), 9, at="00:00:00")
    brand.sql("update kudos.click_earnings_days set counted_at = now() - interval '1 day' where not closed")
    brand.count()
    assert brand.earned(contract, "clicks_minor held_minor due_minor") == (30, 5, 25)


def test_days_of_clicks_are_counted_again_when_they_changed(brand):
    contract = brand.contract("anna", per_click=money(5))
    day = brand.value("select (current_date - 2)::text")
    for visitor in (1, 2):
        brand.click("anna", day, visitor)
    brand.count()
    assert brand.earned(contract) == 10
    brand.click("anna", day, 3)
    brand.count()
    assert brand.earned(contract) == 10  # nobody said that it came late
    built = ("insert into kudos.days (time_zone, day, dirty, built_at) values ('UTC', %s, false, clock_timestamp())"
             " on conflict (time_zone, day) do update set built_at = clock_timestamp()")
    brand.sql(built, day)
    brand.count()
    assert brand.earned(contract) == 15
    brand.sql("update kudos.clicks set verdict = 'bot' where workspace_id = %s and visitor = 1", brand.number)
    brand.sql(built, day)
    brand.count()
    assert brand.earned(contract) == 10
    assert brand.value("select kudos.count_clicks(100)") == 0  # and not again and again
    # What has been counted stays when the clicks themselves are dropped.
    brand.sql("delete from kudos.clicks where workspace_id = %s", brand.number)
    brand.count()
    assert brand.earned(contract) == 10


def test_split_pays_each_for_their_half(brand):
    brand.influencer("ben")
    found = brand.api("PATCH", f"/v1/campaigns/{brand.campaign}",
                      {"attribution": {"window_days": 30, "precedence": "split"}})
    assert found.status == 200
    contracts = {handle: brand.contract(handle, per_sale=money(251), revenue_share=10)
                 for handle in ("anna", "ben")}
    brand.sql("insert into kudos.conversions (workspace_id, event, key, order_id, amount_minor, currency, occurred_at,"
              " occurred_told, path, verified, click_id, click_verified, click_link_id, click_time, code, code_verified)"
              " values (%s, 'sale', 'S', 'S', 5001, 'EUR', '2026-03-01', true, 'api', true, 'x', true, %s,"
              " '2026-02-28', 'BEN20', true)", brand.number, brand.links["anna"])
    brand.sql("select kudos.credit_conversion(id) from kudos.conversions where workspace_id = %s", brand.number)
    assert brand.earned(contracts["ben"], "sales_minor share_minor") == (126, 250)   # 2501
    assert brand.earned(contracts["anna"], "sales_minor share_minor") == (126, 250)  # 2500
    brand.refund("S", 5001)
    assert [brand.earned(each) for each in contracts.values()] == [0, 0]


@pytest.mark.parametrize("seed", range(12))
def test_random_sales_beside_the_model(brand, seed):
    """Orders of any size with any refunds, told in any order, under random terms: each line is what the
    model says, and sums are those of the lines."""
    chance = random.Random(seed)
    terms = {}
    if chance.random() < 0.7:
        terms["revenue_share"] = chance.choice([0.01, 3.33, 7.5, 8, 12.34, 99.99, 100])
    if chance.random() < 0.5 or not terms:
        terms["per_sale"] = money(chance.randint(1, 999))
    if chance.random() < 0.6:
        terms["tiers"] = [{"from": start, **({"revenue_share": chance.choice([0.1, 5, 33.33])} if chance.random() < 0.6
                                             else {"per_sale": money(chance.randint(1, 99))})}
                          for start in sorted(chance.sample(range(0, 12), chance.randint(1, 3)))]
    cap = chance.choice([None, chance.randint(0, 20000)])
    contract = brand.contract("anna", **terms, **({"cap": money(cap)} if cap else {}))
    orders, steps = [], []
    for number in range(chance.randint(1, 15)):
        order = earnings.Order(f"2026-03-{chance.randint(1, 28):02}T00:00:00Z", f"K{seed}-{number}",
                               chance.randint(0, 100000))
        left = order.minor
        while left > 0 and chance.random() < 0.5:
            part = left if chance.random() < 0.4 else chance.randint(1, left)
            order.refunds.append((f"2026-03-{chance.randint(1, 28):02}T00:00:00Z",
                                  f"{order.key}-R{len(order.refunds)}", -part))
            left -= part
        orders.append(order)
        steps.append(("sale", order.time, order.key, order.key, order.minor))
        steps += [("refund", time, order.key, key, -minor) for time, key, minor in order.refunds]
    chance.shuffle(steps)
    keys = {}
    for event, time, order, key, minor in steps:
        told = {"order_id": order, "refund_id": key} if event == "refund" else {"order_id": order, "code": "ANNA20"}
        keys[str(brand.tell(event, minor, time, **told))] = key
    expected = earnings.lines_of(terms, orders)
    found = {(kind, keys[key]): minor for kind, key, minor in brand.sql(
        "select kind, key, full_minor from kudos.contract_facts(%s)", contract)}
    assert found == expected, json.dumps(terms)
    total = sum(expected.values())
    assert brand.earned(contract) == (min(cap, total) if cap else total) == sum(brand.lines(contract).values())
