#!/usr/bin/python3
"""Kudos beside nginx, in one run and in turns: `make bench`. Prints figures with their goals;
asserts none.

    tests/bench/bench.py [compare] [flush] [drain] [links]      # all of them by default

Servers (servers.py): the floor (recv and send on libevent), nginx with `return 302` from a map of
the same links, without a log and with a JSON access log (unbuffered, as by default), nginx with Lua
and Redis, and Kudos with one redirect process and everything on: journal, ship, Redis, flush,
PostgreSQL, with the durability of production. All processes of the servers share one core, the
client has another. CPU time is what /proc says of every process that takes part, from the start of
the load until every click is a row.

BENCH_SECONDS (5) per turn, BENCH_TURNS (3), BENCH_LINKS (10000), BENCH_IDLE (10000 connections; 0
leaves it out), BENCH_BACKLOG (300000 clicks), BENCH_MANY (1000000 links). The full-size run:
BENCH_SECONDS=10 BENCH_TURNS=5 BENCH_BACKLOG=5000000 BENCH_MANY=10000000.
"""

import os
import resource
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# pylint: disable=wrong-import-position
from capacity import measure_drain, measure_flush, measure_links  # noqa: E402
from compare import compare  # noqa: E402
from goals import Goals  # noqa: E402
from servers import BUILD  # noqa: E402

PARTS = {"compare": compare, "flush": measure_flush, "drain": measure_drain, "links": measure_links}


def main():
    """Everything, or the parts that are named."""
    chosen = sys.argv[1:] or list(PARTS)
    if set(chosen) - set(PARTS):
        sys.exit(f"use: bench.py [{'] ['.join(PARTS)}]")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit, 65536), limit))
    begin = time.monotonic()
    nginx = subprocess.run(["nginx", "-v"], stderr=subprocess.PIPE, text=True, check=True).stderr
    kudos = subprocess.run([os.path.join(BUILD, "kudos"), "version"], stdout=subprocess.PIPE,
                           text=True, check=True).stdout
    print(f"{kudos.strip()} beside {nginx.split('/')[-1].strip()} (nginx), {os.cpu_count()} cores, "
          f"load average {os.getloadavg()[0]:.1f} before the start", flush=True)
    goals = Goals()
    try:
        for part in chosen:
            PARTS[part](goals)
    finally:
        goals.print()
        print(f"\n{time.monotonic() - begin:.0f} s in all")


if __name__ == "__main__":
    main()
