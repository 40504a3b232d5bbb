"""Shops and networks that tell conversions, on several connections at once, and tell again what was not
answered with 2xx, as they do: so that each order of `told` must be there once."""

import collections
import http.client
import json
import random
import threading
import time
import urllib.parse

from .wait import wait_until


class Teller:
    """Tells orders in the background. Use as a context manager; leaving it waits until every order
    that was begun has been answered with 2xx."""

    def __init__(self, shop, threads=4, pause=0.004, seed=1):
        self.shop, self.port, self.pause = shop, shop.stack.kudos.port, pause
        self.clicks = [shop.click("mia"), shop.click("leo")]
        self.told = {}  # order: minor units
        self.unverified = set()
        self.statuses, self.again = collections.Counter(), 0
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._main, args=(number, seed * 100 + number))
                         for number in range(threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(120)
        assert not any(thread.is_alive() for thread in self._threads), "orders are not answered"

    def wait_told(self, count, timeout=60):
        """Waits until so many more are answered."""
        until = len(self.told) + count
        wait_until(lambda: len(self.told) >= until, timeout, lambda: f"{len(self.told)} of {until} told")

    def _request(self, order, minor, way, click):
        """(method, path, headers, body) of one way to tell it."""
        told = {"order_id": order, "amount": f"{minor // 100}.{minor % 100:02}", "currency": "EUR",
                "click_id": click}
        query = urllib.parse.urlencode(told)
        if way == 0:
            return "GET", f"/-/postback?token={self.shop.token}&{query}", {}, None
        if way == 1:
            return ("POST", f"/-/postback?token={self.shop.token}",
                    {"Content-Type": "application/x-www-form-urlencoded"}, query.encode())
        if way == 2:
            return "GET", f"/-/pixel.gif?{self.shop.sign(query)}", {}, None
        if way == 3:
            body = json.dumps(told).encode()
            return "POST", f"/-/postback?{self.shop.sign('v=1', body)}", {}, body
        return "POST", "/-/beacon", {"Content-Type": "text/plain"}, json.dumps(told).encode()

    def _tell(self, connection, asked):
        """The status of the answer; None if there is none. A connection that broke is replaced."""
        method, path, headers, body = asked
        try:
            connection[0] = connection[0] or http.client.HTTPConnection("127.0.0.1", self.port,
                                                                        timeout=10)
            connection[0].request(method, path, body, headers)
            answer = connection[0].getresponse()
            answer.read()
            return answer.status
        except (OSError, http.client.HTTPException):
            if connection[0]:
                connection[0].close()
            connection[0] = None
            return None

    def _main(self, number, seed):
        chance, connection, count = random.Random(seed), [None], 0
        while not self._stop.is_set():
            order, minor, way = f"T-{seed}-{count}", chance.randrange(1, 10**7), chance.randrange(5)
            asked = self._request(order, minor, way, chance.choice(self.clicks))
            left = 1 + (chance.random() < 0.2)  # some are told twice anyway
            count += 1
            while left:
                status = self._tell(connection, asked)
                with self._lock:
                    self.statuses[status] += 1
                    if status in (200, 204):
                        self.told[order] = minor
                        if way == 4:
                            self.unverified.add(order)
                        left -= 1
                    else:
                        assert status in (None, 503), (status, asked)
                        self.again += 1
                if status not in (200, 204):
                    time.sleep(0.02)
            time.sleep(self.pause)

    def assert_exactly_once(self, timeout=60):
        """Every order that was answered is one conversion, to the cent, and nothing else is there."""
        sql = self.shop.stack.postgres.sql
        wait_until(lambda: sql("select count(*) from kudos.conversions where order_id like 'T-%%'"
                               " having bool_and(not click_awaited)") == [(len(self.told),)]
                   and sql("select count(*) from kudos.conversion_inbox where due_at is not null")
                   == [(0,)], timeout,
                   lambda: f"{len(self.told)} conversions: {sql('select count(*) from kudos.conversions')}"
                           f" {sql('select outcome, problem, count(*) from kudos.conversion_inbox group by 1, 2')}")
        rows = sql("select order_id, amount_minor, currency, status::text, influencer_id is not null"
                   " from kudos.conversions where order_id like 'T-%%'")
        assert {row[0]: row[1] for row in rows} == self.told and len(rows) == len(self.told)
        for order, _, currency, status, credited in rows:
            assert currency == "EUR"
            assert (status, credited) == (("unverified", False) if order in self.unverified
                                          else ("credited", True)), order
        # What was credited adds up to what was told by those who proved themselves.
        assert sql("select coalesce(sum(t.amount_minor), 0)::bigint from kudos.attributions t"
                   " join kudos.conversions c on c.id = t.conversion_id where t.won"
                   " and c.order_id like 'T-%%'") == [
            (sum(minor for order, minor in self.told.items() if order not in self.unverified),)]
        assert sql("select count(*) from kudos.conversion_conflicts") == [(0,)]
