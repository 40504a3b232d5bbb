"""A client that clicks as fast as it is allowed and keeps the click id of every answer.

An id that it holds is a promise that the server made: it must be in PostgreSQL exactly once,
whatever died in the meantime. What it sent without getting an answer promises nothing.

One thread, many connections, several requests under way on each (pipelined): a few thousand up to
some ten thousand clicks a second from Python.
"""

import base64
import collections
import random
import select
import socket
import struct
import threading
import time

from .http import BROWSER

CONNECT_TRIES_PAUSE = 0.02


class _Connection:
    """One socket. `waiting` is how many answers it owes us."""

    def __init__(self):
        self.socket = None
        self.waiting = 0
        self.buffer = b""
        self.since = 0.0
        self.retry_at = 0.0


class Clicker:
    """Clicks on `paths` at 127.0.0.1:`port` between start() and stop(); also a context manager.

    `rate` is in clicks per second (None: as fast as it goes), `depth` how many requests are sent
    at once on a connection. After `patience` seconds without an answer a connection is given up.
    Results: ids (text), statuses (a Counter), without_id (302s that carried none), broken
    (connections that ended while an answer was due), refused (connects that failed), slow
    (connections given up).
    """

    def __init__(self, port, paths, connections=16, depth=8, rate=None, headers=None,
                 patience=10.0, seed=None, param="kudos_id"):
        self.port, self.depth, self.rate, self.patience = port, depth, rate, patience
        fields = {"Host": f"127.0.0.1:{port}", **(BROWSER if headers is None else headers)}
        tail = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.requests = [f"GET {path} HTTP/1.1\r\n{tail}\r\n".encode() for path in paths]
        self.marker = param.encode() + b"="
        self.random = random.Random(seed)
        self.ids, self.statuses = [], collections.Counter()
        self.without_id = self.broken = self.refused = self.slow = 0
        self._connections = [_Connection() for _ in range(connections)]
        self._by_fd = {}
        self._poll = None
        self._stop = threading.Event()
        self._thread = None
        self._begin = self._allowed = 0.0
        self._failure = None

    @property
    def clicks(self):
        """Answers so far."""
        return sum(self.statuses.values())

    def start(self):
        """Starts clicking; returns itself."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._thread.start()
        return self

    def stop(self, timeout=15):
        """Sends no more, waits for the answers that are due, returns the ids."""
        self._stop.set()
        self._thread.join(timeout + self.patience)
        assert not self._thread.is_alive(), "the clicker hangs"
        if self._failure:
            raise self._failure
        return self.ids

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self._thread.is_alive():
            self.stop()

    def rate_over(self, seconds):
        """Answers per second, measured from now on."""
        before, start = self.clicks, time.monotonic()
        time.sleep(seconds)
        return (self.clicks - before) / (time.monotonic() - start)

    def _main(self):
        try:
            with select.epoll() as self._poll:
                self._begin, self._allowed = time.monotonic(), 0
                while not self._stop.is_set():
                    self._round()
                self._drain()
        except Exception as error:  # pylint: disable=broad-except
            self._failure = error
        finally:
            for connection in self._connections:
                self._close(connection)

    def _round(self):
        now = time.monotonic()
        for connection in self._connections:
            if connection.waiting == 0:
                self._send(connection, now)
            elif now - connection.since > self.patience:
                self.slow += 1
                self._close(connection)
        self._receive(0.02)

    def _drain(self):
        deadline = time.monotonic() + self.patience
        while any(c.waiting for c in self._connections) and time.monotonic() < deadline:
            self._receive(0.02)

    def _receive(self, seconds):
        for fd, _ in self._poll.poll(seconds):
            self._read(self._by_fd[fd])

    def _budget(self, now):
        if self.rate is None:
            return True
        if self._allowed > (now - self._begin) * self.rate:
            return False
        self._allowed += self.depth
        return True

    def _connect(self, connection, now):
        if now < connection.retry_at:
            return False
        try:
            connection.socket = socket.create_connection(("127.0.0.1", self.port), 2)
        except OSError:
            self.refused += 1
            connection.retry_at = now + CONNECT_TRIES_PAUSE
            return False
        connection.socket.setblocking(False)
        connection.buffer = b""
        self._by_fd[connection.socket.fileno()] = connection
        self._poll.register(connection.socket, select.EPOLLIN)
        return True

    def _close(self, connection):
        if connection.socket:
            del self._by_fd[connection.socket.fileno()]
            connection.socket.close()
        connection.socket, connection.waiting = None, 0

    def _send(self, connection, now):
        if not connection.socket and not self._connect(connection, now):
            return
        if not self._budget(now):
            return
        data = b"".join(self.random.choices(self.requests, k=self.depth))
        try:
            sent = connection.socket.send(data)
        except OSError:
            self._close(connection)
            return
        if sent < len(data):  # never seen on loopback with these sizes; half a request is no click
            self._close(connection)
            return
        connection.waiting, connection.since = self.depth, now

    def _read(self, connection):
        try:
            data = connection.socket.recv(262144)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        connection.buffer += data
        self._parse(connection)
        if not data:
            self.broken += connection.waiting > 0
            self._close(connection)

    def _parse(self, connection):
        buffer, at = connection.buffer, 0
        while True:
            end = buffer.find(b"\r\n\r\n", at)
            if end < 0:
                break
            head = buffer[at:end + 2]
            end += 4 + _content_length(head)
            if end > len(buffer):
                break
            self._answer(head)
            connection.waiting -= 1
            at = end
        connection.buffer = buffer[at:]

    def _answer(self, head):
        status = int(head[9:12])
        self.statuses[status] += 1
        at = head.find(self.marker)
        if at >= 0:
            at += len(self.marker)
            self.ids.append(head[at:at + 64].decode())
        elif status == 302:
            self.without_id += 1


def _content_length(head):
    at = head.find(b"\r\nContent-Length: ")
    return int(head[at + 18:head.index(b"\r\n", at + 18)]) if at >= 0 else 0


ClickId = collections.namedtuple("ClickId", "time_ms origin seq link")


def decode(text):
    """What a click id says (server/conversions/click_id.h), without looking at the signature."""
    data = base64.urlsafe_b64decode(text)
    assert len(data) == 48 and data[0] == 1, f"not a click id: {text!r}"
    origin, seq, link = struct.unpack(">QQQ", data[8:32])
    return ClickId(int.from_bytes(data[1:8], "big"), origin, seq, link)
