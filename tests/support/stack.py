"""A whole Kudos of one's own: Redis, PostgreSQL and one or several `kudos serve`.

    def test_something(stack):
        slug = stack.add_link("https://example.com/")
        with Clicker(stack.kudos.port, [f"/{slug}"], rate=2000) as clicker:
            stack.kudos.kill_role("redirect")
            wait_until(lambda: clicker.clicks > 5000)
        stack.assert_exactly_once(clicker.ids)
        stack.assert_consistent()

stack.redis, stack.postgres (stores.py) and stack.kudos (service.py) are started, stopped, killed
and frozen one by one. stack.service("name", …) makes a further edge or flusher on the same stores.
"""

import io
import itertools
import os
import tempfile

from .clicker import decode
from .service import Service
from .session import remove, session
from .stores import Postgres, Redis
from .wait import wait_until

# The binary has sanitizers in it (make SANITIZER=… sanitized).
SANITIZED = bool(os.environ.get("KUDOS_TEST_SANITIZED"))
COMPLAINT = r"ERROR: \w+Sanitizer|SUMMARY: \w+Sanitizer|runtime error: |Assertion .* failed"
LIVE = []  # stacks that run now; conftest shows their logs when a test fails


class Stack:
    """See above. `durable`: PostgreSQL with its default durability (for tests that kill it).
    Further arguments are those of Service, for stack.kudos."""

    def __init__(self, name="stack", durable=False, redis_settings=None, postgres_settings=None,
                 **service):
        self.folder = session().folder(name)
        self.redis = Redis(self._folder("redis"), redis_settings)
        self.postgres = Postgres(self._folder("pg"), durable, postgres_settings)
        self.services = []
        self._slugs = itertools.count(1)
        self.kudos = self.service("kudos", **service)
        LIVE.append(self)

    def _folder(self, name):
        path = os.path.join(self.folder, name)
        os.mkdir(path, 0o755)
        return path

    def service(self, name, **service):
        """A further `kudos serve` on the same stores; not started."""
        made = Service(self._folder(name), self.redis.url, self.postgres.url,
                       os.path.join(self.folder, "secret"), **service)
        self.services.append(made)
        return made

    def start(self, serve=True):
        """Starts the stores, migrates, serves. Returns itself."""
        self.redis.start(wait=False)
        self.postgres.start()
        self.redis.start()
        self.kudos.run("migrate")
        if serve:
            self.kudos.start()
        return self

    def close(self):
        """Kills everything that is left and removes the folder. Fails if a service complained of
        itself: an assertion, or a sanitizer."""
        if self in LIVE:
            LIVE.remove(self)
        for service in self.services:
            if SANITIZED and service.pid:
                service.stop()  # leaks are looked for at exit
            service.kill()
        for store in (self.redis, self.postgres):
            store.kill()
        complaints = [line for service in self.services for line in service.logged(COMPLAINT)]
        if not complaints:
            remove(self.folder)
        assert not complaints, "\n".join([f"logs are in {self.folder}"] + complaints[:20])

    def logs(self):
        """[(title, text)] of everything that logs."""
        found = [(f"log of {os.path.basename(s.folder)} ({s.folder})", s.log())
                 for s in self.services]
        return found + [(f"log of {s.name}", s.log()) for s in (self.redis, self.postgres)]

    # Links --------------------------------------------------------------------------------------

    def add_link(self, destination="https://example.com/", slug=None, live=True, **columns):
        """Inserts a link as any SQL client could (the default domain, unless a column says
        otherwise) and waits until stack.kudos serves it. Returns its slug."""
        slug = slug or f"t{next(self._slugs)}x{os.urandom(2).hex()}"
        columns = {"destination": destination, "slug": slug, **columns}
        names = ", ".join(columns)
        self.postgres.sql(
            f"insert into kudos.links (workspace_id, domain_id, {names})"
            f" select workspace_id, id, {', '.join(['%s'] * len(columns))}"
            " from kudos.domains where is_default", *columns.values())
        if live:
            self.wait_live(slug)
        return slug

    def add_links(self, count, prefix="n", destination="https://example.com/p/%s?from=kudos"):
        """Inserts `count` links in one statement and waits until they are served; the slugs."""
        self.postgres.sql(
            "insert into kudos.links (workspace_id, domain_id, slug, destination)"
            " select workspace_id, id, %s || n, replace(%s, '%%s', n::text)"
            " from kudos.domains, generate_series(1, %s) n where is_default",
            prefix, destination, count)
        self.wait_live(f"{prefix}{count}", 60)
        return [f"{prefix}{n}" for n in range(1, count + 1)]

    def wait_live(self, slug, timeout=10):
        """Waits until stack.kudos redirects on a slug (HEAD: not counted as a click)."""
        wait_until(lambda: self.kudos.get(f"/{slug}", method="HEAD").status < 400, timeout,
                   f"/{slug} redirects")

    # Proof --------------------------------------------------------------------------------------

    def rows(self):
        """Rows in kudos.clicks."""
        return self.postgres.value("select count(*) from kudos.clicks")

    def missing_and_doubled(self, ids):
        """How many of the click ids (text, or pairs of origin and seq) are not in kudos.clicks,
        and how many are there twice."""
        wanted = [decode(each)[1:3] if isinstance(each, str) else each for each in ids]
        assert len(set(wanted)) == len(wanted), "the same click id was given out twice"
        lines = io.StringIO("".join(f"{origin}\t{seq}\n" for origin, seq in wanted))
        connection = self.postgres.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute("create temp table wanted (origin bigint, seq bigint)")
                cursor.copy_from(lines, "wanted")
                cursor.execute(
                    "select count(*) filter (where n = 0), count(*) filter (where n > 1) from ("
                    " select count(c.seq) as n from wanted w left join kudos.clicks c"
                    " on c.origin = w.origin and c.seq = w.seq group by w.origin, w.seq) as each")
                return cursor.fetchone()
        finally:
            connection.close()

    def assert_exactly_once(self, ids, timeout=60):
        """Every id that a client received becomes one row, and stays one row."""
        assert ids, "no click ids: the test clicked nothing"

        def arrived():
            return self.missing_and_doubled(ids)[0] == 0
        def state():
            return "of %d click ids %d missing, %d doubled" % (
                len(ids), *self.missing_and_doubled(ids))
        wait_until(arrived, timeout, state, interval=0.1)
        missing, doubled = self.missing_and_doubled(ids)
        assert (missing, doubled) == (0, 0), state()
        with tempfile.NamedTemporaryFile("w", suffix=".ids") as file:
            file.write("\n".join(ids) + "\n")
            file.flush()
            self.kudos.run("verify", "--clicks", file.name)

    def verify(self):
        """Runs `kudos verify`; the finished process."""
        return self.kudos.run("verify", check=False)

    def oracle(self, timeout=30):
        """Waits until `kudos verify` finds everything consistent; what it printed."""
        done = None

        def consistent():
            nonlocal done
            done = self.verify()
            return done.returncode == 0
        wait_until(consistent, timeout, lambda: f"kudos verify says: {done.returncode}\n"
                   f"{done.stdout}{done.stderr}", interval=0.1)
        return done.stdout

    assert_consistent = oracle

    def waiting_in_redis(self):
        """Entries in the streams of all partitions."""
        client = self.redis.client()
        return sum(client.xlen(key) for key in client.scan_iter("kudos:{*}:events"))

    def wait_flushed(self, timeout=30):
        """Waits until nothing is on its way: journals shipped, streams empty."""
        def quiet():
            return not self.waiting_in_redis() and not sum(
                s.metric("journal_backlog_events") for s in self.services if s.pid)
        wait_until(quiet, timeout, "everything is flushed")

    def wait_recorded(self, timeout=20):
        """Waits until every report of a conversion that was taken has become what it becomes."""
        told = sum(self.kudos.metric(name) for name in
                   ("hooks_conversions_total", "hooks_problems_total", "conversions_told_total"))

        def done():
            return self.postgres.value("select count(*) from kudos.conversion_inbox where processed_at is not null")
        wait_until(lambda: done() == told, timeout, lambda: f"{done()} of {told} are recorded")
