"""Webhooks while things die: what was answered 2xx is one conversion, to the cent; what was not is told
again by its shop, and is one, too."""

import glob
import http.client
import itertools
import os
import subprocess
import threading

import pytest

from support.hooks import HookedShop, order_body
from support.wait import wait_until

SETTINGS = {"journal_keep_s": 3600}
PAUSE_S = 0.03  # between two orders of a thread: hooks are taken faster than they are recorded
POINTS = ["hooks_before_commit", "journal_after_write", "hooks_after_commit", "ship_after_send",
          "ship_after_answer", "flush_before_commit", "flush_after_commit"]


class Teller:
    """Shops that tell one paid order with a refund after another, each until it is answered 2xx."""

    def __init__(self, stack, threads=4):
        self.stack, self.stopping = stack, threading.Event()
        self.shops = [HookedShop(stack, kind) for kind in ("shopify", "woocommerce")]
        self.numbers, self.lock = itertools.count(1), threading.Lock()
        self.told, self.statuses = {}, set()
        self.threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def _run(self):
        while not self.stopping.wait(PAUSE_S):
            with self.lock:
                number = next(self.numbers)
            self._tell(number)

    def _tell(self, number):
        """A whole order, as often as it takes; given up only if the test ends before an answer."""
        shop = self.shops[number % 2]
        body = order_body(shop.kind, number, 1000 + number, refunds=[(f"r{number}", number)])
        while True:
            try:
                answer = shop.call(body)
                self.statuses.add(answer.status)
            except (OSError, http.client.HTTPException):
                answer = None
            if answer and answer.status == 200:
                break
            if self.stopping.wait(0.05):
                return
        with self.lock:
            self.told[str(number)] = 1000 + number

    def assert_told(self):
        """Every order that was answered is there once, with its refund, and no amount is another."""
        def amounts(event):
            return dict(self.stack.postgres.sql("select order_id, amount_minor from kudos.conversions"
                                                " where event = %s", event))
        def waiting():
            return self.stack.postgres.value("select count(*) from kudos.conversion_inbox"
                                             " where due_at is not null")
        wait_until(lambda: self.told.keys() <= amounts("refund").keys() and waiting() == 0, 60,
                   lambda: f"{len(self.told.keys() - amounts('refund').keys())} are missing")
        self.stack.assert_consistent()
        sales, refunds = amounts("sale"), amounts("refund")
        assert {order: sales[order] for order in self.told} == self.told
        assert {order: refunds[order] for order in self.told} == {
            order: 1000 - minor for order, minor in self.told.items()}
        for order in sales.keys() - self.told.keys():  # journalled, and then nobody was there to answer
            assert sales[order] == 1000 + int(order)
        assert self.stack.postgres.value("select count(*) from kudos.conversion_conflicts") == 0
        assert not self.statuses - {200, 503}, self.statuses


@pytest.mark.parametrize("point", [pytest.param(point, marks=pytest.mark.short) if point in (
    "hooks_before_commit", "hooks_after_commit") else point for point in POINTS])
def test_killed(make_stack, point):
    """kill -9 at each arrow from the hook to its row."""
    stack = make_stack(settings=SETTINGS)
    stack.kudos.env = {"KUDOS_CRASH_AT": f"{point}:20" if "hooks" in point else f"{point}:5",
                       "KUDOS_CRASH_ONCE": os.path.join(stack.folder, "once")}
    stack.start()
    with Teller(stack) as teller:
        wait_until(lambda: any(name.startswith("once.") for name in os.listdir(stack.folder)), 30,
                   f"somebody came to {point}")
        before = len(teller.told)
        wait_until(lambda: len(teller.told) > before + 50, 30, "hooks are taken again")
    teller.assert_told()


@pytest.mark.short
def test_admin_is_killed_again_and_again(make_stack):
    stack = make_stack(settings=SETTINGS).start()
    with Teller(stack) as teller:
        for _ in range(5):
            before = len(teller.told)
            stack.kudos.kill_role("admin")
            wait_until(lambda: len(teller.told) > before + 30, 30,  # pylint: disable=W0640
                       "hooks are taken again")
    teller.assert_told()


@pytest.mark.short
def test_postgresql_is_away(make_stack):
    """Hooks are taken all the same, also by an admin that starts meanwhile, and by none that never
    knew a source."""
    stack = make_stack(settings=SETTINGS).start()
    teller = Teller(stack)
    sources = os.path.join(stack.kudos.folder, "data", "hook-sources")
    wait_until(lambda: str(teller.shops[-1].source) in open(sources, encoding="utf-8").read(), 10)
    stack.postgres.stop("immediate")
    with teller:
        wait_until(lambda: len(teller.told) > 50, 30, "hooks are taken")
        stack.kudos.kill_role("admin")
        before = len(teller.told)
        wait_until(lambda: len(teller.told) > before + 50, 30, "hooks are taken by the next admin")
    stack.postgres.start()
    teller.assert_told()
    stack.postgres.stop("immediate")
    os.remove(sources)
    stack.kudos.kill_role("admin")
    shop = teller.shops[0]
    body = order_body("shopify", 999999, 1)

    def answered():
        answer = shop.call(body)
        return answer if answer.status == 503 else None
    assert int(wait_until(answered, 20).headers["Retry-After"]) > 0
    stack.postgres.start()
    wait_until(lambda: shop.call(body).status == 200, 20, "the sources are learned again")
    stack.assert_consistent()


def test_redis_is_away(make_stack):
    stack = make_stack(settings=SETTINGS).start()
    with Teller(stack) as teller:
        stack.redis.kill()
        before = len(teller.told)
        wait_until(lambda: len(teller.told) > before + 50, 30, "hooks are taken")
        stack.redis.start()
    teller.assert_told()


def test_everything_is_killed(make_stack):
    """The whole service and both stores, in the middle of it."""
    stack = make_stack(settings=SETTINGS).start()
    with Teller(stack) as teller:
        wait_until(lambda: len(teller.told) > 50, 30)
        stack.postgres.kill()
        stack.redis.kill()
        stack.kudos.kill()
        stack.redis.start()
        stack.postgres.start()
        stack.kudos.start()
        before = len(teller.told)
        wait_until(lambda: len(teller.told) > before + 50, 30, "hooks are taken again")
    teller.assert_told()


@pytest.fixture(name="tmpfs")
def fixture_tmpfs(tmp_path):
    """A disk that is soon full."""
    folder = tmp_path / "journal"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], check=False,
                      capture_output=True).returncode != 0:
        pytest.skip("needs to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_the_disk_is_full(make_stack, tmpfs):
    """503, so that the shop tells it again; then all is there."""
    stack = make_stack(settings={**SETTINGS, "journal_segment_bytes": 65536})
    os.makedirs(os.path.join(stack.kudos.folder, "data"))
    os.symlink(tmpfs, os.path.join(stack.kudos.folder, "data", "journal"))
    stack.start()
    with Teller(stack) as teller:
        wait_until(lambda: 503 in teller.statuses, 60, "the disk is full")
        assert stack.kudos.metric("hooks_deferred_total") > 0
        before = len(teller.told)
        subprocess.run(["mount", "-o", "remount,size=64m", tmpfs], check=True)
        wait_until(lambda: len(teller.told) > before + 50, 30, "hooks are taken again")
    assert glob.glob(os.path.join(tmpfs, "*", "*.seg"))
    teller.assert_told()
