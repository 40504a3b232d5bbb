/* See flush_daily.h. Statements are sent with PQsendQuery(), and their answers taken in a later pass:
 * building a day takes seconds, flushing clicks must not wait for them. */
#include "server/clicks/flush_daily.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/stores/postgres.h"
#include "shared/clock.h"
#include "shared/log.h"

/* Each answers how much it did; a round ends when none had anything to do. */
static const char *const STATEMENTS[] = {
    "select kudos.find_conversion_clicks(500)",
    "select kudos.build_day()",
    "select kudos.build_models(1000)",
    /* A second's work at most, once a round: what is not kept is computed when it is asked for. */
    "select 0 from kudos.build_earnings()",
};
#define STATEMENT_COUNT (sizeof STATEMENTS / sizeof STATEMENTS[0])

/* What freezes in PostgreSQL is ended; a day of a hundred million clicks takes minutes. Who wants a
 * lock that the builder holds waits two seconds at most (flush_days.c), so it does not hold up long
 * whoever comes behind that; nor does it wait long itself. */
static const char LIMITS[] = "set statement_timeout = '1h'; set lock_timeout = '2s'";

static void disconnect(struct flush_daily *daily)
{
    PQfinish(daily->connection);
    daily->connection = NULL;
    daily->asked = false;
}

static void rest(struct flush_daily *daily)
{
    daily->due_us = clock_mono_us() + FLUSH_DAILY_EVERY_S * US_PER_SECOND;
    daily->next = 0;
    daily->found = false;
}

static void fail(struct flush_daily *daily, const struct error *error)
{
    if (!daily->failing)
        log_warn("daily_failed", "error=%s", error->text);
    daily->failing = true;
    if (daily->connection && PQstatus(daily->connection) != CONNECTION_OK)
        disconnect(daily);
    rest(daily);
}

static bool connect_daily(struct flush_daily *daily, const char *database_url, struct error *error)
{
    if (daily->connection)
        return true;
    daily->connection = postgres_connect(database_url, "kudos-daily", error);
    return daily->connection && postgres_execute(daily->connection, LIMITS, 0, NULL, error);
}

static void ask(struct flush_daily *daily, const char *database_url)
{
    struct error error = {""};

    assert(daily->next < STATEMENT_COUNT);
    if (!connect_daily(daily, database_url, &error)) {
        fail(daily, &error);
    } else if (PQsendQuery(daily->connection, STATEMENTS[daily->next]) != 1) {
        postgres_failed(daily->connection, NULL, &error);
        fail(daily, &error);
    } else {
        daily->asked = true;
    }
}

/* The answer has come whole. */
static void take(struct flush_daily *daily)
{
    struct error error = {""};
    PGresult *result = PQgetResult(daily->connection);
    bool good = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1;

    daily->asked = false;
    if (good)
        daily->found = daily->found || strtol(PQgetvalue(result, 0, 0), NULL, 10) > 0;
    else
        postgres_failed(daily->connection, result, &error);
    PQclear(result);
    while ((result = PQgetResult(daily->connection)) != NULL)
        PQclear(result);
    if (!good) {
        fail(daily, &error);
        return;
    }
    daily->failing = false;
    if (++daily->next < STATEMENT_COUNT)
        return;
    if (!daily->found)
        rest(daily);
    daily->next = 0;
    daily->found = false;
}

void flush_daily_step(struct flush_daily *daily, const char *database_url)
{
    struct error error;

    if (daily->asked) {
        if (PQconsumeInput(daily->connection) != 1) {
            postgres_failed(daily->connection, NULL, &error);
            daily->asked = false;
            fail(daily, &error);
        } else if (!PQisBusy(daily->connection)) {
            take(daily);
        }
    }
    if (!daily->asked && clock_mono_us() >= daily->due_us)
        ask(daily, database_url);
}

int flush_daily_socket(const struct flush_daily *daily)
{
    return daily->asked ? PQsocket(daily->connection) : -1;
}

void flush_daily_close(struct flush_daily *daily)
{
    char unused[64];
    PGcancel *cancel = daily->asked ? PQgetCancel(daily->connection) : NULL;

    if (cancel && PQcancel(cancel, unused, sizeof unused) != 1)
        log_debug("daily_not_cancelled", "error=%s", unused);
    PQfreeCancel(cancel);
    disconnect(daily);
}
