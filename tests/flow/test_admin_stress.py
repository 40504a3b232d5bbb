"""The admin plane while a store is away, under more load than it takes, killed and stopped: nothing
that was answered is lost, and every answer says what it knows."""

import collections
import http.client
import json
import os
import resource
import threading
import time

import pytest

from support.api import make_key, problem
from support.http import Raw
from support.wait import wait_until

STACK = {"settings": {"admin_body_bytes_max": 4096}}
DESTINATION = "https://example.com/landing"


# Stores away --------------------------------------------------------------------------------------

def test_redis_away(make_stack):
    stack = make_stack().start()
    link = stack.kudos.create_link(DESTINATION)
    path = f"/v1/links/{link['id']}/stats"
    wait_until(lambda: stack.kudos.admin("GET", path).json()["live"]["available"])
    stack.redis.freeze()
    begun = time.monotonic()
    stats = stack.kudos.admin("GET", path).json()
    assert time.monotonic() - begun < 4
    assert stats["stored"]["available"] is True
    assert stats["live"]["available"] is False and "Redis" in stats["live"]["reason"]
    stack.redis.wake()
    wait_until(lambda: stack.kudos.admin("GET", path).json()["live"]["available"])
    stack.redis.kill()
    stats = stack.kudos.admin("GET", path).json()
    assert (stats["stored"]["available"], stats["live"]["available"]) == (True, False)
    assert stack.kudos.create_link(DESTINATION)["live"] is True
    stack.redis.start()
    wait_until(lambda: stack.kudos.admin("GET", path).json()["live"]["available"], 20)


def test_postgres_away_and_back(make_stack):
    stack = make_stack(durable=True).start()
    link = stack.kudos.create_link(DESTINATION)
    other = make_key(stack)
    path = f"/v1/links/{link['id']}/stats"
    wait_until(lambda: stack.kudos.admin("GET", path).json()["live"]["available"])
    stack.postgres.stop("immediate")
    for method, route, body in (("POST", "/v1/links", {"destination": DESTINATION}),
                                ("GET", "/v1/links", None), ("GET", f"/v1/links/{link['id']}", None)):
        begun = time.monotonic()
        answer = stack.kudos.admin(method, route, body)
        assert time.monotonic() - begun < 1
        problem(answer, 503)
        assert int(answer.headers["Retry-After"]) >= 1
    stats = stack.kudos.admin("GET", path).json()
    assert stats["link"]["slug"] == link["slug"]
    assert stats["stored"]["available"] is False and stats["live"]["available"] is True
    problem(stack.kudos.admin("GET", "/v1/links/999999/stats"), 404)
    problem(stack.kudos.admin("GET", path, key=other), 503)  # a key not seen before the outage
    assert stack.kudos.get(f"/{link['slug']}").status == 302
    stack.redis.kill()
    stats = stack.kudos.admin("GET", path).json()
    assert (stats["stored"]["available"], stats["live"]["available"]) == (False, False)
    stack.redis.start()
    stack.postgres.start()
    wait_until(lambda: stack.kudos.admin("GET", "/v1/links").status == 200, 10)
    assert stack.kudos.create_link(DESTINATION)["id"] > link["id"]


def test_frozen_postgres_costs_only_the_first(make_stack):
    stack = make_stack().start()
    stack.kudos.create_link(DESTINATION)
    stack.postgres.freeze()
    begun = time.monotonic()
    problem(stack.kudos.admin("GET", "/v1/links"), 503)
    assert time.monotonic() - begun < 8
    assert stack.kudos.admin("GET", "/healthz", key=None).status == 200
    stack.postgres.wake()
    wait_until(lambda: stack.kudos.admin("GET", "/v1/links").status == 200, 15)


def test_start_without_postgres(make_stack):
    stack = make_stack(roles="admin").start(serve=False)
    stack.postgres.stop()
    stack.kudos._key = "kudos_" + "a" * 8 + "_" + "b" * 43
    stack.kudos.start()
    problem(stack.kudos.admin("GET", "/v1/links"), 503)
    stack.postgres.start()
    wait_until(lambda: stack.kudos.admin("GET", "/v1/links").status == 401, 10)


def test_without_sync_a_link_is_not_live(make_stack):
    stack = make_stack(roles="admin", settings={"live_timeout_ms": 300}).start()
    begun = time.monotonic()
    link = stack.kudos.create_link(DESTINATION)
    assert link["live"] is False and 0.25 < time.monotonic() - begun < 3
    assert stack.kudos.metric("live_unconfirmed_total") == 1
    answer = stack.kudos.admin("DELETE", f"/v1/links/{link['id']}")
    assert answer.status == 200 and answer.json()["live"] is False


def test_sync_frozen_then_back(make_stack):
    stack = make_stack(settings={"live_timeout_ms": 300}).start()
    stack.kudos.freeze("sync")
    link = stack.kudos.create_link(DESTINATION, slug="late")
    assert link["live"] is False
    stack.kudos.wake("sync")
    stack.wait_live("late")
    assert stack.kudos.create_link(DESTINATION)["live"] is True


# Many at once, stopping ---------------------------------------------------------------------------

def test_more_requests_than_connections_are_all_answered(stack):
    key = stack.kudos.key()
    body = json.dumps({"destination": DESTINATION})
    message = (f"POST /v1/links HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
               f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}")
    raws = [Raw(stack.kudos.admin_port) for _ in range(200)]
    for raw in raws:
        raw.send(message)
    slugs = set()
    for raw in raws:
        answer = raw.response()
        assert answer.status == 201, answer
        slugs.add(answer.json()["slug"])
        raw.socket.close()
    assert len(slugs) == 200


def creating(stack, stop, answers):
    """Makes links with slugs of its own until `stop`; notes (slug, status or None)."""
    number = 0
    while not stop.is_set():
        slug, number = f"k{threading.get_ident()}-{number}", number + 1
        try:
            answer = stack.kudos.admin("POST", "/v1/links",
                                       {"destination": DESTINATION, "slug": slug})
            answers.append((slug, answer.status))
        except OSError:
            answers.append((slug, None))
        except http.client.HTTPException:
            answers.append((slug, None))


@pytest.mark.parametrize("harm", ["admin", "backends"])
def test_what_was_answered_201_is_committed(make_stack, harm):
    stack = make_stack(durable=True).start()
    stack.kudos.key()
    stop, answers = threading.Event(), []
    threads = [threading.Thread(target=creating, args=(stack, stop, answers)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        made = len(answers)
        wait_until(lambda: sum(1 for _, status in answers[made:] if status == 201) > 20, 20)
        if harm == "admin":
            stack.kudos.kill_role("admin")
        else:
            stack.postgres.sql("select pg_terminate_backend(pid) from pg_stat_activity"
                               " where application_name like 'kudos-admin%%'", superuser=True)
    stop.set()
    for thread in threads:
        thread.join()
    assert {status for _, status in answers} <= {201, 503, None}
    stored = {row[0] for row in stack.postgres.sql("select slug from kudos.links")}
    created = [slug for slug, status in answers if status == 201]
    assert len(created) > 100 and set(created) <= stored
    assert {slug for slug, status in answers if status != 201}  # the harm was felt
    wait_until(lambda: stack.kudos.create_link(DESTINATION)["live"], what="links are made again")


def test_generated_slugs_avoid_taken_ones(make_stack):
    """All slugs are taken but for those that start with one of two letters."""
    stack = make_stack().start()
    stack.postgres.sql("create function kudos.narrow() returns trigger language plpgsql as"
                       " 'begin if new.slug !~ ''^[a-c]'' then return null; end if; return new;"
                       " end'")
    stack.postgres.sql("create trigger a_narrow before insert on kudos.links for each row"
                       " execute function kudos.narrow()")
    answers = [stack.kudos.admin("POST", "/v1/links", {"destination": DESTINATION})
               for _ in range(30)]
    assert {answer.status for answer in answers} <= {201, 503}
    made = [answer.json()["slug"] for answer in answers if answer.status == 201]
    assert made and all(slug[0] in "abc" for slug in made)


def test_stop_answers_what_is_in_flight(make_stack):
    stack = make_stack(settings={"live_timeout_ms": 1000}).start()
    stack.kudos.create_link(DESTINATION)
    stack.kudos.freeze("sync")
    body = json.dumps({"destination": DESTINATION, "slug": "in-flight"})
    with Raw(stack.kudos.admin_port) as raw:
        raw.send(f"POST /v1/links HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stack.kudos.key()}"
                 f"\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}")
        wait_until(lambda: stack.postgres.value(
            "select count(*) from kudos.links where slug = 'in-flight'") == 1)
        os.kill(stack.kudos.role_pid("admin"), 15)
        answer = raw.response()
        assert answer.status == 201 and answer.json()["live"] is False
        assert answer.headers["Connection"] == "close"
        assert raw.closed()
    stack.kudos.wake("sync")


def test_descriptors_run_out_and_come_back(make_stack):
    stack = make_stack().start()
    pid = stack.kudos.role_pid("admin")
    stack.kudos.create_link(DESTINATION)
    used = len(os.listdir(f"/proc/{pid}/fd"))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 10, used + 10))
    raws = [Raw(stack.kudos.admin_port) for _ in range(30)]
    wait_until(lambda: stack.kudos.logged("event=accept_failed"))
    ticks = cpu_ticks(pid)
    time.sleep(0.5)  # how busy it is while it cannot accept is what is measured
    assert cpu_ticks(pid) - ticks < 20
    for raw in raws:
        raw.socket.close()
    wait_until(lambda: stack.kudos.admin("GET", "/healthz", key=None).status == 200)
    assert stack.kudos.metric("admin_accept_paused_total") >= 1
    assert stack.kudos.create_link(DESTINATION)["live"] is True


def test_too_many_waiting_are_refused_at_once(make_stack):
    count = 1100  # more than POOL_QUEUE_MAX
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    stack = make_stack().start()
    message = ("GET /v1/links HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
               f"{stack.kudos.key()}\r\n\r\n")
    stack.postgres.freeze()
    raws = [Raw(stack.kudos.admin_port) for _ in range(count)]
    for raw in raws:
        raw.send(message)
    kinds = collections.Counter()
    for raw in raws:
        answer = raw.response()
        assert answer.status == 503 and answer.headers["Retry-After"] == "1"
        kinds[answer.json()["type"].rsplit(":", 1)[1]] += 1
        raw.socket.close()
    stack.postgres.wake()
    assert set(kinds) == {"overloaded", "outcome-unknown", "store-away"}, kinds
    assert kinds["overloaded"] == stack.kudos.metric("admin_queue_full_total")
    assert 0 < kinds["overloaded"] <= count - 1024
    wait_until(lambda: stack.kudos.admin("GET", "/v1/links").status == 200, 15)


def cpu_ticks(pid):
    """User and system time of a process."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])
