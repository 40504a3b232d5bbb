#!/usr/bin/python3
"""The control plane, timed: `make bench-admin`. Prints figures; asserts none.

Single creates: wrk with 32 connections, the process admin kept to one core, PostgreSQL with its
default durability. A roster, a bulk call, and how long until all of its links redirect; the largest
memory of admin; latencies of redirects before and meanwhile, of a client that asks every 2 ms. Last,
pages of a list of very many links, from an admin of its own.

BENCH_SECONDS (5), BENCH_ROSTER (10000), BENCH_BULK (100000), BENCH_LIST (1000000 links; the issue of
ten million takes a quarter of an hour to fill: BENCH_LIST=10000000; 0 leaves it out).
"""

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# pylint: disable=wrong-import-position
from support.http import BROWSER  # noqa: E402
from support.service import FAST  # noqa: E402
from support.stack import Stack  # noqa: E402
from support.wait import wait_until  # noqa: E402

SECONDS = int(os.environ.get("BENCH_SECONDS", "5"))
ROSTER = int(os.environ.get("BENCH_ROSTER", "10000"))
BULK = int(os.environ.get("BENCH_BULK", "100000"))
LIST = int(os.environ.get("BENCH_LIST", "1000000"))
CREATE = """
wrk.method = "POST"
wrk.headers["Authorization"] = "Bearer {key}"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{{"destination": "https://shop.example.com/p/1?from=kudos"}}'
"""


def say(what, figure):
    """One line."""
    print(f"  {what:<58} {figure}", flush=True)


def peak(pid):
    """Largest memory of a process so far, in MiB."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(r"VmHWM:\s+(\d+)", file.read())[1]) / 1024


def percentiles(values):
    """Median and 99th percentile of seconds, in words."""
    values = sorted(values)
    if not values:
        return "none"
    half, last = values[len(values) // 2], values[min(len(values) - 1, len(values) * 99 // 100)]
    return f"p50 {half * 1000:.2f} ms, p99 {last * 1000:.2f} ms ({len(values)} asked)"


class Visitor:
    """Follows a link every 2 ms on one connection, and notes how long each answer takes."""

    def __init__(self, port, path):
        self.times, self._end = [], threading.Event()
        head = "".join(f"{name}: {value}\r\n" for name, value in BROWSER.items())
        self._request = f"GET {path} HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode()
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()
        self._socket.close()

    def _run(self):
        while not self._end.wait(0.002):
            begun = time.perf_counter()
            self._socket.sendall(self._request)
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += self._socket.recv(65536)
            self.times.append(time.perf_counter() - begun)


def bench_create(stack):
    """Single creates with 32 connections."""
    script = os.path.join(stack.folder, "create.lua")
    with open(script, "w", encoding="ascii") as file:
        file.write(CREATE.format(key=stack.kudos.key()))
    pid = stack.kudos.role_pid("admin")
    os.sched_setaffinity(pid, {0})
    done = subprocess.run(
        ["wrk", "-t1", "-c32", f"-d{SECONDS}s", "--latency", "-s", script,
         f"http://127.0.0.1:{stack.kudos.admin_port}/v1/links"],
        capture_output=True, encoding="ascii", check=True)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)[1]
    last = re.search(r"99%\s+(\S+)", done.stdout)[1]
    say("single creates, 32 connections, admin on one core", f"{float(rate):.0f}/s, p99 {last}")
    if "Non-2xx" in done.stdout:
        say("  not answered 2xx", re.search(r"Non-2xx.*", done.stdout)[0])
    os.sched_setaffinity(pid, range(os.cpu_count() or 1))


def call(stack, path, body):
    """POSTs; (seconds, the answer's JSON)."""
    body = json.dumps(body).encode()
    begun = time.perf_counter()
    answer = stack.kudos.admin("POST", path, body, {"Content-Type": "application/json"},
                               timeout=600)
    took = time.perf_counter() - begun
    assert answer.status == 200, answer
    return took, answer.json()


def bench_roster(stack):
    """A roster of new influencers."""
    campaign = stack.kudos.admin("POST", "/v1/campaigns", {
        "name": "Bench", "slug": "bench", "objective": "launch",
        "destination": "https://shop.example.com/"}).json()["id"]
    took, answer = call(stack, f"/v1/campaigns/{campaign}/roster", {
        "influencers": [{"handle": f"influencer{n}", "name": f"Name {n}"} for n in range(ROSTER)],
        "code": {"template": "{HANDLE}{PERCENT}", "percent": 20}})
    say(f"roster of {ROSTER}, all new", f"{took:.2f} s ({answer['created']} created)")


def all_live(stack, slugs):
    """Whether these slugs redirect."""
    return all(stack.kudos.get(f"/{slug}", method="HEAD").status == 302 for slug in slugs)


def bench_bulk(stack):
    """A bulk call, with redirects meanwhile."""
    slug = stack.add_link("https://shop.example.com/visited")
    with Visitor(stack.kudos.port, f"/{slug}") as visitor:
        time.sleep(SECONDS)
    say("redirects before", percentiles(visitor.times))
    with Visitor(stack.kudos.port, f"/{slug}") as visitor:
        took, answer = call(stack, "/v1/links/bulk/create", [
            {"destination": f"https://shop.example.com/products/{n}?from=kudos", "slug": f"b{n}",
             "title": f"Product {n}"} for n in range(BULK)])
        begun = time.perf_counter()
        wait_until(lambda: all_live(stack, [f"b{BULK * n // 200}" for n in range(200)] +
                                    [f"b{BULK - 1}"]), 120, "all links redirect", interval=0.01)
        live = time.perf_counter() - begun
    say(f"bulk create of {BULK}", f"{took:.2f} s ({answer['created']} created)")
    say("until they redirect, after the answer", f"{live:.2f} s")
    say("redirects meanwhile", percentiles(visitor.times))
    took, answer = call(stack, "/v1/links/bulk/update", [
        {"id": item["id"], "title": "Changed"} for item in answer["items"]])
    say(f"bulk update of {BULK}", f"{took:.2f} s ({answer['updated']} updated)")
    say("largest memory of admin", f"{peak(stack.kudos.role_pid('admin')):.0f} MiB")


def bench_list(stack):
    """Pages of a very long list, from an admin without the rest."""
    campaign = stack.postgres.value("select id from kudos.campaigns where slug = 'bench'")
    stack.kudos.stop()
    begun = time.perf_counter()
    for at in range(0, LIST, 500000):
        stack.postgres.sql(
            "insert into kudos.links (workspace_id, domain_id, campaign_id, slug, destination, tags,"
            " state) select workspace_id, id, case when n %% 1000 = 0 then %s end, 'l' || n,"
            " 'https://shop.example.com/p/' || n, case when n %% 10 = 0 then"
            " array['tenth', 'one of 500th ' || n / 10 %% 50] else '{}' end,"
            " (case when n %% 50 = 1 then 'archived' else 'active' end)::kudos.link_state"
            " from kudos.domains, generate_series(%s, %s) n where is_default", campaign, at + 1,
            min(at + 500000, LIST))
    stack.postgres.sql("analyze kudos.links, kudos.link_tags", superuser=True)
    say(f"(filling {LIST} links)", f"{time.perf_counter() - begun:.0f} s")
    admin = stack.service("lists", roles="admin", settings={"live_timeout_ms": 0})
    admin.start()
    middle = admin.admin("GET", f"/v1/links?limit=1&slug=l{LIST // 2}").json()["next_cursor"]
    last = admin.admin("GET", "/v1/links?limit=1000").json()["next_cursor"]
    for what, query in (("first page of 100", "limit=100"), ("a page of 1,000", "limit=1000"),
                        ("page of a campaign", f"limit=100&campaign={campaign}"),
                        ("page of a tag", "limit=100&tag=tenth"),
                        ("page of a rarer tag", "limit=100&tag=one%20of%20500th%207"),
                        ("page of the archived", "limit=100&state=archived"),
                        ("page of a domain without any", "limit=100&domain=empty.example"),
                        ("by slug", f"slug=l{LIST // 3}"),
                        ("a later page", f"limit=100&cursor={middle or last}")):
        times = []
        for _ in range(200):
            begun = time.perf_counter()
            answer = admin.admin("GET", f"/v1/links?{query}")
            times.append(time.perf_counter() - begun)
            assert answer.status == 200, answer
        say(f"{what} of {LIST} links", percentiles(times))
    admin.stop()


def main():
    """All of it."""
    print(f"kudos bench-admin: {os.cpu_count()} cores", flush=True)
    settings = {**{name: None for name in FAST}, "workers": 1, "log_level": "warn"}
    stack = Stack("bench", durable=True, settings=settings,
                  postgres_settings={"shared_buffers": "512MB", "max_wal_size": "4GB"}).start()
    try:
        if SECONDS:
            bench_create(stack)
        bench_roster(stack)
        bench_bulk(stack)
        if LIST:
            bench_list(stack)
    finally:
        stack.close()


if __name__ == "__main__":
    main()
