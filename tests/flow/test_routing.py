"""Where links lead whom, against the real service: every kind of rule and action, headers, the life
of links, domains, previews, prefetches. Visitors say where they come from by X-Forwarded-For."""

import datetime
import html
import json
import os
import tempfile
import urllib.parse

import pytest

from support import mmdb
from support.clicker import decode
from support.http import BROWSER
from support.wait import wait_until

PLACES = mmdb.write(os.path.join(tempfile.mkdtemp(prefix="kudos-places-"), "city.mmdb"), {
    "203.0.113.0/24": mmdb.city("DE", "BE", "Berlin"),
    "198.51.100.0/24": mmdb.city("US", "CA", "Los Angeles")})
STACK = {"settings": {"trusted_proxies": "127.0.0.1", "geoip_city": PLACES}}
BERLIN, ANGELES = {"X-Forwarded-For": "203.0.113.9"}, {"X-Forwarded-For": "198.51.100.9"}
ELSE, HIT = "https://else.example/p", "https://hit.example/"
DESKTOP = {"User-Agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like "
                         "Gecko) Chrome/131.0.0.0 Safari/537.36", "Accept-Language": "en-GB,en;q=0.8"}
IPHONE = {name: value for name, value in BROWSER.items() if name != "Referer"}
ANDROID = {"User-Agent": "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like "
                         "Gecko) Chrome/131.0.0.0 Mobile Safari/537.36"}
INSTAGRAM = {"User-Agent": "Mozilla/5.0 (Linux; Android 14; Pixel 8 Build/UP1A; wv) AppleWebKit/537.36 "
                           "(KHTML, like Gecko) Version/4.0 Chrome/131.0.0.0 Mobile Safari/537.36 "
                           "Instagram 358.0.0.51.95 Android (34/14; 420dpi; 1080x2400; Google; Pixel 8)"}


def link(stack, rules=None, **columns):
    """A link to ELSE with rules; its slug."""
    if rules is not None:
        columns["rules"] = json.dumps(rules)
    return stack.add_link(columns.pop("destination", ELSE), **columns)


def go(condition, destination=HIT):
    """A rule."""
    return {"if": condition, "then": {"destination": destination}}


def ask(stack, slug, *headers, query="", method="GET"):
    """The answer to a request with all these headers."""
    fields = {name: value for each in headers for name, value in each.items()}
    return stack.kudos.get(f"/{slug}{query}", fields, method=method)


def clean(location):
    """A Location without its click id, which must be a valid one."""
    parts = urllib.parse.urlsplit(location)
    pairs = urllib.parse.parse_qsl(parts.query, keep_blank_values=True)
    for name, value in pairs:
        if name == "kudos_id":
            decode(value)
    left = urllib.parse.urlencode([pair for pair in pairs if pair[0] != "kudos_id"])
    return urllib.parse.urlunsplit(parts._replace(query=left))


def rows(stack, slug, columns, count):
    """Columns of all clicks on a link, oldest first, once there are `count`."""
    number = stack.postgres.value("select id from kudos.links where slug = %s", slug)
    def found():
        return stack.postgres.sql(
            f"select {columns} from kudos.clicks where link_id = %s order by origin, seq", number)
    wait_until(lambda: len(found()) >= count, 20, lambda: f"{count} rows: {found()}")
    assert len(found()) == count
    return found()


# Rules --------------------------------------------------------------------------------------------

def around(hours):
    """A time from now, as rules have it."""
    now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=hours)
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize("condition, fits, fits_not", [
    ({"device": ["tablet", "smartphone"]}, [IPHONE], [DESKTOP]),
    ({"os": ["iOS"]}, [IPHONE], [ANDROID]),
    ({"app": ["Instagram"]}, [INSTAGRAM], [ANDROID]),
    ({"country": ["FR", "DE"]}, [DESKTOP, BERLIN], [DESKTOP, ANGELES]),
    ({"region": ["US-CA"]}, [DESKTOP, ANGELES], [DESKTOP, BERLIN]),
    ({"city": ["Berlin"]}, [DESKTOP, BERLIN], [DESKTOP, ANGELES]),
    ({"language": ["de"]}, [DESKTOP, {"Accept-Language": "en;q=0.3, de-AT;q=0.9"}],
     [DESKTOP, {"Accept-Language": "de;q=0.2, en"}]),
    ({"platform": ["Instagram"]}, [DESKTOP, {"Referer": "https://l.instagram.com/"}],
     [DESKTOP, {"Referer": "https://www.google.com/"}]),
    ({"verdict": ["bot"]}, [{"User-Agent": "curl/8.5.0"}], [DESKTOP]),
    ({"time": {"from": around(-1), "until": around(1)}}, [DESKTOP], None),
    ({"time": {"from": around(1)}}, None, [DESKTOP]),
    ({"device": ["smartphone"], "country": ["DE"]}, [IPHONE, BERLIN], [IPHONE, ANGELES]),
    ({}, [DESKTOP], None),
], ids=lambda value: next(iter(value), "all") if isinstance(value, dict) else "")
def test_conditions(stack, condition, fits, fits_not):
    slug = link(stack, [go({"query": {"never": "1"}}, "https://never.example/"), go(condition)])
    wanted = []
    for headers, destination, route in ((fits, HIT, 2), (fits_not, ELSE, None)):
        if headers is None:
            continue
        answer = ask(stack, slug, *headers)
        assert answer.status == 302 and clean(answer.location) == destination
        assert "kudos_id=" in answer.location
        assert ask(stack, slug, *headers, method="HEAD").location == destination
        wanted.append((route, None, 302))
    assert rows(stack, slug, "route, variant, status", len(wanted)) == wanted


def test_query_conditions_and_passing_on(stack):
    slug = link(stack, [go({"query": {"src": "tt"}}, "https://tt.example/?a=own#f"),
                        go({"query": {"any": None}}, "https://any.example/")], pass_query=True)
    assert clean(ask(stack, slug, DESKTOP, query="?src=tt&a=2&b=3").location) == \
        "https://tt.example/?a=own&src=tt&b=3#f"
    assert clean(ask(stack, slug, DESKTOP, query="?src=x&any").location).startswith("https://any.e")
    assert clean(ask(stack, slug, DESKTOP, query="?src=ttt").location) == ELSE + "?src=ttt"
    assert rows(stack, slug, "route", 3) == [(1,), (2,), (None,)]


def variants(stack, slug, *headers, count=40):
    """Which destinations a visitor is sent to."""
    return [clean(ask(stack, slug, *headers).location) for _ in range(count)]


def test_splits_are_sticky_unless_the_visitor_is_not_to_be_followed(stack):
    slug = link(stack, [{"if": {}, "then": {"split": [
        {"weight": 50, "destination": "https://a.example/"},
        {"weight": 50, "destination": "https://b.example/"}]}}])
    wait_until(lambda: stack.postgres.value("select count(*) from kudos.visitor_salts") > 0)
    chosen = set()
    for number in range(24):
        one = variants(stack, slug, DESKTOP, {"X-Forwarded-For": f"203.0.113.{number}"}, count=3)
        assert len(set(one)) == 1
        chosen |= set(one)
    assert chosen == {"https://a.example/", "https://b.example/"}
    for header in ({"Sec-GPC": "1"}, {"DNT": "1"}):
        assert set(variants(stack, slug, DESKTOP, header)) == chosen
    found = rows(stack, slug, "variant, visitor, flags", 24 * 3 + 80)
    assert {variant for variant, _, _ in found} == {1, 2}
    assert len({visitor for _, visitor, _ in found[:72]}) == 24
    assert {(visitor, flags & 1) for _, visitor, flags in found[72:]} == {(None, 1)}


def test_app_links(stack):
    slug = link(stack, [{"if": {}, "then": {"app": {
        "ios": {"link": "https://app.example/p", "store": "https://apps.apple.com/app/id1"},
        "android": {"package": "com.shop.app", "link": "https://app.example/p",
                    "store": "https://play.google.com/store/apps/details?id=com.shop.app"}}}}])
    assert clean(ask(stack, slug, IPHONE).location) == "https://app.example/p"
    intent = ask(stack, slug, ANDROID).location
    assert intent.startswith("intent://app.example/p?kudos_id=")
    before, _, after = intent.partition("#Intent;")
    decode(before.rsplit("=")[-1])
    assert after == ("scheme=https;package=com.shop.app;S.browser_fallback_url="
                     "https%3A%2F%2Fplay.google.com%2Fstore%2Fapps%2Fdetails%3Fid%3Dcom.shop.app;end")
    assert clean(ask(stack, slug, INSTAGRAM).location) == \
        "https://play.google.com/store/apps/details?id=com.shop.app"
    assert clean(ask(stack, slug, DESKTOP).location) == ELSE
    assert rows(stack, slug, "route", 4) == [(1,), (1,), (1,), (None,)]


@pytest.mark.parametrize("status", [404, 410])
def test_blocking(stack, status):
    slug = link(stack, [{"if": {"country": ["DE"]}, "then": {"block": status}}])
    answer = ask(stack, slug, DESKTOP, BERLIN)
    assert answer.status == status and not answer.location and answer.body
    assert ask(stack, slug, DESKTOP, BERLIN, method="HEAD").status == status
    assert clean(ask(stack, slug, DESKTOP, ANGELES).location) == ELSE
    assert rows(stack, slug, "route, status, verdict, rule, flags & 4", 2) == [
        (1, status, "invalid", "blocked_by_rule", 4), (None, 302, "human", None, 0)]


# Destinations -------------------------------------------------------------------------------------

def test_placeholders(stack):
    slug = link(stack, destination="https://n.example/{country}/{click_id}?c={country}")
    answer = ask(stack, slug, DESKTOP, BERLIN)
    head, _, rest = answer.location.partition("/DE/")
    found, _, query = rest.partition("?")
    assert (head, query) == ("https://n.example", "c=DE")
    decode(found)
    stack.assert_exactly_once([found])
    assert ask(stack, slug, DESKTOP, {"X-Forwarded-For": "192.0.2.1"}, method="HEAD").location == \
        "https://n.example//?c="


def test_status_and_click_id_by_link_or_domain(stack):
    stack.postgres.sql("insert into kudos.domains (workspace_id, host, redirect_status, click_id)"
                       " select workspace_id, 'strict.example', 307, false from kudos.domains"
                       " where is_default")
    for slug, columns in (("a", {}), ("b", {"redirect_status": 301, "click_id": True})):
        names = "".join(f", {name}" for name in columns)
        marks = ", %s" * len(columns)
        stack.postgres.sql(f"insert into kudos.links (workspace_id, domain_id, slug, destination{names})"
                           f" select workspace_id, id, %s, %s{marks} from kudos.domains"
                           " where host = 'strict.example'", slug, ELSE, *columns.values())
    host = {"Host": "strict.example"}
    wait_until(lambda: ask(stack, "b", host, method="HEAD").status == 301)
    answer = ask(stack, "a", host, DESKTOP)
    assert (answer.status, answer.location) == (307, ELSE)
    answer = ask(stack, "b", host, DESKTOP)
    assert answer.status == 301 and answer.location.startswith(ELSE + "?kudos_id=")


# Life ---------------------------------------------------------------------------------------------

def test_used_up_links(stack):
    slug = link(stack, max_clicks=1)
    assert ask(stack, slug, DESKTOP).status == 302
    wait_until(lambda: ask(stack, slug, method="HEAD").status == 410, 20)
    stack.postgres.sql("update kudos.links set fallback = 'https://late.example/{country}'"
                       " where slug = %s", slug)
    wait_until(lambda: ask(stack, slug, method="HEAD").status == 302)
    assert ask(stack, slug, DESKTOP, BERLIN).location == "https://late.example/DE"
    assert rows(stack, slug, "status, verdict, rule", 2) == [
        (302, "human", None), (302, "invalid", "link_used_up")]
    stack.postgres.sql("update kudos.links set max_clicks = null where slug = %s", slug)
    wait_until(lambda: ask(stack, slug, method="HEAD").location == ELSE)


def test_disabled_at_once(stack):
    slug = link(stack, [go({})])
    stack.postgres.sql("update kudos.links set state = 'disabled' where slug = %s", slug)
    wait_until(lambda: ask(stack, slug, method="HEAD").status == 404)
    assert ask(stack, slug, DESKTOP).status == 404


# Domains ------------------------------------------------------------------------------------------

def test_what_domains_answer_themselves(stack):
    stack.postgres.sql("insert into kudos.domains (workspace_id, host) select workspace_id,"
                       " 'brand.example' from kudos.domains where is_default")
    host = {"Host": "Brand.Example.:443"}
    stack.postgres.sql("insert into kudos.links (workspace_id, domain_id, slug, destination, expires_at)"
                       " select workspace_id, id, 'over', 'https://x.example/', now() from kudos.domains"
                       " where host = 'brand.example'")
    paths = ("", ".well-known/apple-app-site-association", ".well-known/assetlinks.json", "nobody")
    wait_until(lambda: ask(stack, "over", host, method="HEAD").status == 410)
    for path in paths:
        assert ask(stack, path, host).status == 404, path
    before = stack.kudos.metric("clicks_total")
    stack.postgres.sql(
        "update kudos.domains set root_destination = 'https://brand.example/home',"
        " not_found_destination = 'https://brand.example/404', fallback = 'https://brand.example/late',"
        """ app_site_association = '{"applinks": {"details": []}}', assetlinks = '[{"a": 1}]'"""
        " where host = 'brand.example'")
    wait_until(lambda: ask(stack, "", host).status == 302)
    answer = ask(stack, "", host)
    assert answer.location == "https://brand.example/home"
    assert answer.headers["Cache-Control"] == "private, no-store"
    answer = ask(stack, "nobody", host)
    assert (answer.status, answer.location) == (302, "https://brand.example/404")
    assert answer.headers["Cache-Control"] == "private, no-store"
    for path, wanted in ((paths[1], {"applinks": {"details": []}}), (paths[2], [{"a": 1}])):
        answer = ask(stack, path, host)
        assert answer.status == 200 and answer.headers["Content-Type"] == "application/json"
        assert answer.json() == wanted
        head = ask(stack, path, host, method="HEAD")
        assert head.headers["Content-Length"] == str(len(answer.body)) and not head.body
    assert stack.kudos.metric("clicks_total") == before
    assert ask(stack, "over", host, DESKTOP).location == "https://brand.example/late"
    assert ask(stack, "nobody").status == 404  # the default domain says nothing of the kind


# Prefetches ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("header", [{"Sec-Purpose": "prefetch"}, {"Sec-Purpose": "prefetch;prerender"},
                                    {"Purpose": "prefetch"}, {"X-Moz": "prefetch"}],
                         ids=lambda header: " ".join(map(": ".join, header.items())))
def test_prefetches_are_refused_and_stored(stack, header):
    slug = link(stack, [go({})])
    answer = ask(stack, slug, IPHONE, header)
    assert answer.status == 503 and not answer.location
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert clean(ask(stack, slug, IPHONE).location) == HIT
    assert rows(stack, slug, "verdict, status, route, flags & 4", 2) == [
        ("prefetch", 503, None, 4), ("human", 302, 1, 0)]


def test_prefetches_can_be_served(make_stack):
    stack = make_stack(settings={"prefetch": "serve"}).start()
    slug = stack.add_link(ELSE)
    assert ask(stack, slug, IPHONE, {"Sec-Purpose": "prefetch"}).location.startswith(ELSE)
    assert rows(stack, slug, "verdict, status", 1) == [("prefetch", 302)]


# Previews -----------------------------------------------------------------------------------------

def test_preview_page(stack):
    workspace = stack.postgres.value("select workspace_id from kudos.domains where is_default")
    campaign = stack.postgres.value(
        "insert into kudos.campaigns (workspace_id, slug, name, objective)"
        " values (%s, 'spring', 'Spring <&> \"Sale\"', 'launch') returning id", workspace)
    person = stack.postgres.value(
        "insert into kudos.influencers (workspace_id, handle, name)"
        " values (%s, 'anna', 'Anna <script>') returning id", workspace)
    stack.postgres.sql(
        "insert into kudos.influencer_profiles (workspace_id, influencer_id, platform, url)"
        " values (%s, %s, 'instagram', 'https://instagram.example/anna?a=1&b=2')", workspace, person)
    slug = link(stack, [go({"country": ["DE"]}, "https://hit.example/?x=1&y=2")],
                campaign_id=campaign, influencer_id=person)
    before = stack.kudos.metric("clicks_total")
    for path in (f"{slug}+", f"{slug}%2B?x=1", f"{slug.upper()}+"):
        answer = ask(stack, path, DESKTOP, BERLIN)
        assert answer.status == 200, path
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-") and "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert "<script" not in answer.text
    text = html.unescape(answer.text)
    for shown in ("https://hit.example/?x=1&y=2", 'Spring <&> "Sale"', "Anna <script>",
                  'href="https://instagram.example/anna?a=1&b=2"', f"/{slug}"):
        assert shown in text, shown
    assert ELSE in ask(stack, f"{slug}+", DESKTOP, ANGELES).text
    head = ask(stack, f"{slug}+", DESKTOP, BERLIN, method="HEAD")
    assert head.headers["Content-Length"] == str(len(answer.body)) and not head.body
    assert stack.kudos.metric("clicks_total") == before
    assert ask(stack, "nobody+").status == 404
    stack.postgres.sql("update kudos.links set state = 'disabled' where slug = %s", slug)
    wait_until(lambda: ask(stack, f"{slug}+").status == 404)


def test_preview_fetchers_get_the_redirect(stack):
    slug = link(stack)
    answer = ask(stack, slug, {"User-Agent": "facebookexternalhit/1.1 "
                               "(+http://www.facebook.com/externalhit_uatext.php)"})
    assert answer.status == 302 and clean(answer.location) == ELSE
    assert rows(stack, slug, "verdict", 1) == [("preview",)]


# Test links ---------------------------------------------------------------------------------------

def test_test_links_are_internal(stack):
    slug, other = link(stack, pass_query=True), link(stack)
    printed = stack.kudos.run("test-link", f"{stack.kudos.settings['base_url']}/{slug.upper()}")
    url = urllib.parse.urlsplit(printed.stdout.strip())
    assert url.path == f"/{slug.upper()}" and url.query.startswith("kudos_test=")
    answer = ask(stack, slug, DESKTOP, query=f"?{url.query}")
    assert answer.status == 302 and clean(answer.location) == ELSE  # the sign goes no further
    ask(stack, slug, DESKTOP, query=f"?{url.query[:-1]}x")
    ask(stack, other, DESKTOP, query=f"?{url.query}")  # of another link
    assert rows(stack, slug, "verdict, rule", 2) == [("internal", "test_link"), ("human", None)]
    assert rows(stack, other, "verdict", 1) == [("human",)]
    assert stack.kudos.run("test-link", "http://h/nobody", check=False).returncode == 1
    assert stack.kudos.run("test-link", check=False).returncode == 2
