"""A shipper made of Python, for tests of the half behind Redis: it keeps a journal in memory, sends
it with the real append.lua, and moves to the last_seq that Redis answers, as ship does."""

import hashlib
import json
import os
import random
import struct
import threading
import time

import redis as redis_client

from .service import ROOT
from .wait import wait_until

CLICK, LOST, GAP, CONVERSION = 1, 2, 3, 4
KEYS = ("ready", "last_seq", "flushed", "totals", "bytes", "events")


def _text(value):
    data = value.encode() if isinstance(value, str) else value
    return bytes([len(data)]) + data


def _varint(value):
    data = b""
    while value >= 0x80:
        data += bytes([value & 0x7F | 0x80])
        value >>= 7
    return data + bytes([value])


def _link_and_verdict(payload):
    """Of a click's payload; None if it is none."""
    numbers, at = [], 10
    try:
        for field in range(10):
            if field == 5:  # visitor
                at += 8
                continue
            value = shift = 0
            while payload[at] & 0x80:
                value |= (payload[at] & 0x7F) << shift
                at, shift = at + 1, shift + 7
            numbers.append(value | payload[at] << shift)
            at += 1
        return (numbers[0], payload[at]) if payload[:2] == bytes([1, CLICK]) else None
    except IndexError:
        return None


def click(link=1, time_us=None, verdict=0, flags=0, rule="", referrer="", language="en",
          region="", city="", country=b"\0\0", workspace=1, campaign=0, influencer=0, visitor=0, asn=0):
    """The payload of a click (server/clicks/event.c)."""
    time_us = int(time.time() * 1e6) if time_us is None else time_us
    return (bytes([1, CLICK]) + struct.pack("<q", time_us)
        + b"".join(map(_varint, (link, 1, workspace, campaign, influencer))) + struct.pack("<Q", visitor)
        + b"".join(map(_varint, (flags, asn, 302, 0)))
        + struct.pack("<8B2s", verdict, 0, 0, 0, 0, 0, 0, 0, country)
        + _text(rule) + _text(referrer) + _text(language) + _text(region) + _text(city))


def lost(episode, count, from_us, until_us):
    """The payload of a note of lost clicks."""
    return bytes([1, LOST]) + struct.pack("<QQqq", episode, count, from_us, until_us)


def gap(first, last, reason="torn"):
    """The payload that stands for seqs that cannot be read."""
    return bytes([1, GAP]) + struct.pack("<QQ", first, last) + _text(reason)


def conversion(told, path=1, time_us=None, workspace=1, source=0, verified=False, token=b"",
               signed=b"", signature=b""):
    """The payload of a conversion; `told` as report_make() gives it, or bytes. `token` and `signed`
    are what is hashed, `signature` is 32 bytes."""
    time_us = int(time.time() * 1e6) if time_us is None else time_us
    told = told if isinstance(told, bytes) else json.dumps(told).encode()
    hashes = [hashlib.sha256(token).digest()] if token else []
    hashes += [hashlib.sha256(signed).digest(), signature] if signature else []
    marks = verified + 2 * bool(token) + 4 * bool(signature)
    return (bytes([1, CONVERSION]) + struct.pack("<q", time_us) + _varint(workspace)
            + _varint(source) + bytes([path, marks]) + b"".join(hashes) + _varint(len(told)) + told)


class Feeder:
    """One origin. `records` maps a seq to (payload, seqs that it stands for)."""

    def __init__(self, stack, origin=None, partition=0, batch=200):
        self.stack, self.partition, self.batch = stack, partition, batch
        self.origin = origin or random.getrandbits(62) + 1
        self.records, self.last = {}, 0
        self.answer = None  # status of the last append
        self._redis = None
        self._stop, self._thread = threading.Event(), None
        with open(os.path.join(ROOT, "server/clicks/append.lua"), encoding="utf-8") as file:
            self._append = file.read()
        with open(os.path.join(ROOT, "server/clicks/read.lua"), encoding="utf-8") as file:
            self._read = file.read()

    # The journal --------------------------------------------------------------------------------

    def add(self, count=1, payload=None, span=1, **fields):
        """Journals `count` clicks, or one record with a payload of one's own."""
        for _ in range(count):
            record = payload if payload is not None else click(**fields)
            self.records[self.last + 1] = (record, span)
            self.last += span
        return self

    def add_mixed(self, count, links=50):
        """Clicks on many links, some of them by bots."""
        for _ in range(count):
            self.add(link=random.randrange(1, links + 1), verdict=random.choice((0, 0, 0, 1)))
        return self

    def encode(self, first, last):
        """The batch of these seqs, and its counts per link."""
        batch, totals = b"", {}
        for seq in range(first, last + 1):
            if seq not in self.records:
                continue
            payload = self.records[seq][0]
            batch += struct.pack("<I", len(payload)) + payload
            counted = _link_and_verdict(payload)
            if counted:
                link = str(counted[0])
                totals[link] = totals.get(link, 0) + 1
                if counted[1]:
                    totals[link + ":x"] = totals.get(link + ":x", 0) + 1
        return batch, totals

    # Shipping -----------------------------------------------------------------------------------

    def keys(self):
        """Names of the partition's keys."""
        return [f"kudos:{{{self.partition}}}:{name}" for name in KEYS]

    def redis(self):
        """A client that keeps bytes as they are."""
        if not self._redis:
            self._redis = redis_client.Redis(unix_socket_path=self.stack.redis.socket,
                                             socket_timeout=5)
        return self._redis

    def last_seq(self):
        """Where Redis is."""
        return int(self.redis().hget(self.keys()[1], str(self.origin)) or 0)

    def append(self, first, last):
        """One call of append.lua: (status, last_seq, flushed)."""
        batch, totals = self.encode(first, last)
        arguments = [str(self.origin), str(first - 1), str(first), str(last), str(256 << 20), batch]
        for field, count in totals.items():
            arguments += [field, str(count)]
        status, last_seq, flushed = self.redis().eval(self._append, 6, *self.keys(), *arguments)
        self.answer = status.decode()
        return self.answer, int(last_seq), int(flushed)

    def ship(self):
        """Sends what Redis does not have; True if it has everything then."""
        position = self.last_seq()
        while position < self.last:
            end = min(self.last, position + self.batch)
            while end not in self.records or end + self.records[end][1] - 1 > self.last:
                end -= 1  # never inside a gap
            status, position, _ = self.append(position + 1, end + self.records[end][1] - 1)
            if status in ("not ready", "full"):
                return False
        return True

    def ship_all(self, timeout=30):
        """Ships until Redis has everything."""
        def done():
            try:
                return self.ship()
            except redis_client.RedisError:
                self._redis = None
                return False
        wait_until(done, timeout, lambda: f"everything is shipped ({self.answer})")
        return self

    def inject(self, first, last, payload=None):
        """Puts an entry into the stream past append.lua, as nothing but a fault can."""
        batch = self.encode(first, last)[0] if payload is None else payload
        return self.redis().xadd(self.keys()[5], {
            "o": str(self.origin), "f": str(first), "l": str(last), "b": batch})

    def start(self, rate=2000):
        """Journals and ships in the background until stop(), whatever Redis does."""
        def main():
            begin, added = time.monotonic(), 0
            while not self._stop.wait(0.01):
                due = int((time.monotonic() - begin) * rate) - added
                self.add_mixed(due)
                added += due
                try:
                    self.ship()
                except (redis_client.RedisError, OSError):
                    self._redis = None
        self._stop.clear()
        self._thread = threading.Thread(target=main, daemon=True)
        self._thread.start()
        return self

    def stop(self):
        """Ends start(); ships what is left."""
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.ship_all(60)

    # Proof --------------------------------------------------------------------------------------

    def watermark(self):
        """What PostgreSQL says."""
        rows = self.stack.postgres.sql("select seq from kudos.watermarks where origin = %s",
                                       self.origin)
        return rows[0][0] if rows else 0

    def wait_flushed(self, timeout=60):
        """Ships everything, and waits until PostgreSQL has it."""
        def done():
            try:
                self.ship()
            except (redis_client.RedisError, OSError):
                self._redis = None
            return self.watermark() == self.last
        wait_until(done, timeout, lambda: f"watermark {self.watermark()} of {self.last}", 0.02)
        return self

    def assert_exactly_once(self):
        """Every click is one row."""
        clicks = [seq for seq, (payload, _) in self.records.items() if payload[1] == CLICK]
        rows = self.stack.postgres.sql(
            "select count(*), count(distinct seq), coalesce(min(seq), 0), coalesce(max(seq), 0)"
            " from kudos.clicks where origin = %s", self.origin)[0]
        assert rows[:2] == (len(clicks), len(clicks)), f"rows, distinct: {rows}, {len(clicks)} sent"
        if clicks:
            assert rows[2:] == (min(clicks), max(clicks))
