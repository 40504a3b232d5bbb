#pragma once
/* A blocking session with PostgreSQL for flush, sync, migrate and the commands: connect with a
 * time limit, application_name, statements that report SQLSTATE, COPY.
 *
 * Every statement runs with the session's settings: UTC, search_path empty, client_encoding UTF8.
 * Parameters are never built into SQL. */
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "shared/error.h"

/* Advisory locks: pg_advisory_*lock(class, object). The class keeps them apart from anything else
 * that uses the database. */
#define POSTGRES_LOCK_CLASS 0x6b75646f /* "kudo" */

enum postgres_lock {
    POSTGRES_LOCK_PARTITION = 0, /* + partition (0 … 63): its one active flusher */
    POSTGRES_LOCK_MIGRATE = 1000,
    POSTGRES_LOCK_DAYS = 1001,       /* making and dropping days of kudos.clicks */
    POSTGRES_LOCK_RECLASSIFY = 1002, /* the one kudos reclassify that is at work */
    POSTGRES_LOCK_DAILY = 1003,      /* the one builder of daily figures (kudos.build_day()) */
    POSTGRES_LOCK_PAID_CLICKS =
        1017, /* counting clicks that contracts pay (kudos.count_clicks()) */
    POSTGRES_LOCK_REATTRIBUTE = 1018, /* the one kudos reattribute that is at work */
};

/* Connects; NULL with the reason. `name` becomes application_name ("kudos-flush"). Sends keepalive
 * and tcp_user_timeout, so that a silent network is noticed. */
PGconn *postgres_connect(const char *url, const char *name, struct error *error) MUST_CHECK;

/* Runs `sql` with text parameters; a PGresult that is PGRES_COMMAND_OK, PGRES_TUPLES_OK or a COPY
 * state, or NULL with "SQLSTATE: message". PQclear() it. With `parameters` NULL it is a simple
 * query: several statements separated by semicolons are one transaction unless they say otherwise,
 * and the last one's result is returned. */
PGresult *postgres_query(PGconn *connection, const char *sql, int count,
                         const char *const *parameters, struct error *error) MUST_CHECK;

/* As above for statements without rows. */
bool postgres_execute(PGconn *connection, const char *sql, int count, const char *const *parameters,
                      struct error *error) MUST_CHECK;

/* Fills `error` and postgres_sqlstate() from a result that is not what was hoped for (NULL: from
 * the connection), for callers of libpq's own functions (COPY). Does not clear it. Returns false. */
bool postgres_failed(PGconn *connection, const PGresult *result, struct error *error);

/* Ends a COPY into a table and takes its results. Not `good`: it is given up, and `error` is left as
 * it is. False unless it was good and PostgreSQL took it. */
bool postgres_copy_end(PGconn *connection, bool good, struct error *error) MUST_CHECK;

/* SQLSTATE of the connection's last failed postgres_query(); "" for a lost connection. Whether the
 * connection can still be used is PQstatus()'s to say: a server that shuts down sends 57P01 first. */
const char *postgres_sqlstate(void);

/* Line of the SQL text at which the last failure lies, from 1; 0 if unknown. */
int postgres_error_line(const char *sql);
