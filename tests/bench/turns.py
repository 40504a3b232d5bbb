"""One load on one server: wrk as fast as it goes, for cost and throughput; kudos-loadtest at a
rate, for latency. wrk is the lighter client; the load generator measures from when requests were
due."""

import contextlib
import json
import os
import re
import resource
import statistics
import subprocess
import tempfile

from servers import BUILD, CLIENT_CORE, pinned

HERE = os.path.dirname(os.path.abspath(__file__))
SECONDS = int(os.environ.get("BENCH_SECONDS", "5"))
TURNS = int(os.environ.get("BENCH_TURNS", "3"))
CONNECTIONS = 64


class Turn:
    """What full load gave. The client may be the limit: `client_busy` is its share of its core."""

    def __init__(self, server, links, seconds=SECONDS, seed=1, prefix="n", close=False):
        environment = {"PATH": os.environ["PATH"], "LINKS": str(links), "PREFIX": prefix,
                       "HOST": f"127.0.0.1:{server.port}", "SEED": str(seed),
                       **({"CLOSE": "1"} if close else {})}
        before, client = server.cpu(), resource.getrusage(resource.RUSAGE_CHILDREN)
        done = pinned(CLIENT_CORE, lambda: subprocess.run(
            ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "5s", "-s",
             os.path.join(HERE, "clicks.lua"), f"http://127.0.0.1:{server.port}/"],
            env=environment, stdout=subprocess.PIPE, text=True, check=True))
        client_after = resource.getrusage(resource.RUSAGE_CHILDREN)
        server.settle()
        after = server.cpu()
        found = re.search(r"RESULT (.*)", done.stdout)
        assert found, done.stdout
        result = {name: int(value) for name, value in
                  (pair.split("=") for pair in found[1].split())}
        self.requests, self.problems = result["requests"], result["not3xx"] + result["broken"]
        self.rate = self.requests / result["us"] * 1e6
        self.client_busy = (client_after.ru_utime + client_after.ru_stime - client.ru_utime
                            - client.ru_stime) / result["us"] * 1e6
        self.cpu_us = {part: (after[part] - before.get(part, 0.0)) / self.requests * 1e6
                       for part in after}

    @property
    def total_us(self):
        """Processor time of a request, all processes."""
        return sum(self.cpu_us.values())


def write_links(links, prefix="n", step=1):
    """A file of links for kudos-loadtest; an open temporary file."""
    file = tempfile.NamedTemporaryFile("w", suffix=".links")
    file.writelines(f"{prefix}{n}\n" for n in range(1, links + 1, step))
    file.flush()
    return file


def load(server, file, *arguments, core=CLIENT_CORE):
    """Runs kudos-loadtest; its JSON. All links alike, persons only: what wrk does too. It stands for
    visitors, who do not wait for our processors: it goes before what else runs, where that is allowed."""
    run = [os.path.join(BUILD, "kudos-loadtest"), "--target", f"http://127.0.0.1:{server.port}",
           "--links", file.name, "--connections", str(CONNECTIONS), "--zipf", "0", "--bots", "0",
           "--ids-max", "0", "--json", "--quiet", *map(str, arguments)]
    done = pinned(core, lambda: subprocess.run(run, stdout=subprocess.PIPE, text=True, check=True,
                                               preexec_fn=go_first))
    return json.loads(done.stdout)


def go_first():
    """A higher priority for the calling process, in a scheduling group of its own (server/priority.c)."""
    os.setsid()
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -15)
        with open("/proc/self/autogroup", "w", encoding="ascii") as file:
            file.write("-15")


class Paced:
    """Latency at a rate, from the intended send times."""

    def __init__(self, server, file, rate, seconds=SECONDS, seed=1):
        found = load(server, file, "--rate", round(rate), "--duration", seconds, "--seed", seed)
        server.settle()
        self.rate, self.problems = found["rate"], sum(found["errors"].values())
        self.p50, self.p99, self.p999 = (found["intended_us"][p] for p in ("p50", "p99", "p99.9"))


def median(turns, value):
    """Of one figure over the turns."""
    return statistics.median(map(value, turns))
