"""Files that say who clicked, changed while visitors come: GeoIP files are taken up by themselves, the
operator's bot patterns with SIGHUP; what is broken is refused with a reason, and the old one stays."""

import json
import os
import tempfile

from support import mmdb
from support.http import BROWSER
from support.wait import wait_until

FOLDER = tempfile.mkdtemp(prefix="kudos-files-")
CITY, ASN, PATTERNS = (os.path.join(FOLDER, name) for name in ("city.mmdb", "asn.mmdb", "patterns.json"))
NET = "203.0.113.0/24"


def put(path, text):
    """Replaces a file at once, as careful people do."""
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text if isinstance(text, str) else json.dumps(text))
    os.replace(path + ".new", path)


mmdb.write(CITY, {NET: mmdb.city("DE", "BE", "Berlin")})
mmdb.write(ASN, {NET: {"autonomous_system_number": 64499}}, kind="GeoLite2-ASN")
put(PATTERNS, [{"pattern": "AcmeProbe"}])
STACK = {"roles": "redirect,sync", "settings": {
    "trusted_proxies": "127.0.0.1", "geoip_city": CITY, "geoip_asn": ASN, "bot_patterns": PATTERNS,
    "datacenter_asns": "64500", "workers": 1}}


def ask(stack, slug, agent=BROWSER["User-Agent"]):
    """Where a visitor from NET is sent; HEAD: not counted."""
    return stack.kudos.get(f"/{slug}", {"X-Forwarded-For": "203.0.113.9", "User-Agent": agent}, method="HEAD").location


def wait_for(stack, slug, wanted, **more):
    wait_until(lambda: ask(stack, slug, **more) == wanted, 20, lambda: f"{wanted}, not {ask(stack, slug, **more)}")


def by_verdict(*names):
    """Rules that lead each verdict to a place of its own."""
    return json.dumps([{"if": {"verdict": [name]}, "then": {"destination": f"https://{name}.example/"}} for name in names])


def test_places_change_without_a_pause(stack):
    slug = stack.add_link("https://shop.example/{country}")
    pid = stack.kudos.role_pid("redirect")
    assert ask(stack, slug) == "https://shop.example/DE"
    mmdb.write(CITY + ".new", {NET: mmdb.city("FR")})
    os.replace(CITY + ".new", CITY)
    wait_for(stack, slug, "https://shop.example/FR")
    put(CITY, "no MMDB at all")
    wait_until(lambda: stack.kudos.logged("level=error.*geoip_refused.*city.mmdb"), 20, "the file is refused")
    assert ask(stack, slug) == "https://shop.example/FR"
    with open(CITY, "wb") as file:  # written in place, half of it: refused too, and then whole
        whole = open(mmdb.write(CITY + ".whole", {NET: {"country_code": "AT"}}, kind="flat"), "rb").read()
        file.write(whole[:len(whole) // 2])
    assert ask(stack, slug) == "https://shop.example/FR"
    os.replace(CITY + ".whole", CITY)
    wait_for(stack, slug, "https://shop.example/AT")  # the flat layout
    os.unlink(CITY)
    stack.kudos.reload()
    assert ask(stack, slug) == "https://shop.example/AT"
    assert stack.kudos.pids("redirect") == [pid]


def test_networks_of_servers(stack):
    slug = stack.add_link("https://shop.example/", rules=by_verdict("datacenter"))
    assert ask(stack, slug) == "https://shop.example/"
    mmdb.write(ASN + ".new", {NET: {"autonomous_system_number": 64500}}, kind="GeoLite2-ASN")
    os.replace(ASN + ".new", ASN)
    wait_for(stack, slug, "https://datacenter.example/")


def test_an_operators_own_patterns(stack):
    slug = stack.add_link("https://shop.example/", rules=by_verdict("bot", "preview"))
    acme, other = (BROWSER["User-Agent"] + f" {name}/1" for name in ("AcmeProbe", "OtherProber"))
    assert ask(stack, slug, acme) == "https://bot.example/"
    assert ask(stack, slug, other) != "https://preview.example/"
    put(PATTERNS, [{"pattern": "OtherProber", "tags": ["social-preview"]}])
    stack.kudos.reload()
    wait_for(stack, slug, "https://preview.example/", agent=other)
    put(PATTERNS, [{"pattern": "fine"}, {"pattern": "a("}])
    stack.kudos.reload()
    wait_until(lambda: stack.kudos.logged("level=error.*entry 2"), 20, "the list is refused, with the entry")
    assert ask(stack, slug, other) == "https://preview.example/"
