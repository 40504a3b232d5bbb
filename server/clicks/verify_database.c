/* verify_database(): see verify.h.
 *
 * All in one REPEATABLE READ snapshot, which needs no lock: flush commits rows, rollup and watermark
 * together or not at all. Every kept row is read; on a large database that takes a while, and holds up
 * nobody. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/clicks/verify.h"
#include "server/clicks/verify_daily.h"
#include "server/clicks/verify_problem.h"
#include "server/stores/postgres.h"

/* Rows per origin: how many, how many different, the last; then what else its watermark counts. With
 * all rows kept each must add up exactly; with days dropped there may be fewer, never more. */
static const char ORIGINS[] =
    "with events as materialized ("
    "   select origin, seq, count(*) as n from kudos.clicks group by origin, seq),"
    " rows as (select origin, sum(n) as n, count(*) as distinct_n, max(seq) as last"
    "            from events group by origin),"
    " inbox as (select origin, count(*) as n, max(seq) as last from kudos.conversion_inbox"
    "            group by origin),"
    " refused as (select origin, count(*) as n from kudos.quarantine group by origin),"
    " steps as (select origin, count(*) as n from kudos.reclassification_steps group by origin),"
    " missing as (select origin, count(*) filter (where kind = 'lost') as notes,"
    "               coalesce(sum(last_seq - first_seq + 1) filter (where kind <> 'lost'), 0) as n"
    "               from kudos.gaps group by origin),"
    " all_origins as (select origin from rows union select origin from kudos.watermarks"
    "   union select origin from inbox union select origin from refused"
    "   union select origin from missing),"
    " sums as (select origin, coalesce(w.seq, 0) as watermark, coalesce(w.applied, 0) as applied,"
    "   coalesce(w.gaps, 0) as gaps, coalesce(r.n, 0) as rows, coalesce(r.distinct_n, 0) as"
    "   distinct_rows, greatest(r.last, t.last, 0) as last, coalesce(t.n, 0) as told,"
    "   coalesce(q.n, 0) as refused,"
    "   coalesce(m.notes, 0) + coalesce(s.n, 0) as notes, coalesce(m.n, 0) as missing"
    "   from all_origins left join kudos.watermarks w using (origin)"
    "   left join rows r using (origin) left join inbox t using (origin)"
    "   left join refused q using (origin)"
    "   left join steps s using (origin) left join missing m using (origin))"
    " select origin, watermark, applied, gaps, rows, distinct_rows, last, told, refused, notes,"
    "   missing"
    " from sums where rows <> distinct_rows or last > watermark or gaps <> missing"
    "   or (case when $1::boolean then applied <> rows + told + refused + notes"
    "            else applied < rows + told + refused + notes end)"
    " order by origin";

/* Rollups that are not the sums of their rows, for the hours of which all rows are kept. */
static const char ROLLUPS[] =
    "select link_id, hour, verdict, coalesce(h.clicks, 0), coalesce(h.human, 0), coalesce(r.n, 0)"
    " from (select link_id, hour, verdict, sum(clicks) as clicks, sum(human) as human"
    "         from kudos.clicks_hourly where hour >= $1::timestamptz group by 1, 2, 3) h"
    " full join (select link_id, date_trunc('hour', time) as hour, verdict, count(*) as n"
    "         from kudos.clicks where time >= $1::timestamptz group by 1, 2, 3) r"
    " using (link_id, hour, verdict)"
    " where coalesce(h.clicks, 0) <> coalesce(r.n, 0)"
    "    or coalesce(h.human, 0) <> case when verdict = 'human' then coalesce(r.n, 0) else 0 end"
    " order by hour, link_id";

static const char COUNTS[] =
    "select (select count(*) from kudos.clicks), (select count(*) from kudos.quarantine),"
    " (select coalesce(sum(last_seq - first_seq + 1), 0) from kudos.gaps where kind <> 'lost'),"
    " (select coalesce(sum(count), 0) from kudos.gaps where kind = 'lost'),"
    " (select count(*) from kudos.conversion_inbox),"
    " (select count(*) from kudos.conversion_inbox where due_at is not null),"
    " (select count(*) from kudos.conversion_inbox where outcome = 'failed')";

static bool check_origins(PGconn *connection, bool all_kept, json_t *problems, struct error *error)
{
    const char *value = all_kept ? "true" : "false";
    PGresult *rows = postgres_query(connection, ORIGINS, 1, &value, error);

    for (int i = 0; i < PQntuples(rows); i++)
        verify_problem(
            problems,
            "origin %s: watermark %s = applied %s + gaps %s, but %s rows, %s different, "
            "the last %s, %s conversions, %s in quarantine, %s notes of losses and steps, "
            "%s in gaps",
            PQgetvalue(rows, i, 0), PQgetvalue(rows, i, 1), PQgetvalue(rows, i, 2),
            PQgetvalue(rows, i, 3), PQgetvalue(rows, i, 4), PQgetvalue(rows, i, 5),
            PQgetvalue(rows, i, 6), PQgetvalue(rows, i, 7), PQgetvalue(rows, i, 8),
            PQgetvalue(rows, i, 9), PQgetvalue(rows, i, 10));
    PQclear(rows);
    return rows != NULL;
}

static bool check_rollups(PGconn *connection, const char *kept_from, json_t *problems,
                          struct error *error)
{
    PGresult *rows = postgres_query(connection, ROLLUPS, 1, &kept_from, error);

    for (int i = 0; i < PQntuples(rows); i++)
        verify_problem(problems, "link %s, hour %s, %s: rollup %s (human %s), rows %s",
                       PQgetvalue(rows, i, 0), PQgetvalue(rows, i, 1), PQgetvalue(rows, i, 2),
                       PQgetvalue(rows, i, 3), PQgetvalue(rows, i, 4), PQgetvalue(rows, i, 5));
    PQclear(rows);
    return rows != NULL;
}

static bool count(PGconn *connection, json_t *result, struct error *error)
{
    static const char *const names[] = {"rows",
                                        "quarantined",
                                        "gaps",
                                        "lost",
                                        "conversions",
                                        "conversions_waiting",
                                        "conversions_failed"};
    const int values = sizeof names / sizeof names[0];
    PGresult *row = postgres_query(connection, COUNTS, 0, NULL, error);

    if (!row)
        return false;
    assert(PQntuples(row) == 1 && PQnfields(row) == values);
    for (int i = 0; i < values; i++)
        json_object_set_new(result, names[i],
                            json_integer(strtoll(PQgetvalue(row, 0, i), NULL, 10)));
    PQclear(row);
    return true;
}

static bool check(PGconn *connection, json_t *result, json_t *problems, struct error *error)
{
    PGresult *row;
    bool all_kept, good;

    if (!postgres_execute(connection,
                          "begin isolation level repeatable read read only;"
                          " set local work_mem = '64MB'",
                          0, NULL, error))
        return false;
    row = postgres_query(connection, "select kept_from from kudos.clicks_kept", 0, NULL, error);
    if (!row)
        return false;
    if (PQntuples(row) != 1) {
        PQclear(row);
        return error_set(error, "kudos.clicks_kept has no row");
    }
    all_kept = strcmp(PQgetvalue(row, 0, 0), "-infinity") == 0;
    json_object_set_new(result, "kept_from",
                        all_kept ? json_null() : json_string(PQgetvalue(row, 0, 0)));
    good = count(connection, result, error) &&
           check_origins(connection, all_kept, problems, error) &&
           check_rollups(connection, PQgetvalue(row, 0, 0), problems, error) &&
           verify_daily(connection, result, problems, error);
    PQclear(row);
    return good;
}

json_t *verify_database(PGconn *connection, struct error *error)
{
    json_t *result = json_object(), *problems = json_array();
    bool good;

    assert(result && problems && PQtransactionStatus(connection) == PQTRANS_IDLE);
    json_object_set_new(result, "problems", problems);
    good = check(connection, result, problems, error);
    if (PQstatus(connection) == CONNECTION_OK)
        PQclear(PQexec(connection, "rollback"));
    if (good)
        return result;
    json_decref(result);
    return NULL;
}
