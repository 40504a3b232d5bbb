"""Private Redis and PostgreSQL: started, stopped, killed, frozen and rolled back one by one."""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess

import psycopg2
import redis as redis_client

from . import process
from .session import as_user, session, store_user
from .wait import wait_until

PG_BIN = "/usr/lib/postgresql/15/bin"
QUIET = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
CLEAN = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": "/"}


class Store:
    """What both have in common. `pid` is None while it is stopped."""

    name = "store"

    def __init__(self, folder):
        self.folder = folder
        self.log_path = os.path.join(folder, "log")
        self._process = None

    @property
    def pid(self):
        """Of the main process, while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def answers(self):
        """True if it serves."""
        raise NotImplementedError

    def _launch(self):
        """Starts the main process."""
        raise NotImplementedError

    def start(self, wait=True, timeout=60):
        """Starts it if it does not run; waits until it answers."""
        if not self.pid:
            self._launch()
        if wait:
            wait_until(self._started, timeout, f"{self.name} answers; log: {self.log_path}")

    def _started(self):
        if not self.pid:
            self._launch()
        return self.answers()

    def _spawn(self, *command):
        with open(self.log_path, "ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                env=CLEAN, start_new_session=True, **as_user())

    def _end(self, number, timeout):
        if self.pid:
            process.send(self.pid, number)
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self):
        """kill -9; returns when the main process has gone."""
        if self.pid:
            process.kill(self.pid)
            self._process.wait(30)

    def freeze(self):
        """SIGSTOP to every process of it."""
        for pid in self.pids():
            process.freeze(pid)

    def wake(self):
        """The opposite of freeze()."""
        for pid in self.pids():
            process.wake(pid)

    def pids(self):
        """Of all its processes, the main one first."""
        return [self.pid] + process.children(self.pid) if self.pid else []

    def log(self):
        """What it has logged."""
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return ""


class Redis(Store):
    """Redis as production runs it: append-only file, fsync every second, noeviction.

    `settings` are further lines of redis.conf, as a dict."""

    name = "redis"

    def __init__(self, folder, settings=None):
        super().__init__(folder)
        self.socket = os.path.join(folder, "s")
        self.url = f"unix:{self.socket}"
        self.settings = settings or {}
        os.mkdir(os.path.join(folder, "data"))
        if store_user():
            for path in (folder, os.path.join(folder, "data")):
                shutil.chown(path, store_user())

    def _launch(self):
        options = {
            "port": 0, "unixsocket": self.socket, "dir": os.path.join(self.folder, "data"),
            "appendonly": "yes", "appendfsync": "everysec", "save": "",
            "maxmemory-policy": "noeviction", "enable-debug-command": "yes", **self.settings}
        self._spawn("redis-server", *(word for name, value in options.items()
                                      for word in (f"--{name}", str(value))))

    def answers(self):
        with contextlib.suppress(redis_client.RedisError):
            return bool(self.client(timeout=2).ping())
        return False

    def client(self, timeout=10):
        """A client of its own connection pool; answers are text."""
        return redis_client.Redis(unix_socket_path=self.socket, decode_responses=True,
                                  socket_timeout=timeout)

    def stop(self, timeout=30):
        """Ends it in order: the append-only file is complete."""
        self.wake()
        self._end(signal.SIGTERM, timeout)

    def append_only_files(self):
        """The incremental append-only files, oldest first."""
        folder = os.path.join(self.folder, "data", "appendonlydir")
        return sorted(os.path.join(folder, name) for name in os.listdir(folder)
                      if name.endswith(".incr.aof"))

    def save_copy(self, path):
        """Copies the data folder as it is on disk now (it may be running)."""
        copy_folder(os.path.join(self.folder, "data"), path)

    def restore_copy(self, path):
        """Puts a copy in place of the data. It must be stopped."""
        assert not self.pid
        replace_folder(path, os.path.join(self.folder, "data"))


class Postgres(Store):
    """PostgreSQL 15 with a database and role `kudos` (as deploy/stack makes them).

    Durable as by default unless `durable` is False, which is fine for everything that never kills
    it. `settings` are further settings, as a dict."""

    name = "postgres"

    def __init__(self, folder, durable=True, settings=None):
        super().__init__(folder)
        self.url = f"postgresql://kudos@/kudos?host={folder}"
        self.data = os.path.join(folder, "data")
        self.settings = dict(settings or {})
        if not durable:
            self.settings = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off",
                             **self.settings}
        copy_folder(template(), self.data)
        if store_user():
            shutil.chown(folder, store_user())
        os.chmod(folder, 0o700)

    def _launch(self):
        # After kill -9 of the postmaster its children take a moment to notice; until then a new
        # one refuses to start (start() tries again).
        options = {"listen_addresses": "", "unix_socket_directories": self.folder,
                   "unix_socket_permissions": "0700", "shared_buffers": "32MB",
                   "max_connections": 60, **self.settings}
        self._spawn(f"{PG_BIN}/postgres", "-D", self.data,
                    *(word for name, value in options.items() for word in ("-c", f"{name}={value}")))

    def log(self):
        """What it has logged, without the refusals of a server that is starting."""
        return "".join(line for line in super().log().splitlines(keepends=True)
                       if "FATAL:  the database system is" not in line)

    def answers(self):
        with contextlib.suppress(psycopg2.Error):
            self.connect(superuser=True, timeout=2).close()
            return True
        return False

    def connect(self, superuser=False, timeout=10, database="kudos"):
        """A new connection in autocommit mode, as `kudos` or as the superuser."""
        connection = psycopg2.connect(
            host=self.folder, dbname=database, user="postgres" if superuser else "kudos",
            connect_timeout=timeout)
        connection.autocommit = True
        return connection

    def sql(self, statement, *values, superuser=False):
        """Runs one statement on a connection of its own; returns its rows (None if it has none)."""
        connection = self.connect(superuser)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                return cursor.fetchall() if cursor.description else None
        finally:
            connection.close()

    def value(self, statement, *values):
        """The first column of the first row."""
        return self.sql(statement, *values)[0][0]

    def stop(self, mode="fast", timeout=60):
        """Ends it: "fast" in order, "immediate" as in a crash."""
        self.wake()
        self._end({"fast": signal.SIGINT, "immediate": signal.SIGQUIT,
                   "smart": signal.SIGTERM}[mode], timeout)

    def backends(self, pattern="kudos kudos"):
        """Pids of server processes whose title contains `pattern`, e.g. "COPY"."""
        return [pid for pid in process.children(self.pid or 0) if pattern in process.title(pid)]

    def save_copy(self, path):
        """A copy of the data folder to fall back to. It must be stopped."""
        assert not self.pid
        copy_folder(self.data, path)

    def restore_copy(self, path):
        """Puts a copy in place of the data. It must be stopped."""
        assert not self.pid
        replace_folder(path, self.data)


def copy_folder(source, target):
    """cp -a, which keeps owners and is many times faster than shutil; shares blocks if it can."""
    subprocess.run(["cp", "-a", "--reflink=auto", source, target], check=True)


def replace_folder(source, target):
    """Puts a copy of `source` where `target` was."""
    shutil.rmtree(target)
    copy_folder(source, target)


_template = None


def template():
    """An initialised data folder with role and database; made once per session."""
    global _template  # pylint: disable=global-statement
    if _template:
        return _template
    folder = os.path.join(session().path, "template")
    os.mkdir(folder, 0o700)
    if store_user():
        shutil.chown(folder, store_user())
    data = os.path.join(folder, "data")
    with open(os.path.join(session().path, "template.lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run([f"{PG_BIN}/initdb", "-D", data, "-U", "postgres", "--auth=trust",
                        "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8"],
                       check=True, cwd="/", env=CLEAN, **as_user(), **QUIET)
        # Single-user mode: no server to start and stop for three statements.
        for database, statement in (("postgres", "create role kudos login createrole;"),
                                    ("postgres", "create database kudos owner kudos;")):
            subprocess.run([f"{PG_BIN}/postgres", "--single", "-F", "-D", data, database],
                           input=statement.encode(), check=True, cwd="/", env=CLEAN,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **as_user())
    _template = data
    return data
