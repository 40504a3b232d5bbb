/* See demo_season.h. Everything is made in PostgreSQL, by hashes of the seed instead of chance, so
 * that the order in which rows are made decides nothing.
 *
 * The season is an event source like any other: its clicks have an origin of their own, which follows
 * from seed and number, with seqs in the order of time. A day is a transaction under the partition's
 * lock: rows, clicks_hourly and the watermark that says how far it came, as flush does it, so that
 * `kudos verify` finds it in order and a run that was killed goes on behind the watermark. Redis
 * lacks the origin then; the next pass of flush sees that it is behind, and recovers its totals.
 *
 * Sales go through kudos.record_conversion(), once each by their order id. Their click ids are told
 * as already looked at: they are none that could be sent to the service. */
#include "server/admin/commands/demo_season.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/clicks/flush_lock.h"
#include "server/stores/postgres.h"

#define LOCK_TRIES    10
#define NUMBER_MAX    24
#define SALES_AT_ONCE 500
#define TEXT_OF(x)    #x
#define TEXT(x)       TEXT_OF(x)

/* A number from 0 to 1 for a row and a purpose. The seed is a setting of the session. */
static const char DICE[] =
    "create function pg_temp.dice(n bigint, purpose int) returns float8 language sql immutable as"
    " $$ select (hashint8extended(n * 64 + purpose, current_setting('demo.seed')::bigint)"
    "            & 4503599627370495)::float8 / 4503599627370496 $$;"
    "create temporary table people (n int, handle text, name text, platform text, host text,"
    " weight float8, rate float8);"
    "insert into people values"
    " (1, 'anna', 'Anna Berg', 'instagram', 'instagram.com', 9, 0.03),"
    " (2, 'ben', 'Ben Okafor', 'youtube', 'youtube.com', 6, 0.045),"
    " (3, 'chloe', 'Chloé Martin', 'tiktok', 'tiktok.com', 12, 0.012),"
    " (4, 'diego', 'Diego Ruiz', 'instagram', 'instagram.com', 4, 0.025),"
    " (5, 'elif', 'Elif Kaya', 'tiktok', 'tiktok.com', 7, 0.018),"
    " (6, 'freya', 'Freya Lund', 'youtube', 'youtube.com', 3, 0.05),"
    " (7, 'gina', 'Gina Rossi', 'instagram', 'instagram.com', 2, 0.04),"
    " (8, 'hugo', 'Hugo Blanc', 'twitch', 'twitch.tv', 3, 0.02),"
    " (9, 'ines', 'Inês Costa', 'pinterest', 'pinterest.com', 2, 0.035),"
    " (10, 'jonas', 'Jonas Weber', 'blog', 'jonas-kocht.example', 1.5, 0.06);"
    "create temporary table seasons (n int, slug text, name text, objective kudos.objective,"
    " first_day int, days int, percent int);"
    "insert into seasons values (1, 'early-bird', 'Early bird', 'discount', 90, 32, 15),"
    " (2, 'festival', 'Festival', 'event', 62, 30, 10),"
    " (3, 'winter-drop', 'Winter drop', 'launch', 28, 28, 20)";

/* What the season stands on. Its days are counted back from the first campaign's beginning. */
static const char PEOPLE[] =
    "insert into kudos.influencers (workspace_id, handle, name, tags)"
    " select w.id, p.handle, p.name, array[p.platform] from kudos.workspaces w, people p"
    "  where w.name = 'demo' on conflict do nothing;"
    "insert into kudos.campaigns (workspace_id, slug, name, objective, hashtag, destination,"
    "   starts_at, ends_at, budget, targets, status)"
    " select w.id, s.slug, s.name, s.objective, '#' || replace(s.slug, '-', ''),"
    "   'https://example.com/' || s.slug, current_date - s.first_day,"
    "   current_date - s.first_day + s.days, '{\"amount_minor\": 500000, \"currency\": \"EUR\"}',"
    "   '{\"clicks\": 5000, \"sales\": 100, \"reach\": 100000}', 'active'"
    "   from kudos.workspaces w, seasons s where w.name = 'demo' on conflict do nothing;"
    "insert into kudos.codes (workspace_id, campaign_id, influencer_id, code, percent)"
    " select a.workspace_id, a.id, i.id, upper(p.handle || substr(s.slug, 1, 1)) || s.percent,"
    "   s.percent from kudos.workspaces w join kudos.campaigns a on a.workspace_id = w.id"
    "   join seasons s on s.slug = a.slug cross join people p"
    "   join kudos.influencers i on i.workspace_id = w.id and i.handle = p.handle"
    "  where w.name = 'demo' on conflict do nothing;"
    "insert into kudos.links (workspace_id, domain_id, campaign_id, influencer_id, slug,"
    "   destination, title)"
    " select a.workspace_id, d.id, a.id, i.id, s.slug || '-' || p.handle,"
    "   a.destination, s.name || ', ' || p.name"
    "   from kudos.workspaces w join kudos.campaigns a on a.workspace_id = w.id"
    "   join seasons s on s.slug = a.slug cross join people p join kudos.domains d on d.is_default"
    "   join kudos.influencers i on i.workspace_id = w.id and i.handle = p.handle"
    "  where w.name = 'demo' on conflict do nothing;"
    "insert into kudos.contracts (workspace_id, influencer_id, campaign_id, flat_fee, "
    "revenue_share,"
    "   starts_on, external_id, status)"
    " select l.workspace_id, l.influencer_id, l.campaign_id, jsonb_build_object('amount_minor',"
    "   (p.weight * 1500)::int, 'currency', 'EUR'), 8, a.starts_at::date, 'demo-' || l.slug, "
    "'active'"
    "   from kudos.workspaces w join kudos.links l on l.workspace_id = w.id"
    "   join kudos.campaigns a on a.id = l.campaign_id join seasons s on s.slug = a.slug"
    "   join kudos.influencers i on i.id = l.influencer_id join people p on p.handle = i.handle"
    "  where w.name = 'demo' and l.slug = s.slug || '-' || p.handle on conflict do nothing;"
    "insert into kudos.posts (workspace_id, campaign_id, influencer_id, url, platform, title,"
    "   published_at, link_ids)"
    " select l.workspace_id, l.campaign_id, l.influencer_id, 'https://' || p.host || '/'"
    "   || p.handle || '/' || s.slug, p.platform, l.title, a.starts_at + interval '9 hours',"
    "   array[l.id] from kudos.workspaces w join kudos.links l on l.workspace_id = w.id"
    "   join kudos.campaigns a on a.id = l.campaign_id join seasons s on s.slug = a.slug"
    "   join kudos.influencers i on i.id = l.influencer_id join people p on p.handle = i.handle"
    "  where w.name = 'demo' and l.slug = s.slug || '-' || p.handle on conflict do nothing;"
    "insert into kudos.post_metrics (workspace_id, post_id, taken_at, reach, impressions,"
    "   engagements, sentiment)"
    " select o.workspace_id, o.id, o.published_at + interval '3 days', (p.weight * 4000)::bigint,"
    "   (p.weight * 7000)::bigint, (p.weight * 350)::bigint, round((0.2 + p.rate * 10)::numeric, 3)"
    "   from kudos.posts o join people p on o.url like 'https://' || p.host || '/' || p.handle || "
    "'/%'"
    "   join kudos.workspaces w on w.id = o.workspace_id and w.name = 'demo' on conflict do "
    "nothing";

/* All clicks, with their seq in the order of time: two thirds follow the post, with a long tail, the
 * rest are spread; people click in the evening. None is of the future. */
static const char PLAN[] =
    "create temporary table plan as"
    " with shares as (select l.id as link_id, l.workspace_id, l.domain_id, l.campaign_id,"
    "     l.influencer_id, a.starts_at, s.days, p.platform, p.host, p.rate, p.n,"
    "     sum(p.weight) over (order by l.id) - p.weight as low, sum(p.weight) over (order by l.id)"
    "     as high, sum(p.weight) over () as whole"
    "   from kudos.links l join kudos.workspaces w on w.id = l.workspace_id and w.name = 'demo'"
    "   join kudos.campaigns a on a.id = l.campaign_id join seasons s on s.slug = a.slug"
    "   join kudos.influencers i on i.id = l.influencer_id join people p on p.handle = i.handle"
    "  where l.slug = s.slug || '-' || p.handle),"
    " placed as (select g.n as dice, s.*, s.starts_at + interval '1 day' * least(s.days - 1, case"
    "     when pg_temp.dice(g.n, 2) < 0.66 then floor(-ln(1 - pg_temp.dice(g.n, 3)) * 3)"
    "     else floor(pg_temp.dice(g.n, 3) * s.days) end)"
    "     + interval '1 day' * (least(pg_temp.dice(g.n, 4), 0.999999) * 0.6"
    "       + pg_temp.dice(g.n, 5) * 0.4) as time"
    "   from generate_series(1, $1::bigint) g (n)"
    "   join shares s on pg_temp.dice(g.n, 1) * s.whole >= s.low"
    "    and pg_temp.dice(g.n, 1) * s.whole < s.high)"
    " select row_number() over (order by time, dice) as seq, * from placed"
    "  where time < current_date";

static const char DAYS[] = "select time::date, min(seq), max(seq) from plan group by 1 order by 1";

/* Seqs $2 … $3 of origin $1. */
static const char ROWS[] =
    "insert into kudos.clicks (origin, seq, time, link_id, domain_id, workspace_id, campaign_id,"
    "   influencer_id, visitor, verdict, device, medium, status, flags, rule, os, browser, app,"
    "   platform, referrer_host, language, country, variant)"
    " select $1::bigint, seq, time, link_id, domain_id, workspace_id, campaign_id, influencer_id,"
    "   case when d[1] < 0.96 then (d[2] * $4::bigint)::bigint + 1 end,"
    "   v.verdict::kudos.verdict, (case when v.verdict = 'bot' then 'bot' when d[4] < 0.74 then"
    "   'smartphone' when d[4] < 0.79 then 'tablet' else 'desktop' end)::kudos.device,"
    "   (case when platform = 'blog' then 'other' else 'social' end)::kudos.medium, 302, 0, v.rule,"
    "   case when d[4] < 0.45 then 'iOS' when d[4] < 0.79 then 'Android' when d[4] < 0.92 then"
    "   'Windows' else 'macOS' end, case when d[4] < 0.45 then 'Safari' when d[4] < 0.95 then"
    "   'Chrome' else 'Firefox' end, case when d[4] < 0.74 and platform in ('instagram', 'tiktok')"
    "   then initcap(platform) end, nullif(platform, 'blog'), host,"
    "   (array['de','en','fr','es','it'])[1 + floor(d[5] * 4.999)::int],"
    "   (array['DE','DE','DE','AT','CH','FR','ES','IT','NL','US'])[1 + floor(d[5] * 9.999)::int],"
    "   case when campaign_id % 2 = 0 then 1 + (d[6] < 0.5)::int end"
    "  from (select p.*, array[pg_temp.dice(dice, 6), pg_temp.dice(dice, 7), pg_temp.dice(dice, 8),"
    "     pg_temp.dice(dice, 9), pg_temp.dice(dice, 10), pg_temp.dice(dice, 11)] as d from plan p"
    "    where seq between $2::bigint and $3::bigint) p"
    "  cross join lateral (select case when d[3] < 0.88 then 'human' when d[3] < 0.95 then 'bot'"
    "     when d[3] < 0.98 then 'preview' when d[3] < 0.995 then 'prefetch' else 'datacenter' end,"
    "     case when d[3] < 0.88 then null when d[3] < 0.92 then 'crawler ^curl' when d[3] < 0.95 "
    "then"
    "     'word bot' when d[3] < 0.98 then 'preview WhatsApp' when d[3] < 0.995 then 'sec-purpose'"
    "     else 'network of servers' end) v (verdict, rule) order by seq";
static const char HOURS[] =
    "insert into kudos.clicks_hourly as h (link_id, hour, verdict, partition, clicks, human)"
    " select link_id, date_trunc('hour', time), verdict, 0, count(*),"
    "   count(*) filter (where verdict = 'human') from kudos.clicks"
    "  where origin = $1::bigint and seq between $2::bigint and $3::bigint"
    "    and time >= $4::date and time < $4::date + 1 group by 1, 2, 3 order by 1, 2, 3"
    " on conflict (link_id, hour, verdict, partition) do update"
    "   set clicks = h.clicks + excluded.clicks, human = h.human + excluded.human";
static const char REACHED[] =
    "insert into kudos.watermarks as w (origin, partition, seq, applied, gaps)"
    " values ($1::bigint, 0, $3::bigint, $3::bigint, 0) on conflict (origin) do update"
    "   set seq = excluded.seq, applied = excluded.applied, updated_at = clock_timestamp()"
    "   where w.seq = $2::bigint - 1 and w.gaps = 0 returning 1";

/* Some of those who clicked buy, half of them with the code; some only use the code; few send back
 * what they bought. One code of the season has got about. */
static const char SALES[] =
    "create temporary table sales as"
    " select row_number() over (order by p.seq) as n, p.workspace_id, e.told from plan p"
    "  join kudos.codes k on k.campaign_id = p.campaign_id and k.influencer_id = p.influencer_id"
    "  cross join lateral (select pg_temp.dice(p.dice, 12) as buys, pg_temp.dice(p.dice, 13) as "
    "how,"
    "    pg_temp.dice(p.dice, 14) as much, p.time + interval '3 days' * pg_temp.dice(p.dice, 15) ^ "
    "3"
    "    + interval '2 minutes' as time) d"
    "  cross join lateral (select jsonb_strip_nulls(jsonb_build_object("
    "     'event', case when d.how > 0.9 then 'lead' else 'sale' end, 'key', o.id, 'order_id', "
    "o.id,"
    "     'amount_minor', case when d.how <= 0.9 then 1490 + 100 * floor(d.much * d.much * 90) end,"
    "     'currency', case when d.how <= 0.9 then 'EUR' end, 'occurred_at', d.time, 'path', 'api',"
    "     'verified', true, 'code', case when d.how < 0.45 or d.how > 0.96 then k.code"
    "       when d.how < 0.47 then 'FREESHIP' end,"
    "     'click_id', case when d.how > 0.2 then 'demo-' || p.seq end,"
    "     'click_origin', case when d.how > 0.2 then $1::bigint end,"
    "     'click_seq', case when d.how > 0.2 then p.seq end,"
    "     'click_link_id', case when d.how > 0.2 then p.link_id end,"
    "     'click_time', case when d.how > 0.2 then date_trunc('milliseconds', p.time) end)) as told"
    "    from (select 'D' || $2::bigint || '-' || p.seq as id) o"
    "    union all select jsonb_build_object('event', 'refund', 'key', 'R' || $2::bigint || '-' ||"
    "     p.seq, 'order_id', 'D' || $2::bigint || '-' || p.seq, 'amount_minor',"
    "     -(1490 + 100 * floor(d.much * d.much * 90)), 'currency', 'EUR', 'occurred_at',"
    "     least(d.time + interval '6 days', now()), 'path', 'api', 'verified', true)"
    "     where d.how between 0.4 and 0.46"
    "    union all select jsonb_build_object('event', 'sale', 'key', 'L' || $2::bigint || '-' || "
    "p.seq,"
    "     'order_id', 'L' || $2::bigint || '-' || p.seq, 'amount_minor', 2990, 'currency', 'EUR',"
    "     'occurred_at', d.time, 'path', 'api', 'verified', true, 'code', k.code)"
    "     where p.n = 7 and d.how < 0.97) e"
    "  where d.buys < p.rate * case p.n when 7 then 4 else 1 end and d.time < now()";

static const char TELL[] =
    "select count(*) from (select * from sales where n > $1::bigint and n <= $1::bigint"
    " + " TEXT(
        SALES_AT_ONCE) " order by n) s"
                       " cross join lateral kudos.record_conversion(s.workspace_id, s.told) r";

struct season {
    PGconn *connection;
    const struct settings *settings;
    char origin[NUMBER_MAX], clicks[NUMBER_MAX], seed[NUMBER_MAX];
};

static bool read_number(PGconn *connection, const char *sql, int count, const char *const *values,
                        char out[NUMBER_MAX], struct error *error)
{
    PGresult *row = postgres_query(connection, sql, count, values, error);

    if (!row)
        return false;
    assert(PQntuples(row) == 1);
    snprintf(out, NUMBER_MAX, "%s", PQgetvalue(row, 0, 0));
    PQclear(row);
    return true;
}

static bool prepare(struct season *season, struct error *error)
{
    PGconn *connection = season->connection;
    const char *seed[] = {season->seed}, *clicks[] = {season->clicks};
    const char *both[] = {season->clicks, season->seed};

    return postgres_execute(connection, "select set_config('demo.seed', $1, false)", 1, seed,
                            error) &&
           postgres_execute(connection, DICE, 0, NULL, error) &&
           postgres_execute(connection, PEOPLE, 0, NULL, error) &&
           postgres_execute(connection, PLAN, 1, clicks, error) &&
           postgres_execute(connection, "create index on plan (seq); analyze plan", 0, NULL,
                            error) &&
           read_number(connection,
                       "select hashint8extended($1::bigint, $2::bigint) & 4611686018427387903 | 1",
                       2, both, season->origin, error);
}

static bool take_lock(const struct season *season, struct error *error)
{
    for (int i = 0; i < LOCK_TRIES; i++) {
        enum flush_lock lock =
            flush_lock(season->connection, 0, season->settings->flush_takeover_ms, error);
        if (lock != FLUSH_LOCK_BUSY)
            return lock == FLUSH_LOCK_HELD;
    }
    return error_set(error, "partition 0 is busy");
}

/* Within the transaction that flush_lock() began. */
static bool store_day(const struct season *season, const char *day, const char *first,
                      const char *last, struct error *error)
{
    const char *rows[] = {season->origin, first, last, season->clicks};
    const char *hours[] = {season->origin, first, last, day};
    PGresult *moved;
    bool good;

    if (!postgres_execute(season->connection, ROWS, 4, rows, error) ||
        !postgres_execute(season->connection, HOURS, 4, hours, error))
        return false;
    moved = postgres_query(season->connection, REACHED, 3, rows, error);
    good = moved && PQntuples(moved) == 1;
    if (moved && !good)
        error_set(error, "the watermark of the season is not where its clicks are");
    PQclear(moved);
    return good && postgres_execute(season->connection, "commit", 0, NULL, error);
}

/* One day, unless it is there. */
static bool make_day(const struct season *season, const char *day, const char *first,
                     const char *last, struct error *error)
{
    const char *values[] = {day}, *origin[] = {season->origin};
    char reached[NUMBER_MAX];

    if (!postgres_execute(season->connection, "select kudos.make_click_day($1::date)", 1, values,
                          error) ||
        !take_lock(season, error))
        return false;
    if (read_number(season->connection,
                    "select coalesce(max(seq), 0) from kudos.watermarks where origin = $1", 1,
                    origin, reached, error)) {
        if (strtoll(reached, NULL, 10) >= strtoll(last, NULL, 10))
            return postgres_execute(season->connection, "rollback", 0, NULL, error);
        if (store_day(season, day, first, last, error))
            return true;
    }
    PQclear(PQexec(season->connection, "rollback"));
    return false;
}

static bool make_clicks(const struct season *season, struct error *error)
{
    PGresult *days = postgres_query(season->connection, DAYS, 0, NULL, error);
    bool good = days != NULL;

    for (int i = 0; good && i < PQntuples(days); i++)
        good = make_day(season, PQgetvalue(days, i, 0), PQgetvalue(days, i, 1),
                        PQgetvalue(days, i, 2), error);
    PQclear(days);
    return good;
}

static bool make_sales(const struct season *season, struct error *error)
{
    const char *values[] = {season->origin, season->seed};
    char most[NUMBER_MAX], done[NUMBER_MAX];
    const char *from[] = {done};

    if (!postgres_execute(season->connection, SALES, 2, values, error) ||
        !read_number(season->connection, "select count(*) from sales", 0, NULL, most, error))
        return false;
    for (int64_t at = 0; at < strtoll(most, NULL, 10); at += SALES_AT_ONCE) {
        snprintf(done, sizeof done, "%" PRId64, at);
        if (!postgres_execute(season->connection, TELL, 1, from, error))
            return false;
    }
    return true;
}

bool demo_season(PGconn *connection, const struct settings *settings, int64_t clicks, int64_t seed,
                 struct error *error)
{
    struct season season = {.connection = connection, .settings = settings};

    assert(clicks > 0 && clicks <= DEMO_CLICKS_MAX);
    snprintf(season.clicks, sizeof season.clicks, "%" PRId64, clicks);
    snprintf(season.seed, sizeof season.seed, "%" PRId64, seed);
    return postgres_execute(connection, "set search_path to pg_temp, pg_catalog; set jit to off", 0,
                            NULL, error) &&
           prepare(&season, error) && make_clicks(&season, error) && make_sales(&season, error);
}
