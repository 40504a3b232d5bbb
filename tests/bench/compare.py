"""Cost, throughput and latency of a redirect beside the others, in turns; and what a connection
and rules add."""

import os
import socket

from servers import SERVER_CORE, Floor, Kudos, Nginx, NginxLua, pinned
from support import process
from turns import CONNECTIONS, SECONDS, TURNS, Paced, Turn, median, write_links

LINKS = int(os.environ.get("BENCH_LINKS", "10000"))
IDLE = int(os.environ.get("BENCH_IDLE", "10000"))
TAIL_TURNS = 5  # a p99.9 of one turn is mostly luck
PLAIN, LOGGED, LUA, FLOOR = "nginx, no log", "nginx, JSON log", "nginx, Lua, Redis", "floor"


def start_all():
    """Every server, all on one core."""
    return pinned(SERVER_CORE, lambda: [
        Floor(FLOOR), Nginx(PLAIN, LINKS),
        Nginx(LOGGED, LINKS, log="{folder}/access.log clicks"), NginxLua(LUA, LINKS),
        Kudos(links=LINKS)])


def print_cost(turns, servers):
    """Processor time, throughput, memory."""
    print(f"\nAt saturation of one core: {CONNECTIONS} keep-alive connections, {LINKS:,} links, "
          f"median of {TURNS} turns of {SECONDS} s")
    for server in servers:
        each = turns[server.name]
        busy, problems = median(each, lambda t: t.client_busy), sum(t.problems for t in each)
        print(f"  {server.name:<18} {median(each, lambda t: t.total_us):6.2f} µs   "
              f"{median(each, lambda t: t.rate):9,.0f} requests/s   "
              f"from {min(t.total_us for t in each):.2f} to "
              f"{max(t.total_us for t in each):.2f} µs   {server.memory_mib():6.1f} MiB"
              + ("   (the client is the limit)" if busy > 0.95 else "")
              + (f"   {problems} PROBLEMS" if problems else ""))
    kudos = turns["Kudos"]
    parts = sorted(kudos[0].cpu_us, key=lambda part: -median(kudos, lambda t: t.cpu_us[part]))
    print("  Kudos by process   " + ", ".join(
        f"{part} {median(kudos, lambda t, p=part: t.cpu_us[p]):.2f}" for part in parts), flush=True)


def cost_goals(turns, goals):
    """The rows that follow from processor time."""
    def total(name):
        return median(turns[name], lambda t: t.total_us)
    redirect = median(turns["Kudos"], lambda t: t.cpu_us["redirect"])
    goals.most("redirect process / nginx without log", redirect / total(PLAIN), 0.60)
    goals.most("redirect process / floor", redirect / total(FLOOR), 1.25)
    goals.most("all of Kudos / nginx with log", total("Kudos") / total(LOGGED), 1.00)
    goals.most("all of Kudos / nginx with Lua and Redis", total("Kudos") / total(LUA), 0.15)


def measure_latency(servers, turns, goals):
    """Percentiles at half and four fifths of nginx' saturation, the same rate for all; those that
    cannot do that much have the share of their own."""
    whole = median(turns[PLAIN], lambda t: t.rate)
    own = {server.name: min(whole, median(turns[server.name], lambda t: t.rate))
           if server.name in (LOGGED, LUA) else whole for server in servers}
    print("\nLatency from the intended time, Poisson arrivals (median of the turns)")
    with write_links(LINKS) as file:
        for share, runs in ((0.5, TURNS), (0.8, max(TURNS, TAIL_TURNS))):
            paced = {server.name: [] for server in servers}
            for turn in range(runs):
                for server in servers:
                    rate = share * own[server.name]
                    paced[server.name].append(Paced(server, file, rate, seed=turn + 1))
            print_latency(share, paced)
    ratio = (median(paced["Kudos"], lambda t: t.p999) / median(paced[PLAIN], lambda t: t.p999))
    goals.most("p99.9 at 80 % of nginx' saturation / nginx'", ratio, 1.0,
               note=f"median of {runs} turns, {0.8 * whole:,.0f} a second each")


def print_latency(share, paced):
    """A line per server."""
    for name, each in paced.items():
        problems = sum(t.problems for t in each)
        print(f"  {share * 100:.0f} %  {name:<18} "
              f"{median(each, lambda t: t.rate):7,.0f}/s   "
              f"p50 {median(each, lambda t: t.p50):6,.0f} µs   "
              f"p99 {median(each, lambda t: t.p99):7,.0f} µs   "
              f"p99.9 {median(each, lambda t: t.p999):7,.0f} µs"
              + (f"   {problems} PROBLEMS" if problems else ""), flush=True)


def measure_new_connections(servers, goals):
    """A connection for each request, Kudos' redirect process beside nginx."""
    found = {}
    chosen = [server for server in servers if server.name in (PLAIN, "Kudos")]
    for turn in range(TURNS):
        for server in chosen:
            found.setdefault(server.name, []).append(Turn(server, LINKS, seed=turn, close=True))
    nginx = median(found[PLAIN], lambda t: t.total_us)
    redirect = median(found["Kudos"], lambda t: t.cpu_us["redirect"])
    goals.most("new connection per request / nginx without log", redirect / nginx, 0.9,
               note=f"{redirect:.2f} µs, {nginx:.2f} µs")


def measure_rules(kudos, goals):
    """Ten rules on the link, of which the last applies, over none."""
    countries = ["FR", "IT", "ES", "BR", "JP", "MX", "PL", "NL", "TR"]
    rules = [{"if": {"country": [country]}, "then": {"destination": "https://example.com/other"}}
             for country in countries]
    rules.append({"if": {"device": ["smartphone"]},
                  "then": {"destination": "https://example.com/"}})
    for n in range(1, 101):
        kudos.service.create_link("https://example.com/", slug=f"ruled{n}", rules=rules)
        kudos.service.create_link("https://example.com/", slug=f"plain{n}")
    turns = {"ruled": [], "plain": []}
    for turn in range(TURNS):
        for prefix, each in turns.items():
            each.append(Turn(kudos, 100, seed=turn, prefix=prefix))
    goals.most("redirect process with 10 rules / none",
               median(turns["ruled"], lambda t: t.cpu_us["redirect"])
               / median(turns["plain"], lambda t: t.cpu_us["redirect"]), 1.15)


def measure_idle(kudos, goals):
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
    goals.most("user memory per idle connection", grown / IDLE, 2, " KiB", f"{IDLE:,} of them")


def print_rows(kudos):
    """The rows are really there."""
    kudos.settle()
    rows, counted = kudos.stack.rows(), kudos.service.metric("clicks_total")
    print(f"\n{counted:,.0f} clicks counted, {rows:,} rows in PostgreSQL; kudos verify exits "
          f"{kudos.stack.verify().returncode}", flush=True)


def compare(goals):
    """All of it."""
    servers = start_all()
    kudos = servers[-1]
    try:
        for server in servers:  # warm
            Turn(server, LINKS, seconds=1)
        turns = {server.name: [] for server in servers}
        for turn in range(TURNS):
            for server in servers:
                turns[server.name].append(Turn(server, LINKS, seed=turn))
        print_cost(turns, servers)
        cost_goals(turns, goals)
        measure_new_connections(servers, goals)
        measure_rules(kudos, goals)
        measure_latency(servers, turns, goals)
        if IDLE:
            measure_idle(kudos, goals)
        print_rows(kudos)
    finally:
        for server in servers:
            server.stop()
