#!/usr/bin/python3
"""Reports, timed: `make bench-reports`. Prints figures; asserts none.

Makes a season of BENCH_CLICKS clicks (5,000,000; 100000000 needs 40 GB) over 90 days and BENCH_CONVERSIONS
conversions (a hundredth of the clicks), in PostgreSQL itself: 100 campaigns of 20 influencers, a link, a
code, a post and a contract each; some contracts have tiers, bonuses, caps or pay for clicks, and half of them
have had a payout. Then has the days built as flush would, and asks every view for one campaign over 90 days,
a middling one (c50) and, of what grows with the conversions, the largest (c1, a tenth of everything): the
fastest and the slowest of BENCH_TRIES (5), and what was read to answer it. The goal is one second at 100
million clicks and a million conversions.

BENCH_KEEP=FOLDER keeps the database there, and uses it again on the same day: fill once, ask often. What is
left of one that was interrupted is refused. BENCH_VIEWS="earnings daily" asks these alone, BENCH_PLANS=1
prints plans.

How a figure grows with the clicks is seen, not guessed, where the same is asked of a smaller set: BENCH_CLICKS
says how many. What is read of single clicks is one day's (today); of daily figures, rows per link, day and
value, which hardly grow once every value has been seen; of conversions, those of the campaign.
"""

import datetime
import os
import re
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# pylint: disable=wrong-import-position
from support.stack import Stack  # noqa: E402

CLICKS = int(os.environ.get("BENCH_CLICKS", "5000000"))
CONVERSIONS = int(os.environ.get("BENCH_CONVERSIONS", str(CLICKS // 100)))
TRIES = int(os.environ.get("BENCH_TRIES", "5"))
KEEP = os.environ.get("BENCH_KEEP")
VIEWS = os.environ.get("BENCH_VIEWS", "").split()
DAYS, CAMPAIGNS, INFLUENCERS = 90, 100, 20
GOAL_CLICKS, GOAL_CONVERSIONS = 100_000_000, 1_000_000

PEOPLE = f"""
insert into kudos.workspaces (name) values ('bench');
insert into kudos.campaigns (workspace_id, slug, name, objective, targets)
select w.id, 'c' || n, 'Campaign ' || n, 'conversion', '{{"clicks": 10000, "sales": 100}}'
  from kudos.workspaces w, generate_series(1, {CAMPAIGNS}) n where w.name = 'bench';
insert into kudos.influencers (workspace_id, handle, name)
select w.id, 'i' || n, 'Influencer ' || n from kudos.workspaces w, generate_series(1, {CAMPAIGNS * INFLUENCERS}) n
 where w.name = 'bench';
create table public.bench_links as
select a.workspace_id, a.id as campaign_id, i.id as influencer_id, row_number() over (order by i.id)::int as n,
       'b' || i.id as slug
  from kudos.influencers i join kudos.campaigns a on a.workspace_id = i.workspace_id
   and a.slug = 'c' || (substr(i.handle, 2)::int - 1) / {INFLUENCERS} + 1;
insert into kudos.links (workspace_id, domain_id, campaign_id, influencer_id, slug, destination)
select b.workspace_id, d.id, b.campaign_id, b.influencer_id, b.slug, 'https://shop.example.com/' from public.bench_links b,
       kudos.domains d where d.is_default;
alter table public.bench_links add link_id bigint;
update public.bench_links b set link_id = l.id from kudos.links l where l.slug = b.slug;
create unique index on public.bench_links (n);
insert into kudos.codes (workspace_id, campaign_id, influencer_id, code, percent)
select workspace_id, campaign_id, influencer_id, 'CODE' || n, 20 from public.bench_links;
insert into kudos.contracts (workspace_id, influencer_id, campaign_id, flat_fee, revenue_share, tiers, bonuses, cap,
    per_click, holding_days, status, starts_on)
select workspace_id, influencer_id, campaign_id, '{{"amount_minor": 10000, "currency": "EUR"}}', 10,
       case when n % 5 = 1 then '[{{"from": 100, "revenue_share": 12}}, {{"from": 1000, "revenue_share": 15}}]' else '[]' end::jsonb,
       case when n % 5 = 2 then '[{{"target": "sales", "from": 50, "amount": {{"amount_minor": 5000, "currency": "EUR"}}}}]'
            else '[]' end::jsonb,
       case when n % 5 = 3 then '{{"amount_minor": 200000, "currency": "EUR"}}'::jsonb end,
       case when n % 5 = 4 then '{{"amount_minor": 2, "currency": "EUR"}}'::jsonb end, 14, 'active', current_date - {DAYS}
  from public.bench_links;
insert into kudos.posts (workspace_id, campaign_id, influencer_id, url, platform, link_ids)
select workspace_id, campaign_id, influencer_id, 'https://video.example.com/' || n, 'youtube', array[link_id]
  from public.bench_links;
insert into kudos.post_metrics (workspace_id, post_id, taken_at, reach, impressions, engagements, sentiment)
select workspace_id, id, now() - d * interval '1 day', 1000 * d, 2000 * d, 50 * d, 0.5
  from kudos.posts, generate_series(1, 10) d;
"""

# One day (%(day)s days ago) of clicks, in the order of time. Emptied first, its partition is new to the
# transaction, and what is put into it is not logged.
DAY = """
truncate kudos.%(partition)s;
insert into kudos.clicks (origin, seq, time, link_id, domain_id, workspace_id, campaign_id, influencer_id,
    visitor, verdict, device, medium, status, flags, variant, rule, os, browser, app, platform, referrer_host,
    language, country)
select 4711 + %(day)s, g.n, g.time, l.link_id, 1, l.workspace_id, l.campaign_id, l.influencer_id,
    case when r4 < 0.97 then (r3 * %(visitors)s)::bigint + 1 end,
    (case when r2 < 0.85 then 'human' when r2 < 0.95 then 'bot' when r2 < 0.98 then 'preview' else 'prefetch' end)::kudos.verdict,
    (case when r3 < 0.7 then 'smartphone' when r3 < 0.75 then 'tablet' else 'desktop' end)::kudos.device,
    (case when r4 < 0.6 then 'social' when r4 < 0.7 then 'search' else 'direct' end)::kudos.medium, 302, 0,
    case when r1 < 0.5 then 1 else 2 end,
    case when r2 < 0.85 then null when r2 < 0.9 then 'crawler ^curl' when r2 < 0.95 then 'word bot' else 'preview' end,
    (array['iOS','Android','Windows','macOS','Linux'])[1 + (r3 * 4.99)::int %% 5],
    (array['Safari','Chrome','Firefox','Edge','Samsung Internet','Opera'])[1 + (r4 * 5.99)::int %% 6],
    case when r4 < 0.4 then 'Instagram' when r4 < 0.55 then 'TikTok' end,
    case when r4 < 0.4 then 'instagram' when r4 < 0.55 then 'tiktok' when r4 < 0.6 then 'youtube' end,
    case when r4 < 0.4 then 'instagram.com' when r4 < 0.6 then 'site' || (r1 * 20)::int || '.example' end,
    'de', (array['DE','AT','CH','FR','US','GB','NL','IT','ES','PL','SE','BE'])[1 + (r1 * r1 * 11.99)::int]
  from (select n, random() as r0, random() as r1, random() as r2, random() as r3, random() as r4,
               (current_date - %(day)s) + interval '1 day' * (n - 1) / %(count)s * %(part)s as time
          from generate_series(1, %(count)s) n offset 0) g
  join public.bench_links l on l.n = 1 + (g.r0 * g.r0 * %(links)s)::int %% %(links)s;
insert into kudos.clicks_hourly (link_id, hour, verdict, partition, clicks, human)
select link_id, date_trunc('hour', time), verdict, 0, count(*), count(*) filter (where verdict = 'human')
  from kudos.%(partition)s group by 1, 2, 3;
insert into kudos.watermarks (origin, partition, seq, applied, gaps) values (4711 + %(day)s, 0, %(count)s, %(count)s, 0);
"""
# Conversions of a day: of every so many-th click one, half by its code too; half of the customers are known,
# and buy some six times. Of sales, some are taken back by half.
SALES = """
create temp table made on commit drop as
select c.*, row_number() over () as k, 'o' || %(day)s || '-' || c.seq as order_key,
       nextval(pg_get_serial_sequence('kudos.conversions', 'id')) as id
  from (select * from kudos.%(partition)s where verdict = 'human' order by hashint8(seq * 90 + %(day)s) limit %(sales)s) c;
insert into kudos.conversions (id, workspace_id, event, key, order_id, amount_minor, currency, occurred_at,
    occurred_told, path, verified, click_id, click_verified, click_origin, click_seq, click_link_id, click_time,
    code, code_verified, customer, status, via, reason, influencer_id, campaign_id)
overriding system value
select h.id, h.workspace_id, case when h.k %% 10 = 0 then 'lead' else 'sale' end, h.order_key, h.order_key,
    1000 + hashint8(h.seq + %(day)s) & 8191, 'EUR', h.time + interval '20 minutes', true, 'api', true,
    case when h.k %% 3 > 0 then 'x' || h.order_key end, true, case when h.k %% 3 > 0 then h.origin end,
    case when h.k %% 3 > 0 then h.seq end, case when h.k %% 3 > 0 then h.link_id end,
    case when h.k %% 3 > 0 then h.time end, case when h.k %% 2 = 0 or h.k %% 3 = 0 then 'CODE' || l.n end, true,
    case when h.k %% 4 < 2 then decode(md5('c' || (hashint8(h.seq * 97 + %(day)s) & 2147483647) %% (%(sales)s * 15)), 'hex') end,
    'credited', case when h.k %% 3 > 0 then 'link' else 'code' end::kudos.touch_kind, 'only_link',
    h.influencer_id, h.campaign_id
  from made h join public.bench_links l on l.link_id = h.link_id;
insert into kudos.attributions (conversion_id, position, kind, influencer_id, campaign_id, link_id, code_id,
    touched_at, won, share_percent, amount_minor, reason)
select m.id, 1, m.via, m.influencer_id, m.campaign_id, m.click_link_id, k.id, m.occurred_at, true, 100,
    m.amount_minor, 'only_link'
  from made h join kudos.conversions m on m.id = h.id
  left join kudos.codes k on m.via = 'code' and k.workspace_id = m.workspace_id and lower(k.code) = lower(m.code);
insert into kudos.conversion_touches (conversion_id, click_id, verified, origin, seq, link_id, time)
select id, 'x' || order_key, true, origin, seq, link_id, time from made where k %% 3 > 0;
insert into kudos.conversion_clicks (conversion_id, origin, seq, click_time, looked, variant, country, device,
    platform, app, referrer_host)
select h.id, h.origin, h.seq, h.time, true, h.variant, h.country, h.device, h.platform, h.app, h.referrer_host
  from made h where h.k %% 3 > 0;
with back as (
  insert into kudos.conversions (workspace_id, event, key, order_id, amount_minor, currency, occurred_at,
      occurred_told, path, verified, status, via, reason, influencer_id, campaign_id)
  select m.workspace_id, 'refund', 'r' || m.key, m.order_id, -(m.amount_minor / 2), 'EUR', m.occurred_at + interval '3 days',
      true, 'api', true, 'credited', m.via, 'refund_of_credited_order', m.influencer_id, m.campaign_id
    from made h join kudos.conversions m on m.id = h.id and m.event = 'sale' where h.k %% 30 = 1
  returning *)
insert into kudos.attributions (conversion_id, position, kind, influencer_id, campaign_id, touched_at, won, share_percent,
    amount_minor, reason)
select id, 1, via, influencer_id, campaign_id, occurred_at, true, 100, amount_minor, reason from back;
"""

# Every other contract has been paid for all but the last month.
PAYOUTS = """
insert into kudos.payouts (workspace_id, influencer_id, contract_id, campaign_id, currency, period_to, from_statement)
select workspace_id, influencer_id, id, campaign_id, 'EUR', current_date - 30, true from kudos.contracts where id % 2 = 0
"""

# What a brand asks of each view, about one campaign and 90 days where it has days.
RANGE = f"day > current_date - {DAYS}"
ASKED = {
    "campaign_performance": "campaign = 'c50'", "influencer_performance": "campaign = 'c50'",
    "influencer_lifetime": "influencer = 'i1000'", "link_performance": "campaign_slug = 'c50'",
    "code_performance": "campaign = 'c50'", "code_leakage": "campaign = 'c50'",
    "daily": f"campaign_slug = 'c50' and {RANGE}",
    "hourly": f"campaign = 'c50' and hour > now() - interval '{DAYS} days'",
    "funnel": f"campaign = 'c50' and {RANGE}", "geo": f"campaign = 'c50' and {RANGE}",
    "device": f"campaign = 'c50' and {RANGE}", "platform": f"campaign = 'c50' and {RANGE}",
    "content": "campaign = 'c50'", "unattributed": "campaign = 'c50'",
    "filtered": f"campaign_slug = 'c50' and {RANGE}", "visitors_by_link": f"slug = 'b1000' and {RANGE}",
    "visitors_by_campaign": f"campaign_slug = 'c50' and {RANGE}", "visitors_by_day": RANGE,
    "conversions": f"campaign = 'c50' and {RANGE}", "attributions": "campaign = 'c50'",
    "attribution_models": "campaign = 'c50' and model = 'linear'",
    "earnings": "campaign = 'c50'", "earning_lines": "campaign = 'c50'", "payout_lines": "campaign = 'c50'",
    "payouts_due": "campaign = 'c50'", "data_freshness": "true",
}
LARGEST = ("campaign_performance", "influencer_performance", "link_performance", "code_performance", "code_leakage", "funnel",
           "content", "conversions", "attributions", "attribution_models", "earnings", "earning_lines", "payouts_due")
ROLLUPS = ("uniques_daily", "clicks_daily", "clicks_hourly", "conversions", "attributions", "contracts",
           "conversion_touches", "payout_lines")


def say(what, figure):
    """One line."""
    print(f"  {what:<44} {figure}", flush=True)


def fill(stack):
    """The season. Two connections at a time."""
    begun = time.perf_counter()
    stack.postgres.sql(PEOPLE, superuser=True)
    stack.postgres.sql("grant all on public.bench_links to kudos", superuser=True)
    for day in range(DAYS):
        stack.postgres.sql("select kudos.make_click_day(current_date - %s)", day)
    count, sales = CLICKS // DAYS, max(1, CONVERSIONS // DAYS)
    now = stack.postgres.value("select now() at time zone 'UTC'")
    today = (now.hour * 60 + now.minute) / 1440

    def one(day):
        part = today if day == 0 else 1
        values = {"day": day, "count": max(1, int(count * part)), "visitors": max(10, count // 2),
                  "links": CAMPAIGNS * INFLUENCERS, "part": part, "sales": sales,
                  "partition": (now - datetime.timedelta(day)).strftime("clicks_%Y%m%d")}
        stack.postgres.sql((DAY + SALES) % values)

    with ThreadPoolExecutor(2) as workers:
        list(workers.map(one, range(DAYS)))
    say("(filling)", f"{time.perf_counter() - begun:.0f} s")


def build(stack):
    """Has every closed day built, and all else that flush makes ahead: as it does, but for two days at a time."""
    stack.postgres.sql("delete from kudos.days_touched")
    stack.postgres.sql("insert into kudos.days_touched (time_zone) values ('UTC')")
    stack.postgres.sql("select kudos.collect_days()")
    days = stack.postgres.sql("select day from kudos.days where day < current_date order by day desc")
    took = []

    def one(day):
        begun = time.perf_counter()
        stack.postgres.sql("select kudos.count_day('UTC', %s)", day)
        took.append(time.perf_counter() - begun)

    with ThreadPoolExecutor(2) as workers:
        list(workers.map(one, [row[0] for row in days]))
    stack.postgres.sql("update kudos.days set dirty = false, built_at = clock_timestamp() where day < current_date")
    stack.postgres.sql("select kudos.build_day()")
    say("building a closed day", f"{sum(took) / len(took):.2f} s for {CLICKS // DAYS} clicks ({len(took)} days, two at a time)")
    while stack.postgres.value("select kudos.count_clicks(100)") == 100:
        pass
    stack.postgres.sql("vacuum analyze", superuser=True)
    stack.postgres.sql(PAYOUTS)


def keep(stack):
    """Has what flush keeps of earnings and touches made, as far as it is not."""
    begun = time.perf_counter()
    made = 0
    for statement in ("select kudos.build_models(2000)", "select kudos.build_earnings()"):
        while stack.postgres.value(statement):
            made += 1
    if made:
        stack.postgres.sql("vacuum analyze", superuser=True)
    say("(keeping touches and sums of earnings)", f"{time.perf_counter() - begun:.0f} s")


def size(stack, table):
    """Bytes of a table with its indexes, partitions included."""
    return stack.postgres.value(
        "select coalesce(sum(pg_total_relation_size(t)), 0) from (select relid as t from pg_partition_tree(%s)"
        " union select %s::regclass) x", table, table)


def show_sizes(stack):
    """What is kept, and how large it is."""
    for table in ("clicks", "clicks_hourly", "clicks_daily", "uniques_daily", "conversions"):
        rows = stack.postgres.value(f"select count(*) from kudos.{table}")
        say(f"kudos.{table}", f"{rows} rows, {size(stack, 'kudos.' + table) / 2**20:.0f} MiB")


def summary(plan):
    """Which of our tables the plan read, how, and how many rows."""
    read = {}
    loops = re.compile(r"(Index Only Scan|Index Scan|Bitmap Heap Scan|Seq Scan|Bitmap Index Scan)"
                       r"(?: using (\S+))? on (?:\w+\.)?(\w+).*?rows=(\d+) loops=(\d+)")
    for line in plan.splitlines():
        found = loops.search(line)
        if not found or found[1] == "Bitmap Index Scan":
            continue
        table = "single clicks" if re.match(r"clicks_(\d{8}|default)", found[3]) else found[3]
        if table not in ROLLUPS and table != "single clicks":
            continue
        how = "seq" if found[1] == "Seq Scan" else "index"
        rows = int(found[4]) * int(found[5])
        old = read.get((table, how), 0)
        read[(table, how)] = old + rows
    return ", ".join(f"{table} {how} {rows}" for (table, how), rows in read.items() if rows) or "small tables"


def ask(stack, view, where):
    """Times one view."""
    sql = f"select * from report.{view} where workspace = 'bench' and {where}"
    if "workspace_id" in columns(stack, view):
        sql += " and workspace_id = (select id from kudos.workspaces where name = 'bench')"
    connection = stack.postgres.connect()
    times = []
    try:
        with connection.cursor() as cursor:
            cursor.execute("set jit = off")  # as Kudos' own sessions have it
            for _ in range(TRIES):
                begun = time.perf_counter()
                cursor.execute(sql)
                rows = len(cursor.fetchall())
                times.append(time.perf_counter() - begun)
            cursor.execute("explain (analyze, timing off) " + sql)
            plan = "\n".join(row[0] for row in cursor.fetchall())
    finally:
        connection.close()
    if os.environ.get("BENCH_PLANS"):
        print(plan)
    say(view, f"{min(times) * 1000:7.0f} … {max(times) * 1000:.0f} ms, {rows} rows; read: {summary(plan)}")


def columns(stack, view):
    """Names of its columns."""
    return {row[0] for row in stack.postgres.sql(
        "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0", f"report.{view}")}


def begin(stack):
    """Starts PostgreSQL and makes the season, or takes the one that was kept."""
    if KEEP and os.path.exists(KEEP):
        stack.postgres.data = KEEP
    elif KEEP:
        shutil.move(stack.postgres.data, KEEP)
        stack.postgres.data = KEEP
    stack.start(serve=False)
    made = stack.postgres.value("select to_regclass('public.bench_made')")
    if made is None:
        if stack.postgres.value("select to_regclass('public.bench_links')"):
            sys.exit(f"bench-reports: filling {KEEP} was interrupted: remove it")
        fill(stack)
        build(stack)
        stack.postgres.sql("create table public.bench_made as select current_date as day, %s as clicks, %s as conversions",
                           CLICKS, CONVERSIONS, superuser=True)
    keep(stack)
    wanted = stack.postgres.sql("select current_date, %s, %s", CLICKS, CONVERSIONS)
    kept = stack.postgres.sql("select day, clicks, conversions from public.bench_made", superuser=True)
    if kept != wanted:
        sys.exit(f"bench-reports: {KEEP} is of {kept[0][0]}, with {kept[0][1]} clicks and {kept[0][2]} conversions:"
                 f" set BENCH_CLICKS and BENCH_CONVERSIONS so, or remove it")


def main():
    """All of it."""
    print(f"kudos bench-reports: {CLICKS} clicks and {CONVERSIONS} conversions over {DAYS} days, {CAMPAIGNS}"
          f" campaigns, {CAMPAIGNS * INFLUENCERS} links: {CLICKS / GOAL_CLICKS:.2%} of the clicks and"
          f" {CONVERSIONS / GOAL_CONVERSIONS:.2%} of the conversions of the goal", flush=True)
    stack = Stack("bench", postgres_settings={"shared_buffers": "1GB", "max_wal_size": "8GB", "wal_level": "minimal",
                                              "max_wal_senders": 0, "maintenance_work_mem": "256MB"})
    try:
        begin(stack)
        show_sizes(stack)
        print("one campaign over 90 days (goal at full scale: 1,000 ms each)", flush=True)
        for view, where in ASKED.items():
            if not VIEWS or view in VIEWS:
                ask(stack, view, where)
        print("the largest campaign", flush=True)
        for view in LARGEST:
            if not VIEWS or view in VIEWS:
                ask(stack, view, ASKED[view].replace("'c50'", "'c1'"))
    finally:
        if KEEP:
            stack.postgres.stop()
        stack.close()


if __name__ == "__main__":
    main()
