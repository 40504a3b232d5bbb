"""The admin plane: links, keys, statistics. What it does when a store is away is in
test_admin_stress.py."""

import json
import urllib.parse

import pytest

from support.api import audit, ids, make, make_key, make_workspace, pointers, problem, unique
from support.http import Raw
from support.wait import wait_until

STACK = {"settings": {"admin_body_bytes_max": 4096}}
DESTINATION = "https://example.com/landing"


def prepare(stack):
    """A campaign and an influencer to refer to."""
    stack.postgres.sql(
        "with w as (select id from kudos.workspaces where name = 'default'),"
        " c as (insert into kudos.campaigns (workspace_id, slug, name, objective)"
        " select id, 'spring', 'Spring', 'launch' from w on conflict do nothing)"
        " insert into kudos.influencers (workspace_id, handle) select id, 'Anna' from w"
        " on conflict do nothing")
    return (stack.postgres.value("select id from kudos.campaigns where slug = 'spring'"),
            stack.postgres.value("select id from kudos.influencers where handle = 'Anna'"))


# Life of a link -----------------------------------------------------------------------------------

def test_create_answers_the_link(stack):
    answer = stack.kudos.admin("POST", "/v1/links", {"destination": "HTTPS://Example.COM:443/a b"
                                                     .replace(" b", "")})
    assert answer.status == 201, answer
    link = answer.json()
    assert answer.headers["Location"] == f"/v1/links/{link['id']}"
    assert isinstance(link["id"], int)
    assert link["destination"] == "https://example.com/a"
    assert link["domain"] == "127.0.0.1"
    assert link["short_url"] == f"{stack.kudos.settings['base_url']}/{link['slug']}"
    assert (link["state"], link["redirect_status"]) == ("active", 302)
    assert (link["pass_query"], link["click_id"]) == (False, True)
    assert link["campaign"] is None and link["influencer"] is None and link["title"] is None
    assert link["created_at"].endswith("Z")
    row = stack.postgres.sql("select slug, destination from kudos.links where id = %s", link["id"])
    assert row == [(link["slug"], "https://example.com/a")]
    again = stack.kudos.admin("GET", f"/v1/links/{link['id']}").json()
    del link["live"]
    assert again == link


def test_every_field_comes_back(stack):
    campaign, influencer = prepare(stack)
    fields = {"slug": "every-Field_1", "domain": "127.0.0.1", "campaign": "spring",
              "influencer": "ANNA", "redirect_status": 307, "pass_query": True, "click_id": False,
              "state": "disabled", "starts_at": "2026-01-01T01:00:00+01:00",
              "expires_at": "2036-01-01T00:00:00.5Z", "fallback": "https://example.com/over",
              "title": "Früh – “spring”"}
    link = stack.kudos.create_link(DESTINATION, **fields)
    expected = {**fields, "campaign": campaign, "influencer": influencer,
                "starts_at": "2026-01-01T00:00:00.000000Z",
                "expires_at": "2036-01-01T00:00:00.500000Z"}
    assert {name: link[name] for name in expected} == expected
    by_id = stack.kudos.create_link(DESTINATION, campaign=campaign, influencer=influencer)
    assert (by_id["campaign"], by_id["influencer"]) == (campaign, influencer)


def test_redirects_on_the_next_request(stack):
    for n in range(50):
        link = stack.kudos.create_link(f"https://example.com/n{n}", click_id=False)
        assert link["live"] is True
        answer = stack.kudos.get(f"/{link['slug']}")
        assert (answer.status, answer.location) == (302, f"https://example.com/n{n}")


def test_change_is_live(stack):
    link = stack.kudos.create_link(DESTINATION, click_id=False)
    path = f"/v1/links/{link['id']}"
    for n in range(20):
        answer = stack.kudos.admin("PATCH", path, {"destination": f"https://example.com/v{n}"})
        assert answer.status == 200 and answer.json()["live"] is True, answer
        assert stack.kudos.get(f"/{link['slug']}").location == f"https://example.com/v{n}"
    changed = stack.kudos.admin("GET", path).json()
    assert changed["updated_at"] > link["updated_at"]
    assert changed["created_at"] == link["created_at"]


def test_patch_changes_only_what_it_names(stack):
    prepare(stack)
    link = stack.kudos.create_link(DESTINATION, title="old", campaign="spring", pass_query=True)
    path = f"/v1/links/{link['id']}"
    after = stack.kudos.admin("PATCH", path, {"title": None, "redirect_status": 301}).json()
    for name in ("live", "updated_at"):
        del link[name], after[name]
    assert after == {**link, "title": None, "redirect_status": 301}
    assert stack.kudos.admin("PATCH", path, {"campaign": None}).json()["campaign"] is None
    assert stack.kudos.admin("PATCH", path, {}).status == 200


def test_delete_archives(stack):
    link = stack.kudos.create_link(DESTINATION, slug="to-archive")
    path = f"/v1/links/{link['id']}"
    answer = stack.kudos.admin("DELETE", path)
    assert answer.status == 200 and answer.json()["state"] == "archived"
    assert answer.json()["live"] is True
    assert stack.kudos.get("/to-archive").status == 404
    assert stack.kudos.admin("GET", path).json()["state"] == "archived"
    taken = stack.kudos.admin("POST", "/v1/links",
                              {"destination": DESTINATION, "slug": "TO-archive"})
    assert pointers(problem(taken, 409, "slug-taken")) == {"/slug"}
    assert stack.kudos.admin("PATCH", path, {"state": "active"}).json()["live"] is True
    assert stack.kudos.get("/to-archive").status == 302


def test_slug_conflicts(stack):
    stack.kudos.create_link(DESTINATION, slug="Taken")
    other = stack.kudos.create_link(DESTINATION)
    problem(stack.kudos.admin("POST", "/v1/links", {"destination": DESTINATION, "slug": "taken"}),
            409, "slug-taken")
    problem(stack.kudos.admin("PATCH", f"/v1/links/{other['id']}", {"slug": "tAken"}),
            409, "slug-taken")


def test_second_domain(stack):
    stack.postgres.sql("insert into kudos.domains (workspace_id, host, case_sensitive)"
                       " select id, 'go.example', true from kudos.workspaces where name = 'default'")
    link = stack.kudos.create_link(DESTINATION, domain="GO.example", slug="Abc", click_id=False)
    assert link["short_url"] == "http://go.example/Abc"
    assert stack.kudos.get("/Abc", {"Host": "go.example"}).status == 302
    assert stack.kudos.get("/abc", {"Host": "go.example"}).status == 404
    body = problem(stack.kudos.admin("POST", "/v1/links",
                                     {"destination": DESTINATION, "domain": "no.example"}), 422)
    assert pointers(body) == {"/domain"}


def test_slug_in_utf8(stack):
    link = stack.kudos.create_link(DESTINATION, slug="frühling", click_id=False)
    assert link["slug"] == "frühling"
    assert link["short_url"].endswith("/fr%C3%BChling")
    assert stack.kudos.get("/" + urllib.parse.quote("frühling")).location == DESTINATION


def tags_apart(stack):
    """Rows that are in only one of kudos.links.tags and kudos.link_tags."""
    return stack.postgres.sql(
        "select 'kept', x.* from (table kudos.link_tags except"
        " select l.workspace_id, t, l.id from kudos.links l, unnest(l.tags) t) x"
        " union all select 'missing', x.* from (select l.workspace_id, t, l.id"
        " from kudos.links l, unnest(l.tags) t except table kudos.link_tags) x")


def test_lists_by_tag(stack):
    tag, other = unique("tag-"), unique("tag-")
    made = [make(stack, "/v1/links", {"destination": DESTINATION, "tags": tags})["id"]
            for tags in ([tag], [tag, other, tag], [other], [], [tag])]
    assert ids(stack, "/v1/links", f"tag={tag}&limit=2") == [made[4], made[1], made[0]]
    assert ids(stack, "/v1/links", f"tag={other}") == [made[2], made[1]]
    assert stack.kudos.admin("PATCH", f"/v1/links/{made[1]}", {"tags": [other]}).status == 200
    assert stack.kudos.admin("PATCH", f"/v1/links/{made[0]}", {"tags": []}).status == 200
    assert stack.kudos.admin("PATCH", f"/v1/links/{made[3]}", {"tags": [tag]}).status == 200
    assert ids(stack, "/v1/links", f"tag={tag}&limit=1") == [made[4], made[3]]
    answer = stack.kudos.admin("POST", "/v1/links/bulk/update", [
        {"id": made[4], "tags": [other]}, {"id": made[2], "tags": [tag]}, {"id": made[1], "tags": []}])
    assert answer.json()["updated"] == 3
    stack.kudos.admin("DELETE", f"/v1/links/{made[3]}")
    assert ids(stack, "/v1/links", f"tag={tag}") == [made[2]]
    assert ids(stack, "/v1/links", f"tag={tag}&state=all") == [made[3], made[2]]
    stack.postgres.sql("update kudos.links set tags = %s where id = %s", [tag, other], made[0])
    assert ids(stack, "/v1/links", f"tag={tag}&campaign=nowhere") == []
    assert ids(stack, "/v1/links", f"tag={other}") == [made[4], made[0]]
    lines = stack.kudos.admin("GET", f"/v1/links.ndjson?tag={other}").text.splitlines()
    assert [json.loads(line)["id"] for line in lines] == [made[4], made[0]]
    found = stack.kudos.admin("GET", f"/v1/search?q={other}").json()["items"]
    assert sorted(item["id"] for item in found) == sorted([made[4], made[0]])
    assert tags_apart(stack) == []


def test_what_few_links_have_is_not_looked_for_among_all(make_stack):
    """A page is planned for the number of links that fit, not for the average."""
    stack = make_stack(roles="admin", settings={"live_timeout_ms": 0})
    stack.start()
    make(stack, "/v1/domains", {"host": "empty.example"})
    for name in ("rare", "all"):
        make(stack, "/v1/campaigns", {"name": name, "slug": name, "objective": "launch"})
        make(stack, "/v1/influencers", {"handle": name})
    make(stack, "/v1/links", {"destination": DESTINATION, "tags": ["rare"], "campaign": "rare",
                              "influencer": "rare"})
    stack.postgres.sql(
        "insert into kudos.links (workspace_id, domain_id, slug, destination, campaign_id,"
        " influencer_id, tags) select d.workspace_id, d.id, 'many' || n, 'https://example.com/',"
        " c.id, i.id, '{all}' from kudos.domains d, kudos.campaigns c, kudos.influencers i,"
        " generate_series(1, 30000) n where is_default and c.slug = 'all' and i.handle = 'all'")
    stack.postgres.sql("analyze kudos.links", superuser=True)
    stack.postgres.sql("analyze kudos.link_tags", superuser=True)

    def rows_read():
        stack.kudos.stop()  # its sessions tell now what they have read
        stack.kudos.start()
        return stack.postgres.value(
            "select idx_tup_fetch + seq_tup_read from pg_stat_user_tables where relname = 'links'")
    for query, count in (("domain=empty.example", 0), ("domain=nowhere.example", 0), ("tag=rare", 1),
                         ("tag=all&limit=10", 10), ("campaign=rare", 1), ("influencer=rare", 1)):
        before = rows_read()
        shown = stack.kudos.admin("GET", f"/v1/links?{query}").json()["items"]
        assert len(shown) == count, query
        assert rows_read() - before < 1000, query


# What is refused ----------------------------------------------------------------------------------

def test_all_bad_fields_at_once(stack):
    body = problem(stack.kudos.admin("POST", "/v1/links", {
        "destination": "javascript:alert(1)", "slug": "a/b", "domain": "nowhere.example",
        "campaign": "none", "influencer": 999999, "redirect_status": 303, "pass_query": "yes",
        "starts_at": "tomorrow", "fallback": "ftp://x/", "title": "a\nb", "id": 5,
        "colour~/": "red"}), 422, "invalid")
    assert pointers(body) == {
        "/destination", "/slug", "/domain", "/campaign", "/influencer", "/redirect_status",
        "/pass_query", "/starts_at", "/fallback", "/title", "/id", "/colour~0~1"}
    body = problem(stack.kudos.admin("POST", "/v1/links", {"slug": "x"}), 422)
    assert body["errors"] == [{"pointer": "/destination",
                               "detail": "is required, unless the campaign has one"}]


def test_a_link_leads_where_its_campaign_does(stack):
    slugs = [unique("home-"), unique("homeless-")]
    homes = ["https://example.com/campaign?size=M", None]
    for slug, home in zip(slugs, homes):
        make(stack, "/v1/campaigns", {"name": "C", "slug": slug, "objective": "launch",
                                      "destination": home})
    made = make(stack, "/v1/links", {"campaign": slugs[0], "click_id": False})
    assert made["destination"] == homes[0] and made["live"] is True
    assert stack.kudos.get("/" + made["slug"]).location == homes[0]
    assert audit(stack, "link", made["id"])[0][2]["destination"] == homes[0]
    own = make(stack, "/v1/links", {"campaign": slugs[0], "destination": DESTINATION})
    assert own["destination"] == DESTINATION
    for headers in ({}, {"Idempotency-Key": unique("key-")}):
        answer = stack.kudos.admin("POST", "/v1/links", {"campaign": slugs[1]}, headers)
        assert problem(answer, 422)["errors"] == [{
            "pointer": "/destination", "detail": "is required, unless the campaign has one"}]
    found = {"campaign": slugs[0], "external_id": unique("ext-")}
    again = make(stack, "/v1/links", found)
    assert again["destination"] == homes[0]
    assert make(stack, "/v1/links", found, status=200)["id"] == again["id"]
    assert stack.kudos.admin("PATCH", f"/v1/links/{again['id']}", {"campaign": None}).json()[
        "destination"] == homes[0]
    bulk = stack.kudos.admin("POST", "/v1/links/bulk/create", [
        {"campaign": slugs[0]}, {"campaign": slugs[1]}, {"title": "nowhere"},
        {"campaign": slugs[1], "destination": DESTINATION}]).json()
    assert [item["status"] for item in bulk["items"]] == ["created", "error", "error", "created"]
    assert [error for item in bulk["items"] for error in item.get("errors", [])] == [
        {"pointer": f"/{row}/destination", "detail": "is required, unless the campaign has one"}
        for row in (1, 2)]
    shown = stack.kudos.admin("GET", f"/v1/links/{bulk['items'][0]['id']}").json()
    assert shown["destination"] == homes[0]


@pytest.mark.parametrize("fields, pointer", [
    ({"expires_at": "2026-01-01T00:00:00Z", "starts_at": "2026-01-02T00:00:00Z"}, "/expires_at"),
    ({"domain": "127.0.0.1"}, "/domain"), ({"id": 1}, "/id"), ({"live": True}, "/live"),
    ({"destination": None}, "/destination"), ({"slug": ""}, "/slug"), ({"slug": 5}, "/slug"),
    ({"redirect_status": "302"}, "/redirect_status"), ({"redirect_status": 302.0},
                                                       "/redirect_status"),
    ({"state": "gone"}, "/state"), ({"title": "x" * 401}, "/title"),
    ({"campaign": True}, "/campaign"), ({"campaign": -1}, "/campaign"),
])
def test_bad_changes(stack, fields, pointer):
    link = stack.kudos.create_link(DESTINATION)
    before = stack.kudos.admin("GET", f"/v1/links/{link['id']}").json()
    answer = stack.kudos.admin("PATCH", f"/v1/links/{link['id']}", fields)
    assert pointers(problem(answer, 422, "invalid")) == {pointer}
    assert stack.kudos.admin("GET", f"/v1/links/{link['id']}").json() == before


def test_hostile_text_is_only_text(stack):
    for title in ("'; drop table kudos.links; --", "$1", "<script>", "=cmd()", "\u2028", "%s%n"):
        link = stack.kudos.create_link(DESTINATION, title=title)
        assert stack.kudos.admin("GET", f"/v1/links/{link['id']}").json()["title"] == title


@pytest.mark.parametrize("body, headers, status, kind", [
    (b"", {"Content-Type": "application/json"}, 400, "empty"),
    (b"{", {"Content-Type": "application/json"}, 400, "invalid-json"),
    (b"{}\0", {"Content-Type": "application/json"}, 400, "invalid-json"),
    (b"[]", {"Content-Type": "application/json"}, 400, "not-an-object"),
    (b'"x"', {"Content-Type": "application/json"}, 400, "not-an-object"),
    (b'{"a":1,"a":2}', {"Content-Type": "application/json"}, 422, "duplicate-name"),
    (b'{"title":"a\\u0000b"}', {"Content-Type": "application/json"}, 422, "nul"),
    (b'{"a\\u0000b":1}', {"Content-Type": "application/json"}, 422, "nul"),
    (b'{"a":' + b"[" * 40 + b"]" * 40 + b"}", {"Content-Type": "application/json"}, 400,
     "too-deep"),
    (b"[" * 4000, {"Content-Type": "application/json"}, 400, None),
    (b"{}", {"Content-Type": "text/plain"}, 415, "not-json"),
    (b"{}", {}, 415, "not-json"),
    (b"{}", {"Content-Type": "application/jsonx"}, 415, "not-json"),
    (b"{}", {"Content-Type": "application/json; charset=latin1"}, 415, "not-json"),
    (b"{}", {"Content-Type": "Application/JSON ; charset=\"UTF-8\""}, 422, "invalid"),
    (b"x" * 5000, {"Content-Type": "application/json"}, 413, "too-large"),
])
def test_bodies(stack, body, headers, status, kind):
    problem(stack.kudos.admin("POST", "/v1/links", body, headers), status, kind)


def test_a_far_too_long_body_is_413(stack):
    with Raw(stack.kudos.admin_port) as raw:
        raw.send(b"POST /v1/links HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" +
                 b"x" * 1000000)
        assert raw.response().status == 413


def test_paths_and_methods(stack):
    for path in ("/", "/v1", "/v1/links/", "/v1/links/0", "/v1/links/x", "/v1/links/1/clicks",
                 "/v1/links/%31", "/v1//links"):
        problem(stack.kudos.admin("GET", path), 404, "not-found")
    answer = stack.kudos.admin("PUT", "/v1/links/1", {})
    problem(answer, 405)
    assert answer.headers["Allow"] == "GET, HEAD, PATCH, DELETE"
    link = stack.kudos.create_link(DESTINATION)
    head = stack.kudos.admin("HEAD", f"/v1/links/{link['id']}")
    get = stack.kudos.admin("GET", f"/v1/links/{link['id']}")
    assert head.status == 200 and head.body == b""
    assert head.headers["Content-Length"] == str(len(get.body))


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "cursor=zzz", "colour=red",
                                   "state=gone"])
def test_bad_parameters(stack, query):
    body = problem(stack.kudos.admin("GET", f"/v1/links?{query}"), 422)
    assert pointers(body) == {query.split("=")[0]}


def test_malformed_query(stack):
    for query in ("limit=1&limit=2", "slug=%ff", "slug=%00", "slug=%"):
        problem(stack.kudos.admin("GET", f"/v1/links?{query}"), 400, "bad-query")


# Framing ------------------------------------------------------------------------------------------

def send(stack, head, rest=b""):
    """Sends raw bytes and something after them that must not be answered; the first answer."""
    trap = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with Raw(stack.kudos.admin_port) as raw:
        raw.send(head.replace("\n", "\r\n").encode() + b"\r\n" + rest + trap)
        answer = raw.response()
        assert raw.closed(), "what follows an ambiguous request was answered"
    return answer


@pytest.mark.parametrize("fields, rest", [
    ("Content-Length: 2\nContent-Length: 2\n", b"{}"),
    ("Content-Length: 2\nContent-Length: 36\n", b"{}"),
    ("Content-Length: 2\nTransfer-Encoding: chunked\n", b"2\r\n{}\r\n0\r\n\r\n"),
    ("Transfer-Encoding: gzip, chunked\nContent-Length: 2\n", b"{}"),
    ("Transfer-Encoding: gzip\n", b""),
    ("Transfer-Encoding: xchunked\n", b""),
    ("Transfer-Encoding: chunked\nTransfer-Encoding: chunked\n", b"2\r\n{}\r\n0\r\n\r\n"),
    ("Content-Length: +2\n", b"{}"),
    ("Content-Length : 2\n", b"{}"),
    ("Content-Length: 2\nX Y: 1\n", b"{}"),
    ("Content-Length: 2\nHost: y\n", b"{}"),
])
def test_ambiguous_framing_is_refused_and_closed(stack, fields, rest):
    answer = send(stack, f"POST /v1/links HTTP/1.1\nHost: x\n{fields}", rest)
    assert answer.status == 400, answer


def test_body_on_get_is_refused_and_closed(stack):
    for method in ("GET", "HEAD", "DELETE"):
        with Raw(stack.kudos.admin_port) as raw:
            raw.send(f"{method} /v1/links/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 44\r\n\r\n"
                     "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: 12\r\n\r\n")
            assert raw.response(head_only=method == "HEAD").status == 400
            assert raw.closed()


def test_no_host_is_refused(stack):
    assert send(stack, "GET /v1/links HTTP/1.1\n").status == 400


def test_keep_alive_and_chunked(stack):
    body = json.dumps({"destination": DESTINATION})
    with Raw(stack.kudos.admin_port) as raw:
        for _ in range(3):
            raw.send("POST /v1/links HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
                     f"Authorization: Bearer {stack.kudos.key()}\r\n"
                     "Content-Type: application/json\r\n\r\n"
                     f"{len(body):x}\r\n{body}\r\n0\r\n\r\n")
            assert raw.response().status == 201


# Lists --------------------------------------------------------------------------------------------

def pages(stack, query, key=""):
    """All pages of a list."""
    cursor = ""
    while cursor is not None:
        answer = stack.kudos.admin("GET", f"/v1/links?{query}{cursor}", key=key)
        assert answer.status == 200, answer
        yield answer.json()["items"]
        cursor = answer.json()["next_cursor"]
        cursor = cursor and f"&cursor={cursor}"


def test_pages_stay_right_while_links_are_added(stack):
    key = make_workspace(stack, "pages")
    made = [stack.kudos.admin("POST", "/v1/links", {"destination": DESTINATION}, key=key)
            .json()["id"] for _ in range(25)]
    seen = []
    for page in pages(stack, "limit=4", key):
        assert 0 < len(page) <= 4
        seen += [link["id"] for link in page]
        stack.kudos.admin("POST", "/v1/links", {"destination": DESTINATION}, key=key)
        stack.kudos.admin("PATCH", f"/v1/links/{made[-1]}", {"title": f"{len(seen)}"}, key=key)
    assert seen == sorted(made, reverse=True)
    assert list(pages(stack, "limit=1000", key))[0][0]["id"] > max(made)


def test_filters(stack):
    campaign, influencer = prepare(stack)
    link = stack.kudos.create_link(DESTINATION, slug="Filter-Me", campaign="spring",
                                   influencer="anna", title="f")
    gone = stack.kudos.create_link(DESTINATION, campaign="spring")
    stack.kudos.admin("DELETE", f"/v1/links/{gone['id']}")
    off = stack.kudos.create_link(DESTINATION, campaign="spring", state="disabled")

    def ids(query):
        return {one["id"] for page in pages(stack, query) for one in page}

    assert ids("slug=filter-me") == {link["id"]}
    assert link["id"] in ids("campaign=spring") and link["id"] in ids(f"campaign={campaign}")
    assert link["id"] in ids("influencer=ANNA") and link["id"] in ids(f"influencer={influencer}")
    assert link["id"] in ids("domain=127.0.0.1") and ids("domain=none.example") == set()
    assert gone["id"] not in ids("campaign=spring")
    assert gone["id"] in ids("state=archived") and gone["id"] in ids("state=all")
    assert off["id"] in ids("state=disabled&campaign=spring")
    assert ids("state=active&campaign=spring").isdisjoint({off["id"], gone["id"]})
    assert ids("campaign=none") == set()


# Keys ---------------------------------------------------------------------------------------------

ROUTES = [("POST", "/v1/links", {"destination": DESTINATION}), ("GET", "/v1/links", None),
          ("GET", "/v1/links/{id}", None), ("GET", "/v1/links/{id}/stats", None),
          ("PATCH", "/v1/links/{id}", {"title": "stolen"}), ("DELETE", "/v1/links/{id}", None)]
WRITES = {"POST", "PATCH", "DELETE"}


@pytest.mark.parametrize("method, path, body", ROUTES)
def test_who_may(stack, method, path, body):
    link = stack.kudos.create_link(DESTINATION)
    path = path.format(id=link["id"])
    good = stack.kudos.key()
    wrong = good[:-1] + ("A" if good[-1] != "A" else "B")
    for header in (None, "", "Basic YTpi", "Bearer", "Bearer x", f"Bearer {wrong}",
                   f"Bearer {good} x", f"Token {good}"):
        answer = stack.kudos.admin(method, path, body, key=None,
                                   headers={} if header is None else {"Authorization": header})
        problem(answer, 401, "unauthorized")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    problem(stack.kudos.admin(method, path + f"?key={good}", body, key=None), 401)
    read = stack.kudos.admin(method, path, body, key=make_key(stack, scope="read"))
    if method in WRITES:
        problem(read, 403, "forbidden")
    else:
        assert read.status == 200
    problem(stack.kudos.admin(method, path, body, key=make_key(stack, scope="conversions")), 403)
    assert stack.kudos.admin("GET", f"/v1/links/{link['id']}").json()["title"] is None
    assert stack.kudos.admin(method, path, body,
                             key=make_key(stack, scope="write")).status in (200, 201)


@pytest.fixture(name="stranger", scope="module")
def fixture_stranger(stack):
    """A key of another workspace."""
    return make_workspace(stack, "stranger")


@pytest.mark.parametrize("method, path, body", ROUTES[2:])
def test_another_workspace_sees_nothing(stack, stranger, method, path, body):
    link = stack.kudos.create_link(DESTINATION)
    theirs = stack.kudos.admin(method, path.format(id=link["id"]), body, key=stranger)
    none = stack.kudos.admin(method, path.format(id=999999999), body, key=stranger)
    assert problem(theirs, 404, "not-found") == problem(none, 404, "not-found")
    assert stack.kudos.admin("GET", f"/v1/links/{link['id']}").json()["state"] == "active"


def test_another_workspace_lists_and_refers_to_nothing(stack, stranger):
    campaign, _ = prepare(stack)
    assert stack.kudos.admin("GET", "/v1/links?state=all", key=stranger).json()["items"] == []
    stack.postgres.sql("insert into kudos.domains (workspace_id, host) select id, 'own.example'"
                       " from kudos.workspaces where name = 'default' on conflict do nothing")
    for fields in ({"campaign": campaign}, {"campaign": "spring"}, {"influencer": "Anna"},
                   {"domain": "own.example"}):
        body = problem(stack.kudos.admin("POST", "/v1/links", {"destination": DESTINATION, **fields},
                                         key=stranger), 422)
        assert pointers(body) == {"/" + list(fields)[0]}


def test_revoked_and_expired_keys(stack):
    for change in ("revoked_at = now()", "expires_at = now() - interval '1 second'"):
        key = make_key(stack)
        assert stack.kudos.admin("GET", "/v1/links?limit=1", key=key).status == 200
        stack.postgres.sql(f"update kudos.api_keys set {change} where prefix = %s", key[:14])
        problem(stack.kudos.admin("GET", "/v1/links?limit=1", key=key), 401)


def test_last_use_is_noted_and_keys_are_not_kept(stack):
    key = make_key(stack)
    stack.kudos.admin("GET", "/v1/links?limit=1", key=key)
    wait_until(lambda: stack.postgres.value(
        "select last_used_at is not null from kudos.api_keys where prefix = %s", key[:14]))
    first = stack.postgres.value("select last_used_at from kudos.api_keys where prefix = %s",
                                 key[:14])
    for _ in range(20):
        stack.kudos.admin("GET", "/v1/links?limit=1", key=key)
    assert first == stack.postgres.value(
        "select last_used_at from kudos.api_keys where prefix = %s", key[:14])
    secret = key[15:]
    assert secret not in stack.kudos.log() and secret not in stack.postgres.log()
    rows = stack.postgres.sql("select row_to_json(k)::text from kudos.api_keys k")
    assert not any(secret in row[0] for row in rows)


# Statistics ---------------------------------------------------------------------------------------

def test_stats_count_clicks(stack):
    link = stack.kudos.create_link(DESTINATION)
    browser = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"}
    for _ in range(5):
        assert stack.kudos.get(f"/{link['slug']}", browser).status == 302
    for _ in range(2):
        stack.kudos.get(f"/{link['slug']}", {"User-Agent": "Googlebot/2.1"})

    def counted():
        stats = stack.kudos.admin("GET", f"/v1/links/{link['id']}/stats").json()
        assert stats["link"] == {"id": link["id"], "slug": link["slug"]}
        halves = [(half["available"], half["clicks"], half["human"])
                  for half in (stats["live"], stats["stored"])]
        return halves == [(True, 7, 5)] * 2 and stats
    stats = wait_until(counted, 20, "both totals have all clicks")
    for half in (stats["live"], stats["stored"]):
        assert half["as_of"].endswith("Z") and 0 <= half["age_ms"] < 60000


def test_health_needs_no_key(stack):
    for path in ("/metrics", "/healthz", "/readyz"):
        assert stack.kudos.admin("GET", path, key=None).status == 200
        head = stack.kudos.admin("HEAD", path, key=None)
        assert head.status == 200 and head.body == b"" and int(head.headers["Content-Length"]) > 0
        assert stack.kudos.admin("POST", path, b"", key=None).status == 405
    assert stack.kudos.metric('admin_requests_total{status="201"}') > 0
