"""A stack that somebody else runs, to look at one test with a debugger in the server.

    make run                                  # in one terminal; writes .run/service.env
    KUDOS_TEST_ATTACH=.run/service.env /usr/bin/python3 -m pytest tests/flow/test_x.py

Only what a client can do works on it: tests that start, stop or kill parts of it fail.
"""

import contextlib
import os
import urllib.parse

import psycopg2
import redis as redis_client

from .service import Service
from .stack import Stack
from .stores import Postgres, Redis


class _Redis(Redis):
    def __init__(self, url):  # pylint: disable=super-init-not-called
        self.url, self._process = url, None

    def client(self, timeout=10):
        url = self.url if "://" in self.url else self.url.replace("unix:", "unix://", 1)
        return redis_client.Redis.from_url(url, decode_responses=True, socket_timeout=timeout)


class _Postgres(Postgres):
    def __init__(self, url):  # pylint: disable=super-init-not-called
        self.url, self._process = url, None

    def connect(self, superuser=False, timeout=10, database="kudos"):
        connection = psycopg2.connect(self.url, connect_timeout=timeout,
                                      **({"user": "postgres"} if superuser else {}))
        connection.autocommit = True
        return connection


class _Service(Service):
    def __init__(self, settings):  # pylint: disable=super-init-not-called
        super().__init__("/tmp", None, None, None)
        self.settings = settings
        self.port = urllib.parse.urlsplit("//" + settings["listen"]).port
        self.admin_port = urllib.parse.urlsplit("//" + settings["admin_listen"]).port
        self._pid = int(settings.pop("test_pid", 0)) or None

    @property
    def pid(self):
        return self._pid


class AttachedStack(Stack):
    """Made from a file of KUDOS_<NAME>=value lines (KUDOS_TEST_PID: the supervisor)."""

    def __init__(self, path):  # pylint: disable=super-init-not-called
        settings = {}
        with open(path, encoding="utf-8") as file:
            for line in file:
                name, _, value = line.strip().partition("=")
                if name.startswith("KUDOS_"):
                    settings[name[6:].lower()] = value.strip("'\"")
        self.folder = os.path.dirname(path)
        self.redis = _Redis(settings["redis_url"])
        self.postgres = _Postgres(settings["database_url"])
        self.kudos = _Service(settings)
        self.services = [self.kudos]
        self._slugs = iter(range(1, 1 << 30))

    def start(self, serve=True):
        return self

    def close(self):
        with contextlib.suppress(AttributeError):
            self.kudos.folder = None
