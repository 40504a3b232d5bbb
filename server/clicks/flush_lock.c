/* See flush_lock.h. Ending the holder can hurt nobody: its transaction is undone as a whole, and a
 * client that wakes up finds its connection gone and starts over. It is a matter of progress, so
 * care is taken not to end one that works, only slowly. */
#include "server/clicks/flush_lock.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "server/metrics.h"
#include "server/stores/postgres.h"
#include "shared/log.h"

#define TRACE_MAX 256

static const char LOCK_NOT_AVAILABLE[] = "55P03";

/* Where the holder is: everything that changes as it works. */
static const char TRACE[] =
    "select a.pid, concat_ws(' ', a.pid, a.backend_start, a.state_change, c.tuples_processed,"
    "         c.bytes_processed, w.origins, w.seqs),"
    "       coalesce(a.wait_event_type, 'Client') = 'Client' and a.state is distinct from 'idle'"
    " from pg_locks l"
    " join pg_stat_activity a on a.pid = l.pid"
    " left join pg_stat_progress_copy c on c.pid = l.pid,"
    " (select count(*) as origins, sum(seq) as seqs from kudos.watermarks"
    "   where partition = $2::smallint) w"
    " where l.locktype = 'advisory' and l.granted and l.classid = $1::oid and l.objid = $2::oid"
    " and l.objsubid = 2"
    " and l.database = (select oid from pg_database where datname = current_database())";

struct trace {
    char pid[16];
    char text[TRACE_MAX]; /* "": nobody holds the lock */
    bool waits_for_client;
};

static bool read_trace(PGconn *connection, unsigned partition, struct trace *out,
                       struct error *error)
{
    char class[16], object[16];
    const char *values[] = {class, object};
    PGresult *row;

    memset(out, 0, sizeof *out);
    snprintf(class, sizeof class, "%d", POSTGRES_LOCK_CLASS);
    snprintf(object, sizeof object, "%u", POSTGRES_LOCK_PARTITION + partition);
    row = postgres_query(connection, TRACE, 2, values, error);
    if (!row)
        return false;
    if (PQntuples(row) > 0) {
        snprintf(out->pid, sizeof out->pid, "%s", PQgetvalue(row, 0, 0));
        snprintf(out->text, sizeof out->text, "%s", PQgetvalue(row, 0, 1));
        out->waits_for_client = PQgetvalue(row, 0, 2)[0] == 't';
    }
    PQclear(row);
    return true;
}

static bool end_holder(PGconn *connection, unsigned partition, const struct trace *trace,
                       struct error *error)
{
    const char *pid = trace->pid;

    if (!postgres_execute(connection, "select pg_terminate_backend($1::int)", 1, &pid, error))
        return false;
    metrics->flush_takeovers_total++;
    log_warn("flush_takeover", "partition=%u pid=%s holder=%s", partition, pid, trace->text);
    return true;
}

/* Waits in the lock's queue; the transaction is open. */
static enum flush_lock wait_for_lock(PGconn *connection, unsigned partition, int64_t takeover_ms,
                                     struct error *error)
{
    struct trace before, after;
    char sql[160];

    if (!read_trace(connection, partition, &before, error))
        return FLUSH_LOCK_FAILED;
    snprintf(sql, sizeof sql, "set local lock_timeout = %lld", (long long)takeover_ms);
    if (!postgres_execute(connection, sql, 0, NULL, error))
        return FLUSH_LOCK_FAILED;
    snprintf(sql, sizeof sql, "select pg_advisory_xact_lock(%d, %u)", POSTGRES_LOCK_CLASS,
             POSTGRES_LOCK_PARTITION + partition);
    if (postgres_execute(connection, sql, 0, NULL, error))
        return FLUSH_LOCK_HELD;
    if (strcmp(postgres_sqlstate(), LOCK_NOT_AVAILABLE) != 0 ||
        !postgres_execute(connection, "rollback", 0, NULL, error) ||
        !read_trace(connection, partition, &after, error))
        return FLUSH_LOCK_FAILED;
    if (after.text[0] && strcmp(before.text, after.text) == 0 && after.waits_for_client &&
        !end_holder(connection, partition, &after, error))
        return FLUSH_LOCK_FAILED;
    return FLUSH_LOCK_BUSY;
}

enum flush_lock flush_lock(PGconn *connection, unsigned partition, int64_t takeover_ms,
                           struct error *error)
{
    char sql[160];
    PGresult *row;
    bool got;

    assert(PQtransactionStatus(connection) == PQTRANS_IDLE && takeover_ms > 0);
    /* Two statements in one round trip; each has a snapshot of its own. */
    snprintf(sql, sizeof sql,
             "begin isolation level read committed; select pg_try_advisory_xact_lock(%d, %u)",
             POSTGRES_LOCK_CLASS, POSTGRES_LOCK_PARTITION + partition);
    row = postgres_query(connection, sql, 0, NULL, error);
    if (!row)
        return FLUSH_LOCK_FAILED;
    assert(PQntuples(row) == 1);
    got = PQgetvalue(row, 0, 0)[0] == 't';
    PQclear(row);
    return got ? FLUSH_LOCK_HELD : wait_for_lock(connection, partition, takeover_ms, error);
}
