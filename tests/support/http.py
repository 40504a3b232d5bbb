"""HTTP clients: one that behaves (request) and one that sends whatever bytes it is told (Raw)."""

import http.client
import json
import socket

# What a phone sends. About 600 bytes, as real requests are.
BROWSER = {
    "User-Agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 "
                  "(KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "de-DE,de;q=0.9,en;q=0.7",
    "Accept-Encoding": "gzip, deflate, br",
    "Referer": "https://www.instagram.com/",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "cross-site",
    "Upgrade-Insecure-Requests": "1",
}


class Response:
    """An answer. `headers` is a case-insensitive mapping that keeps repeated fields."""

    def __init__(self, status, reason, headers, body):
        self.status, self.reason, self.headers, self.body = status, reason, headers, body

    @property
    def text(self):
        """The body as text."""
        return self.body.decode("utf-8")

    def json(self):
        """The body, parsed."""
        return json.loads(self.body)

    @property
    def location(self):
        """The Location field, or None."""
        return self.headers.get("Location")

    def __repr__(self):
        return f"<{self.status} {dict(self.headers.items())} {self.body[:200]!r}>"


def request(port, method="GET", path="/", headers=None, body=None, timeout=10, host="127.0.0.1"):
    """One request on a connection of its own. `body`: bytes, or something to send as JSON."""
    headers = dict(headers or {})
    if body is not None and not isinstance(body, (bytes, str)):
        body = json.dumps(body)
        headers.setdefault("Content-Type", "application/json")
    if isinstance(body, str):
        body = body.encode()
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.putrequest(method, path, skip_host="Host" in headers, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        if body is not None or method in ("POST", "PUT", "PATCH"):
            connection.putheader("Content-Length", str(len(body or b"")))
        connection.endheaders(body)
        answer = connection.getresponse()
        return Response(answer.status, answer.reason, answer.headers, answer.read())
    finally:
        connection.close()


class Raw:
    """A TCP connection. Use as a context manager."""

    def __init__(self, port, host="127.0.0.1", timeout=10):
        self.socket = socket.create_connection((host, port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        """Sends all of it."""
        self.socket.sendall(data.encode() if isinstance(data, str) else data)

    def finish(self):
        """Ends our side; what the server answers can still be read."""
        self.socket.shutdown(socket.SHUT_WR)

    def receive(self):
        """Reads some more; False at the end (a reset counts as one)."""
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        self.buffer += data
        return bool(data)

    def response(self, head_only=False):
        """The next answer, by its Content-Length; None if the connection ends before one."""
        while b"\r\n\r\n" not in self.buffer:
            if not self.receive():
                return None
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        headers = http.client.HTTPMessage()
        for line in lines:
            name, _, value = line.partition(":")
            headers[name] = value.strip()
        length = 0 if head_only else int(headers.get("Content-Length", 0))
        while len(self.buffer) < length:
            if not self.receive():
                return None
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        _, status, *reason = status_line.split(" ", 2)
        return Response(int(status), "".join(reason), headers, body)

    def closed(self):
        """Reads to the end; True when the server closed and sent nothing more."""
        while self.receive():
            pass
        return not self.buffer
