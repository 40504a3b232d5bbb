/* See flush_inbox.h; all that is decided is decided in PostgreSQL (kudos.process_inbox). */
#include "server/clicks/flush_inbox.h"

#include <assert.h>
#include <stdlib.h>

#include "server/metrics.h"
#include "server/stores/postgres.h"
#include "shared/crash.h"
#include "shared/log.h"

/* In one transaction. */
#define REPORTS_MOST "500"
#define SETTLE_MOST  "1000"

bool flush_inbox(PGconn *connection, bool *more, struct error *error)
{
    static bool told; /* that reports fail; said again when it begins again */
    PGresult *row;
    long long taken, failed;

    assert(PQtransactionStatus(connection) == PQTRANS_IDLE);
    *more = false;
    CRASH_POINT("flush_before_inbox");
    row = postgres_query(connection,
                         "select taken, failed, waiting from kudos.process_inbox(" REPORTS_MOST ")",
                         0, NULL, error);
    if (!row)
        return false;
    CRASH_POINT("flush_after_inbox");
    taken = strtoll(PQgetvalue(row, 0, 0), NULL, 10);
    failed = strtoll(PQgetvalue(row, 0, 1), NULL, 10);
    metrics->conversions_recorded_total += taken;
    metrics->conversions_failed = failed;
    metrics->conversions_waiting = strtoll(PQgetvalue(row, 0, 2), NULL, 10);
    PQclear(row);
    if (failed > 0 && !told)
        log_error("conversions_failed", "reports=%lld advice=%s", failed,
                  "see problem in kudos.conversion_inbox; they are tried again");
    told = failed > 0;
    *more = taken > 0;
    return true;
}

bool flush_settle(PGconn *connection, struct error *error)
{
    assert(PQtransactionStatus(connection) == PQTRANS_IDLE);
    /* One transaction; waiting for a lock here would hold back clicks. */
    return postgres_execute(connection,
                            "set local lock_timeout = '100ms';"
                            "select kudos.settle_clicks(" SETTLE_MOST ");"
                            "select kudos.settle_written(" SETTLE_MOST ")",
                            0, NULL, error);
}
