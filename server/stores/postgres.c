/* The blocking PostgreSQL session of postgres.h.
 *
 * What the URL says wins over the time limits here, so an operator can change them; it does not win
 * over the session settings, which the code depends on. Nothing is retried: the caller knows what a
 * lost answer means for it. Notices are logged at debug level. */
#include "server/stores/postgres.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "shared/log.h"

#define SQLSTATE_LENGTH 5

/* Of the last failure in this (single-threaded) process. */
static char last_sqlstate[SQLSTATE_LENGTH + 1];
static int last_position; /* characters into the statement, from 1; 0: unknown */

static const char SESSION[] = "set timezone to 'UTC'; set search_path to ''; "
                              "set client_encoding to 'UTF8'; set datestyle to 'ISO, YMD'; "
                              "set intervalstyle to 'postgres'; set extra_float_digits to 1; "
                              "set standard_conforming_strings to on";

static void on_notice(void *unused, const PGresult *result)
{
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    (void)unused;
    log_debug("postgres_notice", "message=%s", message ? message : "");
}

/* Copies libpq's text without its newlines. */
static void copy_line(char *out, size_t size, const char *text)
{
    size_t length = 0;

    assert(size > 0);
    while (*text && length + 1 < size) {
        char c = *text++;
        if (c == '\n' || c == '\r') {
            if (!*text)
                break;
            c = ' ';
        }
        out[length++] = c;
    }
    out[length] = '\0';
}

bool postgres_failed(PGconn *connection, const PGresult *result, struct error *error)
{
    const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    const char *position = result ? PQresultErrorField(result, PG_DIAG_STATEMENT_POSITION) : NULL;
    const char *primary = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    const char *detail = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL) : NULL;
    char text[ERROR_TEXT_MAX];

    memset(last_sqlstate, 0, sizeof last_sqlstate);
    last_position = position ? atoi(position) : 0;
    if (state) {
        assert(strlen(state) == SQLSTATE_LENGTH);
        memcpy(last_sqlstate, state, SQLSTATE_LENGTH);
        return error_set(error, "%s: %s%s%s", state, primary ? primary : "", detail ? ": " : "",
                         detail ? detail : "");
    }
    copy_line(text, sizeof text, PQerrorMessage(connection));
    return error_set(error, "%s", *text ? text : "connection to PostgreSQL lost");
}

bool postgres_copy_end(PGconn *connection, bool good, struct error *error)
{
    PGresult *result;

    if (PQputCopyEnd(connection, good ? NULL : "given up") != 1)
        return good && postgres_failed(connection, NULL, error);
    while ((result = PQgetResult(connection)) != NULL) {
        if (good && PQresultStatus(result) != PGRES_COMMAND_OK)
            good = postgres_failed(connection, result, error);
        PQclear(result);
    }
    return good;
}

const char *postgres_sqlstate(void)
{
    return last_sqlstate;
}

int postgres_error_line(const char *sql)
{
    int line = 1;

    if (last_position <= 0)
        return 0;
    /* The position counts characters, not bytes: skip UTF-8 continuation bytes. */
    for (int left = last_position - 1; *sql && left > 0; sql++) {
        if (((unsigned char)*sql & 0xc0) != 0x80)
            left--;
        if (*sql == '\n')
            line++;
    }
    return line;
}

PGconn *postgres_connect(const char *url, const char *name, struct error *error)
{
    /* Later words win, so what stands before dbname is a default and what stands after is fixed. */
    const char *keywords[] = {
        "connect_timeout",  "keepalives_idle", "keepalives_interval", "keepalives_count",
        "tcp_user_timeout", "dbname",          "application_name",    NULL};
    const char *values[] = {"5", "10", "5", "3", "20000", url, name, NULL};
    PGconn *connection = PQconnectdbParams(keywords, values, 1);

    if (!connection) {
        error_set(error, "out of memory");
        return NULL;
    }
    if (PQstatus(connection) != CONNECTION_OK) {
        postgres_failed(connection, NULL, error);
        PQfinish(connection);
        return NULL;
    }
    PQsetNoticeReceiver(connection, on_notice, NULL);
    if (!postgres_execute(connection, SESSION, 0, NULL, error)) {
        PQfinish(connection);
        return NULL;
    }
    assert(PQtransactionStatus(connection) == PQTRANS_IDLE);
    return connection;
}

PGresult *postgres_query(PGconn *connection, const char *sql, int count,
                         const char *const *parameters, struct error *error)
{
    PGresult *result;

    assert(connection && sql);
    assert(parameters || count == 0);
    result = parameters ? PQexecParams(connection, sql, count, NULL, parameters, NULL, NULL, 0)
                        : PQexec(connection, sql);
    switch (PQresultStatus(result)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_COPY_IN:
    case PGRES_COPY_OUT:
    case PGRES_EMPTY_QUERY: return result;
    default: break;
    }
    postgres_failed(connection, result, error);
    PQclear(result);
    return NULL;
}

bool postgres_execute(PGconn *connection, const char *sql, int count, const char *const *parameters,
                      struct error *error)
{
    PGresult *result = postgres_query(connection, sql, count, parameters, error);

    PQclear(result);
    return result != NULL;
}
