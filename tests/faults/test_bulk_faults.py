"""Rosters and bulk calls: whatever dies at whatever point, the same call again gives exactly the rows
that were asked for, and the same answer to whoever asks once more."""

import concurrent.futures
import glob
import http.client
import json
import os

import pytest

from support.api import make
from support.pgproxy import CommitProxy
from support.wait import wait_until

ROWS = 2600  # three batches of bulk, six of roster


class Call:
    """A call, and what must come of it."""

    def __init__(self, stack, kind, name):
        self.stack, self.kind, self.name = stack, kind, name
        self.headers = {"Idempotency-Key": f"{kind}-{name}"}
        if kind == "roster":
            self.campaign = make(stack, "/v1/campaigns", {
                "name": name, "slug": name, "objective": "launch",
                "destination": "https://example.com/"})["id"]
            self.path = f"/v1/campaigns/{self.campaign}/roster"
            self.body = {"influencers": [{"handle": f"{name}-{n}"} for n in range(ROWS)],
                         "code": {"template": "{HANDLE}"}}
        else:
            self.path = "/v1/links/bulk/create"
            self.body = [{"destination": f"https://example.com/{name}/{n}"} for n in range(ROWS)]
            self.headers["Content-Type"] = "application/json"

    def send(self, timeout=60):
        """Once; None if no answer came."""
        try:
            return self.stack.kudos.admin("POST", self.path, json.dumps(self.body).encode(),
                                          {"Content-Type": "application/json", **self.headers},
                                          timeout=timeout)
        except (OSError, http.client.HTTPException):
            return None

    def send_until_done(self):
        """Again and again, as a client would, until it is done."""
        answer = None

        def done():
            nonlocal answer
            answer = self.send()
            assert answer is None or answer.status in (200, 503), answer
            return answer is not None and answer.status == 200
        wait_until(done, 60, "the call is done")
        return answer

    def rows(self):
        """(links, different destinations or influencers, codes) that are there."""
        if self.kind == "roster":
            return self.stack.postgres.sql(
                "select (select count(*) from kudos.links where campaign_id = %s),"
                " (select count(distinct influencer_id) from kudos.links where campaign_id = %s),"
                " (select count(*) from kudos.codes where campaign_id = %s)",
                *[self.campaign] * 3)[0]
        return self.stack.postgres.sql(
            "select count(*), count(distinct destination), 0 from kudos.links"
            " where destination like %s", f"https://example.com/{self.name}/%")[0]

    def check(self, answer):
        """Exactly the rows, the answer tells about them, and comes again."""
        codes = ROWS if self.kind == "roster" else 0
        assert self.rows() == (ROWS, ROWS, codes)
        items = answer.json()["items"]
        assert len(items) == ROWS
        links = [item["link"]["id"] if codes else item["id"] for item in items]
        assert self.stack.postgres.value(
            "select count(*) from kudos.links where id = any(%s)", links) == ROWS
        assert len(set(links)) == ROWS
        assert self.send().body == answer.body
        assert self.rows() == (ROWS, ROWS, codes)
        if codes:
            assert self.stack.postgres.value(
                "select count(*) from kudos.influencers where handle like %s",
                f"{self.name}-%") == ROWS


def crash_and_repeat(stack, kind, point, passes):
    """The process that serves the call is killed at a point of it."""
    name = f"{point.replace('_', '-')}-{passes}"
    if not stack.kudos.pid:
        stack.kudos.start()
    call = Call(stack, kind, name)
    stack.kudos.stop()
    once = os.path.join(stack.kudos.folder, f"once-{kind}-{name}")
    stack.kudos.env = {"KUDOS_CRASH_AT": f"{point}:{passes}", "KUDOS_CRASH_ONCE": once}
    stack.kudos.start()
    first = call.send()
    crashed = bool(glob.glob(once + "*"))
    assert (first is None) == crashed, (first, crashed)
    if crashed and point != "transaction_committed":
        assert call.rows() == (0, 0, 0)
    stack.kudos.env = {}
    stack.kudos.wait_ready()
    call.check(call.send_until_done())
    return crashed


@pytest.mark.parametrize("kind", ["bulk", "roster"])
@pytest.mark.parametrize("point", [
    "transaction_commit", pytest.param("transaction_committed", marks=pytest.mark.short)])
def test_killed_around_commit(stack, kind, point):
    assert crash_and_repeat(stack, kind, point, 1)


@pytest.mark.parametrize("kind", ["bulk", "roster"])
def test_killed_at_each_statement(stack, kind):
    passes = 1
    while crash_and_repeat(stack, kind, "transaction_query", passes):
        passes += 1 if passes < 8 else 7
    assert passes > 8


@pytest.mark.parametrize("kind", ["bulk", "roster"])
@pytest.mark.parametrize("mode", ["answer", "request", "late"])
def test_connection_cut_at_commit(make_stack, kind, mode):
    stack = make_stack()
    proxy = CommitProxy(os.path.join(stack.folder, "wire"), stack.postgres, "kudos-admin-bulk")
    stack.start(serve=False)
    direct = stack.kudos.settings["database_url"]
    stack.kudos.settings["database_url"] = proxy.url
    stack.kudos.start()
    stack.kudos.settings["database_url"] = direct
    call = Call(stack, kind, f"cut-{mode}")
    proxy.fail(mode)
    first = call.send()
    proxy.wait_fired()
    assert first.status == 503 and first.json()["type"] == "urn:kudos:problem:outcome-unknown"
    if mode == "late":
        # The next try waits for the first, whose COMMIT is still to come.
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            again = pool.submit(call.send)
            wait_until(lambda: stack.postgres.value(
                "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"), 20,
                "the next try waits")
            proxy.release()
            call.check(again.result())
    else:
        call.check(call.send_until_done())
    proxy.close()


def in_flight(stack, call, passed):
    """Sends the call from a thread, and returns when `passed` ids of links have been drawn."""
    before = stack.postgres.value("select last_value from kudos.links_id_seq")
    pool = concurrent.futures.ThreadPoolExecutor(1)
    future = pool.submit(call.send)
    wait_until(lambda: future.done() or stack.postgres.value(
        "select last_value from kudos.links_id_seq") >= before + passed, 20, "rows are written",
        interval=0.001)
    return future


@pytest.mark.parametrize("kind", ["bulk", "roster"])
@pytest.mark.parametrize("passed", [1, 1100, 2600])
def test_postgres_killed(stack, kind, passed):
    call = Call(stack, kind, f"pg-{passed}")
    future = in_flight(stack, call, passed)
    stack.postgres.kill()
    first = future.result()
    assert first is None or first.status in (200, 503), first
    stack.postgres.start()
    call.check(call.send_until_done())


@pytest.mark.parametrize("kind", ["bulk", "roster"])
def test_client_and_process_gone(stack, kind):
    """The client leaves, then the process is killed: what is left of the first call is rolled back,
    or was done; both are right."""
    call = Call(stack, kind, f"gone-{kind}")
    future = in_flight(stack, call, 600)
    stack.kudos.kill_role("admin")
    future.result()
    stack.kudos.wait_ready()
    call.check(call.send_until_done())


def test_roster_without_a_key(stack):
    """A roster finds what it has made by itself."""
    call = Call(stack, "roster", "keyless")
    call.headers = {}
    future = in_flight(stack, call, 1100)
    stack.kudos.kill_role("admin")
    future.result()
    answer = call.send_until_done()
    assert call.rows() == (ROWS, ROWS, ROWS)
    again = call.send_until_done().json()
    assert (again["created"], again["existed"]) == (0, ROWS)
    assert [item["link"] for item in again["items"]] == [
        item["link"] for item in answer.json()["items"]]
