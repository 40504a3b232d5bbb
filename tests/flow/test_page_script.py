"""The page script in a real browser on a shop's pages: what it keeps, what it sends, what it must not."""

import json

import pytest

from support.browser import Browser, Pages
from support.http import BROWSER, request
from support.shop import Shop
from support.wait import wait_until

GPC = "Object.defineProperty(navigator, 'globalPrivacyControl', {value: true})"


@pytest.fixture(name="shop", scope="module")
def fixture_shop(stack):
    """A shop whose links lead to pages that are really there."""
    shop = Shop(stack)
    script = f"http://127.0.0.1:{stack.kudos.port}/-/kudos.js"
    tag = f'<script src="{script}"></script>'
    with Pages({}) as site:
        site.pages.update({
            "/landing": f"<!doctype html>{tag}<p>Welcome",
            "/thanks": f"<!doctype html>{tag}<p>Thank you",
            "/twice": f"<!doctype html>{tag}{tag}<p>Thank you",
            "/tag": f'<!doctype html><script src="{script}" data-event="sale" data-order-id="TAG-1"'
                    ' data-amount="19.90" data-currency="EUR"></script>',
            "/later": "<!doctype html><script>(window.kudos = window.kudos || []).push({order_id:"
                      f' "LATE-1", amount: "5", currency: "EUR"}})</script><script async src="{script}">'
                      "</script>",
            "/blank": "<!doctype html><p>Elsewhere"})
        shop.site = site
        for handle in ("mia", "leo"):
            stack.kudos.create_link(f"{site.origin}/landing", slug=f"to-{handle}", campaign="summer",
                                    influencer=handle)
        shop.go = f"http://127.0.0.1:{stack.kudos.port}/to-"
        yield shop


def browse(before=""):
    """A browser that says it is a phone."""
    return Browser(BROWSER["User-Agent"], before)


def kept(browser):
    """The ids in the shop's storage; None without any."""
    return json.loads(browser.run("localStorage.getItem('kudos_clicks')") or "null")


def test_two_clicks_and_a_sale(shop):
    """Two influencers' links, then a sale on a page without an id, which the visitor leaves at once."""
    origin, order = shop.site.origin, shop.order()
    with browse() as browser:
        browser.go(f"{shop.go}mia")
        first = browser.run("new URLSearchParams(location.search).get('kudos_id')")
        assert len(first) == 64 and kept(browser) == [first]
        browser.go(f"{origin}/landing?kudos_id={first}")  # again: the same click
        browser.go(f"{shop.go}leo")
        second = browser.run("new URLSearchParams(location.search).get('kudos_id')")
        assert kept(browser) == [first, second] == browser.run("kudos.clicks()")
        browser.go(f"{origin}/thanks")
        browser.run("kudos.report({event: 'sale', order_id: '%s', amount: '49.90', currency: 'EUR',"
                    " code: 'MIA10'}); location.href = '/blank'; 1" % order)
        found = shop.wait(order)
        assert not browser.problems
    assert found == {"status": "unverified", "reason": "not_signed", "amount": 4990, "currency": "EUR",
                     "who": None, "verified": False, "path": "beacon", "code": "MIA10"}
    assert shop.stack.postgres.value("select click_id from kudos.conversions where order_id = %s",
                                     order) == second
    # The shop's server tells the order: now it counts, for the click that the page knew, and its code.
    assert shop.get(token=shop.token, order_id=order, amount="49.90", currency="EUR").status == 200
    assert shop.wait(order, status="credited", verified=True)["who"] in ("mia", "leo")


def test_other_ways_to_tell(shop):
    """By attributes of the tag; before the script is there; and the script loaded twice."""
    origin = shop.site.origin
    with browse() as browser:
        browser.go(f"{shop.go}leo")
        browser.go(f"{origin}/tag")
        assert shop.wait("TAG-1")["amount"] == 1990
        browser.go(f"{origin}/later")
        assert shop.wait("LATE-1")["amount"] == 500
        browser.go(f"{origin}/twice")
        order = shop.order()
        browser.run(f"kudos.report({{order_id: '{order}', orderId: '{order}'}})")
        shop.wait(order)
        assert not browser.problems
    assert shop.stack.postgres.value(
        "select count(*) from kudos.conversion_inbox i join kudos.conversions c on c.id = i.conversion_id"
        " where c.order_id = any (%s) and c.click_id is not null", ["TAG-1", "LATE-1", order]) == 3


def test_bounded_and_harmless(shop):
    """The last ten in their order; what else is in the storage, or in the address, breaks nothing."""
    origin = shop.site.origin
    with browse() as browser:
        for number in range(13):
            browser.go(f"{origin}/landing?kudos_id=id-{number}")
        assert kept(browser) == [f"id-{number}" for number in range(3, 13)]
        browser.go(f"{origin}/landing?kudos_id={'x' * 129}")
        assert len(kept(browser)) == 10
        for odd in ("null", "{", "5", '[1,{"a":2},"good"]'):
            browser.run(f"localStorage.setItem('kudos_clicks', {json.dumps(odd)})")
            browser.go(f"{origin}/landing?kudos_id=next")
            assert kept(browser)[-1] == "next" and all(isinstance(id, str) for id in kept(browser))
        order = shop.order()
        browser.run(f"kudos.report({{order_id: '{order}'}})")
        assert shop.wait(order)["path"] == "beacon"
        assert browser.run("document.cookie") == "" and not browser.problems


def test_global_privacy_control(shop):
    """Nothing is kept, and what was kept goes; a sale on the landing page has the id of its address."""
    origin = shop.site.origin
    with browse(GPC) as browser:
        browser.go(f"{origin}/blank")
        browser.run("localStorage.setItem('kudos_clicks', '[\"before\"]')")
        browser.go(f"{shop.go}mia")
        assert kept(browser) is None and browser.run("localStorage.length") == 0
        orders = [shop.order(), shop.order()]
        browser.run(f"kudos.report({{order_id: '{orders[0]}'}})")
        browser.go(f"{origin}/thanks")
        browser.run(f"kudos.report({{order_id: '{orders[1]}'}})")
        for order in orders:
            shop.wait(order)
        assert not browser.problems
    assert shop.stack.postgres.sql(
        "select click_id is not null from kudos.conversions where order_id = any (%s) order by order_id",
        orders) == [(True,), (False,)]


def test_as_it_is_served(shop):
    """Small, cached, readable by any page; and a full queue of the browser is no loss."""
    port = shop.stack.kudos.port
    answer = request(port, path="/-/kudos.js")
    assert answer.status == 200 and len(answer.body) <= 2048
    assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert answer.headers["Cache-Control"] == "public, max-age=3600"
    tag = answer.headers["ETag"]
    for sent in (tag, f'W/{tag}, "other"'):
        known = request(port, path="/-/kudos.js", headers={"If-None-Match": sent})
        assert (known.status, known.body, known.headers["ETag"]) == (304, b"", tag)
    assert request(port, path="/-/kudos.js", headers={"If-None-Match": '"0"'}).status == 200
    head = request(port, "HEAD", "/-/kudos.js")
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(answer.body)))
    assert request(port, "POST", "/-/kudos.js").status == 405
    order = shop.order()
    with browse("navigator.sendBeacon = function () { return false; }") as browser:
        browser.go(f"{shop.site.origin}/thanks")
        browser.run(f"kudos.report({{order_id: '{order}'}})")
        wait_until(lambda: shop.rows(order), 20, "it came by fetch")
