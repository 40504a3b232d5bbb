"""HTTP/1.1 requests as others test them, over real sockets: each case whole, byte by byte, and cut
in two at every offset. The redirecting process runs alone, without stores and without links."""

import base64
import os
import select
import socket

import pytest

from support.explain import rows
from support.http import request
from support.service import Service
from support.session import remove, session
from support.wait import wait_until

TIMEOUT = 10
BATCH = 400  # connections at once


@pytest.fixture(scope="module")
def port():
    """The public plane of a service that has no stores."""
    folder = session().folder("http")
    service = Service(folder, "redis://127.0.0.1:1", "postgresql://127.0.0.1:1/none",
                      os.path.join(folder, "secret"), roles="redirect",
                      settings={"log_level": "warn"})
    os.makedirs(service.settings["data_dir"], exist_ok=True)
    service.start(wait=False)
    try:
        wait_until(lambda: request(service.port, path="/-/health").status == 200, TIMEOUT)
        pid = service.role_pid("redirect")
        yield service.port
        assert service.pids("redirect") == [pid], service.log()
    finally:
        service.kill()
        remove(folder)


class Barrier:
    """pass_() returns when the process has read whatever was sent to it before."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT)

    def pass_(self):
        self.socket.sendall(b"HEAD /-/health HTTP/1.1\r\nHost: barrier\r\n\r\n")
        data = b""
        while b"\r\n\r\n" not in data:
            data += self.socket.recv(4096)
            assert data


class Exchange:
    """One connection: what was sent in which pieces, and all that came back."""

    def __init__(self, port, case, pieces, finish):
        self.case, self.pieces, self.finish = case, pieces, finish
        self.got, self.ended = b"", False
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, number):
        """Sends a piece; the server may have closed already."""
        if number < len(self.pieces):
            try:
                self.socket.sendall(self.pieces[number])
                if number == len(self.pieces) - 1 and self.finish:
                    self.socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass

    def receive(self):
        """Some more of the answer."""
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError as error:
            raise AssertionError(f"{self}: the answer was cut off by a reset") from error
        self.got += data
        self.ended = not data

    def statuses(self):
        """The status of each response; they must follow each other without a gap."""
        rest, found = self.got, []
        is_head = self.case["input"].lstrip(b"\r\n").startswith(b"HEAD ")
        while rest:
            head, end, rest = rest.partition(b"\r\n\r\n")
            lines = head.split(b"\r\n")
            assert end and lines[0].startswith(b"HTTP/1.1 "), f"{self}: {self.got!r}"
            fields = dict(line.lower().split(b": ", 1) for line in lines[1:])
            length = 0 if is_head else int(fields.get(b"content-length", 0))
            assert len(rest) >= length, f"{self}: {self.got!r}"
            rest = rest[length:]
            found.append(int(lines[0].split()[1]))
        return found

    def __repr__(self):
        return f"{self.case['id']} in {len(self.pieces)} pieces ({len(self.pieces[0])} …)"


def run(port, barrier, wanted):
    """Runs exchanges side by side, piece by piece, to the end of each connection."""
    exchanges = [Exchange(port, *each) for each in wanted]
    for number in range(max(len(each.pieces) for each in exchanges)):
        if number:
            barrier.pass_()
        for each in exchanges:
            each.send(number)
    open_ = {each.socket.fileno(): each for each in exchanges}
    poll = select.poll()
    for descriptor in open_:
        poll.register(descriptor, select.POLLIN)
    while open_:
        ready = poll.poll(TIMEOUT * 1000)
        assert ready, f"not closed: {list(open_.values())[:3]}"
        for descriptor, _ in ready:
            open_[descriptor].receive()
            if open_[descriptor].ended:
                poll.unregister(descriptor)
                del open_[descriptor]
    for each in exchanges:
        each.socket.close()
    return exchanges


def run_all(port, wanted):
    """As run(), any number of them."""
    barrier = Barrier(port)
    for start in range(0, len(wanted), BATCH):
        yield from run(port, barrier, wanted[start:start + BATCH])


def cases(path):
    """Rows of a corpus with their bytes."""
    return [{**row, "input": base64.b64decode(row["input_b64"])} for row in rows(path)]


def in_bytes(data):
    """One piece per byte."""
    return [data[i:i + 1] for i in range(len(data))]


def ways(case, finish):
    """All ways to send a case."""
    data = case["input"]
    yield case, [data], finish
    yield case, in_bytes(data), finish
    for at in range(1, len(data)):
        yield case, [data[:at], data[at:]], finish


def refuses(status):
    """4xx; or 503, which is what a well-formed head gets here, where no links are loaded (the fault
    is in the body then, which nobody reads)."""
    return 400 <= status < 500 or status == 503


def check_llhttp(exchange):
    """Faults are refused and end the connection, exactly where they are."""
    case, statuses = exchange.case, exchange.statuses()
    assert statuses, f"{exchange}: no answer"
    assert all(200 <= status < 500 or status == 503 for status in statuses), exchange
    # one more than messages: the rest of the bytes may begin a further, unfinished one
    assert len(statuses) <= case["messages_begun"] + 1, f"{exchange}: {statuses}"
    if case["error"] is not None or case["lenient"]:
        assert refuses(statuses[-1]), f"{exchange}: {statuses}"
    if case["error"] is not None and case["messages_complete"] == 0:
        assert len(statuses) == 1, f"{exchange}: {statuses}"


def check_smuggling(exchange):
    """Exactly one response, which refuses; nothing of the body is taken for a request."""
    statuses = exchange.statuses()
    assert len(statuses) == 1 and 400 <= statuses[0] < 500, f"{exchange}: {statuses}"


def check_corpus(port, path, check, finish):
    """Every case in every way, with the same statuses whichever way."""
    found, count = {}, 0
    everything = [way for case in cases(path) for way in ways(case, finish)]
    everything.sort(key=lambda way: len(way[1]))
    for exchange in run_all(port, everything):
        check(exchange)
        count += 1
        first = found.setdefault((exchange.case["id"], exchange.case["input"]),
                                 exchange.statuses())
        assert exchange.statuses() == first, f"{exchange}: {exchange.statuses()}, whole: {first}"
    print(f"{path}: {len(found)} cases, {count} exchanges")


def test_llhttp_requests(port):
    check_corpus(port, "http/llhttp_request.jsonl", check_llhttp, finish=True)


def test_smuggled_transfer_codings(port):
    check_corpus(port, "http/smuggling_te.jsonl", check_smuggling, finish=False)
