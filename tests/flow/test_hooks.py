"""Shop webhooks: taken when their signature is good, once, whatever else tells the same order."""

import concurrent.futures
import contextlib
import json
import os
import socket
import time

import pytest

from support.api import make, make_key, make_workspace, problem, unique
from support.hooks import FIELDS, HookedShop, order_body, sign
from support.http import BROWSER, request
from support.wait import wait_until

SHOPS = ("shopify", "stripe", "woocommerce")


@pytest.fixture(name="shops", scope="module")
def fixture_shops(stack):
    """One of each kind, and a campaign with an influencer who has a link and a code."""
    make(stack, "/v1/campaigns", {"slug": "spring", "name": "Spring", "objective": "conversion",
                                  "destination": "https://shop.example.com/"})
    make(stack, "/v1/influencers", {"handle": "anna", "name": "Anna"})
    make(stack, "/v1/codes", {"code": "ANNA20", "percent": 20, "campaign": "spring",
                              "influencer": "anna"})
    stack.kudos.create_link("https://shop.example.com/", slug="anna", campaign="spring",
                            influencer="anna")
    stack.wait_live("anna")
    return {kind: HookedShop(stack, kind) for kind in SHOPS}


@pytest.fixture(name="shop", params=SHOPS)
def fixture_shop(shops, request):  # pylint: disable=redefined-outer-name
    return shops[request.param]


def click(stack):
    """A click on anna's link; its id."""
    answer = request(stack.kudos.port, path="/anna", headers=BROWSER)
    return answer.location.partition("kudos_id=")[2]


def stored(stack, order):
    """[conversion] of an order: events, amounts, codes … as stored; sales first."""
    return [json.loads(row) for row, in stack.postgres.sql(
        "select (to_jsonb(c) || jsonb_build_object('conflicts', (select count(*) from"
        " kudos.conversion_conflicts f where f.conversion_id = c.id)))::text"
        " from kudos.conversions c where c.order_id = %s order by c.event <> 'sale', c.key",
        str(order))]


def inbox(stack, done=True):
    """How many rows of the inbox wait (or are done)."""
    return stack.postgres.value("select count(*) from kudos.conversion_inbox where"
                                f" (processed_at is not null) = {done}")


# One hook -----------------------------------------------------------------------------------------

def test_a_sale_is_credited_by_code_and_by_click(stack, shop):
    by_code, by_click = shop.tell(code="anna20"), shop.tell(click=click(stack))
    stack.wait_recorded()
    for order, via in ((by_code, "code"), (by_click, "link")):
        sale, = stored(stack, order)
        assert (sale["status"], sale["via"], sale["path"]) == ("credited", via, shop.kind)
        assert (sale["amount_minor"], sale["currency"], sale["verified"]) == (4990, "EUR", True)
    assert stack.postgres.value("select last_used_at is not null from kudos.sources where id = %s",
                                shop.source)
    stack.assert_consistent()


def test_the_code_that_is_somebodys_counts(stack, shops):
    """An order with several codes, of which the shop's own comes first."""
    codes = [{"code": "FREESHIP"}, {"code": "Anna20"}, {"code": "X"}]
    order = shops["shopify"].tell(discount_codes=codes)
    nobodys = shops["woocommerce"].tell(coupon_lines=codes[::2])
    stack.wait_recorded()
    sale, = stored(stack, order)
    assert (sale["status"], sale["code"], sale["reason"]) == ("credited", "Anna20", "only_code")
    assert sale["metadata"]["codes"] == ["FREESHIP", "Anna20", "X"]
    sale, = stored(stack, nobodys)
    assert (sale["status"], sale["code"]) == ("unattributed", "FREESHIP")
    for metadata in ('{"codes": "ANNA20"}', '{"codes": [{}, null]}', '{"codes": {"a": 1}}', '[]', '7'):
        assert stack.postgres.value("select kudos.told_code(1, jsonb_build_object('metadata', %s::jsonb))",
                                    metadata) == {}


def test_several_partial_refunds(stack, shop):
    order = shop.tell(code="ANNA20")
    shop.tell(order, refunds=[(f"{order}1", 1000)])
    shop.tell(order, refunds=[(f"{order}1", 1000), (f"{order}2", 290)])
    stack.wait_recorded()
    sale, *refunds = stored(stack, order)
    assert sale["amount_minor"] == 4990 and [r["amount_minor"] for r in refunds] == [-1000, -290]
    assert [r["reason"] for r in refunds] == ["refund_of_credited_order"] * 2


def test_a_refund_before_its_order(stack, shop):
    order = shop.order()
    body = order_body(shop.kind, order, 4990, refunds=[(f"{order}9", 4990)])
    if shop.kind == "shopify":
        alone = {**body["refunds"][0], "order_id": order}
        alone["transactions"][0]["currency"] = "EUR"
        assert shop.call(alone, topic="refunds/create").json()["conversions"] == 1
    elif shop.kind == "stripe":
        assert shop.call(body).json()["conversions"] == 1
    else:  # WooCommerce tells both in one
        assert shop.call(body).json()["conversions"] == 2
    stack.wait_recorded()
    shop.tell(order, code="ANNA20")
    stack.wait_recorded()
    sale, refund = stored(stack, order)
    assert sale["via"] == "code" and refund["reason"] == "refund_of_credited_order"


def test_refunds_of_an_order_that_stripe_knows_by_another_id(stack, shops):
    shop, order = shops["stripe"], shops["stripe"].order()
    own, before = unique("own-"), unique("own-")
    shop.tell(order, metadata={"order_id": own, "code": "ANNA20"})
    shop.tell(order, refunds=[(f"re_{own}", 90)])
    later = shop.order()
    shop.tell(later, refunds=[(f"re_{before}", 80)])
    stack.wait_recorded()
    shop.tell(later, metadata={"order_id": before, "code": "ANNA20"})
    stack.wait_recorded()
    for name, minor in ((own, -90), (before, -80)):
        sale, refund = stored(stack, name)
        assert sale["key"] == name and refund["amount_minor"] == minor
        assert refund["reason"] == "refund_of_credited_order"


def test_a_test_order_is_worth_nothing(stack, shops):
    order = shops["shopify"].tell(code="ANNA20", test=True)
    stack.wait_recorded()
    told, = stored(stack, order)
    assert (told["event"], told["amount_minor"]) == ("test_sale", None)


# The same order by other paths --------------------------------------------------------------------

def test_one_order_by_hook_and_by_api(stack, shop):
    first, second = shop.tell(code="ANNA20"), shop.order()
    stack.wait_recorded()
    sale = {"event": "sale", "amount": "49.90", "currency": "EUR"}
    answer = stack.kudos.admin("POST", "/v1/conversions",
                               {**sale, "order_id": str(first), "click_id": click(stack)})
    assert answer.json()["outcome"] == "enriched"
    make(stack, "/v1/conversions", {**sale, "order_id": str(second), "click_id": click(stack)})
    shop.tell(second, code="ANNA20")
    stack.wait_recorded()
    for order in (first, second):
        told, = stored(stack, order)
        assert told["click_id"] and told["code"] == "ANNA20" and told["amount_minor"] == 4990


def test_one_order_by_hook_and_by_the_public_paths(stack, shop):
    """A pixel that nobody signed brings the click, the hook the code and the proof; in either order,
    and all of them fifty times at once."""
    first, second, storm = shop.order(), shop.order(), shop.order()

    def pixel(order, path="/-/pixel.gif"):
        answer = stack.kudos.get(f"{path}?order_id={order}&amount=49.90&currency=EUR&click_id="
                                 + clicked)
        assert answer.status == 200, answer
    clicked = click(stack)
    pixel(first)
    wait_until(lambda: [c["status"] for c in stored(stack, first)] == ["unverified"], 20)
    shop.tell(first, code="ANNA20")
    shop.tell(second, code="ANNA20")
    stack.wait_recorded()
    pixel(second, "/-/postback")
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        calls = [pool.submit(shop.tell, storm, code="ANNA20") if i % 2 else pool.submit(pixel, storm)
                 for i in range(50)]
        for call in calls:
            call.result()
    stack.wait_recorded()
    for order in (first, second, storm):
        sale, = stored(stack, order)
        assert (sale["status"], sale["verified"], sale["amount_minor"]) == ("credited", True, 4990)
        assert sale["click_id"] == clicked and sale["code"] == "ANNA20" and sale["conflicts"] == 0
    stack.assert_consistent()


def test_another_amount_is_a_conflict(stack, shop):
    order = shop.tell(cents=4990)
    stack.wait_recorded()
    shop.tell(order, cents=4991)
    stack.wait_recorded()
    sale, = stored(stack, order)
    assert (sale["amount_minor"], sale["conflicts"]) == (4990, 1)


def test_a_storm_of_redeliveries_is_one_conversion(stack, shop):
    order = shop.order()
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        list(pool.map(lambda _: shop.tell(order, refunds=[(f"{order}1", 990)] if
                                          shop.kind != "stripe" else ()), range(50)))
    stack.wait_recorded()
    shop.tell(order)
    stack.wait_recorded()
    assert [c["amount_minor"] for c in stored(stack, order)] == [4990, -990][:1 + (
        shop.kind != "stripe")]
    stack.assert_consistent()


# What is refused ----------------------------------------------------------------------------------

def test_bad_signatures(stack, shop):
    body = json.dumps(order_body(shop.kind, shop.order(), 1)).encode()
    good = shop.head(body)
    field = FIELDS[shop.kind]
    before = stack.kudos.metric("hooks_refused_total")
    wrong = [{k: v for k, v in good.items() if k != field}, {**good, field: ""},
             {**good, field: good[field][:-4]}, {**good, field: good[field] + "00"},
             {**good, field: sign(shop.kind, "another", body)}]
    for headers in wrong:
        problem(shop.call(body, headers=headers), 401, "bad-signature")
    problem(shop.call(body + b" ", headers=good), 401, "bad-signature")
    assert stack.kudos.metric("hooks_refused_total") == before + len(wrong) + 1
    with shop.raw() as raw:  # twice: a bad one and a good one
        lines = "".join(f"{name}: {value}\r\n" for name, value in good.items())
        raw.send(f"POST {shop.path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
                 f"{field}: {wrong[-1][field]}\r\n{lines}\r\n".encode() + body)
        assert raw.response().status == 401
    assert shop.call(body, headers=good).status == 200


def test_replayed_signatures_of_stripe(shops):
    shop = shops["stripe"]
    body = json.dumps(order_body("stripe", shop.order(), 1)).encode()
    now = int(time.time())
    for at in (now - 310, now + 310, now - 86400, 0):
        problem(shop.call(body, at=at), 401, "bad-signature")
    assert shop.call(body, at=now - 290).status == 200


def test_unknown_and_foreign_sources(stack, shops):
    shop = shops["shopify"]
    body = json.dumps(order_body("shopify", shop.order(), 1)).encode()
    theirs = make(stack, "/v1/sources", {"kind": "postback", "name": "p", "secrets": ["whsec_shopify"]})
    for path in ("/-/hooks/shopify/999999", f"/-/hooks/stripe/{shop.source}",
                 f"/-/hooks/shopify/{theirs['id']}", "/-/hooks/shopify/", "/-/hooks/shopify/x",
                 f"/-/hooks/paypal/{shop.source}", f"{shop.path}/", f"/{shop.path}", "/", "/v1/links",
                 "/metrics", "/-/postback", f"/-/hooks/shopify/0{shop.source}"):
        assert shop.call(body, path=path).status == 404, path
    answer = request(stack.kudos.hooks_port, "GET", shop.path)
    assert answer.status == 405 and answer.headers["Allow"] == "POST"
    for port in (stack.kudos.port, stack.kudos.admin_port):  # only where they belong
        assert request(port, "POST", shop.path, shop.head(body), body).status in (404, 405)


def test_a_ping_of_woocommerce(shops):
    for kind, shop in shops.items():
        for body, status in ((b"webhook_id=5", 200 if kind == "woocommerce" else 401),
                             (b"webhook_id=", 401), (b"webhook_id=5&x", 401), (b"webhook_id=x", 401)):
            assert shop.call(body, headers={}).status == status, (kind, body)


def test_a_shop_whose_clock_is_ahead(stack, shops):
    order = shops["shopify"].tell(created_at="2099-01-01T00:00:00Z")
    many = shops["shopify"].tell(line_items=[{"sku": '"' * 100, "name": '"' * 100, "quantity": 1}] * 99)
    stack.wait_recorded()
    assert stored(stack, order)[0]["occurred_told"] is False
    assert len(stored(stack, many)[0]["items"]) == 30


def test_a_long_body_is_refused(shop):
    body = json.dumps({**order_body(shop.kind, shop.order(), 1), "x": "y" * (1 << 20)}).encode()
    assert shop.call(body).status == 413


def test_what_is_no_conversion_is_acknowledged(stack, shop):
    stack.wait_recorded()
    before = inbox(stack)
    for body, topic in ((order_body(shop.kind, 1, 1), "products/update"), ({}, "app/uninstalled")):
        if shop.kind == "stripe":
            body = {"type": topic, "data": {"object": {}}}
        answer = shop.call(body, topic=topic)
        assert answer.status == 200 and answer.json()["outcome"] == "ignored", answer
    stack.wait_recorded()
    assert inbox(stack) == before


def test_what_cannot_be_read_is_kept_as_a_problem(stack, shop):
    before = stack.kudos.metric("hooks_problems_total")
    bodies = [b'{"id": 1', b"[]", json.dumps(order_body(shop.kind, 1, 1, currency="XXQ")).encode()]
    for body in bodies:
        answer = shop.call(body)
        assert answer.status == 200 and answer.json()["outcome"] == "unreadable", answer
    assert stack.kudos.metric("hooks_problems_total") == before + len(bodies)
    stack.wait_recorded()
    kept = stack.postgres.sql("select outcome, problem, told ->> 'problem', conversion_id from"
                              " kudos.conversion_inbox where source_id = %s and told ? 'problem'",
                              shop.source)
    assert len(kept) == len(bodies)
    assert all(row[0] == "refused" and row[1] == row[2] and row[3] is None for row in kept)
    stack.assert_consistent()


def test_nothing_but_what_is_extracted_is_kept(stack, shop):
    """Addresses, names and cards of a body are in no journal, no Redis, no table and no log."""
    secret = "Grabbelgasse-4711"
    order = shop.tell(customer_note=secret, shipping_address={"address1": secret},
                      client_details={"browser_ip": secret})
    email = unique("someone-") + "@example.com"
    where = {"shopify": {"email": email}, "woocommerce": {"billing": {"email": email}},
             "stripe": {"customer_email": email}}[shop.kind]
    known = shop.tell(**where)
    stack.wait_recorded()
    assert stored(stack, order) and stored(stack, known)[0]["customer"]
    data = b""
    for folder, _, files in os.walk(os.path.join(stack.kudos.folder, "data", "journal")):
        for file in files:
            with open(os.path.join(folder, file), "rb") as opened:
                data += opened.read()
    assert str(order).encode() in data and secret.encode() not in data
    for (table,) in stack.postgres.sql("select format('%I.%I', schemaname, tablename) from pg_tables"
                                       " where schemaname = 'kudos'"):
        for text in (secret, email):
            assert stack.postgres.value(f"select count(*) from {table} t where strpos(t::text, %s)"
                                        " > 0", text) == 0, table
    assert secret not in stack.kudos.log() and email not in stack.kudos.log()


# Sources ------------------------------------------------------------------------------------------

def test_secrets_rotate_and_sources_end_within_a_second(stack):
    shop = HookedShop(stack, "shopify", secret="first")
    body = json.dumps(order_body("shopify", shop.order(), 1)).encode()

    def status(secret):
        return shop.call(body, secret=secret).status
    assert (status("first"), status("second")) == (200, 401)
    path = f"/v1/sources/{shop.source}"
    for step, wanted in (
            (lambda: stack.kudos.admin("POST", path + "/rotate", {"secrets": ["second"],
                                                                  "overlap_s": 3600}), (200, 200)),
            (lambda: stack.kudos.admin("PATCH", path, {"secrets": ["third"]}), (200, 401)),
            (lambda: stack.kudos.admin("POST", path + "/rotate", {"secrets": ["second"]}), (401, 200)),
            (lambda: stack.postgres.sql("update kudos.sources set secrets = '{first}' where id = %s",
                                        shop.source), (200, 401)),
            (lambda: stack.kudos.admin("DELETE", path), (404, 404))):
        step()
        begun = time.monotonic()
        wait_until(lambda: (status("first"), status("second")) == wanted, 10, f"becomes {wanted}")
        print(f"{wanted} after {time.monotonic() - begun:.3f} s")


def test_the_file_of_sources_is_the_services_alone(stack, shops):
    path = os.path.join(stack.kudos.folder, "data", "hook-sources")
    assert os.stat(path).st_mode & 0o777 == 0o600
    with open(path, encoding="utf-8") as file:
        assert {shop.source for shop in shops.values()} <= {s["id"] for s in json.load(file)["sources"]}


def test_an_address_that_somebody_else_has(make_stack):
    """Chosen: the service does not start. The default: all but webhooks works, and the log says so."""
    stack = make_stack().start(serve=False)
    with socket.create_server(("127.0.0.1", stack.kudos.hooks_port)):
        stack.kudos.start(wait=False)
        wait_until(lambda: not stack.kudos.pid, 20, "it gives up")
        assert stack.kudos.logged("hooks_listen: .*Address already in use")
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):  # somebody has it already
            held.enter_context(socket.create_server(("127.0.0.1", 8082)))
        stack.kudos.settings["hooks_listen"] = None
        stack.kudos.start()
        assert stack.kudos.logged("event=hooks_not_taken")
        assert make(stack, "/v1/sources", {"kind": "stripe", "name": "s"})["id"]
        assert stack.kudos.stop() == 0


def test_only_the_own_workspace_is_credited(stack, shops):
    """A hook of one workspace with a click and a code of another earns nobody anything."""
    stranger = make_workspace(stack, unique("stranger"))
    made = make(stack, "/v1/sources", {"kind": "shopify", "name": "s", "secrets": ["x"]}, key=stranger)
    shop, order = shops["shopify"], shops["shopify"].order()
    body = order_body("shopify", order, 100, code="ANNA20", click=click(stack))
    wait_until(lambda: shop.call(body, path=made["path"], secret="x").status == 200)
    stack.wait_recorded()
    sale, = stored(stack, order)
    assert sale["status"] == "unattributed" and sale["workspace_id"] != stack.postgres.value(
        "select workspace_id from kudos.sources where id = %s", shop.source)
    assert make_key(stack)  # the default workspace's own is another
