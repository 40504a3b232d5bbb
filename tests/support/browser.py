"""A real browser, driven over its debugging pipe: Chromium without a window, and a shop for it."""

import http.server
import json
import os
import select
import shutil
import subprocess
import tempfile
import threading
import time

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-dev-shm-usage", "--remote-debugging-pipe"]
NAMES = ("chromium-headless-shell", "chromium")


class Browser:
    """One tab with a profile of its own. Use as a context manager."""

    def __init__(self, user_agent, before=""):
        binary = next(filter(None, map(shutil.which, NAMES)))
        self.folder = tempfile.mkdtemp(prefix="kudos-browser-")
        self.problems, self._last, self._rest = [], 0, b""
        down, self._to = os.pipe()
        self._from, up = os.pipe()
        # The browser reads 3 and writes 4.
        script = f"exec \"$@\" 3<&{down} 4>&{up}"
        self.process = subprocess.Popen(
            ["/bin/bash", "-c", script, "browser", binary, *FLAGS, f"--user-data-dir={self.folder}",
             f"--user-agent={user_agent}", "about:blank"], pass_fds=(down, up),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(down)
        os.close(up)
        self.session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")
        self.call("Runtime.enable")
        if before:
            self.call("Page.addScriptToEvaluateOnNewDocument", source=before)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.session = None
            self.call("Browser.close")
        except (OSError, AssertionError):
            self.process.kill()
        self.process.wait(20)
        os.close(self._to)
        os.close(self._from)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _receive(self, timeout):
        """The next message; None in time."""
        end = time.monotonic() + timeout
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._from], [], [], max(0, end - time.monotonic()))
            if not ready:
                return None
            more = os.read(self._from, 1 << 16)
            assert more, "the browser has ended"
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        message = json.loads(message)
        if message.get("method") == "Runtime.exceptionThrown":
            self.problems.append(message["params"]["exceptionDetails"])
        return message

    def call(self, method, timeout=30, **parameters):
        """A command of the protocol; its result."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive(timeout)
            assert answer is not None, f"{method} was not answered"
            if answer.get("id") == self._last:
                assert "error" not in answer, answer
                return answer["result"]

    def go(self, url, timeout=30):
        """Goes there and waits until the page is loaded."""
        self.call("Page.navigate", url=url)
        while True:
            message = self._receive(timeout)
            assert message is not None, f"{url} is not loaded"
            if message.get("method") == "Page.loadEventFired":
                return

    def run(self, expression):
        """What an expression of JavaScript comes to on the page."""
        done = self.call("Runtime.evaluate", expression=expression, returnByValue=True,
                         awaitPromise=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")


class Pages:
    """A web site of few pages: {path: HTML}. Use as a context manager."""

    def __init__(self, pages):
        self.pages = pages

        class Handler(http.server.BaseHTTPRequestHandler):
            """Answers from `pages`."""

            def do_GET(self):  # pylint: disable=invalid-name
                """A page, or 404."""
                page = pages.get(self.path.partition("?")[0])
                self.send_response(200 if page else 404)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write((page or "nothing here").encode())

            def log_message(self, *_):  # pylint: disable=arguments-differ
                """Says nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
