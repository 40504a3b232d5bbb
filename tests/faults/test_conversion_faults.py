"""Conversions on the public plane while processes and stores die: every one answered 2xx is there once,
to the cent. Who tells them tells again what was not answered."""

import concurrent.futures
import glob
import os
import random
import subprocess

import pytest

from support import process
from support.http import request
from support.shop import Shop
from support.teller import Teller
from support.wait import wait_until

SETTINGS = {"flush_takeover_ms": 1000, "redis_timeout_ms": 500, "workers": 2}
POINTS = ["redirect_before_commit", "redirect_after_commit", "redirect_after_send",
          "journal_after_write", "journal_between_segments", "ship_before_send", "ship_after_send",
          "ship_after_answer", "flush_inside_told", "flush_after_copy", "flush_after_watermark",
          "flush_before_commit", "flush_after_commit", "flush_after_acknowledge", "flush_before_inbox",
          "flush_after_inbox"]
SHORT = ("redirect_after_commit", "flush_after_inbox")


def settle(stack, teller):
    """All of it."""
    teller.assert_exactly_once()
    stack.oracle(timeout=60)


@pytest.mark.parametrize("point", [pytest.param(point, marks=pytest.mark.short) if point in SHORT
                                   else point for point in POINTS])
def test_killed(make_stack, point):
    """kill -9 at each arrow on the way from the answer to the conversion."""
    stack = make_stack(settings={**SETTINGS, "journal_segment_bytes": 16384})
    armed = {"redirect": 200, "journal": 5, "ship": 10, "flush": 6}[point.split("_")[0]]
    stack.kudos.env = {"KUDOS_CRASH_AT": f"{point}:{armed}",
                       "KUDOS_CRASH_ONCE": os.path.join(stack.folder, "once")}
    shop = Shop(stack.start())

    def fired():
        return any(name.startswith("once.") for name in os.listdir(stack.folder))
    with Teller(shop) as teller:
        wait_until(fired, 60, f"somebody came to {point}")
        teller.wait_told(150)
    assert stack.kudos.logged("child_died")
    settle(stack, teller)


@pytest.mark.short
def test_postgres_away(make_stack):
    """Nobody who tells a sale notices; each is of the time at which it was told."""
    stack = make_stack(settings=SETTINGS).start()
    shop = Shop(stack)
    with Teller(shop) as teller:
        teller.wait_told(50)
        began = stack.postgres.value("select now()")
        stack.postgres.stop("immediate")
        statuses = dict(teller.statuses)
        teller.wait_told(300)
        away = {order for order in teller.told}
        assert teller.statuses.get(503, 0) == statuses.get(503, 0)
        assert teller.statuses.get(None, 0) == statuses.get(None, 0)
        stack.postgres.start()
        ended = stack.postgres.value("select now()")
        teller.wait_told(50)
    settle(stack, teller)
    told = stack.postgres.value(
        "select count(*) from kudos.conversions where order_id = any (%s) and received_at between %s"
        " and %s and occurred_at = received_at", list(away), began, ended)
    assert told >= 250


def test_redis_emptied_and_rolled_back(make_stack):
    """Redis loses everything twice, and is killed in between."""
    stack = make_stack(settings=SETTINGS).start()
    with Teller(Shop(stack)) as teller:
        for _ in range(2):
            teller.wait_told(100)
            stack.redis.client().flushall()
            teller.wait_told(50)
            stack.redis.kill()
            teller.wait_told(50)
            stack.redis.start()
        teller.wait_told(100)
    settle(stack, teller)


@pytest.mark.short
def test_full_disk(make_stack, tmp_path):
    """503 with Retry-After while the disk takes nothing; what was refused is told again, and is there
    once; what was answered before, too."""
    folder = str(tmp_path / "small")
    os.mkdir(folder)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], check=False,
                      capture_output=True).returncode != 0:
        pytest.skip("needs to mount a tmpfs")
    try:
        stack = make_stack(settings={**SETTINGS, "journal_segment_bytes": 16384}).start(serve=False)
        os.makedirs(stack.kudos.settings["data_dir"], exist_ok=True)
        os.symlink(folder, os.path.join(stack.kudos.settings["data_dir"], "journal"))
        stack.kudos.start()
        shop = Shop(stack)
        stack.kudos.freeze("ship")
        with Teller(shop, pause=0) as teller:
            wait_until(lambda: teller.statuses[503] > 50, 60, "the disk is full")
            answer = shop.get(order_id="full", token=shop.token)
            assert answer.status == 503 and int(answer.headers["Retry-After"]) > 0
            assert glob.glob(os.path.join(folder, "*", "*.seg"))
            assert stack.kudos.metric("conversions_unavailable_total") > 50
            subprocess.run(["mount", "-o", "remount,size=64m", folder], check=True)
            stack.kudos.wake("ship")
            teller.wait_told(100)
        settle(stack, teller)
        assert stack.postgres.value("select count(*) from kudos.conversions where order_id = 'full'") == 0
        stack.kudos.stop()
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.short
def test_storm(make_stack):
    """One order told 50 times at once, by every path, some signed, through two workers; then again
    after a restart: one conversion. An old signature, replayed, changes nothing."""
    stack = make_stack(settings=SETTINGS).start()
    shop = Shop(stack)
    click = shop.click()
    told = f"order_id=storm&click_id={click}&amount=49.90&currency=EUR"
    signed = shop.sign(told)
    paths = [f"/-/postback?token={shop.token}&{told}", f"/-/pixel.gif?{signed}", f"/-/postback?{signed}",
             f"/-/pixel.gif?{told}", f"/-/postback?{told}&code=LEO10"]

    def storm():
        with concurrent.futures.ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(lambda number: request(stack.kudos.port, path=paths[number % 5]),
                                    range(50)))
        assert {answer.status for answer in answers} == {200}
    storm()
    stack.kudos.kill()
    stack.kudos.start()
    storm()
    wait_until(lambda: stack.postgres.sql(
        "select count(*), count(*) filter (where due_at is not null) from kudos.conversion_inbox")
        == [(100, 0)], 60, "all reports are taken")
    assert len(shop.rows("storm")) == 1
    found = shop.wait("storm", status="credited", amount=4990)
    assert found["verified"] and found["code"] == "LEO10"
    assert stack.postgres.value("select count(*) from kudos.conversion_conflicts") == 0
    assert stack.postgres.sql("select sum(amount_minor)::bigint from kudos.attributions where won") == [
        (4990,)]
    stack.oracle()


@pytest.mark.short
def test_random_kills(make_stack):
    """kill -9 of any process, Redis, PostgreSQL or a session, again and again (ROUNDS, SEED)."""
    rounds, seed = int(os.environ.get("ROUNDS") or 20), int(os.environ.get("SEED") or 1)
    stack = make_stack(settings={**SETTINGS, "partitions": 2}).start()
    chance = random.Random(seed)

    def tend():
        for part in (stack.redis, stack.postgres, stack.kudos):
            if not part.pid:
                part.start(wait=False)

    def find(victim):
        stores = {"redis": stack.redis.pid, "postmaster": stack.postgres.pid,
                  "supervisor": stack.kudos.pid}
        if victim in stores:
            return stores[victim]
        pids = stack.postgres.backends("kudos kudos") if victim == "backend" else \
            stack.kudos.pids(victim)
        return pids[0] if pids else None

    with Teller(Shop(stack), seed=seed) as teller:
        for _ in range(rounds):
            until = len(teller.told) + chance.randrange(5, 40)
            wait_until(lambda until=until: tend() or len(teller.told) >= until, 60, "sales are told")
            pid = find(chance.choice(["redirect", "redirect", "ship", "flush", "flush", "redis",
                                      "postmaster", "backend", "supervisor"]))
            if pid:
                process.kill(pid)
        wait_until(lambda: tend() or (stack.redis.answers() and stack.postgres.answers()
                                      and stack.kudos.ready()), 60, "everything is up again")
    settle(stack, teller)
