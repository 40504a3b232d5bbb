"""One `kudos serve`: started, watched, killed part by part, asked."""

import json
import os
import re
import signal
import subprocess

from . import process
from .http import Raw, request
from .session import free_port
from .wait import wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# Short intervals: a test waits for what it wants to see, so let it come soon.
FAST = {
    "workers": 1, "ship_interval_ms": 20, "flush_interval_ms": 50, "journal_sync_ms": 20,
    "sync_poll_ms": 50, "stop_timeout_ms": 20000, "log_level": "debug",
}
PASSED_ON = ("PATH", "HOME", "TZ", "LD_PRELOAD", "FAKETIME", "ASAN_OPTIONS", "UBSAN_OPTIONS",
             "LSAN_OPTIONS", "TSAN_OPTIONS", "KUDOS_CRASH_AT", "KUDOS_CRASH_ONCE")


def default_binary():
    """KUDOS_BIN, or build/kudos."""
    return os.environ.get("KUDOS_BIN", os.path.join(ROOT, "build", "kudos"))


class Service:
    """`kudos serve` with a data_dir and ports of its own.

    `settings` (name → value) come on top of FAST and go in by environment; `env` is further
    environment, e.g. {"KUDOS_CRASH_AT": "ship_after_append:3"}; both may be changed between stop
    and start. `file`, if it is not None, is the path of a settings file, read before `settings`;
    what a reload is to change has to be there alone. `roles` None means all.
    """

    def __init__(self, folder, redis_url, database_url, secret_file, settings=None, roles=None,
                 env=None, binary=None):
        self.folder, self.roles = folder, roles
        self.binary = binary or default_binary()
        self.port, self.admin_port, self.hooks_port = free_port(), free_port(), free_port()
        self.env, self.file = dict(env or {}), None
        self.settings = {
            **FAST, "listen": f"127.0.0.1:{self.port}",
            "admin_listen": f"127.0.0.1:{self.admin_port}",
            "hooks_listen": f"127.0.0.1:{self.hooks_port}",
            "base_url": f"http://127.0.0.1:{self.port}",
            "data_dir": os.path.join(folder, "data"), "redis_url": redis_url,
            "database_url": database_url, "secret_file": secret_file, **(settings or {})}
        self.log_path = os.path.join(folder, "kudos.log")
        self._process = None
        self._key = None

    # Its life -----------------------------------------------------------------------------------

    def environment(self):
        """What it, and commands run beside it, get to see."""
        kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        named = {f"KUDOS_{name.upper()}": str(value) for name, value in self.settings.items()
                 if value is not None}
        if os.environ.get("KUDOS_TEST_SANITIZED"):
            kept.setdefault("LSAN_OPTIONS", f"suppressions={ROOT}/tests/support/leaks.txt"
                            ":print_suppressions=0")
        return {**kept, **named, **{name: str(value) for name, value in self.env.items()}}

    @property
    def pid(self):
        """Of the supervisor, while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self, wait=True, timeout=20):
        """Starts it; waits until /readyz is 200. Fails at once, with the log, if it ends."""
        assert not self.pid
        command = [self.binary] + (["-c", self.file] if self.file else []) + ["serve"]
        command += ["--roles", self.roles] if self.roles else []
        with open(self.log_path, "ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                             stderr=log, cwd=self.folder, env=self.environment(),
                                             start_new_session=True)
        if wait:
            self.wait_ready(timeout)
        return self

    def wait_ready(self, timeout=20):
        """Waits until every role serves."""
        def ready():
            return self._process.poll() is not None or self.ready()
        wait_until(ready, timeout, lambda: f"kudos is ready; log:\n{self.log()[-3000:]}")
        assert self.pid, f"kudos ended ({self._process.returncode}):\n{self.log()[-3000:]}"

    def ready(self):
        """True if /readyz is 200."""
        return self.admin("GET", "/readyz", key=None, timeout=2).status == 200

    def stop(self, timeout=60):
        """SIGTERM; returns the exit status."""
        if not self.pid:
            return self._process.returncode if self._process else None
        self.wake()
        process.send(self._process.pid, signal.SIGTERM)
        return self._process.wait(timeout)

    def kill(self):
        """kill -9 of supervisor and children; returns when all have gone."""
        pids = self.pids()
        if self.pid:
            process.kill(self.pid)
            self._process.wait(30)
        for pid in pids:
            process.kill(pid)
        wait_until(lambda: not any(map(process.alive, pids)), 30, "killed processes end")

    def kill_supervisor(self):
        """kill -9 of the supervisor alone; its children stop by themselves."""
        process.kill(self.pid)
        self._process.wait(30)

    def reload(self):
        """SIGHUP."""
        process.send(self.pid, signal.SIGHUP)

    # Its parts ----------------------------------------------------------------------------------

    def pids(self, role=None):
        """Children, all or of one role, oldest first."""
        found = process.children(self.pid) if self.pid else []
        return [pid for pid in found if role is None or process.comm(pid) == f"kudos-{role}"]

    def role_pid(self, role, timeout=10):
        """The pid of a role's (first) process; waits until there is one."""
        return wait_until(lambda: self.pids(role), timeout, f"a {role} process runs")[0]

    def kill_role(self, role, wait=True):
        """kill -9 of a role's (first) process; returns its pid, waits for a successor."""
        pid = self.role_pid(role)
        process.kill(pid)
        if wait:
            wait_until(lambda: pid not in self.pids(role) and self.pids(role), 15,
                       f"{role} runs again")
        return pid

    def freeze(self, role=None):
        """SIGSTOP to a role's processes, or all."""
        for pid in self.pids(role):
            process.freeze(pid)

    def wake(self, role=None):
        """The opposite of freeze()."""
        for pid in self.pids(role):
            process.wake(pid)

    # Asking it ----------------------------------------------------------------------------------

    def get(self, path, headers=None, method="GET", timeout=10):
        """A request on the public plane."""
        return request(self.port, method, path, headers, timeout=timeout)

    def raw(self, timeout=10):
        """A raw connection to the public plane."""
        return Raw(self.port, timeout=timeout)

    def key(self):
        """An API key of workspace `default`, made at the first call."""
        if not self._key:
            made = self.run("key", "create", "--workspace", "default", "--scope", "admin",
                            "--name", "test")
            self._key = made.stdout.strip().splitlines()[-1]
        return self._key

    def admin(self, method, path, body=None, headers=None, key="", timeout=30):
        """A request on the admin plane. `key` "": our own, None: none."""
        headers = dict(headers or {})
        if key is not None:
            headers.setdefault("Authorization", f"Bearer {key or self.key()}")
        return request(self.admin_port, method, path, headers, body, timeout)

    def metrics(self):
        """All metrics as {"name" or 'name{label="value"}': number}, without the prefix kudos_."""
        text = request(self.admin_port, path="/metrics").text
        return {match[1]: float(match[2]) for match in
                re.finditer(r"^kudos_(\S+(?:\{[^}]*\})?) (\S+)$", text, re.MULTILINE)}

    def metric(self, name):
        """One of them; 0 if it is not there."""
        return self.metrics().get(name, 0.0)

    def run(self, *arguments, check=True, stdin=None, timeout=120, env=None):
        """Runs another kudos command with the same settings; output is text."""
        environment = self.environment()
        environment.pop("KUDOS_CRASH_AT", None)
        done = subprocess.run([self.binary, *arguments], input=stdin, capture_output=True,
                              timeout=timeout, cwd=self.folder, check=False,
                              env={**environment, **(env or {})}, encoding="utf-8")
        if check:
            assert done.returncode == 0, \
                f"kudos {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def log(self):
        """What it has logged."""
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return ""

    def logged(self, pattern):
        """Lines of the log that match."""
        return [line for line in self.log().splitlines() if re.search(pattern, line)]

    def create_link(self, destination="https://example.com/", **fields):
        """Makes a link through the API; returns its JSON."""
        answer = self.admin("POST", "/v1/links", {"destination": destination, **fields})
        assert answer.status == 201, answer
        return json.loads(answer.body)
