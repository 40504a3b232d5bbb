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

/* Connects; NULL with the reason. `name` becomes application_name ("kudos-flush"). Sends keepalive
 * and tcp_user_timeout, so that a silent network is noticed. */
PGconn *postgres_connect(const char *url, const char *name, struct error *error) MUST_CHECK;

/* Runs `sql` with text parameters (NULL: none); a PGresult that is PGRES_COMMAND_OK,
 * PGRES_TUPLES_OK or a COPY state, or NULL with "SQLSTATE: message". PQclear() it. */
PGresult *postgres_query(PGconn *connection, const char *sql, int count,
                         const char *const *parameters, struct error *error) MUST_CHECK;

/* As above for statements without rows. */
bool postgres_execute(PGconn *connection, const char *sql, int count, const char *const *parameters,
                      struct error *error) MUST_CHECK;

/* SQLSTATE of the connection's last failed postgres_query(); "" for a lost connection. */
const char *postgres_sqlstate(void);
