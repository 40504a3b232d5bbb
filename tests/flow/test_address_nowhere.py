"""The visitor's address is in no journal, no Redis key, no table, no replica and no log, in no form:
as text, as bytes, as a number. A referrer that every click carries, and that must be found wherever
clicks are, proves that the search looks where it says."""

import ipaddress
import os
import pathlib

import pytest
import redis

from support.http import Raw
from support.wait import wait_until

# Visitors come directly (PROXY protocol) and behind a proxy (X-Forwarded-For, Forwarded).
STACK = {"settings": {"proxy_protocol": "required", "trusted_proxies": "127.0.0.1 10.0.0.0/8",
                      "untracked_networks": "203.0.113.78", "workers": 1, "log_level": "debug"}}
CONTROL = "control-of-the-search.example"
BROWSER = ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
           " Chrome/131.0.0.0 Safari/537.36")
HUMAN, STAFF, HIDDEN = "203.0.113.77", "203.0.113.78", "203.0.113.79"
SIX, SIX_HIDDEN = "2001:db8:57a1:c0de:91ab:12cd:33ef:7b05", "2001:db8:57a1:c0de:91ab:12cd:33ef:7b06"
ALL = (HUMAN, STAFF, HIDDEN, SIX, SIX_HIDDEN)


def forms(text):
    """How an address could stand in a store: (lower case text, bytes)."""
    address = ipaddress.ip_address(text)
    texts = {text, address.exploded, address.packed.hex(), address.packed[::-1].hex(), str(int(address)),
             text.replace(".", "-"), address.reverse_pointer.split(".ip6")[0].split(".in-addr")[0]}
    if address.version == 4:
        six = ipaddress.ip_address("::ffff:" + text)
        return texts | {six.exploded, str(int.from_bytes(address.packed, "little"))}, {
            address.packed, address.packed[::-1]}
    network = address.packed[:8]
    return texts | {network.hex(), str(int.from_bytes(network, "big")), "2001:db8:57a1:c0de"}, {
        address.packed, address.packed[::-1], network, network[::-1]}


TEXTS = sorted({each.encode() for text in ALL for each in forms(text)[0] if len(each) > 6})
PACKED = sorted({each for text in ALL for each in forms(text)[1]})


def assert_clean(held, where, packed=True):
    """None of the addresses in these bytes. Four bytes come together by chance in a large file."""
    lower = held.lower()
    for each in TEXTS:
        assert each not in lower, (where, each)
    for each in PACKED:
        assert not packed or (len(each) == 4 and len(held) > 1 << 24) or each not in held, (where, each)


def click(stack, path, peer, agent=BROWSER, **fields):
    """The status of a request from `peer`."""
    kind = "TCP6" if ":" in peer else "TCP4"
    to = "2001:db8::1" if ":" in peer else "192.0.2.1"
    fields = {"Referer": f"https://{CONTROL}/", **{name.replace("_", "-"): value for name, value in fields.items()}}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
    with Raw(stack.kudos.port) as connection:
        connection.send(f"PROXY {kind} {peer} {to} 40000 443\r\nGET {path} HTTP/1.1\r\nHost: h\r\n"
                        f"User-Agent: {agent}\r\n{lines}Connection: close\r\n\r\n")
        answer = connection.response()
        return answer and answer.status


def visit_everywhere(stack, slug, rules):
    """Clicks of every kind; how many rows they make."""
    link = f"/{slug}"
    clicks = [
        (link, HUMAN, {}), (link, SIX, {}), (link, STAFF, {}), (f"/{rules}", HUMAN, {}), (f"/{rules}", SIX, {}),
        (link, HUMAN, {"agent": "curl/8.5.0"}), (link, HUMAN, {"Sec_GPC": "1"}),
        (link, "10.1.2.3", {"X_Forwarded_For": f"198.51.100.1, {HIDDEN}, 10.9.9.9"}),
        (link, "10.1.2.3", {"X_Forwarded_For": SIX_HIDDEN}), (link, "10.1.2.3", {"Forwarded": f'for="[{SIX_HIDDEN}]:4711"'})]
    for path, peer, fields in clicks:
        assert click(stack, path, peer, **fields) == 302, (path, peer, fields)
    assert click(stack, link, HUMAN, Sec_Purpose="prefetch") == 503
    for path in ("/nothing", "/-/health", f"{link}+", "/bad path", "/%00", f"/{'x' * 9000}"):
        assert click(stack, path, HUMAN) in (200, 400, 404, 414)
        assert click(stack, path, SIX) in (200, 400, 404, 414)
    with Raw(stack.kudos.port) as connection:
        connection.send(f"PROXY TCP4 {HUMAN} 192.0.2.1 1 99999999\r\nGET / HTTP/1.1\r\n\r\n")
        assert connection.closed()
    return len(clicks) + 1


def search_files(stack, found):
    """Journals, replica, whatever else is in data_dir; Redis' and PostgreSQL's own files; all logs."""
    data = pathlib.Path(stack.kudos.settings["data_dir"])
    for path in (each for each in data.rglob("*") if each.is_file() and not each.is_symlink()):
        held = path.read_bytes()
        assert_clean(held, path)
        if CONTROL.encode() in held:
            found.add("journal" if "journal" in str(path) else "data_dir")
    for folder in (stack.redis.folder, stack.postgres.folder):
        for path in (each for each in pathlib.Path(folder).rglob("*") if each.is_file()):
            try:
                held = path.read_bytes()
            except FileNotFoundError:
                continue
            assert_clean(held, path, packed=len(held) < 1 << 20 and "base" not in path.parts)
            if CONTROL.encode() in held:
                found.add("files of " + os.path.basename(folder))
    for name, text in stack.logs():
        assert_clean(text.encode(), name)


def search_redis(stack, found):
    """Every key, by what it holds (a dump may be compressed)."""
    client = redis.Redis(unix_socket_path=stack.redis.socket)
    read = {b"string": client.get, b"hash": client.hgetall, b"stream": client.xrange, b"set": client.smembers,
            b"list": lambda key: client.lrange(key, 0, -1), b"zset": lambda key: client.zrange(key, 0, -1)}
    def flat(value):
        if isinstance(value, bytes):
            return value + b"\n"
        if isinstance(value, dict):
            value = value.items()
        return b"".join(map(flat, value))
    for key in client.scan_iter("*"):
        held = flat(read[client.type(key)](key))
        assert_clean(key + b"\n" + held, key)
        assert_clean(client.dump(key) or b"", key)
        if CONTROL.encode() in held:
            found.add("stream")


def search_tables(stack, found):
    """Every table of the database, also PostgreSQL's own, row by row as text."""
    tables = stack.postgres.sql("select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace"
                                " where c.relkind in ('r', 'm') and n.nspname <> 'information_schema'", superuser=True)
    for name, in tables:
        for row, in stack.postgres.sql(f"select t::text from {name} t", superuser=True):
            held = row.encode()
            assert_clean(held, name)
            if CONTROL in row:
                found.add("clicks" if "clicks_2" in name or "clicks_default" in name else name)


def test_the_address_is_nowhere(stack):
    slug = stack.add_link("https://shop.example/p", pass_query=True, live=False)
    rules = stack.add_link("https://shop.example/p", live=False, rules='[{"if": {}, "then": {"split": ['
                           '{"weight": 50, "destination": "https://a.example/"},'
                           '{"weight": 50, "destination": "https://b.example/"}]}}]')
    wait_until(lambda: click(stack, f"/{rules}+", "192.0.2.77") == 200, 20, "the links are served")
    stack.kudos.freeze("flush")
    found, before = set(), stack.rows()
    try:
        wanted = visit_everywhere(stack, slug, rules)
        wait_until(stack.waiting_in_redis, 20, "clicks are in the stream")
        wait_until(lambda: stack.kudos.metric("journal_backlog_events") == 0, 20, "all are in the stream")
        search_redis(stack, found)
    finally:
        stack.kudos.wake("flush")
    assert "stream" in found
    wait_until(lambda: stack.rows() == before + wanted, 20, "their rows")
    stack.postgres.sql("checkpoint", superuser=True)
    search_redis(stack, found)
    search_files(stack, found)
    search_tables(stack, found)
    assert {"stream", "journal", "clicks", "files of redis", "files of pg"} <= found, found
    assert stack.postgres.value("select count(distinct visitor) from kudos.clicks") >= 4, "people were told apart"


@pytest.mark.parametrize("form", [b"x 203.0.113.77 y", b"CB00714D", bytes([0, 203, 0, 113, 77]), b"3405803853"])
def test_the_search_sees_an_address(form):
    with pytest.raises(AssertionError):
        assert_clean(form, "here")
