"""`kudos explain` beside the service: it says what the service then does, whatever is asked."""

import json
import os
import tempfile
import urllib.parse

import pytest

from support import mmdb
from support.http import BROWSER
from support.wait import wait_until

PLACES = mmdb.write(os.path.join(tempfile.mkdtemp(prefix="kudos-places-"), "city.mmdb"), {
    "203.0.113.0/24": mmdb.city("DE", "BE", "Berlin")})
STACK = {"settings": {"trusted_proxies": "127.0.0.1", "geoip_city": PLACES}}
DESKTOP = {"User-Agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like "
                         "Gecko) Chrome/131.0.0.0 Safari/537.36"}
PHONE = {"User-Agent": BROWSER["User-Agent"]}
BERLIN = {"X-Forwarded-For": "203.0.113.9"}


def explain(stack, *requests):
    """The answers of one run."""
    done = stack.kudos.run("explain", stdin="".join(json.dumps(each) + "\n" for each in requests))
    return [json.loads(line) for line in done.stdout.splitlines()]


def without_id(location):
    """A Location without its click id."""
    parts = urllib.parse.urlsplit(location)
    left = "&".join(each for each in parts.query.split("&") if each and not each.startswith("kudos_id="))
    return urllib.parse.urlunsplit(parts._replace(query=left))


@pytest.fixture(scope="module")
def slugs(stack):
    """Links of all kinds."""
    rules = [{"if": {"device": ["smartphone"], "country": ["DE"]},
              "then": {"destination": "https://hit.example/{country}"}},
             {"if": {"query": {"src": "x"}}, "then": {"split": [
                 {"weight": 50, "destination": "https://a.example/"},
                 {"weight": 50, "destination": "https://b.example/"}]}},
             {"if": {"query": {"gone": None}}, "then": {"block": 410}}]
    return {
        "plain": stack.add_link("https://else.example/p?own=1#f", pass_query=True),
        "rules": stack.add_link("https://else.example/p", rules=json.dumps(rules)),
        "late": stack.add_link("https://else.example/p", expires_at="2020-01-01", fallback="https://late.example/"),
        "over": stack.add_link("https://else.example/p", expires_at="2020-01-01", live=False),
        "status": stack.add_link("https://else.example/p", redirect_status=307, click_id=False)}


CASES = [
    ("plain", "", DESKTOP), ("plain", "?own=2&more=3&kudos_id=x", DESKTOP), ("plain", "+", DESKTOP),
    ("plain", "", {**DESKTOP, "Sec-Purpose": "prefetch"}), ("rules", "", {**PHONE, **BERLIN}),
    ("rules", "", {**DESKTOP, **BERLIN}), ("rules", "?src=x", {**DESKTOP, **BERLIN}), ("rules", "?gone", DESKTOP),
    ("rules", "?src=x", {"User-Agent": "curl/8.5.0"}), ("late", "", DESKTOP), ("over", "", DESKTOP),
    ("status", "", PHONE), ("nothing", "", PHONE), ("", "", PHONE), ("robots.txt", "", PHONE), ("-/x", "", PHONE)]


@pytest.mark.parametrize("name, query, headers", CASES)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_it_says_what_the_service_does(stack, slugs, name, query, headers, method):
    target = f"/{slugs.get(name, name)}{query}"
    rows = stack.rows()
    headers = {**headers, "Host": "127.0.0.1"}
    said, = explain(stack, {"ip": "127.0.0.1", "method": method, "target": target, "headers": headers})
    answer = stack.kudos.get(target, headers, method=method)
    assert said["status"] == answer.status
    location = answer.headers.get("location") if query != "+" else None
    if location:
        assert said["destination"] == without_id(location)
        assert said["click_id"] == ("parameter" if "kudos_id=" in location else None)
    elif query != "+":
        assert said["destination"] is None
    if not said["recorded"]:
        return
    wait_until(lambda: stack.rows() == rows + 1, 20, "the click's row")
    row = stack.postgres.sql("select verdict::text, rule, device::text, country, route, variant from kudos.clicks"
                             " order by time desc limit 1")[0]
    keys = ("verdict", "rule", "device", "country", "route", "variant")
    assert row == tuple(said[key] for key in keys)


def test_a_variant_that_stays(stack, slugs):
    request = {"ip": "203.0.113.50", "target": f"/{slugs['rules']}?src=x", "headers": DESKTOP}
    answers = explain(stack, *[request] * 5)
    assert len({each["variant"] for each in answers}) == 1 and all(each["sticky"] for each in answers)
    request["headers"] = {**DESKTOP, "Sec-GPC": "1"}
    answers = explain(stack, *[request] * 40)
    assert {each["variant"] for each in answers} == {1, 2} and not any(each["sticky"] for each in answers)


def test_another_time(stack):
    slug = stack.add_link("https://else.example/", live=False, starts_at="2030-01-01T00:00:00Z")
    stack.add_link()  # served after it, so it is there too
    now, then, never = explain(stack, *[{"target": f"/{slug}", "time": time, "headers": DESKTOP} for time in (
        None, "2030-06-01T00:00:00Z", "tomorrow")])
    assert (now["status"], then["status"]) == (404, 302)
    assert "time" in never["error"]


def test_what_it_lacks_is_null(stack, slugs, tmp_path):
    """Without the service's data: who it is, and nothing else."""
    done = stack.kudos.run("explain", "--data-dir", str(tmp_path), stdin=json.dumps(
        {"ip": "203.0.113.9", "target": f"/{slugs['rules']}", "headers": PHONE}) + "\n")
    said = json.loads(done.stdout)
    assert (said["device"], said["country"]) == ("smartphone", "DE")
    assert [said[key] for key in ("link", "slug", "route", "variant", "destination", "status", "recorded")] == [None] * 7


@pytest.mark.parametrize("target, status", [
    ("/a b", 400), ("noslash", 400), ("/a\r\nX-Evil: 1", 400), ("/" + "a" * 9000, 414), ("/%zz", 404), ("", 400)])
def test_request_lines_that_no_server_takes(stack, target, status):
    said, = explain(stack, {"target": target, "headers": DESKTOP})
    assert said["status"] == status and said["device"] == "desktop"
