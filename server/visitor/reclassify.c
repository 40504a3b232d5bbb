/* `kudos reclassify`: what an operator knows better afterwards. Changes verdict and rule of stored
 * clicks that are chosen by their classes, notes what each was before (kudos.reclassified), and can be
 * taken back (--undo). Whatever needs the user agent, the address or a header again cannot be redone:
 * none of these is kept.
 *
 * First, without any lock, the clicks are chosen into a table of the session. Then one transaction per
 * step of at most STEP_CLICKS clicks of one day and partition, under the partition's lock, so that no
 * flusher is at work on its counts:
 *
 *   rows → kudos.reclassified → clicks_hourly → step and watermark → COMMIT
 *
 * Redis is not touched. A step is an event of an origin of its own, which Redis does not have: the
 * next pass of flush sees that Redis is behind the watermark and recovers its totals from
 * clicks_hourly, whatever died in between. Conversions by these clicks are marked as if the click were
 * still to come, so flush decides again who earned them. A crash leaves whole steps; the same command then chooses
 * what is left. Limits of links (max_clicks) are looked at again at the end, also for runs that were
 * interrupted. */
#include <assert.h>
#include <getopt.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/clicks/event.h"
#include "server/clicks/flush_lock.h"
#include "server/commands.h"
#include "server/stores/postgres.h"
#include "server/visitor/datacenters.h"
#include "shared/crash.h"
#include "shared/log.h"

#define STEP_CLICKS  "20000"
#define LOCK_TRIES   10
#define VALUES_MAX   32
#define SQL_MAX      8192
#define ASKED_MAX    4000
#define REASON_MAX   400
#define RULE_BEGIN   "decided: "
#define NUMBER_MAX   24
#define ASN_TEXT_MAX (DATACENTERS_MAX * 11 + 3)

/* Which clicks: "%u" is where the option's value goes. "none" stands for what is not known. */
#define ONE_OF(column) "coalesce(c." column "::text, 'none') = any (string_to_array($%u, ','))"
static const struct filter {
    const char *name, *sql;
} filters[] = {
    {"from", "c.time >= $%u::timestamptz"},
    {"until", "c.time < $%u::timestamptz"},
    {"workspace", "c.workspace_id in (select id from kudos.workspaces where name = $%u)"},
    {"link",
     "c.link_id in (select l.id from kudos.links l join kudos.domains d on d.id = l.domain_id"
     " where d.host || '/' || l.slug_key = case when d.case_sensitive then $%1$u"
     " else lower($%1$u collate \"C\") end or l.id::text = $%1$u)"},
    {"campaign", "c.campaign_id in (select id from kudos.campaigns where slug = $%u)"},
    {"verdict", ONE_OF("verdict")},
    {"rule", ONE_OF("rule")},
    {"device", ONE_OF("device")},
    {"os", ONE_OF("os")},
    {"browser", ONE_OF("browser")},
    {"app", ONE_OF("app")},
    {"platform", ONE_OF("platform")},
    {"medium", ONE_OF("medium")},
    {"referrer", ONE_OF("referrer_host")},
    {"language", ONE_OF("language")},
    {"country", ONE_OF("country")},
    {"asn", ONE_OF("asn")},
    {"visitor", ONE_OF("visitor")},
};
#define FILTER_COUNT (sizeof filters / sizeof filters[0])

enum {
    OPTION_TO = FILTER_COUNT + 1,
    OPTION_BECAUSE,
    OPTION_BURST,
    OPTION_SERVERS,
    OPTION_UNDO,
    OPTION_DRY_RUN
};

struct reclassification {
    const char *values[FILTER_COUNT]; /* NULL: not asked for */
    const char *to, *because, *undo;
    bool servers, dry_run;
    unsigned burst_clicks, burst_seconds; /* 0: none */
    char asked[ASKED_MAX];
    char rule[EVENT_RULE_MAX + 1];
    char servers_list[ASN_TEXT_MAX]; /* as an array of PostgreSQL */
    char run[NUMBER_MAX];
    const struct settings *settings;
    PGconn *connection;
    long long clicks;
};

/* What is asked ----------------------------------------------------------------------------------- */

static int usage(void)
{
    fputs(
        "usage: kudos reclassify FILTER… --to VERDICT --because TEXT [--dry-run]\n"
        "       kudos reclassify --servers [FILTER…] [--because TEXT] [--dry-run]\n"
        "       kudos reclassify --undo RUN [--because TEXT] [--dry-run]\n"
        "filters: --from TIME --until TIME --workspace NAME --link HOST/SLUG --campaign SLUG\n"
        "         --verdict, --rule, --device, --os, --browser, --app, --platform, --medium,\n"
        "         --referrer, --language, --country, --asn, --visitor: values by commas, or none\n"
        "         --burst CLICKS/SECONDS: only where so many come on one link in that time\n"
        "--servers applies the setting datacenter_asns as it is now to what is human or "
        "datacenter\n",
        stderr);
    return 2;
}

static bool read_burst(const char *text, struct reclassification *out)
{
    char end;

    return sscanf(text, "%5u/%5u%c", &out->burst_clicks, &out->burst_seconds, &end) == 2 &&
           out->burst_clicks >= 2 && out->burst_seconds >= 1;
}

static bool read_option(int option, struct reclassification *out)
{
    if (option >= 1 && (size_t)option <= FILTER_COUNT) {
        out->values[option - 1] = optarg;
        return true;
    }
    switch (option) {
    case OPTION_TO: out->to = optarg; return true;
    case OPTION_BECAUSE: out->because = optarg; return true;
    case OPTION_BURST: return read_burst(optarg, out);
    case OPTION_SERVERS: out->servers = true; return true;
    case OPTION_UNDO: out->undo = optarg; return true;
    case OPTION_DRY_RUN: out->dry_run = true; return true;
    default: return false;
    }
}

static bool is_verdict(const char *name)
{
    for (int i = 0; i < VERDICT_COUNT; i++)
        if (strcmp(name, verdict_name((enum verdict)i)) == 0)
            return true;
    return false;
}

static bool is_complete(const struct reclassification *run)
{
    int asked = (run->to != NULL) + run->servers + (run->undo != NULL);
    int count = run->burst_clicks > 0;

    for (size_t i = 0; i < FILTER_COUNT; i++)
        count += run->values[i] != NULL;
    if (asked != 1 || (run->undo && count > 0))
        return false;
    if (run->because && (!run->because[0] || strlen(run->because) > REASON_MAX))
        return false;
    if (run->to && (!is_verdict(run->to) || !run->because || count == 0 ||
                    strlen(RULE_BEGIN) + strlen(run->because) > EVENT_RULE_MAX))
        return false;
    return !run->undo || (run->undo[0] && strlen(run->undo) < 19 &&
                          strspn(run->undo, "0123456789") == strlen(run->undo));
}

static bool read_options(int argc, char **argv, struct reclassification *out)
{
    struct option options[FILTER_COUNT + 8] = {{NULL, 0, NULL, 0}};
    size_t used = 0, count = 0;
    int option;

    for (; count < FILTER_COUNT; count++)
        options[count] =
            (struct option){filters[count].name, required_argument, NULL, (int)count + 1};
    options[count++] = (struct option){"to", required_argument, NULL, OPTION_TO};
    options[count++] = (struct option){"because", required_argument, NULL, OPTION_BECAUSE};
    options[count++] = (struct option){"burst", required_argument, NULL, OPTION_BURST};
    options[count++] = (struct option){"servers", no_argument, NULL, OPTION_SERVERS};
    options[count++] = (struct option){"undo", required_argument, NULL, OPTION_UNDO};
    options[count++] = (struct option){"dry-run", no_argument, NULL, OPTION_DRY_RUN};
    for (int i = 1; i < argc && used < ASKED_MAX - 1; i++) /* before getopt moves them */
        used += (size_t)snprintf(out->asked + used, ASKED_MAX - used, "%s%s", i > 1 ? " " : "",
                                 argv[i]);
    optind = 1;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
        if (!read_option(option, out))
            return false;
    return optind == argc && used < ASKED_MAX && is_complete(out);
}

/* The setting as it is now, as an array of PostgreSQL. */
static bool read_servers(struct reclassification *run, struct error *error)
{
    static struct datacenters servers;
    size_t used = 1;

    if (!datacenters_parse(run->settings->datacenter_asns, &servers, error))
        return error_prefix(error, "datacenter_asns");
    run->servers_list[0] = '{';
    for (size_t i = 0; i < servers.count; i++)
        used += (size_t)snprintf(run->servers_list + used, ASN_TEXT_MAX - used, "%s%u",
                                 i ? "," : "", servers.list[i]);
    assert(used + 1 < ASN_TEXT_MAX);
    run->servers_list[used] = '}';
    run->servers_list[used + 1] = '\0';
    return true;
}

/* Choosing clicks --------------------------------------------------------------------------------- */

struct statement {
    char sql[SQL_MAX];
    size_t length;
    const char *values[VALUES_MAX];
    int count;
};

__attribute__((format(printf, 2, 3))) static void add(struct statement *statement,
                                                      const char *format, ...)
{
    size_t room = SQL_MAX - statement->length;
    va_list arguments;

    va_start(arguments, format);
    statement->length +=
        (size_t)vsnprintf(statement->sql + statement->length, room, format, arguments);
    va_end(arguments);
    assert(statement->length < SQL_MAX);
}

/* The number of the parameter that stands for `value`. */
static unsigned parameter(struct statement *statement, const char *value)
{
    assert(statement->count < VALUES_MAX);
    statement->values[statement->count++] = value;
    return (unsigned)statement->count;
}

/* The table that clicks are chosen into: what a row is, where it is, and what it becomes. */
static const char MAKE_CHOSEN[] =
    "create temporary table chosen (day_table text not null, place tid not null,"
    " partition smallint not null, step bigint not null, origin bigint not null,"
    " seq bigint not null, time timestamptz not null, link_id bigint not null,"
    " verdict kudos.verdict not null, rule text, new_verdict kudos.verdict not null, new_rule "
    "text)";

#define COLUMNS "c.tableoid, c.ctid, c.origin, c.seq, c.time, c.link_id, c.verdict, c.rule,"

/* Clicks that the filters let through, with what they become. */
static void add_filtered(struct statement *statement, const struct reclassification *run)
{
    if (run->servers) {
        unsigned list = parameter(statement, run->servers_list);

        add(statement,
            "select " COLUMNS
            " case when c.verdict = 'human' then 'datacenter' else 'human' end::kudos.verdict"
            " as new_verdict,"
            " case when c.verdict = 'human' then 'network of servers' end as new_rule"
            " from kudos.clicks c where ((c.verdict = 'human' and c.asn = any ($%1$u::bigint[]))"
            " or (c.verdict = 'datacenter' and c.rule = 'network of servers'"
            " and coalesce(c.asn <> all ($%1$u::bigint[]), true)))",
            list);
    } else {
        unsigned to = parameter(statement, run->to), rule = parameter(statement, run->rule);

        add(statement,
            "select " COLUMNS " $%u::kudos.verdict as new_verdict, $%u::text as new_rule"
            " from kudos.clicks c where true",
            to, rule);
    }
    for (size_t i = 0; i < FILTER_COUNT; i++) {
        unsigned number;

        if (!run->values[i])
            continue;
        number = parameter(statement, run->values[i]);
        add(statement, " and ");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        add(statement, filters[i].sql, number); /* from the table above */
#pragma GCC diagnostic pop
    }
}

/* Those of a run that still are what it made of them, with what they were before. */
static void add_undone(struct statement *statement, const struct reclassification *run)
{
    add(statement,
        "select " COLUMNS " r.verdict_before as new_verdict, r.rule_before as new_rule"
        " from kudos.reclassified r join kudos.clicks c"
        " on c.time = r.time and c.origin = r.origin and c.seq = r.seq"
        " where r.reclassification_id = $%1$u::bigint and c.verdict = r.verdict"
        " and c.rule is not distinct from r.rule"
        " and c.time between (select min(time) from kudos.reclassified"
        "   where reclassification_id = $%1$u::bigint) and (select max(time)"
        "   from kudos.reclassified where reclassification_id = $%1$u::bigint)",
        parameter(statement, run->undo));
}

/* In a burst is a click that is one of so many in a row, the last not later than that after the
 * first. */
static void add_bursts(struct statement *statement, const struct reclassification *run)
{
    if (run->burst_clicks == 0)
        return;
    add(statement,
        ", starts as (select *, lead(time, %1$u) over w - time <= make_interval(secs => %2$u) as"
        " begins from matching window w as (partition by link_id order by time, origin, seq)),"
        " bursts as (select *, bool_or(begins) over (partition by link_id"
        " order by time, origin, seq rows between %1$u preceding and current row) as in_burst"
        " from starts)",
        run->burst_clicks - 1, run->burst_seconds);
}

static bool choose(struct reclassification *run, struct error *error)
{
    static struct statement statement;

    if (!postgres_execute(run->connection, MAKE_CHOSEN, 0, NULL, error))
        return false;
    add(&statement, "with matching as (");
    if (run->undo)
        add_undone(&statement, run);
    else
        add_filtered(&statement, run);
    add(&statement, ")");
    add_bursts(&statement, run);
    add(&statement,
        " insert into pg_temp.chosen select format('kudos.%%I', t.relname), m.ctid, w.partition,"
        " (row_number() over (partition by m.tableoid, w.partition order by m.ctid) - 1)"
        "   / " STEP_CLICKS ","
        " m.origin, m.seq, m.time, m.link_id, m.verdict, m.rule, m.new_verdict, m.new_rule"
        " from %s m join kudos.watermarks w on w.origin = m.origin"
        " join pg_catalog.pg_class t on t.oid = m.tableoid"
        " where (m.verdict, m.rule) is distinct from (m.new_verdict, m.new_rule)%s",
        run->burst_clicks ? "bursts" : "matching", run->burst_clicks ? " and m.in_burst" : "");
    return postgres_execute(run->connection, statement.sql, statement.count, statement.values,
                            error) &&
           postgres_execute(run->connection, "analyze pg_temp.chosen", 0, NULL, error);
}

/* Changing them ----------------------------------------------------------------------------------- */

/* A row that was moved or changed since it was chosen is left alone. */
static const char MOVE[] =
    "with moved as (update %s c set verdict = n.new_verdict, rule = n.new_rule"
    "   from pg_temp.chosen n where n.day_table = $1 and n.partition = $2::smallint"
    "   and n.step = $3::bigint and c.ctid = n.place and c.origin = n.origin and c.seq = n.seq"
    "   and c.verdict = n.verdict and c.rule is not distinct from n.rule"
    "   returning c.origin, c.seq, c.time, c.link_id, c.workspace_id, n.verdict, n.rule,"
    "     n.new_verdict, n.new_rule),"
    " noted as (insert into kudos.reclassified (reclassification_id, origin, seq, time, link_id,"
    "     workspace_id, verdict_before, rule_before, verdict, rule)"
    "   select $4::bigint, * from moved),"
    " differences as (select link_id, hour, verdict, sum(n)::bigint as n from ("
    "     select link_id, date_trunc('hour', time) as hour, verdict, -1 as n from moved"
    "     union all select link_id, date_trunc('hour', time), new_verdict, 1 from moved) each"
    "   group by link_id, hour, verdict having sum(n) <> 0),"
    " counted as (insert into kudos.clicks_hourly as h"
    "     (partition, link_id, hour, verdict, clicks, human)"
    "   select $2::smallint, link_id, hour, verdict, n,"
    "     case when verdict = 'human' then n else 0 end"
    "   from differences order by link_id, hour, verdict"
    "   on conflict (link_id, hour, verdict, partition) do update"
    "   set clicks = h.clicks + excluded.clicks, human = h.human + excluded.human),"
    " awaited as (update kudos.conversions v set click_awaited = true from moved m"
    "   where v.click_origin = m.origin and v.click_seq = m.seq),"
    " touched as (update kudos.conversion_touches v set awaited = true from moved m"
    "   where v.origin = m.origin and v.seq = m.seq)"
    " select count(*) from moved";

static const char DROP_EMPTY[] =
    "delete from kudos.clicks_hourly h using (select distinct link_id,"
    "   date_trunc('hour', time) as hour, verdict from pg_temp.chosen where day_table = $1"
    "   and partition = $2::smallint and step = $3::bigint) n"
    " where h.link_id = n.link_id and h.hour = n.hour and h.verdict = n.verdict"
    " and h.partition = $2::smallint and h.clicks = 0";

/* The step takes the next place of its partition's own origin. */
static const char NOTE_STEP[] =
    "with place as (select coalesce(max(origin), $4::bigint) as origin,"
    "     coalesce(max(seq), 0) + 1 as seq"
    "   from kudos.reclassification_steps where partition = $1::smallint),"
    " noted as (insert into kudos.reclassification_steps"
    "     (origin, seq, partition, reclassification_id, clicks)"
    "   select origin, seq, $1::smallint, $2::bigint, $3::bigint from place),"
    " counted as (update kudos.reclassifications set clicks = clicks + $3::bigint"
    "   where id = $2::bigint)"
    " insert into kudos.watermarks as w (origin, partition, seq, applied, gaps)"
    " select origin, $1::smallint, seq, seq, 0 from place"
    " on conflict (origin) do update set seq = excluded.seq, applied = excluded.applied,"
    "   updated_at = clock_timestamp() where w.seq = excluded.seq - 1"
    " returning 1";

static bool take_lock(const struct reclassification *run, unsigned partition, struct error *error)
{
    for (int i = 0; i < LOCK_TRIES; i++) {
        enum flush_lock lock =
            flush_lock(run->connection, partition, run->settings->flush_takeover_ms, error);
        if (lock != FLUSH_LOCK_BUSY)
            return lock == FLUSH_LOCK_HELD;
    }
    return error_set(error, "partition %u is busy", partition);
}

static bool move_rows(struct reclassification *run, const char *const values[4], char *moved,
                      struct error *error)
{
    char sql[sizeof MOVE + 128];
    PGresult *row;

    snprintf(sql, sizeof sql, MOVE, values[0]);
    row = postgres_query(run->connection, sql, 4, values, error);
    if (!row)
        return false;
    snprintf(moved, NUMBER_MAX, "%s", PQgetvalue(row, 0, 0));
    PQclear(row);
    return postgres_execute(run->connection, DROP_EMPTY, 3, values, error);
}

static bool note_step(struct reclassification *run, const char *partition, const char *moved,
                      struct error *error)
{
    char fresh[NUMBER_MAX];
    const char *values[] = {partition, run->run, moved, fresh};
    uint64_t random;
    PGresult *row;
    bool good;

    randombytes_buf(&random, sizeof random);
    snprintf(fresh, sizeof fresh, "%lld", (long long)(random >> 1 | 1));
    row = postgres_query(run->connection, NOTE_STEP, 4, values, error);
    good = row && PQntuples(row) == 1;
    if (row && !good)
        error_set(error, "the watermark of partition %s is not where its steps are", partition);
    PQclear(row);
    return good;
}

static bool commit(const struct reclassification *run, struct error *error)
{
    PGresult *result;
    bool good;

    CRASH_POINT("reclassify_before_commit");
    result = postgres_query(run->connection, "commit", 0, NULL, error);
    good = result && strcmp(PQcmdStatus(result), "COMMIT") == 0;
    if (result && !good)
        error_set(error, "COMMIT was answered with %s", PQcmdStatus(result));
    PQclear(result);
    CRASH_POINT("reclassify_after_commit");
    return good;
}

/* One step: values are day table, partition and number. */
static bool do_step(struct reclassification *run, const char *const values[4], struct error *error)
{
    char moved[NUMBER_MAX] = "0";

    if (!take_lock(run, (unsigned)strtoul(values[1], NULL, 10), error) ||
        !move_rows(run, values, moved, error))
        return false;
    if (strcmp(moved, "0") == 0)
        return postgres_execute(run->connection, "rollback", 0, NULL, error);
    if (!note_step(run, values[1], moved, error) || !commit(run, error))
        return false;
    run->clicks += strtoll(moved, NULL, 10);
    return true;
}

static bool do_steps(struct reclassification *run, struct error *error)
{
    PGresult *steps = postgres_query(run->connection,
                                     "select distinct day_table, partition, step"
                                     " from pg_temp.chosen order by day_table, partition, step",
                                     0, NULL, error);
    bool good = steps != NULL;

    for (int i = 0; good && i < PQntuples(steps); i++) {
        const char *values[] = {PQgetvalue(steps, i, 0), PQgetvalue(steps, i, 1),
                                PQgetvalue(steps, i, 2), run->run};
        good = do_step(run, values, error);
    }
    PQclear(steps);
    return good;
}

/* The run ---------------------------------------------------------------------------------------- */

static bool begin_run(struct reclassification *run, struct error *error)
{
    const char *reason = run->because ? run->because
                         : run->undo  ? "taken back"
                                      : "datacenter_asns has changed";
    const char *values[] = {run->asked, reason, run->undo};
    PGresult *row = postgres_query(run->connection,
                                   "insert into kudos.reclassifications (asked, reason, undoes)"
                                   " values ($1, $2, $3::bigint) returning id",
                                   3, values, error);

    if (!row)
        return false;
    snprintf(run->run, sizeof run->run, "%s", PQgetvalue(row, 0, 0));
    PQclear(row);
    return true;
}

/* Also ends what was interrupted: nobody else is at work. */
static bool end_run(const struct reclassification *run, struct error *error)
{
    static const char END[] =
        "begin;"
        " select kudos.review_used_up(array(select distinct r.link_id from kudos.reclassified r"
        "   join kudos.reclassifications n on n.id = r.reclassification_id"
        "   where n.ended_at is null));"
        " update kudos.reclassifications set ended_at = clock_timestamp() where ended_at is null;"
        " commit";

    return postgres_execute(run->connection, END, 0, NULL, error);
}

static bool print_chosen(const struct reclassification *run, struct error *error)
{
    PGresult *rows = postgres_query(
        run->connection,
        "select count(*), count(distinct link_id), verdict, rule, new_verdict, new_rule"
        " from pg_temp.chosen group by 3, 4, 5, 6 order by 1 desc",
        0, NULL, error);

    for (int i = 0; i < PQntuples(rows); i++)
        printf("%s clicks on %s links: %s%s%s%s -> %s%s%s%s\n", PQgetvalue(rows, i, 0),
               PQgetvalue(rows, i, 1), PQgetvalue(rows, i, 2), PQgetisnull(rows, i, 3) ? "" : " (",
               PQgetvalue(rows, i, 3), PQgetisnull(rows, i, 3) ? "" : ")", PQgetvalue(rows, i, 4),
               PQgetisnull(rows, i, 5) ? "" : " (", PQgetvalue(rows, i, 5),
               PQgetisnull(rows, i, 5) ? "" : ")");
    if (rows && PQntuples(rows) == 0)
        puts("no click is to be changed");
    PQclear(rows);
    return rows != NULL;
}

static bool lock_out_others(const struct reclassification *run, struct error *error)
{
    char sql[96];
    PGresult *row;
    bool got;

    snprintf(sql, sizeof sql, "select pg_try_advisory_lock(%d, %d)", POSTGRES_LOCK_CLASS,
             POSTGRES_LOCK_RECLASSIFY);
    row = postgres_query(run->connection, sql, 0, NULL, error);
    if (!row)
        return false;
    got = PQgetvalue(row, 0, 0)[0] == 't';
    PQclear(row);
    return got || error_set(error, "another kudos reclassify is at work");
}

static bool reclassify(struct reclassification *run, struct error *error)
{
    if ((run->servers && !read_servers(run, error)) || !lock_out_others(run, error) ||
        !choose(run, error) || !print_chosen(run, error))
        return false;
    if (run->dry_run)
        return true;
    if (!begin_run(run, error) || !do_steps(run, error) || !end_run(run, error))
        return false;
    printf("%lld clicks reclassified; kudos reclassify --undo %s takes it back\n", run->clicks,
           run->run);
    return true;
}

int reclassify_command(int argc, char **argv, const struct settings *settings)
{
    static struct reclassification run;
    struct error error = {""};
    bool good;

    if (!read_options(argc, argv, &run))
        return usage();
    log_open("reclassify", LOG_LEVEL_WARN);
    run.settings = settings;
    snprintf(run.rule, sizeof run.rule, RULE_BEGIN "%s", run.because ? run.because : "");
    run.connection = postgres_connect(settings->database_url, "kudos-reclassify", &error);
    if (!run.connection) {
        fprintf(stderr, "kudos reclassify: cannot connect to PostgreSQL: %s\n", error.text);
        return 2;
    }
    good = reclassify(&run, &error);
    PQfinish(run.connection);
    if (!good) {
        fprintf(stderr, "kudos reclassify: %s\n", error.text);
        if (run.run[0])
            fprintf(stderr, "%lld clicks were changed (run %s); the same command goes on\n",
                    run.clicks, run.run);
    }
    return good ? 0 : 1;
}
