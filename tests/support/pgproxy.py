"""A wire between a client and PostgreSQL that fails where a test wants it to: at COMMIT."""

import os
import socket
import struct
import threading

from .wait import wait_until


class CommitProxy:
    """Listens in `folder` (use it as `host` in a database_url) and passes everything on to
    `postgres`. fail(mode) arms it for the next COMMIT that follows a COPY, or for the next one
    of a connection with this application_name:

    "answer": PostgreSQL commits, and its answer is lost.
    "request": PostgreSQL never sees the COMMIT.
    "late": the client's side is cut at once, the COMMIT arrives when release() is called.
    """

    def __init__(self, folder, postgres, application=None):
        self.folder, self.postgres, self.application = folder, postgres, application
        self.fired, self.mode = 0, None
        self._late = threading.Event()
        os.makedirs(folder, exist_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(os.path.join(folder, ".s.PGSQL.5432"))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        """The database_url through the proxy."""
        return f"postgresql://kudos@/kudos?host={self.folder}"

    def fail(self, mode):
        """Arms it."""
        self._late.clear()
        self.mode = mode

    def wait_fired(self, count=1, timeout=20):
        """Waits until it has failed `count` times."""
        wait_until(lambda: self.fired >= count, timeout, "a COMMIT met the proxy")

    def release(self):
        """Lets a late COMMIT arrive."""
        self._late.set()

    def close(self):
        """Takes no more connections."""
        self._listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(os.path.join(self.postgres.folder, ".s.PGSQL.5432"))
            except OSError:
                client.close()
                continue
            wire = _Wire(self, client, server)
            threading.Thread(target=wire.upstream, daemon=True).start()
            threading.Thread(target=wire.downstream, daemon=True).start()


class _Wire:
    """One connection."""

    def __init__(self, proxy, client, server):
        self.proxy, self.client, self.server = proxy, client, server
        self.swallow = False  # the server's answers go nowhere
        self.copied = False
        self.startup = b""

    def upstream(self):
        """Client to server, message by message."""
        try:
            self._pass_startup()
            while True:
                kind = self._exactly(1)
                head = self._exactly(4)
                body = self._exactly(struct.unpack("!I", head)[0] - 4)
                self.copied = self.copied or kind == b"d"
                if kind == b"Q" and body.lower().startswith(b"commit") and self._is_meant():
                    self.copied = False
                    if self.proxy.mode:
                        self._fail(kind + head + body)
                        return
                self.server.sendall(kind + head + body)
        except OSError:
            self._close()

    def _fail(self, message):
        mode, self.proxy.mode = self.proxy.mode, None
        self.swallow = True
        if mode == "answer":
            self.server.sendall(message)
            self.server.recv(65536)
        self.client.shutdown(socket.SHUT_RDWR)
        self.proxy.fired += 1
        if mode == "late":
            self.proxy._late.wait(60)  # pylint: disable=protected-access
            self.server.sendall(message)
            self.server.recv(65536)
        self._close()

    def _pass_startup(self):
        head = self._exactly(4)
        self.startup = self._exactly(struct.unpack("!I", head)[0] - 4)
        self.server.sendall(head + self.startup)

    def _is_meant(self):
        if self.proxy.application:
            return self.proxy.application.encode() + b"\0" in self.startup
        return self.copied

    def _exactly(self, count):
        data = b""
        while len(data) < count:
            more = self.client.recv(count - len(data))
            if not more:
                raise OSError("closed")
            data += more
        return data

    def downstream(self):
        """Server to client; polls so that _fail() can take over reading."""
        self.server.settimeout(None)
        try:
            while not self.swallow:
                data = self.server.recv(65536, socket.MSG_PEEK)
                if self.swallow:
                    return
                data = self.server.recv(len(data)) if data else b""
                if not data:
                    break
                self.client.sendall(data)
        except OSError:
            pass
        self._close()

    def _close(self):
        for end in (self.client, self.server):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
