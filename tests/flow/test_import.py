"""Links out of other services' exports: names, dates and clicks kept, nothing renamed silently."""

import pytest

from support.api import make, pointers, problem

BITLY = ("Link,Custom Link,Destination URL,Title,Date Created,Engagements\r\n"
         "https://bit.ly/3xYz,,https://shop.example/a,First,2023-05-06T07:08:09+0000,1200\r\n"
         "https://bit.ly/4abc,https://go.example/Spring,https://shop.example/b,,2024-01-02,0\r\n")


def bring(stack, source, text, query="", kind="text/csv"):
    """One call."""
    return stack.kudos.admin("POST", f"/v1/links/import?source={source}{query}", text.encode(),
                             {"Content-Type": kind})


def good(answer, **counts):
    """The items of an answer, after a look at its numbers."""
    assert answer.status == 200, answer
    assert {name: answer.json()[name] for name in counts} == counts, answer.json()
    return answer.json()["items"]


def imported(stack, link):
    """What report.imported_clicks says about a link."""
    return stack.postgres.sql("select source, clicks, to_char(created_at, 'YYYY-MM-DD HH24:MI:SS')"
                              " from report.imported_clicks where link_id = %s", link)


def test_bitly(stack):
    items = good(bring(stack, "bitly", BITLY), created=2, error=0)
    assert [item["slug"] for item in items] == ["3xYz", "Spring"]
    link = stack.kudos.admin("GET", f"/v1/links/{items[0]['id']}").json()
    assert (link["destination"], link["title"]) == ("https://shop.example/a", "First")
    assert link["created_at"] == "2023-05-06T07:08:09.000000Z"
    assert imported(stack, link["id"]) == [("bitly", 1200, "2023-05-06 07:08:09")]
    assert imported(stack, items[1]["id"]) == [("bitly", 0, "2024-01-02 00:00:00")]
    stack.wait_live("Spring")
    # They are apart from what is counted here.
    assert stack.postgres.sql("select clicks, human from report.link_performance"
                              " where link_id = %s", link["id"]) == [(0, 0)]
    # A later export brings the newer numbers, and makes nothing again.
    again = good(bring(stack, "bitly", BITLY.replace("1200", "1300")), existed=2, created=0)
    assert [item["id"] for item in again] == [item["id"] for item in items]
    assert imported(stack, link["id"]) == [("bitly", 1300, "2023-05-06 07:08:09")]


@pytest.mark.parametrize("source, text, slug, clicks", [
    ("yourls", "keyword,url,title,timestamp,ip,clicks\nYo1,https://shop.example/,T,"
     "2020-01-02 03:04:05,10.0.0.1,7\n", "Yo1", 7),
    ("kutt", "id,address,target,description,created_at,visit_count\nx,Ku1,https://shop.example/,D,"
     "2020-01-02T03:04:05.000Z,8\n", "Ku1", 8),
    ("shlink", "createdAt,title,shortUrl,domain,shortCode,longUrl,tags,visits\n"
     "2020-01-02T04:04:05+01:00,T,https://s.example/Sh1,,Sh1,https://shop.example/,a|b,9\n",
     "Sh1", 9),
    ("dub", "Short link,Destination URL,Tags,Created at,Clicks\nhttps://dub.sh/Du1,"
     "https://shop.example/,\"a,b\",2020-01-02T03:04:05Z,10\n", "Du1", 10),
])
def test_services(stack, source, text, slug, clicks):
    item, = good(bring(stack, source, text), created=1)
    assert item["slug"] == slug
    assert imported(stack, item["id"]) == [(source, clicks, "2020-01-02 03:04:05")]
    tags = stack.kudos.admin("GET", f"/v1/links/{item['id']}").json()["tags"]
    assert tags == (["a", "b"] if "tags" in text.lower() else [])


def test_own_columns_and_json(stack):
    name = "import-own"
    where = make(stack, "/v1/campaigns", {"name": name, "slug": name, "objective": "launch"})["id"]
    item, = good(bring(stack, "columns", "Kurz;Ziel;Summe\nown1;https://shop.example/;5\n",
                       f"&slug=kurz&destination=Ziel&clicks=SUMME&campaign={name}"), created=1)
    assert imported(stack, item["id"])[0][:2] == ("columns", 5)
    assert stack.kudos.admin("GET", f"/v1/links/{item['id']}").json()["campaign"] == where
    item, = good(bring(stack, "kutt", '[{"address": "own2", "target": "https://shop.example/",'
                       ' "visit_count": 3}]', kind="application/json"), created=1)
    assert imported(stack, item["id"])[0][:2] == ("kutt", 3)


def test_names_that_differ_only_in_case(stack):
    text = "keyword,url\nAbC,https://shop.example/1\nabc,https://shop.example/2\n"
    # On a domain that folds case, each collision is told, and nothing is renamed.
    items = good(bring(stack, "yourls", text), created=1, error=1)
    assert items[1]["errors"][0]["pointer"] == "/1/slug" and items[1]["id"] == items[0]["id"]
    make(stack, "/v1/domains", {"host": "old.example", "case_sensitive": True})
    items = good(bring(stack, "yourls", text, "&domain=old.example"), created=2, error=0)
    assert [item["short_url"].split("/")[-1] for item in items] == ["AbC", "abc"]


def test_what_is_refused(stack):
    items = good(bring(stack, "yourls", "keyword,url,timestamp,clicks\n,https://shop.example/,,\n"
                       "r1,,,\nr2,https://shop.example/,yesterday,\nr3,https://shop.example/,,-5\n"
                       "a/b.c~,https://shop.example/,,\nr5,https://shop.example/,,\n"),
                 created=1, error=5)
    assert [{error["pointer"] for error in item.get("errors", [])} for item in items] == [
        {"/0/slug"}, {"/1/destination"}, {"/2/created_at"}, {"/3/clicks"}, {"/4/slug"}, set()]
    assert pointers(problem(bring(stack, "tinyurl", "a\n1\n"), 422)) == {"source"}
    assert pointers(problem(bring(stack, "dub", "a\n1\n", "&colour=red"), 422)) == {"colour"}
    before = stack.postgres.value("select count(*) from kudos.imported_totals")
    good(bring(stack, "bitly", BITLY.replace("3xYz", "dry1"), "&dry_run=true"), created=1)
    assert stack.postgres.value("select count(*) from kudos.imported_totals") == before
