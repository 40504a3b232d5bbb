"""kill -9 at random, under load, again and again; at the end every click id that a client received
is in PostgreSQL exactly once.

ROUNDS kills (environment, default 25) with the seed SEED (default: from the clock). Choice and
pauses follow from the seed; what the machine does between them does not, so a seed repeats the
order of kills and not every interleaving.

    make faults ROUNDS=1000 SEED=7

Victims: every role of Kudos, the supervisor, Redis, PostgreSQL's postmaster and single backends.
Every KILLS_PER_CHECK kills the load stops, everything must come to rest, and the oracle speaks.
"""

import array
import collections
import os
import random
import time

import pytest

from support import process
from support.clicker import Clicker, decode
from support.wait import wait_until

KILLS_PER_CHECK = 50
RATE = 1000
PAUSE_S = (0.05, 0.9)

VICTIMS = {  # weight
    "redirect": 6, "ship": 4, "flush": 4, "sync": 2, "admin": 1, "supervisor": 1,
    "redis": 3, "postmaster": 1, "backend": 2,
}

STACK = {"settings": {"workers": 2, "partitions": 2, "log_level": "info"}}


class Run:
    """One run: who was killed, and what the client was promised."""

    def __init__(self, stack, seed):
        self.stack, self.random = stack, random.Random(seed)
        self.killed = collections.Counter()
        self.promised = array.array("Q")  # origin, seq, origin, seq, …
        self.clicks = 0

    def find(self, victim):
        """The pid to kill; None if there is none just now."""
        stack = self.stack
        if victim == "redis":
            return stack.redis.pid
        if victim == "postmaster":
            return stack.postgres.pid
        if victim == "supervisor":
            return stack.kudos.pid
        pids = stack.postgres.backends("kudos kudos") if victim == "backend" \
            else stack.kudos.pids(victim)
        return self.random.choice(pids) if pids else None

    def tend(self):
        """Starts again what only an operator would start again."""
        for part in (self.stack.redis, self.stack.postgres, self.stack.kudos):
            if not part.pid:
                part.start(wait=False)

    def kill_one(self):
        """Kills one victim and counts it."""
        victim = self.random.choices(list(VICTIMS), VICTIMS.values())[0]
        pid = self.find(victim)
        if pid and process.kill(pid):
            self.killed[victim] += 1
        pause = self.random.uniform(*PAUSE_S)
        time.sleep(pause / 2)
        self.tend()
        time.sleep(pause / 2)

    def settle(self):
        """Everything up and at rest."""
        def up():
            self.tend()
            return self.stack.redis.answers() and self.stack.postgres.answers() \
                and self.stack.kudos.ready()
        wait_until(up, 60, "everything is up again", interval=0.1)

    def check(self, ids):
        """Each id of this part once; then the oracle."""
        self.settle()
        self.stack.assert_exactly_once(ids, timeout=120)
        self.stack.oracle(timeout=60)
        self.clicks += len(ids)
        for text in ids:
            identity = decode(text)
            self.promised.extend((identity.origin, identity.seq))

    def part(self, paths, kills):
        """`kills` kills under load, then the proof."""
        target = sum(self.killed.values()) + kills
        clicker = Clicker(self.stack.kudos.port, paths, connections=12, depth=4, rate=RATE,
                          patience=5.0, seed=self.random.random())
        with clicker:
            while sum(self.killed.values()) < target:
                self.kill_one()
        self.check(clicker.ids)

    def summary(self):
        """For people."""
        each = ", ".join(f"{name} {count}" for name, count in sorted(self.killed.items()))
        return f"{sum(self.killed.values())} kills ({each}), {self.clicks} click ids"


def run_kills(stack, rounds, seed, say):
    """`rounds` kills in parts; ends with everything ever promised looked up again."""
    run = Run(stack, seed)
    paths = [f"/{slug}" for slug in stack.add_links(20)]
    left = rounds
    while left > 0:
        run.part(paths, min(left, KILLS_PER_CHECK))
        left -= KILLS_PER_CHECK
        say(f"  {run.summary()}: nothing lost so far")
    missing, doubled = stack.missing_and_doubled(zip(run.promised[::2], run.promised[1::2]))
    say(f"seed {seed}: {run.summary()}: {missing} lost, {doubled} duplicated")
    assert (missing, doubled) == (0, 0)


@pytest.mark.slow
def test_random_kills(make_stack, capsys):
    rounds = int(os.environ.get("ROUNDS") or 25)
    seed = int(os.environ.get("SEED") or time.time_ns() % 1_000_000)

    def say(text):
        with capsys.disabled():
            print(text, flush=True)

    say(f"\nrandom kills: ROUNDS={rounds} SEED={seed}")
    run_kills(make_stack().start(), rounds, seed, say)


@pytest.mark.short
def test_a_few_random_kills(make_stack):
    """The same, short, and always the same."""
    run_kills(make_stack().start(), 12, 1, print)
