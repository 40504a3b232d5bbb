/* See flush_days.h. Not part of any batch: clicks without a day's partition go to the default
 * partition, and move to their day when it is made. */
#include "server/clicks/flush_days.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/stores/postgres.h"
#include "shared/log.h"

#define NUMBER_MAX 24

/* Days that are wanted and not there: the coming ones, and kept ones with rows that came late. */
static const char MISSING[] =
    "with kept as (select greatest(kept_from, now() - $2::int * interval '1 day') as since"
    "                from kudos.clicks_kept),"
    " wanted as ("
    "   select current_date + n as day from generate_series(0, $1::int) n"
    "   union"
    "   (select distinct d.time::date from kudos.clicks_default d, kept"
    "     where d.time >= kept.since and d.time < current_date limit $1::int))"
    " select day from wanted"
    " where to_regclass('kudos.clicks_' || to_char(day, 'YYYYMMDD')) is null order by day";

/* Runs one statement in a transaction that gives up soon, and not at all if others are at it. */
static bool run(PGconn *connection, const char *sql, const char *value, int64_t *out,
                struct error *error)
{
    char begin[160];
    PGresult *row;
    bool good;

    snprintf(begin, sizeof begin,
             "begin; set local lock_timeout = '2s'; select pg_try_advisory_xact_lock(%d, %d)",
             POSTGRES_LOCK_CLASS, POSTGRES_LOCK_DAYS);
    row = postgres_query(connection, begin, 0, NULL, error);
    good = row != NULL;
    if (good && PQgetvalue(row, 0, 0)[0] == 't') {
        PQclear(row);
        row = postgres_query(connection, sql, 1, &value, error);
        good = row != NULL;
        *out = good ? strtoll(PQgetvalue(row, 0, 0), NULL, 10) : 0;
    }
    PQclear(row);
    good = good && postgres_execute(connection, "commit", 0, NULL, error);
    if (!good && PQstatus(connection) == CONNECTION_OK)
        PQclear(PQexec(connection, "rollback"));
    return good;
}

static bool make_days(PGconn *connection, const char *retention, struct error *error)
{
    char ahead[NUMBER_MAX];
    const char *values[] = {ahead, retention};
    PGresult *days;
    bool good = true;

    snprintf(ahead, sizeof ahead, "%d", FLUSH_DAYS_AHEAD);
    days = postgres_query(connection, MISSING, 2, values, error);
    if (!days)
        return false;
    assert(PQntuples(days) <= 2 * FLUSH_DAYS_AHEAD + 1);
    for (int i = 0; good && i < PQntuples(days); i++) {
        const char *day = PQgetvalue(days, i, 0);
        int64_t unused;
        good = run(connection, "select kudos.make_click_day($1::date)::int", day, &unused, error);
        if (!good)
            error_prefix(error, "making day %s", day);
    }
    PQclear(days);
    return good;
}

bool flush_days(PGconn *connection, int64_t retention_days, struct error *error)
{
    char retention[NUMBER_MAX];
    int64_t dropped = 0;

    assert(PQtransactionStatus(connection) == PQTRANS_IDLE);
    snprintf(retention, sizeof retention, "%" PRId64, retention_days);
    if (!make_days(connection, retention, error))
        return false;
    if (!run(connection, "select kudos.drop_click_days(current_date - $1::int)", retention,
             &dropped, error))
        return error_prefix(error, "dropping days");
    if (dropped > 0)
        log_info("days_dropped", "days=%" PRId64, dropped);
    return true;
}
