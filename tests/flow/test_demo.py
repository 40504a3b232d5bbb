"""kudos demo --clicks: a season that holds together; and the queries of server/schema/README.md, run on it."""

import os
import re

import pytest

from support.service import ROOT
from support.wait import wait_until

STACK = {"roles": "flush"}
CLICKS = 5000


def figures(stack):
    """What the season is, in figures."""
    return stack.postgres.sql(
        "select (select count(*) from kudos.clicks), (select sum(clicks)::int from kudos.clicks_hourly),"
        " (select count(*) from kudos.conversions), (select count(*) from kudos.attributions where won),"
        " (select sum(amount_minor)::int from kudos.conversions), (select count(*) from kudos.watermarks),"
        " (select count(*) from kudos.links), (select count(*) from kudos.codes)")[0]


@pytest.fixture(name="season", scope="module")
def fixture_season(stack):
    """The figures of a season, with every day built."""
    stack.kudos.run("demo", "--clicks", str(CLICKS), "--seed", "1")
    def built():
        stack.postgres.sql("select kudos.find_conversion_clicks(10000)")
        stack.postgres.sql("select kudos.build_day()")
        return not stack.postgres.value(
            "select exists (select from kudos.days_touched) or exists (select from kudos.days where dirty"
            " and day <= kudos.last_closed_day(time_zone)) or exists (select from kudos.conversion_clicks"
            " where not looked)")
    wait_until(built, 120, "all days are built")
    return figures(stack)


def test_a_season(stack, season):
    clicks, hourly, conversions, won, minor, origins, links, codes = season
    assert CLICKS * 0.9 < clicks <= CLICKS and hourly == clicks and origins == 1
    assert conversions > 50 and won > 30 and minor > 50000 and links == codes == 33
    stack.assert_consistent()


def test_again_and_another(stack, season):
    """The same season is there once; another seed makes another."""
    stack.kudos.run("demo", "--clicks", str(CLICKS), "--seed", "1")
    assert figures(stack) == season
    assert stack.kudos.run("demo", "--clicks", "0", check=False).returncode == 2
    assert stack.kudos.run("demo", "more", check=False).returncode == 2


def test_views_agree(stack, season):
    """The same sums whichever view is asked."""
    def value(sql):
        return stack.postgres.value(sql)
    human = value("select count(*) from kudos.clicks where verdict = 'human'")
    for view, column in (("link_performance", "human"), ("daily", "human"), ("geo", "human"), ("funnel", "human"),
                         ("influencer_lifetime", "distinct_clicks"), ("visitors_by_day", "human"),
                         ("hourly", "human")):
        if column == "distinct_clicks":
            found = value("select sum(clicks) from (select distinct influencer, clicks from"
                          f" report.{view} where workspace = 'demo') x")
        else:
            found = value(f"select sum({column}) from report.{view} where workspace = 'demo'")
        assert found == human, view
    assert value("select sum(clicks) from (select distinct campaign, clicks from report.campaign_performance) x") == human
    assert value("select sum(human) from report.platform where kind = 'platform'") == human
    assert value("select sum(clicks) from report.filtered") == season[0] - human
    credited = value("select sum(amount_minor) from report.conversions where status = 'credited'")
    assert value("select sum(revenue_minor) from report.campaign_performance") == credited
    assert value("select sum(revenue_minor) from report.influencer_performance") == credited
    assert value("select sum(revenue_minor) from report.influencer_lifetime") == credited
    by_link = value("select sum(amount_minor) from kudos.attributions where won and link_id is not null")
    assert value("select sum(revenue_minor) from (select distinct slug, variant, currency, revenue_minor"
                 " from report.content) x") == by_link
    assert value("select sum(cost_minor) from report.campaign_performance where currency = 'EUR'") == value(
        "select sum(earned_minor) from report.earnings where campaign is not null and currency = 'EUR'") > 0
    assert value("select (progress -> 'clicks' ->> 'reached')::int = clicks from report.campaign_performance"
                 " where campaign = 'early-bird' limit 1")
    leaked = {row[0] for row in stack.postgres.sql("select influencer from report.code_leakage where suspected")}
    assert leaked == {"gina"}


@pytest.mark.parametrize("host, is_one", [
    ("honey.com", True), ("www.Honey.com", True), ("nothoney.com", False), ("honey.com.example", False),
    ("instagram.com", False), ("", False), (None, False)])
def test_coupon_sites(stack, host, is_one):
    assert stack.postgres.value("select kudos.is_coupon_site(%s)", host) is is_one


def queries():
    """Every SQL statement of the README's worked queries."""
    with open(os.path.join(ROOT, "server/schema/README.md"), encoding="utf-8") as file:
        text = file.read().split("## Worked queries", 1)[1].split("\n## ", 1)[0]
    return [statement.strip() for block in re.findall(r"```sql\n(.*?)```", text, re.S)
            for statement in block.split(";") if statement.strip()]


@pytest.mark.parametrize("sql", queries(), ids=lambda sql: sql.splitlines()[0][3:60])
def test_worked_queries(stack, season, sql):
    """They run, and find something in the season."""
    assert season
    assert stack.postgres.sql(sql), sql
