"""How much the rest of the pipeline takes, and what many links cost.

Backlogs are made by freezing flush while clicks come, so Redis holds them (at most its
redis_backlog_bytes; the journal keeps the rest)."""

import os
import statistics
import time

from servers import DESTINATION, SERVER_CORE, Kudos, pinned
from support import process
from support.wait import wait_until
from turns import SECONDS, TURNS, Turn, load, median, write_links

BACKLOG = int(os.environ.get("BENCH_BACKLOG", "300000"))
MANY = int(os.environ.get("BENCH_MANY", "1000000"))
FEW = 10000


def make_backlog(kudos, file, events):
    """Clicks until so many wait; flush is frozen then."""
    kudos.service.freeze("flush")
    before = kudos.service.metric("clicks_total")
    while kudos.service.metric("clicks_total") - before < events:
        load(kudos, file, "--closed", "--duration", 1)
    return kudos.service.metric("clicks_total") - before


def drain_rate(partitions):
    """Clicks a second that flush takes from Redis to PostgreSQL when nothing else happens."""
    kudos = Kudos(links=FEW, workers=partitions, partitions=partitions)
    try:
        with write_links(FEW) as file:
            make_backlog(kudos, file, min(BACKLOG, 500000))  # what fits into Redis
        wait_until(lambda: kudos.service.metric("journal_backlog_events") == 0, 120,
                   "all is in Redis")
        stored, begin = kudos.stored(), time.monotonic()
        kudos.service.wake("flush")
        kudos.settle(interval=0.05)
        return (kudos.stored() - stored) / (time.monotonic() - begin)
    finally:
        kudos.stop()


def measure_flush(goals):
    """Flush beside what one redirect process can bring."""
    kudos = pinned(SERVER_CORE, lambda: Kudos(links=FEW))
    try:
        Turn(kudos, FEW, seconds=1)
        cost = median([Turn(kudos, FEW, seed=turn) for turn in range(TURNS)],
                      lambda t: t.cpu_us["redirect"])
    finally:
        kudos.stop()
    one, two = drain_rate(1), drain_rate(2)
    arrivals = 1e6 / cost
    note = f"{one:,.0f} beside {arrivals:,.0f} clicks a second"
    goals.least("flush / arrivals of one redirect process", one / arrivals, 1.2, note=note)
    goals.least("flush with two partitions / one", two / one, 1.8,
                note=f"{os.cpu_count()} cores here for all processes")


def measure_drain(goals):
    """What visitors feel while a backlog is drained: the median of turns before and during it."""
    kudos = Kudos(links=FEW)
    try:
        with write_links(FEW) as file:
            whole = load(kudos, file, "--closed", "--duration", 2)["rate"]
            kudos.settle()
            paced = ("--rate", round(0.3 * whole), "--duration", SECONDS)
            quiet = [p99_of(kudos, file, paced) for _ in range(TURNS)]
            waiting = make_backlog(kudos, file, BACKLOG)
            kudos.service.wake("flush")
            busy = []
            while not busy or len(busy) < 3 * TURNS and is_draining(kudos, 0.3 * whole):
                busy.append(p99_of(kudos, file, paced))
        ratio = statistics.median(busy) / statistics.median(quiet)
        goals.most("redirect p99 while a backlog drains / undisturbed", ratio, 1.2,
                   note=f"{waiting:,.0f} clicks, at {0.3 * whole:,.0f} a second; turns before:"
                        f" {listed(quiet)} µs; while it drains: {listed(busy)} µs")
    finally:
        kudos.stop()


def p99_of(kudos, file, paced):
    """The 99th percentile of one turn, in microseconds."""
    return load(kudos, file, *paced)["intended_us"]["p99"]


def is_draining(kudos, rate):
    """Whether enough waits to go on for a turn: flush takes several times what arrives."""
    return kudos.service.metric("clicks_total") - kudos.stored() > rate * SECONDS


def listed(figures):
    """In the order in which they were measured."""
    return ", ".join(f"{figure:,}" for figure in figures)


def redirect_cost(kudos, file):
    """Processor time of the redirect process per request, over links all alike."""
    load(kudos, file, "--closed", "--duration", 1)
    pid = kudos.service.role_pid("redirect")
    before = process.cpu_seconds(pid)
    answered = load(kudos, file, "--closed", "--duration", SECONDS)["answered"]
    return (process.cpu_seconds(pid) - before) / answered * 1e6


def measure_links(goals):
    """First snapshot, cost and restart with many links."""
    kudos = pinned(SERVER_CORE, lambda: Kudos(start=False))
    try:
        for prefix, count in (("n", FEW), ("m", MANY)):
            kudos.stack.postgres.sql(
                "insert into kudos.links (workspace_id, domain_id, slug, destination)"
                " select workspace_id, id, %s || n, replace(%s, '%%s', n::text)"
                " from kudos.domains, generate_series(1, %s) n where is_default",
                prefix, DESTINATION, count)
        begin = time.monotonic()
        pinned(SERVER_CORE, lambda: kudos.service.start(timeout=600))
        kudos.stack.wait_live(f"m{MANY}", 600)
        goals.most(f"first snapshot of {MANY:,} links", time.monotonic() - begin, 60, " s",
                   "from the start of the service" + (", goal for 10 million" if MANY < 10**7
                                                      else ""))
        with write_links(FEW) as few, write_links(MANY, "m", max(1, MANY // 500000)) as many:
            turns = [(redirect_cost(kudos, few), redirect_cost(kudos, many))
                     for _ in range(TURNS)]
        goals.most(f"redirect process with {MANY:,} links / {FEW:,}",
                   median(turns, lambda t: t[1]) / median(turns, lambda t: t[0]), 1.25,
                   note="each link as often as the others")
        goals.most(f"redirect process with {MANY:,} links, RssAnon",
                   process.rss_anon_kib(kudos.service.role_pid("redirect")) / 1024, 48, " MiB")
        kudos.service.stop()
        begin = time.monotonic()
        kudos.service.start(wait=False)
        kudos.stack.wait_live(f"m{MANY}", 60)
        goals.most(f"restart with {MANY:,} links, until the first redirect",
                   time.monotonic() - begin, 0.5, " s")
    finally:
        kudos.stop()
