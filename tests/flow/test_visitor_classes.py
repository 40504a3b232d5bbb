"""Who clicked, end to end: what a request says about its sender becomes columns of its row. The
listener requires the PROXY protocol, so that every test can say where its visitor comes from."""

import struct

import pytest

from support.http import Raw
from support.wait import wait_until

STACK = {"settings": {
    "proxy_protocol": "required", "trusted_proxies": "127.0.0.1 10.0.0.0/8",
    "untracked_networks": "198.51.100.0/24", "workers": 1, "head_timeout_ms": 1000}}
PHONE = ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
         " Mobile/22B83 Instagram 358.0.0.37.85 (iPhone16,1; iOS 18_1; de_DE)")
DESKTOP = ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
           " Chrome/131.0.0.0 Safari/537.36")


def proxied(address="203.0.113.9"):
    """A PROXY header of version 1 for a visitor."""
    return f"PROXY TCP4 {address} 192.0.2.1 40000 443\r\n"


def request(path, agent=DESKTOP, method="GET", **fields):
    """The bytes of a request."""
    fields = {"User-Agent": agent, **{name.replace("_", "-"): value for name, value in fields.items()}}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n"


def status(stack, text):
    """The status that `text` is answered with; None if the connection ends without an answer."""
    with Raw(stack.kudos.port) as connection:
        connection.send(text)
        answer = connection.response(head_only=not isinstance(text, bytes) and "\nHEAD " in text)
        return answer and answer.status


@pytest.fixture(scope="module")
def slug(stack):
    """A link that is served."""
    made = stack.add_link("https://shop.example/p", live=False)
    wait_until(lambda: status(stack, proxied() + request(f"/{made}", method="HEAD")) == 302, 10, "a redirect")
    return made


def row(stack, slug, text, columns):
    """Clicks with `text` in front of the path's request, and returns columns of the newest row."""
    before = stack.rows()
    assert status(stack, text) == 302
    wait_until(lambda: stack.rows() == before + 1, 20, "the click's row")
    return stack.postgres.sql(f"select {columns} from kudos.clicks order by seq desc limit 1")[0]


def test_classes_become_columns(stack, slug):
    text = proxied() + request(f"/{slug}", PHONE, Accept_Language="de-DE,de;q=0.9")
    found = row(stack, slug, text, "verdict, rule, device, os, browser, app, medium, platform, language")
    assert found == ("human", None, "smartphone", "iOS", None, "Instagram", "social", "Instagram", "de-DE")


def test_machines_are_stored_with_the_rule(stack, slug):
    text = proxied() + request(f"/{slug}", "curl/8.5.0", Referer="https://www.google.de/search")
    found = row(stack, slug, text, "verdict, device, medium, platform")
    assert found == ("bot", "bot", "search", "Google")


def test_client_hints_are_read(stack, slug):
    text = proxied() + request(f"/{slug}", Sec_CH_UA='"Brave";v="131", "Chromium";v="131"',
                               Sec_CH_UA_Platform='"Windows"')
    assert row(stack, slug, text, "verdict, browser") == ("human", "Brave")
    text = proxied() + request(f"/{slug}", Sec_CH_UA='"HeadlessChrome";v="131"')
    assert row(stack, slug, text, "verdict, rule") == ("bot", "headless brand")


def test_own_pages_are_internal_referrers(stack, slug):
    text = proxied() + request(f"/{slug}", Referer="http://127.0.0.1/other")
    assert row(stack, slug, text, "medium") == ("internal",)


def test_an_advertisement_is_paid_whatever_its_referrer(stack, slug):
    text = proxied() + request(f"/{slug}?gclid=x", Referer="https://www.google.de/")
    assert row(stack, slug, text, "medium, platform") == ("paid", "Google Ads")


def test_own_staff_is_internal(stack, slug):
    text = proxied("198.51.100.7") + request(f"/{slug}")
    assert row(stack, slug, text, "verdict, rule") == ("internal", "untracked network")


def test_a_proxy_behind_the_proxy_is_believed_if_trusted(stack, slug):
    text = proxied("10.1.2.3") + request(f"/{slug}", X_Forwarded_For="203.0.113.1, 198.51.100.7")
    assert row(stack, slug, text, "verdict") == ("internal",)
    text = proxied("203.0.113.9") + request(f"/{slug}", X_Forwarded_For="198.51.100.7")
    assert row(stack, slug, text, "verdict") == ("human",)


def test_a_header_may_come_in_pieces_and_once_only(stack, slug):
    with Raw(stack.kudos.port) as connection:
        text = proxied() + request(f"/{slug}", method="HEAD")
        for piece in (text[:3], text[3:20], text[20:60], text[60:]):
            connection.send(piece)
        assert connection.response(head_only=True).status == 302
        connection.send(request(f"/{slug}", method="HEAD"))
        assert connection.response(head_only=True).status == 302
        connection.send(proxied() + request(f"/{slug}", method="HEAD"))
        assert connection.response().status == 400


def test_version_2(stack, slug):
    head = b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack(">H4s4sHH", 12, bytes([198, 51, 100, 7]), bytes(4), 1, 2)
    text = head + request(f"/{slug}").encode()
    assert row(stack, slug, text, "verdict") == ("internal",)


def test_what_begins_otherwise_is_closed_without_an_answer(stack, slug):
    refused = stack.kudos.metric("proxy_header_refused_total")
    for text in (request(f"/{slug}"), "PROXY TCP4 1.2.3.4\r\n", "PROXY TCP4 " + 200 * "x", "\r\n\r\nGET / "):
        with Raw(stack.kudos.port) as connection:
            connection.send(text)
            assert connection.closed()
    assert stack.kudos.metric("proxy_header_refused_total") == refused + 4
