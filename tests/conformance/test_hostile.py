"""Hostile strings where a visitor can put them: path, query, user agent, referrer, host; as raw bytes
and percent-encoded, against the whole service. Each gets one answer that is ours, leaves one row at
most, and what is stored and logged is harmless to whoever reads it."""

import base64
import csv
import io
import os
import re
import subprocess
import urllib.parse

import pytest

from support.explain import rows
from support.http import Raw
from support.wait import wait_until

STACK = {"settings": {"log_level": "debug"}}
BROWSER = b"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
DESTINATION = "https://shop.example/p?own=1"
HEADERS = {"location", "cache-control", "referrer-policy", "x-robots-tag", "date", "content-length", "connection",
           "content-type", "content-security-policy", "x-content-type-options", "allow", "retry-after"}
TEXTS = ("rule", "os", "browser", "app", "platform", "referrer_host", "language", "country", "region", "city")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def head(path, agent=BROWSER, host=b"127.0.0.1", **fields):
    """The bytes of a request that is its connection's last."""
    lines = b"".join(b"%s: %s\r\n" % (name.encode(), value) for name, value in fields.items())
    return b"GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\n%sConnection: close\r\n\r\n" % (path, host, agent, lines)


def requests(slug, text):
    """Everywhere, as it is and encoded."""
    link, quoted = b"/" + slug.encode(), urllib.parse.quote_from_bytes(text, safe="").encode()
    yield head(b"/" + text)
    yield head(b"/" + quoted)
    yield head(link + b"?q=" + text + b"&" + text + b"=1")
    yield head(link + b"?q=" + quoted + b"&" + quoted + b"=1")
    yield head(link, agent=text)
    yield head(link, Referer=text)
    yield head(link, Referer=b"https://" + text + b"/x")
    yield head(link, host=text)
    yield head(link, **{"Accept-Language": text, "Sec-CH-UA": text, "Sec-CH-UA-Model": b'"' + text + b'"',
                        "X-Requested-With": text, "Sec-CH-UA-Platform": text})


def answer(stack, data):
    """The one answer to a connection's bytes."""
    with Raw(stack.kudos.port) as connection:
        try:
            connection.send(data)
            connection.finish()
        except OSError:
            pass  # refused before all was sent
        got = connection.response()
        assert got is not None, data
        assert connection.closed(), (data, connection.buffer)
    return got


def check(got, data):
    """An answer of ours, whatever was asked."""
    assert got.status in (200, 204, 302, 400, 404, 405, 410, 414, 431), (got, data)
    names = [name.lower() for name in got.headers.keys()]
    assert set(names) <= HEADERS and len(set(names)) == len(names), (got, data)
    for name, value in got.headers.items():
        assert re.fullmatch(r"[\x20-\x7e]*", value), (name, value, data)
    if got.status == 302:
        assert got.location.startswith(DESTINATION), (got, data)


def strings():
    """The corpus as bytes."""
    found = []
    for row in rows("hostile/strings.jsonl"):
        found.append(base64.b64decode(row["b64"]) if "b64" in row else row["s"].encode("utf-8", "surrogatepass"))
    return found


@pytest.fixture(scope="module")
def clicked(stack):
    """Sends everything; how many were redirected."""
    wanted = strings()  # skips where there is no corpus
    slug = stack.add_link(DESTINATION, pass_query=True)
    pid, count = stack.kudos.role_pid("redirect"), 0
    for text in wanted:
        for data in requests(slug, text):
            got = answer(stack, data)
            check(got, data)
            count += got.status == 302
    assert stack.kudos.role_pid("redirect") == pid, "no crash"
    assert count > len(wanted), "most strings do no harm to a redirect"
    print(f"{len(wanted)} strings, {count} redirects")
    wait_until(lambda: stack.rows() >= count, 60, lambda: f"{stack.rows()} of {count} rows")
    return count


def test_one_row_for_each_redirect(stack, clicked):
    assert stack.rows() == clicked
    assert stack.postgres.value("select count(*) from kudos.quarantine") == 0
    stack.assert_consistent()


def test_stored_texts_hold_nothing_that_a_reader_would_obey(stack, clicked):
    for column in TEXTS:
        for value, in stack.postgres.sql(f"select distinct {column} from kudos.clicks where {column} is not null"):
            assert not CONTROL.search(value), (column, value)
            assert not re.match(r"[=+@]|-[^a-z0-9.-]", value), (column, value)
            assert not re.search(r"[<>\"'`]", value), (column, value)


def psql(stack, *arguments):
    """What psql prints."""
    return subprocess.run(["psql", "-X", stack.postgres.url, *arguments], check=True,
                          capture_output=True, timeout=60, env={**os.environ, "PGCLIENTENCODING": "UTF8"}).stdout.decode()


def test_psql_and_csv(stack, clicked):
    printed = psql(stack, "-At", "-c", "select * from report.clicks").splitlines()
    assert len(printed) == clicked
    assert not any(CONTROL.search(line) for line in printed)
    table = list(csv.reader(io.StringIO(psql(stack, "-c", "copy (select * from report.clicks) to stdout (format csv)"))))
    assert len(table) == clicked and len({len(row) for row in table}) == 1


def test_logs_keep_their_shape(stack, clicked):
    assert clicked
    for line in stack.kudos.log().splitlines():
        assert re.match(r"time=\S+ level=\w+ role=\w+ event=\w+", line), line
        assert not CONTROL.search(line), line
