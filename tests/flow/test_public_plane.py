"""The public plane over real sockets: answers, connections, limits, stopping."""

import resource
import socket
import threading
import urllib.parse

import pytest

from support import process
from support.clicker import Clicker, decode
from support.http import BROWSER
from support.wait import wait_until

STACK = {"settings": {
    "head_timeout_ms": 1000, "idle_timeout_ms": 3000, "write_timeout_ms": 500,
    "connections_max": 60, "head_bytes_max": 4096, "target_bytes_max": 1024,
    "header_fields_max": 20}}
SHOP = "https://shop.example/p"


@pytest.fixture(scope="module")
def slug(stack):
    """A plain link to SHOP."""
    return stack.add_link(SHOP)


def raw(stack, text):
    """A connection on which `text` was sent."""
    connection = stack.kudos.raw()
    connection.send(text)
    return connection


def get(path, version="1.1", **fields):
    """The bytes of a request."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"GET {path} HTTP/{version}\r\nHost: h\r\n{lines}\r\n"


def click_id(location, param="kudos_id"):
    """The click id on a Location."""
    query = urllib.parse.urlsplit(location).query
    return dict(urllib.parse.parse_qsl(query))[param]


def clicks(stack):
    """Clicks answered so far."""
    return stack.kudos.metric("clicks_total")


# Answers ------------------------------------------------------------------------------------------

def test_redirect(stack, slug):
    answer = stack.kudos.get(f"/{slug}", BROWSER)
    assert answer.status == 302 and answer.body == b""
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert answer.headers["X-Robots-Tag"] == "noindex"
    assert answer.headers["Content-Length"] == "0"
    assert answer.headers["Referrer-Policy"] and answer.headers["Date"].endswith(" GMT")
    assert answer.location.startswith(f"{SHOP}?kudos_id=")
    stack.assert_exactly_once([click_id(answer.location)])
    link = stack.postgres.value("select id from kudos.links where slug = %s", slug)
    assert decode(click_id(answer.location))[3] == link


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_status_by_choice(stack, status):
    answer = stack.kudos.get("/" + stack.add_link(SHOP, redirect_status=status))
    assert answer.status == status and answer.headers["Cache-Control"] == "private, no-store"


def test_head_is_served_and_not_counted(stack, slug):
    before = clicks(stack)
    answer = stack.kudos.get(f"/{slug}", BROWSER, method="HEAD")
    assert answer.status == 302 and answer.location == SHOP
    assert clicks(stack) == before


def test_slugs_fold_unless_the_domain_is_case_sensitive(stack):
    stack.postgres.sql("insert into kudos.domains (workspace_id, host, case_sensitive)"
                       " select workspace_id, 'cs.example', true from kudos.domains"
                       " where is_default")
    stack.postgres.sql("insert into kudos.links (workspace_id, domain_id, slug, destination)"
                       " select workspace_id, id, 'FoldMe', 'https://c.example/'"
                       " from kudos.domains where host = 'cs.example'")
    stack.add_link("https://d.example/", slug="FoldMe")
    def on(host, path):
        return stack.kudos.get(path, {"Host": host}, method="HEAD")
    wait_until(lambda: on("cs.example", "/FoldMe").location == "https://c.example/")
    assert on("CS.example.:8080", "/FoldMe").location == "https://c.example/"
    assert on("cs.example", "/foldme").status == 404
    assert on("unknown.example", "/FOLDME").location == "https://d.example/"
    assert on("h", "/foldme").location == "https://d.example/"
    # an absolute target names the host itself
    connection = raw(stack, "HEAD http://cs.example/FoldMe HTTP/1.1\r\nHost: other\r\n\r\n")
    assert connection.response(head_only=True).location == "https://c.example/"


def test_links_that_do_not_lead_on(stack):
    hour = "now() + interval '%d hours'"
    def at(hours):
        return stack.postgres.value(f"select {hour % hours}")
    for columns, status in [({"state": "disabled"}, 404), ({"state": "archived"}, 404),
                            ({"starts_at": at(1)}, 404), ({"expires_at": at(-1)}, 410)]:
        slug = stack.add_link(SHOP, live=False, **columns)
        marker = stack.add_link(SHOP)  # when this one is there, the one before it is too
        assert stack.kudos.get(f"/{marker}").status == 302
        answer = stack.kudos.get(f"/{slug}")
        assert answer.status == status and answer.body and not answer.location, columns
    slug = stack.add_link(SHOP, expires_at=at(-1), fallback="https://shop.example/late#x")
    answer = stack.kudos.get(f"/{slug}", BROWSER)
    assert (answer.status, answer.location) == (302, "https://shop.example/late#x")
    link = stack.postgres.value("select id from kudos.links where slug = %s", slug)
    wait_until(lambda: stack.postgres.value(
        "select verdict from kudos.clicks where link_id = %s", link) == "invalid")
    for path in ("/", "/nobody", "/-/nothing", "/.well-known/security.txt", f"/{slug}/x", "/%00",
                 "/%ff", "/a%2fb", "/" + "a" * 100):
        assert stack.kudos.get(path).status == 404, path


def test_query_parameters(stack):
    plain = stack.add_link(f"{SHOP}?own=1#top")
    passing = stack.add_link(f"{SHOP}?own=1#top", pass_query=True)
    bare = stack.add_link(f"{SHOP}#top", pass_query=True, click_id=False)
    def head(slug, query):
        return stack.kudos.get(f"/{slug}?{query}", method="HEAD").location
    assert head(plain, "a=b") == f"{SHOP}?own=1#top"
    assert head(passing, "a=b&own=2&%6fwn=3&kudos_id=forged&c") == f"{SHOP}?own=1&a=b&c#top"
    assert stack.kudos.get(f"/{bare}?a=b").location == f"{SHOP}?a=b#top"
    location = stack.kudos.get(f"/{passing}?a=b").location
    assert location.startswith(f"{SHOP}?own=1&a=b&kudos_id=") and location.endswith("#top")
    hostile = stack.kudos.raw()
    hostile.send(f"GET /{bare}?a=%0d%0aX:y&b=\"<>\\^`{{|}} HTTP/1.1\r\nHost: h\r\n\r\n")
    answer = hostile.response()
    assert answer.location == f"{SHOP}?a=%0d%0aX:y&b=%22%3C%3E%5C%5E%60%7B%7C%7D#top"


def test_other_answers(stack, slug):
    before = clicks(stack)
    for path, status in [("/-/health", 200), ("/robots.txt", 200), ("/favicon.ico", 204)]:
        for method in ("GET", "HEAD"):
            assert stack.kudos.get(path, method=method).status == status, path
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"):
        answer = stack.kudos.get(f"/{slug}", method=method)
        assert answer.status == 405 and answer.headers["Allow"] == "GET, HEAD", method
    assert clicks(stack) == before


# Connections --------------------------------------------------------------------------------------

def test_pipelined_requests_are_answered_in_order(stack):
    slugs = [stack.add_link(f"{SHOP}/{n}", live=n == 4) for n in range(5)]
    with stack.kudos.raw() as connection:
        connection.send("".join(get(f"/{each}") for each in slugs * 40))  # more than a round takes
        for _ in range(40):
            for number in range(5):
                answer = connection.response()
                assert answer.location.startswith(f"{SHOP}/{number}?")
    assert stack.kudos.metric("pipeline_deferred_total") > 0


def test_keep_alive_and_close(stack, slug):
    for version, field, stays in [("1.1", None, True), ("1.1", "close", False),
                                  ("1.0", None, False), ("1.0", "keep-alive", True)]:
        fields = {"Connection": field} if field else {}
        with raw(stack, get(f"/{slug}", version, **fields)) as connection:
            answer = connection.response()
            assert answer.status == 302
            said = answer.headers.get("Connection")
            assert said == (None if version == "1.1" else "keep-alive") if stays else "close"
            if stays:
                connection.send(get(f"/{slug}", version))
                assert connection.response().status == 302
            else:
                assert connection.closed()


def test_a_body_ends_the_connection(stack, slug):
    """One answer, readable to its end although the body is large and unread."""
    body = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" * 4000
    with stack.kudos.raw() as connection:
        connection.send(f"POST /{slug} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n")
        connection.send(body)
        assert connection.response().status == 405
        assert connection.closed()
    with stack.kudos.raw() as connection:
        connection.send(f"GET /{slug} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                        f"0\r\n\r\n{get('/x')}")
        assert connection.response().status == 302
        assert connection.closed()


def test_limits(stack, slug):
    def refused(text, status, metric):
        before = stack.kudos.metric(metric)
        with raw(stack, text) as connection:
            assert connection.response().status == status
            assert connection.closed()
        assert stack.kudos.metric(metric) == before + 1
    with raw(stack, get(f"/{slug}?" + "a" * (1023 - len(slug) - 1))) as connection:
        assert connection.response().status == 302
    refused(get("/" + "a" * 1024), 414, "limit_target_total")
    refused(get("/", **{f"X{n}": n for n in range(20)}), 431, "limit_fields_total")
    refused(get("/", A="b" * 4096), 431, "limit_head_total")
    refused("\r\n" * 2049, 431, "limit_head_total")


def test_a_slow_head_is_answered_408(stack, slug):
    before = stack.kudos.metric("timeouts_head_total")
    with raw(stack, f"GET /{slug} HTTP/1.1\r\nHo") as connection:
        assert connection.response().status == 408
        assert connection.closed()
    assert stack.kudos.metric("timeouts_head_total") == before + 1


def test_dripping_does_not_extend_the_time(stack):
    """Bytes that keep coming do not keep an unfinished head alive."""
    with raw(stack, "GET / HTTP/1.1\r\nA: ") as connection:
        connection.socket.settimeout(0.02)
        def answered():
            try:
                connection.send("b")
                return connection.receive()
            except TimeoutError:
                return False
        wait_until(answered, 5)
        assert connection.buffer.startswith(b"HTTP/1.1 408 ")


def test_idle_connections_are_closed(stack, slug):
    before = stack.kudos.metric("timeouts_idle_total")
    with raw(stack, get(f"/{slug}")) as answered, stack.kudos.raw() as silent:
        assert answered.response().status == 302
        assert answered.closed() and silent.closed()
    assert stack.kudos.metric("timeouts_idle_total") == before + 2


def test_who_does_not_read_is_dropped(stack, slug):
    """And meanwhile costs nobody else anything."""
    before = stack.kudos.metric("timeouts_write_total")
    with stack.kudos.raw() as connection:
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.socket.settimeout(0.1)
        def stuffed():
            try:
                connection.send(get(f"/{slug}") * 50)
                return False
            except OSError:
                return True
        wait_until(stuffed, 20)
        assert stack.kudos.get(f"/{slug}").status == 302
        wait_until(lambda: stack.kudos.metric("timeouts_write_total") == before + 1)


def test_the_longest_idle_makes_place(stack, slug):
    stack.kudos.get(f"/{slug}")
    wait_until(lambda: stack.kudos.metric("connections_open") == 0)
    first = raw(stack, get(f"/{slug}"))
    assert first.response().status == 302
    others = [raw(stack, get(f"/{slug}")) for _ in range(59)]
    assert all(each.response().status == 302 for each in others)
    shed = stack.kudos.metric("connections_shed_total")
    with raw(stack, get(f"/{slug}")) as late:
        assert late.response().status == 302
    assert first.closed()
    assert stack.kudos.metric("connections_shed_total") == shed + 1
    others[-1].send(get(f"/{slug}"))
    assert others[-1].response().status == 302
    for each in others:
        each.socket.close()


def test_busy_connections_are_not_shed(make_stack):
    """With all places taken by unfinished heads, accepting waits until one ends."""
    stack = make_stack(settings={"connections_max": 16, "head_timeout_ms": 60000}).start()
    busy = [raw(stack, "GET / HT") for _ in range(16)]
    wait_until(lambda: stack.kudos.metric("connections_open") == 16)
    with raw(stack, get("/-/health")) as late:
        wait_until(lambda: stack.kudos.metric("accept_paused_total") > 0)
        busy[0].send("TP/1.0\r\n\r\n")
        assert busy[0].response().status == 404
        assert late.response().status == 200
    assert stack.kudos.metric("connections_shed_total") == 0
    for each in busy:
        each.socket.close()


# Life of the process ------------------------------------------------------------------------------

def test_stop_finishes_what_has_begun(make_stack):
    stack = make_stack(settings={"head_timeout_ms": 5000}).start()
    slug = stack.add_link(SHOP)
    half = raw(stack, f"GET /{slug} HTTP/1.1\r\n")
    idle = raw(stack, get(f"/{slug}"))
    assert idle.response().status == 302
    stopping = threading.Thread(target=stack.kudos.stop)
    stopping.start()
    assert idle.closed()
    half.send("Host: h\r\n\r\n")
    answer = half.response()
    assert answer.status == 302 and answer.headers["Connection"] == "close"
    assert half.closed()
    stopping.join()
    assert stack.kudos.stop() == 0
    stack.kudos.start()
    stack.assert_exactly_once([click_id(answer.location)])


def test_killed_worker_loses_no_queued_connection(stack, slug):
    worker = stack.kudos.role_pid("redirect")
    process.freeze(worker)
    waiting = [raw(stack, get(f"/{slug}")) for _ in range(50)]
    process.kill(worker)
    answers = [each.response() for each in waiting]
    assert all(answer and answer.status == 302 for answer in answers)
    stack.assert_exactly_once([click_id(answer.location) for answer in answers])


def test_clicks_under_load_arrive_once(stack, slug):
    with Clicker(stack.kudos.port, [f"/{slug}"], rate=3000) as clicker:
        wait_until(lambda: len(clicker.ids) > 5000, 30)
    assert not clicker.broken and not clicker.without_id
    stack.assert_exactly_once(clicker.ids)


def test_idle_connections_are_cheap(make_stack):
    count = 8000
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2 * count), hard))
    stack = make_stack(settings={"connections_max": count + 10, "idle_timeout_ms": 60000}).start()
    slug = stack.add_link(SHOP)
    worker = stack.kudos.role_pid("redirect")
    connections = [raw(stack, get(f"/{slug}")) for _ in range(50)]  # fills pools and caches
    assert all(each.response().status == 302 for each in connections)
    before = process.rss_anon_kib(worker)
    connections += [raw(stack, get(f"/{slug}")) for _ in range(count - 50)]
    assert all(each.response().status == 302 for each in connections[50:])
    wait_until(lambda: stack.kudos.metric("connections_open") == count)
    each = (process.rss_anon_kib(worker) - before) * 1024 / (count - 50)
    print(f"{each:.0f} bytes per idle connection")
    assert each <= 2048
    for connection in connections:
        connection.socket.close()
