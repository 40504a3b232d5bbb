#!/usr/bin/python3
"""Kudos beside nginx, in one run and in turns: `make bench`. Prints figures; asserts none.

Servers: nginx with `return 302` from a map of the same links, without a log and with a JSON access
log (unbuffered, as by default); Kudos with one redirect process and everything on: journal, ship,
Redis, flush, PostgreSQL, with the durability of production. All processes of the servers share one
core, wrk has another. CPU time is what /proc says of every process that takes part, from the start
of the load until every click is a row.

Equal load: wrk paces each of its connections, the same for all three; its percentiles are corrected
for requests that a stall kept it from sending.

BENCH_SECONDS (10) per turn, BENCH_TURNS (3), BENCH_LINKS (10000), BENCH_MILLION (1000000 links of the
memory part; 0 leaves it out), BENCH_IDLE (10000 connections; 0 leaves it out).
"""

import os
import re
import resource
import socket
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# pylint: disable=wrong-import-position
from support import process  # noqa: E402
from support.clicker import Clicker  # noqa: E402
from support.http import request  # noqa: E402
from support.service import FAST  # noqa: E402
from support.session import free_port, session  # noqa: E402
from support.stack import Stack  # noqa: E402
from support.wait import wait_until  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
SECONDS = int(os.environ.get("BENCH_SECONDS", "10"))
TURNS = int(os.environ.get("BENCH_TURNS", "3"))
LINKS = int(os.environ.get("BENCH_LINKS", "10000"))
MILLION = int(os.environ.get("BENCH_MILLION", "1000000"))
IDLE = int(os.environ.get("BENCH_IDLE", "10000"))
CONNECTIONS = 64
PACE_MS = 8  # mean pause of each connection under equal load
DESTINATION = "https://shop.example.com/p/%s?from=kudos"
SERVER_CORE, CLIENT_CORE = 0, min(1, (os.cpu_count() or 1) - 1)

NGINX = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
worker_rlimit_nofile 20000;
events {{ worker_connections 12000; }}
http {{
    map_hash_max_size 65536;
    map_hash_bucket_size 128;
    map $uri $target {{ default ""; include {folder}/map.conf; }}
    log_format clicks escape=json '{{"time":"$msec","id":"$request_id","host":"$host","uri":"$uri",'
        '"status":$status,"address":"$remote_addr","agent":"$http_user_agent",'
        '"referrer":"$http_referer","language":"$http_accept_language","to":"$target"}}';
    access_log {log};
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        server_tokens off;
        if ($target = "") {{ return 404; }}
        return 302 $target;
    }}
}}
"""


def pinned(core, function, *arguments):
    """Calls it on one core; what it starts stays there."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        return function(*arguments)
    finally:
        os.sched_setaffinity(0, before)


class Nginx:
    """One nginx with one worker."""

    def __init__(self, name, log):
        self.name, self.port = name, free_port()
        folder = session().folder("nginx")
        with open(os.path.join(folder, "map.conf"), "w", encoding="utf-8") as file:
            file.writelines(f"/n{n} '{DESTINATION % n}';\n" for n in range(1, LINKS + 1))
        config = os.path.join(folder, "nginx.conf")
        with open(config, "w", encoding="utf-8") as file:
            file.write(NGINX.format(folder=folder, port=self.port, log=log.format(folder=folder)))
        self.master = subprocess.Popen(["nginx", "-c", config, "-p", folder], cwd=folder,
                                       stderr=subprocess.DEVNULL)
        wait_until(lambda: request(self.port, path="/n1").status == 302, 10, f"{name} answers")

    def cpu(self):
        """Seconds used so far, by part."""
        return {"nginx": sum(map(process.cpu_seconds, process.children(self.master.pid)))}

    def settle(self):
        """Nothing is left to do when the last answer is out."""

    def stop(self):
        """Ends it."""
        self.master.terminate()
        self.master.wait(10)


class Kudos:
    """A whole Kudos as it comes, but for one redirect process."""

    def __init__(self):
        self.name = "Kudos"
        defaults = {name: None for name in FAST}
        self.stack = Stack("bench", durable=True, postgres_settings={"shared_buffers": "128MB"},
                           settings={**defaults, "workers": 1}).start()
        self.service = self.stack.kudos
        self.port = self.service.port
        self.stack.add_links(LINKS, destination=DESTINATION)
        self.clicks_before = 0

    def cpu(self):
        """Seconds used so far, by part. PostgreSQL's ended processes count too."""
        used = {}
        for pid in self.service.pids():
            role = process.comm(pid).replace("kudos-", "")
            used[role] = used.get(role, 0.0) + process.cpu_seconds(pid)
        used["supervisor"] = process.cpu_seconds(self.service.pid)
        used["redis"] = process.cpu_seconds(self.stack.redis.pid)
        used["postgres"] = process.cpu_seconds_with_ended(self.stack.postgres.pid) + sum(
            map(process.cpu_seconds, process.children(self.stack.postgres.pid)))
        return used

    def settle(self):
        """Waits until every click is a row."""
        wait_until(lambda: self.stack.rows() == self.service.metric("clicks_total"), 300,
                   lambda: f"{self.stack.rows()} rows of {self.service.metric('clicks_total')}",
                   interval=0.5)

    def stop(self):
        """Ends it."""
        self.stack.close()


class Turn:
    """What one load on one server gave."""

    def __init__(self, server, delay_ms=0, seconds=SECONDS, seed=1):
        environment = {"PATH": os.environ["PATH"], "LINKS": str(LINKS), "DELAY_MS": str(delay_ms),
                       "HOST": f"127.0.0.1:{server.port}", "SEED": str(seed)}
        before = server.cpu()
        done = pinned(CLIENT_CORE, lambda: subprocess.run(
            ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "5s", "-s",
             os.path.join(HERE, "clicks.lua"), f"http://127.0.0.1:{server.port}/"],
            env=environment, stdout=subprocess.PIPE, text=True, check=True))
        server.settle()
        after = server.cpu()
        found = re.search(r"RESULT (.*)", done.stdout)
        assert found, done.stdout
        result = {name: int(value) for name, value in
                  (pair.split("=") for pair in found[1].split())}
        self.requests, self.problems = result["requests"], result["not3xx"] + result["broken"]
        self.rate = self.requests / result["us"] * 1e6
        self.p50, self.p99 = result["p50"], result["p99"]
        self.cpu_us = {part: (after[part] - before.get(part, 0.0)) / self.requests * 1e6
                       for part in after}

    @property
    def total_us(self):
        """CPU time of a request, all processes."""
        return sum(self.cpu_us.values())


def median(turns, value):
    """Of one figure over the turns."""
    return statistics.median(map(value, turns))


def print_cpu(turns):
    """The table of CPU times, and the ratios with what is to be reached."""
    print(f"\nCPU time per request: {CONNECTIONS} keep-alive connections, {LINKS:,} links, "
          f"median of {TURNS} turns of {SECONDS} s each")
    for name, each in turns.items():
        print(f"  {name:<18} {median(each, lambda t: t.total_us):6.2f} µs   "
              f"{median(each, lambda t: t.rate):9,.0f} requests/s   "
              f"from {min(t.total_us for t in each):.2f} to {max(t.total_us for t in each):.2f} µs"
              + (f"   {sum(t.problems for t in each)} PROBLEMS" * any(t.problems for t in each)))
    kudos = turns["Kudos"]
    parts = sorted(kudos[0].cpu_us, key=lambda part: -median(kudos, lambda t: t.cpu_us[part]))
    print("  Kudos by process   " + ", ".join(
        f"{part} {median(kudos, lambda t, p=part: t.cpu_us[p]):.2f}" for part in parts))
    redirect = median(kudos, lambda t: t.cpu_us["redirect"])
    plain = median(turns["nginx, no log"], lambda t: t.total_us)
    logged = median(turns["nginx, JSON log"], lambda t: t.total_us)
    print(f"  redirect process / nginx without log   {redirect / plain:.2f}   (≤ 0.75, aim 0.6)")
    print(f"  everything / nginx with JSON log       "
          f"{median(kudos, lambda t: t.total_us) / logged:.2f}   (≤ 1.2, aim 1.0)")


def print_rows(kudos, answered):
    """The rows are really there."""
    rows, counted = kudos.stack.rows(), kudos.service.metric("clicks_total")
    verified = kudos.stack.verify()
    print(f"  rows: {answered:,} answers read by wrk, {counted:,.0f} clicks counted, "
          f"{rows:,} rows in PostgreSQL; kudos verify exits {verified.returncode}")


def print_latency(turns):
    """Percentiles under the same load."""
    print(f"\nLatency at equal load: {CONNECTIONS} connections, each pausing {PACE_MS} ms on average")
    for name, each in turns.items():
        print(f"  {name:<18} {median(each, lambda t: t.rate):7,.0f} requests/s   "
              f"p50 {median(each, lambda t: t.p50):5,.0f} µs   "
              f"p99 {median(each, lambda t: t.p99):6,.0f} µs")
    print("  (Kudos' p99 is to be no more than nginx')")


def compare():
    """CPU and latency, in turns."""
    servers = pinned(SERVER_CORE, lambda: [
        Nginx("nginx, no log", "off"), Nginx("nginx, JSON log", "{folder}/access.log clicks"),
        Kudos()])
    kudos = servers[-1]
    try:
        for server in servers:  # warm
            Turn(server, seconds=2)
        full = {server.name: [] for server in servers}
        paced = {server.name: [] for server in servers}
        for turn in range(TURNS):
            for server in servers:
                full[server.name].append(Turn(server, seed=turn))
            for server in servers:
                paced[server.name].append(Turn(server, PACE_MS, seed=turn))
        print_cpu(full)
        print_rows(kudos, sum(t.requests for t in full["Kudos"] + paced["Kudos"]))
        print_latency(paced)
    finally:
        for server in servers:
            server.stop()


def measure_links(kudos):
    """RssAnon of a redirect process that serves a million links."""
    kudos.stack.add_links(MILLION, prefix="m", destination=DESTINATION)
    step = max(1, MILLION // 20000)
    clicker = Clicker(kudos.port, [f"/m{n}" for n in range(1, MILLION + 1, step)])
    with clicker:
        wait_until(lambda: clicker.clicks > 100000, 60, "clicks all over the links")
    assert set(clicker.statuses) == {302}, clicker.statuses
    pid = kudos.service.role_pid("redirect")
    print(f"  redirect process with {MILLION:,} links    RssAnon "
          f"{process.rss_anon_kib(pid) / 1024:.1f} MiB   (≤ 48)")


def measure_idle(kudos):
    """User memory per idle connection, each of which has had one answer."""
    pid = kudos.service.role_pid("redirect")
    host = f"GET /n1 HTTP/1.1\r\nHost: 127.0.0.1:{kudos.port}\r\n\r\n".encode()
    before = process.rss_anon_kib(pid)
    sockets = []
    try:
        for _ in range(IDLE):
            sockets.append(socket.create_connection(("127.0.0.1", kudos.port)))
            sockets[-1].sendall(host)
            assert b" 302 " in sockets[-1].recv(4096)
        grown = process.rss_anon_kib(pid) - before
    finally:
        for each in sockets:
            each.close()
    print(f"  {IDLE:,} idle connections                  RssAnon +{grown:,} KiB: "
          f"{grown / IDLE:.2f} KiB each   (≤ 2)")


def measure_memory():
    """The memory part, on a Kudos of its own."""
    kudos = Kudos()
    print("\nMemory")
    try:
        if IDLE:
            measure_idle(kudos)
        if MILLION:
            measure_links(kudos)
    finally:
        kudos.stop()


def main():
    """Everything."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit, 65536), limit))
    begin = time.monotonic()
    nginx = subprocess.run(["nginx", "-v"], stderr=subprocess.PIPE, text=True, check=True).stderr
    kudos = subprocess.run([os.path.join(HERE, "../../build/kudos"), "version"],
                           stdout=subprocess.PIPE, text=True, check=True).stdout
    print(f"{kudos.strip()} beside {nginx.split('/')[-1].strip()} (nginx), {os.cpu_count()} cores, "
          f"load average {os.getloadavg()[0]:.1f} before the start", flush=True)
    compare()
    sys.stdout.flush()
    if IDLE or MILLION:
        measure_memory()
    print(f"\n{time.monotonic() - begin:.0f} s in all")


if __name__ == "__main__":
    main()
