"""Conversions from the stream to their row: flush dies or freezes, PostgreSQL refuses some, others hold
locks. Every report is recorded once, to the cent, and none holds up a click."""

import hashlib
import hmac
import os
import threading

import pytest

from support.feeder import Feeder, conversion
from support.wait import wait_until

SETTINGS = {"flush_takeover_ms": 400, "redis_timeout_ms": 200, "flush_batch_events": 1000}
POINTS = ["flush_inside_told", "flush_after_copy", "flush_after_watermark", "flush_before_commit",
          "flush_after_commit", "flush_after_acknowledge", "flush_before_inbox", "flush_after_inbox"]


@pytest.fixture(name="stack")
def fixture_stack(make_stack):
    """Stores and a flusher."""
    return make_stack(roles="flush", settings=SETTINGS).start()


def sale(order, minor=1000, currency="EUR", **more):
    """What report_make() makes of a sale."""
    return {"event": "sale", "order_id": order, "key": order, "amount_minor": minor,
            "currency": currency, "path": "postback", "verified": False, **more}


def waiting(stack):
    """Reports that are not recorded yet."""
    return stack.postgres.value("select count(*) from kudos.conversion_inbox where due_at is not null")


def settle(stack, *feeders):
    """Everything sent is recorded, and the books balance."""
    for feeder in feeders:
        feeder.wait_flushed()
    wait_until(lambda: waiting(stack) == 0, 30, lambda: f"{waiting(stack)} reports wait")
    stack.assert_consistent()
    for feeder in feeders:
        feeder.assert_exactly_once()


def inbox(stack, seq):
    """(outcome, problem) of a report."""
    return stack.postgres.sql("select outcome, problem from kudos.conversion_inbox where seq = %s",
                              seq)[0]


def make_source(stack, token=b"t0k3n", secrets=(), workspace=1):
    """A source; its id."""
    return stack.postgres.value(
        "insert into kudos.sources (workspace_id, kind, name, token_hash, secrets)"
        " values (%s, 'postback', 'shop', %s, %s) returning id", workspace,
        hashlib.sha256(token).digest(), list(secrets))


@pytest.mark.parametrize("point", [pytest.param(point, marks=pytest.mark.short) if point in (
    "flush_before_commit", "flush_after_inbox") else point for point in POINTS])
def test_killed(make_stack, point):
    """kill -9 at each arrow, with clicks and conversions on their way, each told five times."""
    stack = make_stack(roles="flush", settings=SETTINGS)
    stack.kudos.env = {"KUDOS_CRASH_AT": f"{point}:{5 if 'inbox' in point else 2}",
                       "KUDOS_CRASH_ONCE": os.path.join(stack.folder, "once")}
    stack.start()
    feeder = Feeder(stack, batch=50)
    orders = {f"A-{i}": 1 + i * 977 for i in range(120)}
    for round_ in range(5):
        for order, minor in orders.items():
            feeder.add(payload=conversion(sale(order, minor))).add(2, link=1)
        feeder.ship_all()
        feeder.wait_flushed()
        assert round_ or stack.rows() == 240
    wait_until(lambda: any(name.startswith("once.") for name in os.listdir(stack.folder)), 30,
               f"flush came to {point}")
    settle(stack, feeder)
    assert dict(stack.postgres.sql("select order_id, amount_minor from kudos.conversions")) == orders
    assert dict(stack.postgres.sql("select outcome, count(*) from kudos.conversion_inbox group by 1")) \
        == {"created": 120, "repeated": 480}
    assert stack.kudos.logged("child_died.*child=flush")
    # Redis counts clicks of links, and a recovery counts the same.
    totals = {"1": str(5 * 240)}
    assert stack.redis.client().hgetall(feeder.keys()[3]) == totals
    stack.redis.client().flushall()
    wait_until(lambda: stack.redis.client().hgetall(feeder.keys()[3]) == totals, 10, "totals again")


@pytest.mark.short
def test_poison_among_good_ones(stack):
    """What PostgreSQL does not take into the inbox goes to quarantine; what it takes and cannot record
    is kept with the reason, tried again, and holds up nothing."""
    feeder = Feeder(stack).add(3, link=1)
    feeder.add(payload=conversion(sale("A")))
    feeder.add(payload=conversion(b'{"event": '))         # 5: no JSON
    feeder.add(payload=conversion(b'["sale"]'))           # 6: not an object
    feeder.add(payload=conversion(sale("B"), path=7))     # 7: a path to come
    feeder.add(payload=conversion(sale("C", minor=-5)))   # 8: recorded by nobody
    feeder.add(payload=conversion(sale("D"), workspace=99))
    feeder.add(payload=conversion(sale("E"), time_us=-(2**62)))
    feeder.add(payload=conversion(sale("F", occurred_at="someday")))
    feeder.add(payload=conversion(sale("G"))).add(3, link=1)
    feeder.wait_flushed()
    wait_until(lambda: waiting(stack) == 2, 30, lambda: f"{waiting(stack)} reports wait")
    stack.assert_consistent()
    refused = dict(stack.postgres.sql("select seq, error from kudos.quarantine"))
    assert sorted(refused) == [5, 6, 7, 10]
    assert refused[5].startswith("22P02") and refused[6].startswith("23514")
    assert stack.postgres.value("select count(*) from kudos.quarantine where link_id is not null") == 0
    assert inbox(stack, 4) == inbox(stack, 12) == ("created", None)
    assert inbox(stack, 8)[0] == "failed" and inbox(stack, 8)[1].startswith("23514")
    assert inbox(stack, 9) == ("refused", "unknown_workspace")
    assert inbox(stack, 11)[0] == "failed" and inbox(stack, 11)[1].startswith("22007")
    assert stack.rows() == 6
    done = stack.kudos.run("verify").stdout
    assert "conversions: 5 reports, 2 not recorded yet, 2 of them failed" in done
    assert stack.kudos.metric("conversions_failed") == 2
    # The cause goes away, by a later release or by hand.
    stack.postgres.sql("update kudos.conversion_inbox set told = jsonb_set(told, '{amount_minor}', '5')"
                       " where seq = 8")
    stack.postgres.sql("update kudos.conversion_inbox set told = told - 'occurred_at', due_at = now()"
                       " where due_at is not null")
    settle(stack, feeder)
    assert inbox(stack, 8)[0] == inbox(stack, 11)[0] == "created"


@pytest.mark.short
def test_who_told_it(stack):
    """Token, signature, neither, or another's: verified or not, in which workspace, and why."""
    stack.postgres.sql("insert into kudos.workspaces (name) values ('other')")
    source = make_source(stack, b"t0k3n", ["old secret", "s" * 100])
    foreign = make_source(stack, b"other", ["old secret"], workspace=2)
    gone = make_source(stack, b"gone", ["old secret"])
    stack.postgres.sql("update kudos.sources set revoked_at = now() where id = %s", gone)

    def sign(secret, signed):
        message = hashlib.sha256(signed).hexdigest()
        return {"signed": signed, "signature": hmac.new(secret, message.encode(), "sha256").digest()}

    cases = [
        ({}, False, None, 1),
        ({"source": source}, False, "not_signed", 1),
        ({"token": b"t0k3n"}, True, None, 1),
        ({"token": b"t0k3n", "source": source, "workspace": 2}, True, None, 1),
        ({"token": b"other"}, True, None, 2),
        ({"token": b"other", "source": source}, False, "token_of_another_source", 1),
        ({"token": b"wrong"}, False, "unknown_token", 1),
        ({"token": b"gone"}, False, "unknown_token", 1),
        ({"source": source, **sign(b"old secret", b"a=1")}, True, None, 1),
        ({"source": source, **sign(b"s" * 100, b"a=1")}, True, None, 1),  # longer than a block
        ({"source": foreign, **sign(b"old secret", b"a=1")}, True, None, 2),
        ({"source": gone, **sign(b"old secret", b"a=1")}, False, "bad_signature", 1),
        ({"source": source, **sign(b"no secret", b"a=1")}, False, "bad_signature", 1),
        ({"source": source, **sign(b"old secret", b"a=1"), "signed": b"a=2"}, False,
         "bad_signature", 1),
        # A signature that is wrong is not made good by a token.
        ({"source": source, "token": b"t0k3n", **sign(b"no secret", b"a=1")}, False,
         "bad_signature", 1),
        ({"source": 999, **sign(b"old secret", b"a=1")}, False, "bad_signature", 1),
        ({"source": source, "verified": True}, True, None, 1),
        ({"source": foreign, "verified": True, "workspace": 1}, True, None, 2),
        ({"source": 999, "verified": True}, False, "unknown_source", 1),
    ]
    feeder = Feeder(stack)
    for i, case in enumerate(cases):
        feeder.add(payload=conversion(sale(f"O-{i}", customer="a@example.com"), **case[0]))
    settle(stack, feeder)
    found = stack.postgres.sql(
        "select c.verified, i.problem, c.workspace_id, c.status::text, i.told ? 'customer',"
        " c.customer is null from kudos.conversion_inbox i join kudos.conversions c"
        " on c.id = i.conversion_id order by i.seq")
    expected = [(verified, problem, workspace, "unattributed" if verified else "unverified", False, False)
                for _, verified, problem, workspace in cases]
    assert found == expected
    used = stack.postgres.sql("select last_used_at is not null from kudos.sources order by id")
    assert used == [(True,), (True,), (False,)]


def test_told_long_ago(stack):
    """PostgreSQL was away for long: the time of the sale is when it was told, and who proved
    themselves then need not do so now."""
    source = make_source(stack, secrets=["secret"])
    stack.postgres.sql("update kudos.sources set previous_secrets = '{before}', previous_until = now()"
                       " where id = %s", source)
    told_us = 1_700_000_000_123_456
    signature = hmac.new(b"before", hashlib.sha256(b"x").hexdigest().encode(), "sha256").digest()
    feeder = Feeder(stack).add(payload=conversion(
        sale("A"), time_us=told_us, source=source, signed=b"x", signature=signature))
    settle(stack, feeder)
    assert stack.postgres.sql(
        "select verified, occurred_told, (extract(epoch from occurred_at) * 1000000)::bigint,"
        " occurred_at = received_at from kudos.conversions") == [(True, False, told_us, True)]


def test_an_unverified_report_and_a_signed_one(stack):
    """An order told by anybody earns nobody anything, until its source tells it; then what the source
    says goes."""
    make_source(stack)
    feeder = Feeder(stack)
    feeder.add(payload=conversion(sale("A", minor=1)))
    settle(stack, feeder)
    read = "select status::text, amount_minor, verified from kudos.conversions"
    assert stack.postgres.sql(read) == [("unverified", 1, False)]
    feeder.add(payload=conversion(sale("A", minor=4990), token=b"t0k3n"))
    settle(stack, feeder)
    assert stack.postgres.sql(read) == [("unattributed", 4990, True)]
    feeder.add(payload=conversion(sale("A", minor=1)))
    settle(stack, feeder)
    assert stack.postgres.sql(read) == [("unattributed", 4990, True)]
    assert [row[0] for row in stack.postgres.sql(
        "select outcome from kudos.conversion_inbox order by seq")] == ["created", "enriched", "conflict"]


def test_erased_before_it_is_recorded(stack):
    """A customer who is erased is in no report that still waits, nor in one that was recorded."""
    told = {"customer": "Eve@example.com", "metadata": {"note": "Eve's"}, "items": [{"for": "Eve"}]}
    feeder = Feeder(stack)
    feeder.add(payload=conversion(sale("A", **told)))
    feeder.add(payload=conversion(sale("B", occurred_at="someday", **told)))
    feeder.add(payload=conversion(sale("C", occurred_at="someday", **{**told, "customer": "a@b.c"})))
    feeder.wait_flushed()
    wait_until(lambda: waiting(stack) == 2 and inbox(stack, 3)[0] == "failed", 30, "two have failed")
    stack.postgres.sql("insert into kudos.erasures (workspace_id, subject) values (1, 'eve@example.com')")
    assert stack.postgres.sql("select erased ->> 'conversion_inbox', remaining ->> 'conversion_inbox',"
                              " erased ->> 'conversions' from kudos.erasures") == [("1", "0", "1")]
    assert stack.postgres.sql(
        "select seq from kudos.conversion_inbox where told ?| array['customer', 'metadata']") == [(3,)]
    assert stack.postgres.sql(
        "select seq from kudos.conversion_inbox where told ? 'items' order by seq") == [(2,), (3,)]


@pytest.mark.short
def test_locks_hold_up_no_click(stack):
    """Somebody keeps an order locked: clicks and other orders go on, that one comes later."""
    feeder = Feeder(stack).add(payload=conversion(sale("A")))
    settle(stack, feeder)
    with stack.postgres.connect() as holder, holder.cursor() as cursor:
        holder.autocommit = False
        cursor.execute("select from kudos.conversions where order_id = 'A' for update")
        for i in range(20):
            feeder.add(payload=conversion(sale("A", code=f"C{i}")))
            feeder.add(payload=conversion(sale(f"B-{i}"))).add(50, link=1)
        feeder.wait_flushed()
        wait_until(lambda: waiting(stack) == 20, 30, lambda: f"{waiting(stack)} reports wait")
        assert stack.postgres.value("select count(*) from kudos.conversions") == 21
        assert stack.rows() == 1000
        holder.rollback()
    settle(stack, feeder)
    assert stack.postgres.value("select count(*) from kudos.conversions") == 21
    assert stack.postgres.value("select code from kudos.conversions where order_id = 'A'") == "C0"


def test_two_flushers_share_the_inbox(make_stack):
    """The same orders through two partitions at once: each is one conversion."""
    stack = make_stack(roles="flush", settings={**SETTINGS, "partitions": 2}).start()
    feeders = [Feeder(stack, partition=partition) for partition in (0, 1)]
    threads = []
    for feeder in feeders:
        for i in range(400):
            order = i if feeder is feeders[0] else 399 - i
            feeder.add(payload=conversion(sale(f"A-{order}", minor=100 + order)))
        threads.append(threading.Thread(target=feeder.ship_all))
        threads[-1].start()
    for thread in threads:
        thread.join()
    settle(stack, *feeders)
    assert stack.postgres.sql("select count(*), sum(amount_minor) from kudos.conversions") \
        == [(400, sum(100 + i for i in range(400)))]
