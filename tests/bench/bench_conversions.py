#!/usr/bin/python3
"""Conversions, timed: `make bench-conversions`. Prints figures; asserts none.

How many reports a second flush records from its inbox (kudos.process_inbox), as seen from the times in
the rows themselves, and how long POST /v1/conversions takes for BENCH_BULK (100,000) rows of CSV: with
hardly any conversion there, and with BENCH_KNOWN (1,000,000) of them. Each report is a sale with its own
order, customer, click (flushed, one day of ninety) and code, proved by a token: the dearest kind that is
common. PostgreSQL is as durable as by default; recording takes one of its processes, so one core.

BENCH_REPORTS (20000), BENCH_KNOWN (1000000; 0 leaves the second half out), BENCH_BULK (100000).
"""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# pylint: disable=wrong-import-position
from support.http import BROWSER, request  # noqa: E402
from support.service import FAST  # noqa: E402
from support.stack import Stack  # noqa: E402
from support.wait import wait_until  # noqa: E402

REPORTS = int(os.environ.get("BENCH_REPORTS", "20000"))
KNOWN = int(os.environ.get("BENCH_KNOWN", "1000000"))
BULK = int(os.environ.get("BENCH_BULK", "100000"))
DAYS, CAMPAIGNS, INFLUENCERS, TOKEN = 90, 10, 20, "ksrc_bench"

PEOPLE = f"""
insert into kudos.campaigns (workspace_id, slug, name, objective)
select w.id, 'c' || n, 'Campaign ' || n, 'conversion' from kudos.workspaces w, generate_series(1, {CAMPAIGNS}) n;
insert into kudos.influencers (workspace_id, handle, name, email)
select w.id, 'i' || n, 'Influencer ' || n, 'i' || n || '@example.com'
  from kudos.workspaces w, generate_series(1, {CAMPAIGNS * INFLUENCERS}) n;
insert into kudos.links (workspace_id, domain_id, campaign_id, influencer_id, slug, destination)
select i.workspace_id, d.id, a.id, i.id, 'b' || substr(i.handle, 2), 'https://shop.example.com/'
  from kudos.domains d, kudos.influencers i join kudos.campaigns a on a.workspace_id = i.workspace_id
   and a.slug = 'c' || (substr(i.handle, 2)::int - 1) / {INFLUENCERS} + 1 where d.is_default;
insert into kudos.codes (workspace_id, campaign_id, influencer_id, code, percent)
select workspace_id, campaign_id, influencer_id, 'CODE' || substr(slug, 2), 20 from kudos.links;
insert into kudos.sources (workspace_id, kind, name, token_hash)
select id, 'postback', 'bench', sha256('{TOKEN}') from kudos.workspaces;
"""

# Clicks number %(first)s and following of an origin, over the days before today, and the watermark.
CLICKS = f"""
insert into kudos.clicks (origin, seq, time, link_id, domain_id, workspace_id, campaign_id, influencer_id, visitor,
    verdict, status, flags)
select %(origin)s, n, date_trunc('milliseconds', now()) - (n %% 25 + 1) * interval '1 day' - n * interval '1 millisecond',
    l.id, l.domain_id, l.workspace_id, l.campaign_id, l.influencer_id, n, 'human', 302, 0
  from generate_series(1, %(count)s) n join kudos.links l on l.slug = 'b' || n %% {CAMPAIGNS * INFLUENCERS} + 1;
insert into kudos.watermarks (origin, partition, seq, applied, gaps) values (%(origin)s, 0, %(count)s, %(count)s, 0);
"""
INBOX = f"""
insert into kudos.conversion_inbox (origin, seq, received_at, path, verified, token_hash, told)
select c.origin, c.seq, now(), 'postback', false, sha256('{TOKEN}'), jsonb_build_object(
    'event', 'sale', 'key', c.origin || '-' || c.seq, 'order_id', c.origin || '-' || c.seq, 'amount_minor', 1000 + c.seq %% 9000,
    'currency', 'EUR', 'code', 'CODE' || substr(l.slug, 2), 'customer', 'customer' || c.seq || '@example.com',
    'click_id', 'x' || c.seq, 'click_origin', c.origin, 'click_seq', c.seq, 'click_link_id', c.link_id, 'click_time', c.time,
    'touches', jsonb_build_array(jsonb_build_object('id', 'x' || c.seq, 'origin', c.origin, 'seq', c.seq,
        'link_id', c.link_id, 'time', c.time)))
  from kudos.clicks c join kudos.links l on l.id = c.link_id where c.origin = %(origin)s
"""
# What recording the same would have left behind.
KEPT = """
with made as (
  insert into kudos.conversions (workspace_id, event, key, order_id, amount_minor, currency, occurred_at, occurred_told,
      path, verified, click_id, click_verified, click_origin, click_seq, click_link_id, click_time, code, code_verified,
      customer, status, via, reason, influencer_id, campaign_id)
  select c.workspace_id, 'sale', c.origin || '-' || c.seq, c.origin || '-' || c.seq, 1000 + c.seq %% 9000, 'EUR',
      c.time + interval '20 minutes', true, 'postback', true, 'x' || c.seq, true, c.origin, c.seq, c.link_id, c.time,
      'CODE' || substr(l.slug, 2), true, sha256(c.seq::text::bytea), 'credited', 'code', 'code_first', c.influencer_id,
      c.campaign_id
    from kudos.clicks c join kudos.links l on l.id = c.link_id where c.origin = %(origin)s
  returning *),
touched as (
  insert into kudos.conversion_touches (conversion_id, click_id, verified, origin, seq, link_id, time)
  select id, click_id, true, click_origin, click_seq, click_link_id, click_time from made),
looked as (
  insert into kudos.conversion_clicks (conversion_id, origin, seq, click_time, looked)
  select id, click_origin, click_seq, click_time, true from made)
insert into kudos.attributions (conversion_id, position, kind, influencer_id, campaign_id, link_id, code_id, touched_at,
    won, share_percent, amount_minor, reason)
select m.id, p, case p when 1 then 'code' else 'link' end::kudos.touch_kind, m.influencer_id, m.campaign_id,
    case p when 2 then m.click_link_id end, case p when 1 then k.id end, m.occurred_at, p = 1,
    case p when 1 then 100 else 0 end, case p when 1 then m.amount_minor else 0 end,
    case p when 1 then 'code_first' else 'outranked_code_first' end
  from made m join kudos.codes k on k.workspace_id = m.workspace_id and lower(k.code) = lower(m.code), generate_series(1, 2) p
"""


def say(what, figure):
    """One line."""
    print(f"  {what:<58} {figure}", flush=True)


def fill(stack, origin, count):
    """So many clicks of an origin."""
    stack.postgres.sql(CLICKS % {"origin": origin, "count": count})


def bench_inbox(stack, origin):
    """Reports in the inbox, until flush has recorded them."""
    fill(stack, origin, REPORTS)
    stack.postgres.sql(INBOX % {"origin": origin})
    stack.postgres.sql("analyze", superuser=True)
    known = stack.postgres.value("select count(*) from kudos.conversions")
    flush = stack.service(f"flush{origin}", roles="flush,admin", settings=SETTINGS)
    flush.start()
    wait_until(lambda: stack.postgres.value(
        "select count(*) from kudos.conversion_inbox where due_at is not null") == 0, 1800, "all are recorded")
    flush.stop()
    outcomes, took = stack.postgres.sql(
        "select array_agg(distinct i.outcome || ' ' || c.reason), extract(epoch from max(processed_at) - min(processed_at))"
        " from kudos.conversion_inbox i join kudos.conversions c on c.id = i.conversion_id where i.origin = %s", origin)[0]
    say(f"inbox, {known} conversions there", f"{REPORTS / float(took):.0f}/s ({REPORTS} reports, {', '.join(outcomes)})")


def bench_bulk(stack, name):
    """CSV, with a genuine click id and a code in each row."""
    service = stack.service(name, roles="redirect,sync,admin", settings=SETTINGS)
    service.start()
    wait_until(lambda: service.get("/b1", method="HEAD").status < 400, 30, "links are there")
    clicks = [request(service.port, path=f"/b{n % 200 + 1}", headers=BROWSER).location.partition("kudos_id=")[2]
              for n in range(1000)]
    rows = ["event,order_id,amount,currency,code,customer,click_id"] + [
        f"sale,{name}-{n},{n % 90 + 10}.90,EUR,CODE{n % 200 + 1},person{n}@example.com,{clicks[n % 1000]}"
        for n in range(BULK)]
    known = stack.postgres.value("select count(*) from kudos.conversions")
    begun = time.perf_counter()
    answer = service.admin("POST", "/v1/conversions", "\n".join(rows).encode(), headers={"Content-Type": "text/csv"},
                           timeout=1800)
    took = time.perf_counter() - begun
    assert answer.status == 200 and answer.json()["created"] == BULK, answer.text[:300]
    say(f"POST /v1/conversions, CSV, {known} conversions there", f"{BULK / took:.0f}/s ({BULK} rows in {took:.1f} s)")
    service.stop()


SETTINGS = {**{name: None for name in FAST}, "workers": 1, "log_level": "warn"}


def main():
    """All of it."""
    print(f"kudos bench-conversions: {os.cpu_count()} cores", flush=True)
    stack = Stack("bench", durable=True, settings=SETTINGS, postgres_settings={
        "shared_buffers": "512MB", "max_wal_size": "4GB"}).start(serve=False)
    try:
        stack.postgres.sql(PEOPLE)
        for day in range(DAYS):
            stack.postgres.sql("select kudos.make_click_day(current_date - %s)", day)
        for origin, known in enumerate([0] + ([KNOWN] if KNOWN else []), 4711):
            if known:
                begun = time.perf_counter()
                fill(stack, 1000, known)
                stack.postgres.sql(KEPT % {"origin": 1000})
                stack.postgres.sql("vacuum analyze", superuser=True)
                say(f"(filling {known} conversions)", f"{time.perf_counter() - begun:.0f} s")
            if REPORTS:
                bench_inbox(stack, origin)
            if BULK:
                bench_bulk(stack, f"bulk{origin}")
    finally:
        stack.close()


if __name__ == "__main__":
    main()
