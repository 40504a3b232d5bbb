"""/v1/reports: every view of schema report over HTTP; /v1/erasures."""

import csv
import io
import json

import pytest

from support.api import audit, make, make_workspace, pointers, problem, unique
from support.wait import wait_until

BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"}


def report(stack, view, query="", **more):
    """The JSON of a report."""
    answer = stack.kudos.admin("GET", f"/v1/reports/{view}?{query}", **more)
    assert answer.status == 200, answer
    return answer.json()


@pytest.fixture(name="clicked", scope="module")
def fixture_clicked(stack):
    """{slug: human clicks}: three links of two campaigns, and bots on all of them."""
    counts = {}
    for number in range(3):
        campaign = f"camp-{number // 2}"
        stack.kudos.admin("POST", "/v1/campaigns", {"name": campaign, "objective": "traffic"})
        slug = f"seen-{number}"
        stack.kudos.create_link("https://example.com/", slug=slug, campaign=campaign,
                                title=f"=cmd|{number}")
        for _ in range(number + 1):
            assert stack.kudos.get(f"/{slug}", BROWSER).status == 302
        stack.kudos.get(f"/{slug}", {"User-Agent": "Googlebot/2.1"})
        counts[slug] = number + 1
    wait_until(lambda: stack.postgres.value("select sum(clicks) from kudos.clicks_hourly") == 9, 20,
               "all clicks are flushed")
    return counts


def test_every_view_can_be_read(stack, clicked):
    listed = stack.kudos.admin("GET", "/v1/reports").json()["items"]
    views = {row[0] for row in stack.postgres.sql(
        "select relname from pg_class where relnamespace = 'report'::regnamespace"
        " and relkind = 'v'")}
    assert {item["view"] for item in listed} == views and len(views) >= 10
    for item in listed:
        assert item["what"] and all(column["what"] for column in item["columns"]), item["view"]
        body = report(stack, item["view"])
        names = [column["name"] for column in item["columns"]]
        assert set(body["data_freshness"]) == {"stored_at", "clicks_kept_from", "lost_clicks",
                                               "missing_events", "quarantined"}
        for row in body["items"]:
            assert list(row) == names
        expected = stack.postgres.value(f"select count(*) from report.{item['view']}"
                                        " where workspace = 'default'")
        assert len(body["items"]) == min(100, expected), item["view"]
        for column in names:  # any column can be grouped and sorted by
            report(stack, item["view"], f"group={column}&sort=-{column}")
            report(stack, item["view"], f"sort={column}&limit=1")
        table = stack.kudos.admin("GET", f"/v1/reports/{item['view']}?format=csv")
        assert table.status == 200 and table.headers["Content-Type"].startswith("text/csv")
        rows = list(csv.reader(io.StringIO(table.text)))
        assert rows[0] == names and len(rows) == len(body["items"]) + 1
    assert clicked


def test_figures_filters_and_groups(stack, clicked):
    by_link = {row["slug"]: (row["clicks"], row["human"])
               for row in report(stack, "link_performance")["items"]}
    assert by_link == {slug: (human + 1, human) for slug, human in clicked.items()}
    total = report(stack, "daily", "group=campaign&sort=-human,campaign")["items"]
    assert [(row["campaign"], row["human"], row["clicks"]) for row in total] == \
        [("camp-0", 3, 5), ("camp-1", 3, 4)]
    clicks = report(stack, "clicks", "verdict=bot&slug=seen-1")["items"]
    assert [row["verdict"] for row in clicks] == ["bot"] and clicks[0]["human"] is False
    assert report(stack, "clicks", "human=true&group=slug")["items"] == [
        {"slug": slug, "rows": human} for slug, human in sorted(clicked.items())]
    hours = report(stack, "clicks", "group=time:month,human")["items"]
    assert sum(row["rows"] for row in hours) == 9 and hours[0]["time"].endswith("-01T00:00:00.000000Z")
    assert report(stack, "clicks", "from=2035-01-01")["items"] == []
    assert len(report(stack, "clicks", "until=2035-01-01T00:00:00Z")["items"]) == 9
    assert report(stack, "clicks", "app=&group=app")["items"] == [{"app": None, "rows": 9}]
    assert report(stack, "daily", "until=2020-01-01")["items"] == []


def test_single_clicks_of_the_newest_week(stack, clicked):
    """Unless a range is asked for; and the answer says so."""
    stack.postgres.sql("insert into kudos.clicks (origin, seq, time, link_id, domain_id, workspace_id, verdict,"
                       " status, flags) select 1, 1, now() - interval '20 days', link_id, domain_id, workspace_id,"
                       " verdict, status, 0 from kudos.clicks limit 1")
    newest = report(stack, "clicks")
    assert (len(newest["items"]), newest["newest_days"]) == (9, 7) and clicked
    everything = report(stack, "clicks", "from=2020-01-01")
    assert (len(everything["items"]), everything["newest_days"]) == (10, None)
    before = stack.postgres.value("select to_char(now() - interval '19 days', 'YYYY-MM-DD')")
    assert len(report(stack, "clicks", f"until={before}")["items"]) == 1
    assert report(stack, "hourly")["newest_days"] == 7 and report(stack, "daily")["newest_days"] is None
    assert stack.kudos.admin("GET", "/v1/reports/clicks?format=csv").headers["Newest-Days"] == "7"
    stack.postgres.sql("delete from kudos.clicks where origin = 1")


@pytest.mark.parametrize("query", ["sort=-time", "sort=slug,-human", "sort=app,-slug", "",
                                   "group=slug,verdict&sort=-rows"])
def test_pages(stack, clicked, query):
    whole = report(stack, "clicks", query + "&limit=1000")["items"]
    assert len(whole) == (6 if "group" in query else 9) and clicked
    seen, cursor = [], ""
    while cursor is not None:
        page = report(stack, "clicks", f"{query}&limit=2{cursor}")
        assert 0 < len(page["items"]) <= 2
        seen += page["items"]
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
    assert seen == whole


def test_csv_is_safe_and_goes_on(stack, clicked):
    path = "/v1/reports/link_performance?format=csv&sort=slug&limit=2"
    first = stack.kudos.admin("GET", path)
    assert json.loads(first.headers["Data-Freshness"])["lost_clicks"] == 0
    rows = list(csv.DictReader(io.StringIO(first.text)))
    assert [row["slug"] for row in rows] == ["seen-0", "seen-1"]
    assert rows[0]["title"] == "'=cmd|0" and rows[0]["human"] == "1"
    rest = stack.kudos.admin("GET", f"{path}&cursor={first.headers['Next-Cursor']}")
    assert [row["slug"] for row in csv.DictReader(io.StringIO(rest.text))] == ["seen-2"]
    assert "Next-Cursor" not in rest.headers and clicked


def test_another_workspace_sees_its_own(stack, clicked):
    stranger = make_workspace(stack, unique("brand"))
    for item in stack.kudos.admin("GET", "/v1/reports", key=stranger).json()["items"]:
        for row in report(stack, item["view"], "workspace=default", key=stranger)["items"]:
            assert row["workspace"] != "default"
        assert all(row["workspace"] != "default"
                   for row in report(stack, item["view"], key=stranger)["items"])
    assert clicked


@pytest.mark.parametrize("query, parameter", [
    ("colour=red", "colour"), ("group=colour", "group"), ("group=slug:day", "group"),
    ("group=slug,slug", "group"), ("group=time:eon", "group"), ("sort=colour", "sort"),
    ("from=yesterday", "from"), ("limit=1001", "limit"), ("cursor=x", "cursor"),
    ("format=xml", "format"), ("sort=slug&cursor=WyJhIl0", "cursor"),
])
def test_bad_parameters(stack, query, parameter):
    answer = stack.kudos.admin("GET", f"/v1/reports/clicks?{query}")
    assert pointers(problem(answer, 422)) == {parameter}


def test_what_is_no_report(stack):
    for name in ("nothing", "pg_class", "clicks;drop"):
        problem(stack.kudos.admin("GET", f"/v1/reports/{name}"), 404)
    problem(stack.kudos.admin("GET", "/v1/reports/clicks?link_id=x"), 422)
    problem(stack.kudos.admin("GET", "/v1/reports/clicks?verdict=x"), 422)
    for text in ("'; drop table kudos.links; --", "$1", "\\"):
        quoted = "".join(f"%{byte:02x}" for byte in text.encode())
        assert report(stack, "clicks", f"slug={quoted}")["items"] == []


# Erasures -----------------------------------------------------------------------------------------

def everywhere(stack, text):
    """Rows of any table that hold the text."""
    tables = [row[0] for row in stack.postgres.sql(
        "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname = 'kudos'")]
    return {table: count for table in tables if (count := stack.postgres.value(
        f"select count(*) from {table} t where strpos(t::text, %s) > 0", text))}


def test_an_influencer_is_erased_everywhere(stack):
    email, name = f"{unique('maria')}@example.com", unique("Maria Beispiel ")
    made = make(stack, "/v1/influencers",
                {"handle": unique("maria"), "name": name, "email": email, "contact": f"c {name}",
                 "notes": f"n {name}", "country": "DE", "profiles": [
                     {"platform": "x", "url": f"https://x.com/{email.split('@')[0]}"}]},
                headers={"Idempotency-Key": unique("k")})
    path = f"/v1/influencers/{made['id']}"
    stack.kudos.admin("PATCH", path, {"name": name + "2"})
    make(stack, "/v1/posts", {"url": f"https://x.com/{unique()}", "influencer": made["id"],
                              "author_credit": name})
    assert set(everywhere(stack, name)) == {"kudos.influencers", "kudos.audit_log", "kudos.posts",
                                            "kudos.idempotency_keys"}
    header = {"Idempotency-Key": unique("k")}
    done = make(stack, "/v1/erasures", {"influencer": made["handle"]}, headers=header)
    assert done["kind"] == "influencer" and done["influencer"] == made["id"]
    assert done["erased"] == {"influencers": 1, "influencer_profiles": 1, "posts": 1,
                              "audit_log": 3, "idempotency_keys": 1}
    assert set(done["remaining"].values()) == {0}
    assert make(stack, "/v1/erasures", {"influencer": made["handle"]}, headers=header) == done
    assert stack.kudos.admin("GET", f"/v1/erasures/{done['id']}").json() == done
    left = stack.kudos.admin("GET", path).json()
    assert (left["name"], left["email"], left["contact"], left["notes"], left["country"],
            left["profiles"]) == ("", None, None, None, None, [])
    assert left["handle"] == made["handle"]
    assert everywhere(stack, email) == {} and everywhere(stack, name) == {}
    assert audit(stack, "erasure", done["id"])[0][0] == "create"


def test_a_customer_is_erased_everywhere(stack):
    customer, order = f"{unique('kunde')}@example.com", unique("order-")
    sale = {"event": "sale", "order_id": order, "amount_minor": 1000, "currency": "EUR",
            "customer": customer, "metadata": {"mail": customer}}
    stack.kudos.admin("POST", "/v1/conversions", sale, {"Idempotency-Key": unique("k")})
    hashed = stack.postgres.value("select customer from kudos.conversions where order_id = %s", order)
    assert hashed
    done = make(stack, "/v1/erasures", {"customer": f" {customer.upper()} "})
    assert done["kind"] == "customer" and done["erased"]["conversions"] == 1
    assert set(done["remaining"].values()) == {0} and "customer" not in done
    assert stack.postgres.sql("select customer, metadata, amount_minor from kudos.conversions"
                              " where order_id = %s", order) == [(None, None, 1000)]
    assert everywhere(stack, customer) == {} and everywhere(stack, customer.upper()) == {}
    again = make(stack, "/v1/erasures", {"customer": customer})
    assert again["erased"]["conversions"] == 0


def test_bad_erasures(stack):
    for body in ({}, {"customer": "a", "influencer": 1}):
        assert pointers(problem(stack.kudos.admin("POST", "/v1/erasures", body), 422)) == {""}
    answer = stack.kudos.admin("POST", "/v1/erasures", {"influencer": "nobody"})
    assert pointers(problem(answer, 422)) == {"/influencer"}
