/* `kudos reattribute`: after a change of a campaign's policy, decides anew who earned its conversions.
 *
 * Crediting is a function of what is stored (kudos.credit_conversion), so a conversion may be decided
 * about any number of times. It is done in batches of BATCH conversions with their refunds, each a
 * transaction that also writes how far the run is (kudos.reattributions): killed anywhere, the same
 * command goes on behind the last batch, unless the policy has changed again, when it begins anew.
 * Conversions that arrive meanwhile are credited by the new policy anyway. Payouts are not touched:
 * what has become different is a line of the next one.
 *
 * With --dry-run every batch is rolled back. */
#include <assert.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/commands.h"
#include "server/stores/postgres.h"
#include "shared/crash.h"
#include "shared/log.h"

#define BATCH      "500"
#define NUMBER_MAX 24

struct reattribution {
    const char *campaign, *workspace; /* as they were asked for */
    bool dry_run;
    PGconn *connection;
    char number[NUMBER_MAX]; /* of the campaign */
    char run[NUMBER_MAX];    /* "" with --dry-run */
    char upto[NUMBER_MAX];
    long long conversions, changed;
    json_t *sums; /* "handle currency" to [before, after, how many before, how many after] */
};

static int usage(void)
{
    fputs("usage: kudos reattribute --campaign SLUG [--workspace NAME] [--dry-run]\n", stderr);
    return 2;
}

static bool read_options(int argc, char **argv, struct reattribution *out)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--dry-run") == 0)
            out->dry_run = true;
        else if (strcmp(argv[i], "--campaign") == 0 && i + 1 < argc)
            out->campaign = argv[++i];
        else if (strcmp(argv[i], "--workspace") == 0 && i + 1 < argc)
            out->workspace = argv[++i];
        else
            return false;
    }
    return out->campaign != NULL;
}

/* --- where it is --- */

static bool find_campaign(struct reattribution *run, struct error *error)
{
    const char *values[] = {run->campaign, run->workspace};
    PGresult *rows = postgres_query(
        run->connection,
        "select a.id from kudos.campaigns a join kudos.workspaces w on w.id = a.workspace_id"
        " where lower(a.slug) = lower($1) and ($2::text is null or w.name = $2)",
        2, values, error);
    int count = rows ? PQntuples(rows) : 0;

    if (count == 1)
        snprintf(run->number, sizeof run->number, "%s", PQgetvalue(rows, 0, 0));
    else if (rows)
        error_set(error,
                  count == 0 ? "there is no campaign %s"
                             : "several workspaces have a campaign %s: name one (--workspace)",
                  run->campaign);
    PQclear(rows);
    return count == 1;
}

static bool lock_out_others(const struct reattribution *run, struct error *error)
{
    char sql[96];
    PGresult *row;
    bool got;

    snprintf(sql, sizeof sql, "select pg_try_advisory_lock(%d, %d)", POSTGRES_LOCK_CLASS,
             POSTGRES_LOCK_REATTRIBUTE);
    row = postgres_query(run->connection, sql, 0, NULL, error);
    if (!row)
        return false;
    got = PQgetvalue(row, 0, 0)[0] == 't';
    PQclear(row);
    return got || error_set(error, "another kudos reattribute is at work");
}

/* Goes on with a run under the same policy, or begins one. */
static bool begin_run(struct reattribution *run, struct error *error)
{
    static const char BEGIN[] =
        "with a as (select id, attribution from kudos.campaigns where id = $1::bigint),"
        " old as (select r.* from kudos.reattributions r, a where r.campaign_id = a.id"
        "   and r.ended_at is null and r.policy = a.attribution order by r.id desc limit 1),"
        " new as (insert into kudos.reattributions (campaign_id, policy) select id, attribution "
        "from a"
        "   where not exists (select from old) returning *)"
        " select id, upto, conversions, changed, sums, true as resumed from old"
        " union all select id, upto, conversions, changed, sums, false from new";
    const char *values[] = {run->number};
    PGresult *row = postgres_query(run->connection, BEGIN, 1, values, error);

    if (!row)
        return false;
    assert(PQntuples(row) == 1);
    snprintf(run->run, sizeof run->run, "%s", PQgetvalue(row, 0, 0));
    snprintf(run->upto, sizeof run->upto, "%s", PQgetvalue(row, 0, 1));
    run->conversions = strtoll(PQgetvalue(row, 0, 2), NULL, 10);
    run->changed = strtoll(PQgetvalue(row, 0, 3), NULL, 10);
    json_decref(run->sums);
    run->sums = json_loads(PQgetvalue(row, 0, 4), 0, NULL);
    assert(run->sums);
    if (*PQgetvalue(row, 0, 5) == 't')
        printf("going on with run %s behind %lld conversions\n", run->run, run->conversions);
    PQclear(row);
    return true;
}

/* --- batches --- */

static void add_to(json_t *array, size_t at, json_t *number)
{
    json_int_t sum = json_integer_value(json_array_get(array, at)) + json_integer_value(number);

    json_array_set_new(array, at, json_integer(sum));
}

/* Adds {"handle currency": [minor, how many]} at `place`: 0 before, 1 after. */
static void add_sums(struct reattribution *run, const char *text, size_t place)
{
    json_t *added = json_loads(text, 0, NULL), *pair, *sum;
    const char *who;

    assert(added);
    json_object_foreach(added, who, pair)
    {
        sum = json_object_get(run->sums, who);
        if (!sum) {
            sum = json_pack("[i, i, i, i]", 0, 0, 0, 0);
            json_object_set_new(run->sums, who, sum);
        }
        add_to(sum, place, json_array_get(pair, 0));
        add_to(sum, place + 2, json_array_get(pair, 1));
    }
    json_decref(added);
}

static bool note_progress(struct reattribution *run, struct error *error)
{
    char conversions[NUMBER_MAX], changed[NUMBER_MAX];
    char *sums = json_dumps(run->sums, JSON_COMPACT);
    const char *values[] = {run->run, run->upto, conversions, changed, sums};
    bool good;

    assert(sums);
    snprintf(conversions, sizeof conversions, "%lld", run->conversions);
    snprintf(changed, sizeof changed, "%lld", run->changed);
    good = postgres_execute(run->connection,
                            "update kudos.reattributions set upto = $2::bigint, conversions ="
                            " $3::bigint, changed = $4::bigint, sums = $5::jsonb"
                            " where id = $1::bigint",
                            5, values, error);
    free(sums);
    return good;
}

/* One batch; `*more` is false if there was nothing left. */
static bool do_batch(struct reattribution *run, bool *more, struct error *error)
{
    const char *values[] = {run->number, run->upto};
    PGresult *row;

    if (!postgres_execute(run->connection, "begin", 0, NULL, error))
        return false;
    row = postgres_query(run->connection,
                         "select * from kudos.reattribute($1::bigint, $2::bigint, " BATCH ")", 2,
                         values, error);
    if (!row)
        return false;
    *more = !PQgetisnull(row, 0, 0);
    if (*more) {
        snprintf(run->upto, sizeof run->upto, "%s", PQgetvalue(row, 0, 0));
        run->conversions += strtoll(PQgetvalue(row, 0, 1), NULL, 10);
        run->changed += strtoll(PQgetvalue(row, 0, 2), NULL, 10);
        add_sums(run, PQgetvalue(row, 0, 3), 0);
        add_sums(run, PQgetvalue(row, 0, 4), 1);
    }
    PQclear(row);
    if (run->dry_run)
        return postgres_execute(run->connection, "rollback", 0, NULL, error);
    if (!note_progress(run, error))
        return false;
    CRASH_POINT("reattribute_before_commit");
    if (!postgres_execute(run->connection, "commit", 0, NULL, error))
        return false;
    CRASH_POINT("reattribute_after_commit");
    return true;
}

static void print_sums(const struct reattribution *run)
{
    const char *who;
    json_t *sum;

    json_object_foreach(run->sums, who, sum)
    {
        const char *space = strrchr(who, ' ');
        long long numbers[4];

        for (size_t i = 0; i < 4; i++)
            numbers[i] = json_integer_value(json_array_get(sum, i));
        assert(space);
        printf("%-24.*s %-3s %lld -> %lld (minor units; conversions %lld -> %lld)\n",
               space > who ? (int)(space - who) : 6, space > who ? who : "nobody",
               space[1] ? space + 1 : "-", numbers[0], numbers[1], numbers[2], numbers[3]);
    }
    printf("%lld conversions %s, %lld %s credited otherwise\n", run->conversions,
           run->dry_run ? "looked at" : "decided anew", run->changed,
           run->dry_run ? "would be" : "are");
}

static bool reattribute(struct reattribution *run, struct error *error)
{
    const char *values[] = {run->number};
    bool more = true;

    if (!find_campaign(run, error) || !lock_out_others(run, error) ||
        (!run->dry_run && !begin_run(run, error)))
        return false;
    while (more) {
        if (!do_batch(run, &more, error))
            return false;
    }
    if (!run->dry_run &&
        !postgres_execute(run->connection,
                          "update kudos.reattributions set ended_at = clock_timestamp()"
                          " where campaign_id = $1::bigint and ended_at is null",
                          1, values, error))
        return false;
    print_sums(run);
    return true;
}

int reattribute_command(int argc, char **argv, const struct settings *settings)
{
    struct reattribution run = {.upto = "0"};
    struct error error = {""};
    bool good;

    if (!read_options(argc, argv, &run))
        return usage();
    log_open("reattribute", LOG_LEVEL_WARN);
    run.connection = postgres_connect(settings->database_url, "kudos-reattribute", &error);
    if (!run.connection) {
        fprintf(stderr, "kudos reattribute: cannot connect to PostgreSQL: %s\n", error.text);
        return 2;
    }
    run.sums = json_object();
    assert(run.sums);
    good = reattribute(&run, &error);
    PQfinish(run.connection);
    json_decref(run.sums);
    if (!good)
        fprintf(stderr, "kudos reattribute: %s%s\n", error.text,
                run.run[0] ? "; the same command goes on" : "");
    return good ? 0 : 1;
}
