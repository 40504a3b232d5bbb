"""Lists as files, codes for shops, QR codes."""

import csv
import io
import json
import re
import struct
import zlib

import pytest

from support.api import make, make_workspace, pointers, problem, unique
from support.http import Raw
from support.stack import SANITIZED
from support.wait import wait_until


def sheet(answer):
    """The rows of a CSV answer."""
    assert answer.status == 200, answer
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    text = answer.body.decode()
    assert text.endswith("\r\n")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def campaign(stack, **fields):
    """A campaign with a roster of two."""
    name = unique("export")
    where = make(stack, "/v1/campaigns", {"name": name, "slug": name, "objective": "launch",
                                          "destination": "https://shop.example/", **fields})
    return where["id"]


def roster(stack, where, *handles, **code):
    """Gives each a link and a code; the items."""
    answer = stack.kudos.admin("POST", f"/v1/campaigns/{where}/roster", {
        "influencers": [{"handle": handle} for handle in handles],
        "code": {"template": "{HANDLE}", **code}})
    assert answer.status == 200 and answer.json()["error"] == 0, answer
    return answer.json()["items"]


def test_links(stack):
    where = campaign(stack)
    rows = [{"destination": f"https://example.com/{n}", "slug": f"export-{n}", "campaign": where,
             "title": ("=1+1", "+49", "@x", "-", "plain, \"quoted\"", "two\u00a0spaces", None)[n % 7],
             "tags": ["a", "b"] if n % 2 else [], "utm": {"source": "x"} if n % 3 else None}
            for n in range(1300)]
    answer = stack.kudos.admin("POST", "/v1/links/bulk/create", rows)
    assert answer.json()["created"] == 1300, answer
    found = sheet(stack.kudos.admin("GET", f"/v1/links.csv?campaign={where}"))
    assert [row["slug"] for row in found] == [row["slug"] for row in reversed(rows)]
    for n in range(7):
        row = found[-1 - n]
        title = rows[n]["title"] or ""
        assert row["title"] == ("'" + title if title[:1] in "=+-@" and title else title)
        assert row["tags"] == ",".join(rows[n]["tags"])
        assert json.loads(row["utm"] or "null") == rows[n]["utm"]
        assert row["campaign"] == str(where) and row["pass_query"] == "false"
        assert row["short_url"].endswith(row["slug"])
    answer = stack.kudos.admin("GET", f"/v1/links.ndjson?campaign={where}")
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in answer.body.splitlines()]
    assert [line["slug"] for line in lines] == [row["slug"] for row in found]
    assert lines[0] == stack.kudos.admin("GET", f"/v1/links/{lines[0]['id']}").json()
    # What was exported can be taken in again as it is: the same links.
    keep = ("slug", "destination", "campaign", "title", "tags", "utm")
    out = io.StringIO()
    writer = csv.DictWriter(out, keep, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(found)
    again = stack.kudos.admin("POST", "/v1/links/bulk/create", out.getvalue().encode(),
                              headers={"Content-Type": "text/csv"}).json()
    assert (again["existed"], again["error"]) == (1300, 0), again["items"][:3]


@pytest.mark.parametrize("what", ["campaigns", "influencers", "codes", "domains", "posts",
                                  "post-metrics", "contracts", "payouts", "audit-log"])
def test_every_list(stack, what):
    roster(stack, campaign(stack), unique("every"))
    listed = stack.kudos.admin("GET", f"/v1/{what}?limit=1000").json()["items"]
    rows = sheet(stack.kudos.admin("GET", f"/v1/{what}.csv"))
    lines = stack.kudos.admin("GET", f"/v1/{what}.ndjson").body.splitlines()
    assert [json.loads(line) for line in lines][-len(listed):] == listed
    assert [row["id"] for row in rows][-len(listed):] == [str(item["id"]) for item in listed]


def test_filters_and_strangers(stack):
    where = campaign(stack)
    item, _ = roster(stack, where, "filter1", "filter2")
    link = f"/v1/links/{item['link']['id']}"
    assert len(sheet(stack.kudos.admin("GET", "/v1/links.csv?influencer=filter1"))) == 1
    assert sheet(stack.kudos.admin("GET", "/v1/links.csv?slug=nothing")) == []
    assert stack.kudos.admin("GET", "/v1/links.ndjson?slug=nothing").body == b""
    assert pointers(problem(stack.kudos.admin("GET", "/v1/links.csv?colour=red"), 422)) == {"colour"}
    stranger = make_workspace(stack, unique("stranger"))
    assert sheet(stack.kudos.admin("GET", "/v1/links.csv", key=stranger)) == []
    for path in ("codes/shopify.csv", "codes/woocommerce.csv", "qr.csv"):
        problem(stack.kudos.admin("GET", f"/v1/campaigns/{where}/{path}", key=stranger), 404)
    problem(stack.kudos.admin("GET", link + "/qr.svg", key=stranger), 404)
    head = stack.kudos.admin("HEAD", "/v1/links.csv")
    assert head.status == 200 and head.body == b""


def test_shops(stack):
    where = campaign(stack)
    roster(stack, where, "percent", percent=12.5, max_uses=5, max_uses_per_customer=1,
           ends_at="2036-01-31T00:00:00Z")
    roster(stack, where, "money", amount={"amount_minor": 505, "currency": "EUR"},
           minimum_order={"amount": "49.90", "currency": "EUR"})
    roster(stack, where, "yen", amount={"amount_minor": 500, "currency": "JPY"})
    roster(stack, where, "shipping", free_shipping=True)
    rows = {row["Code"]: row for row in sheet(
        stack.kudos.admin("GET", f"/v1/campaigns/{where}/codes/shopify.csv"))}
    assert [rows[code]["Discount Value"] for code in ("PERCENT", "MONEY", "YEN", "SHIPPING")] == [
        "12.5", "5.05", "500", ""]
    assert [rows[code]["Discount Type"] for code in ("PERCENT", "MONEY", "SHIPPING")] == [
        "Percentage", "Fixed Amount", "Free Shipping"]
    assert rows["PERCENT"]["Ends At"] == "2036-01-31T00:00:00Z"
    assert rows["PERCENT"]["Limit Once Per Customer"] == "TRUE"
    assert [(rows[code]["Minimum Requirement"], rows[code]["Minimum Value"])
            for code in ("MONEY", "YEN")] == [("Amount", "49.90"), ("", "")]
    rows = {row["post_title"]: row for row in sheet(
        stack.kudos.admin("GET", f"/v1/campaigns/{where}/codes/woocommerce.csv"))}
    assert [rows[code]["coupon_amount"] for code in ("PERCENT", "MONEY", "YEN", "SHIPPING")] == [
        "12.5", "5.05", "500", "0"]
    assert (rows["PERCENT"]["discount_type"], rows["MONEY"]["discount_type"]) == (
        "percent", "fixed_cart")
    assert rows["MONEY"]["minimum_amount"] == "49.90"
    assert (rows["PERCENT"]["usage_limit"], rows["PERCENT"]["date_expires"]) == ("5", "2036-01-31")
    assert rows["PERCENT"]["expiry_date"] == "2036-01-31" and rows["MONEY"]["expiry_date"] == ""
    assert rows["SHIPPING"]["free_shipping"] == "yes"


def test_postgres_goes_away_in_the_middle(make_stack):
    """A part is never taken for the whole: the connection ends without the last chunk."""
    stack = make_stack().start()
    stack.add_links(60000, destination="https://example.com/" + "x" * 500 + "/%s")
    with Raw(stack.kudos.admin_port) as raw:
        raw.send("GET /v1/links.csv HTTP/1.1\r\nHost: x\r\n"
                 f"Authorization: Bearer {stack.kudos.key()}\r\n\r\n")
        assert raw.receive()
        stack.postgres.kill()
        while raw.receive():
            pass
        assert raw.buffer.startswith(b"HTTP/1.1 200") and not raw.buffer.endswith(b"0\r\n\r\n")
    assert stack.kudos.logged("event=answer_cut")
    stack.postgres.start()
    wait_until(lambda: stack.kudos.admin("GET", "/v1/links?limit=1").status == 200)


def test_memory_is_bounded(make_stack):
    """A reader that stands still holds up nobody, and costs a page."""
    stack = make_stack().start()
    stack.add_links(60000, destination="https://example.com/" + "x" * 500 + "/%s")
    pid = stack.kudos.role_pid("admin")

    def peak():
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            return int(re.search(r"VmHWM:\s+(\d+)", file.read())[1])
    before = peak()
    assert len(stack.kudos.admin("GET", "/v1/links.ndjson").body.splitlines()) == 60000
    assert SANITIZED or peak() - before < 16384  # sanitizers keep what was freed for a while


# QR codes -----------------------------------------------------------------------------------------

def svg_modules(text):
    """The modules of an SVG as a set of (x, y), and how many fit into its width."""
    total = int(re.search(r'viewBox="0 0 (\d+) ', text)[1])
    dark = set()
    for x, y, run in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\d+z", text):
        dark |= {(int(x) + i, int(y)) for i in range(int(run))}
    return dark, total


def png_pixels(data):
    """(width, rows of bits, palette, whether the first colour is transparent)."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(data):
        length, kind = struct.unpack("!I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        assert struct.unpack("!I", data[at + 8 + length:at + 12 + length])[0] == zlib.crc32(
            kind + body)
        chunks[kind] = body
        at += 12 + length
    width, height, depth, colours = struct.unpack("!IIBB", chunks[b"IHDR"][:10])
    assert (depth, colours, width) == (1, 3, height) and b"IEND" in chunks
    raw, stride = zlib.decompress(chunks[b"IDAT"]), 1 + (width + 7) // 8
    rows = [[raw[y * stride + 1 + x // 8] >> (7 - x % 8) & 1 for x in range(width)]
            for y in range(height)]
    return width, rows, chunks[b"PLTE"], b"tRNS" in chunks


def read_code(dark, margin, size):
    """The text of a QR code of version 2 or 3 with one block, read as a scanner would."""
    def at(x, y):
        return (x + margin, y + margin) in dark
    for corner in ((0, 0), (size - 7, 0), (0, size - 7)):  # finders
        assert all(at(corner[0] + i, corner[1]) for i in range(7))
        assert not any(at(corner[0] + i, corner[1] + 1) for i in range(1, 6))
    form = 0
    for x, y in [(i, 8) for i in (0, 1, 2, 3, 4, 5, 7, 8)] + [(8, i) for i in (7, 5, 4, 3, 2, 1, 0)]:
        form = form << 1 | at(x, y)
    mask = (form ^ 0b101010000010010) >> 10 & 7
    rules = [lambda x, y: (x + y) % 2, lambda x, y: y % 2, lambda x, y: x % 3,
             lambda x, y: (x + y) % 3, lambda x, y: (y // 2 + x // 3) % 2,
             lambda x, y: x * y % 2 + x * y % 3, lambda x, y: (x * y % 2 + x * y % 3) % 2,
             lambda x, y: ((x + y) % 2 + x * y % 3) % 2]

    def is_pattern(x, y):
        return (x == 6 or y == 6 or x < 9 and y < 9 or x >= size - 8 and y < 9 or
                x < 9 and y >= size - 8 or
                size - 9 <= x <= size - 5 and size - 9 <= y <= size - 5)
    bits, up, x = "", True, size - 1
    while x > 0:
        x -= x == 6
        for y in range(size - 1, -1, -1) if up else range(size):
            for column in (x, x - 1):
                if not is_pattern(column, y):
                    bits += str(int(at(column, y) ^ (rules[mask](column, y) == 0)))
        up, x = not up, x - 2
    assert bits[:4] == "0100", bits[:16]
    length = int(bits[4:12], 2)
    return bytes(int(bits[12 + 8 * i:20 + 8 * i], 2) for i in range(length)).decode()


def test_qr_codes(stack):
    link = stack.kudos.create_link("https://example.com/")
    path = f"/v1/links/{link['id']}/qr"
    answer = stack.kudos.admin("GET", path + ".svg?margin=4")
    assert answer.headers["Content-Type"] == "image/svg+xml"
    dark, total = svg_modules(answer.text)
    assert read_code(dark, 4, total - 8) == link["short_url"]
    answer = stack.kudos.admin("GET", path + ".png?size=400")
    assert answer.headers["Content-Type"] == "image/png"
    width, rows, palette, transparent = png_pixels(answer.body)
    scale = 400 // total
    edge = (400 - (total - 8) * scale) // 2
    assert (width, palette, transparent) == (400, b"\xff\xff\xff\0\0\0", False)
    assert {(x, y) for x in range(4, total - 4) for y in range(4, total - 4)
            if rows[edge + (y - 4) * scale][edge + (x - 4) * scale]} == dark
    assert sum(map(sum, rows)) == len(dark) * scale * scale
    look = stack.kudos.admin("GET", path + ".png?colour=%231a2B3c&background=transparent&margin=0")
    assert png_pixels(look.body)[2:] == (b"\xff\xff\xff\x1a\x2b\x3c", True)
    high = stack.kudos.admin("GET", path + ".svg?level=H&margin=0&colour=ff0000").text
    assert svg_modules(high)[1] > total - 8 and 'fill="#ff0000"' in high


def test_qr_refuses(stack):
    path = f"/v1/links/{stack.kudos.create_link('https://example.com/')['id']}/qr"
    for query, names in (("size=5", {"size"}), ("size=2049", {"size"}), ("margin=x", {"margin"}),
                         ("level=X", {"level"}), ("colour=red&background=12", {"colour",
                                                                              "background"}),
                         ("colour=transparent", {"colour"}), ("shape=round", {"shape"})):
        assert pointers(problem(stack.kudos.admin("GET", f"{path}.png?{query}"), 422)) == names
    problem(stack.kudos.admin("GET", "/v1/links/999999999/qr.png"), 404)


def test_qr_sheet(stack):
    where = campaign(stack)
    items = roster(stack, where, "qr1", "qr2")
    rows = sheet(stack.kudos.admin("GET", f"/v1/campaigns/{where}/qr.csv"))
    assert [(row["influencer"], row["short_url"]) for row in rows] == [
        (item["handle"], item["link"]["short_url"]) for item in reversed(items)]
    assert stack.kudos.admin("GET", rows[0]["png"]).headers["Content-Type"] == "image/png"
    assert stack.kudos.admin("GET", rows[0]["svg"]).status == 200
