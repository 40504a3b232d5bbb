/* See transaction.h. The transaction is in one of the states of enum state; while it is one in which
 * an answer is awaited, `callback` is set, and is called once, as the last thing that an event does:
 * it may end the transaction. */
#include "server/admin/stores/transaction.h"

#include <assert.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

#include "server/metrics.h"
#include "shared/crash.h"
#include "shared/log.h"

/* Without sequential scans: a table that fills up in this very transaction has no statistics yet, and
 * a plan made for an empty one would read all of it for each row. What that makes plans seem to cost
 * would have them compiled, which takes longer than they do. */
#define SETUP                                                                                  \
    "set timezone to 'UTC'; set search_path to ''; set client_encoding to 'UTF8'; "            \
    "set datestyle to 'ISO, YMD'; set statement_timeout to 30000; "                            \
    "set idle_in_transaction_session_timeout to 60000; set enable_seqscan to off; set jit to " \
    "off; begin"
#define ANSWER_SLACK_MS 5000 /* that PostgreSQL has to end a statement by itself */

enum state {
    STATE_CONNECTING, /* PQconnectPoll() at work */
    STATE_SETUP,      /* SETUP was sent; its last result is that of "begin" */
    STATE_IDLE,       /* takes a call */
    STATE_PREPARING,  /* a statement is being prepared, then sent */
    STATE_QUERY,      /* a statement was sent */
    STATE_COMMIT,     /* "commit" was sent */
    STATE_OVER,       /* committed, failed or refused; only transaction_end() may follow */
};

struct transaction {
    struct event_base *base;
    PGconn *connection; /* NULL: there are too many already */
    struct event *event;
    struct event *timer; /* limits of time, and answers that must come later */
    enum state state;
    bool counted;
    pool_callback *callback;
    void *argument;
    PGresult *result; /* of the statement, until all of its results are there */
    const struct statement *statement;
    int count;
    char **parameters; /* of the statement that is being prepared; owned */
    int prepared_count;
    const struct statement *prepared[TRANSACTION_PREPARED_MAX];
};

static unsigned running; /* of this process, which has one loop */

static void on_socket(evutil_socket_t fd, short what, void *argument);

/* Answers what is awaited. The transaction may be gone afterwards. */
static void answer(struct transaction *transaction, enum pool_outcome outcome)
{
    struct pool_answer answer = {.outcome = outcome, .sqlstate = "", .constraint = ""};
    pool_callback *callback = transaction->callback;
    PGresult *result = transaction->result;
    const char *text;

    assert(callback);
    transaction->callback = NULL;
    transaction->result = NULL;
    answer.result = result;
    if (outcome == POOL_REFUSED) {
        text = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        answer.sqlstate = text ? text : "";
        text = PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME);
        answer.constraint = text ? text : "";
        log_warn("postgres_refused", "error=%s", PQresultErrorMessage(result));
    }
    if (outcome == POOL_DONE && transaction->state != STATE_OVER)
        event_del(transaction->timer);
    callback(&answer, transaction->argument);
    PQclear(result);
}

static void watch(struct transaction *transaction, short what)
{
    if (transaction->event)
        event_free(transaction->event);
    transaction->event = event_new(transaction->base, PQsocket(transaction->connection),
                                   (short)(what | EV_PERSIST), on_socket, transaction);
    assert(transaction->event);
    event_add(transaction->event, NULL);
}

static void await(struct transaction *transaction, int64_t limit_ms)
{
    struct timeval limit = {.tv_sec = limit_ms / 1000, .tv_usec = limit_ms % 1000 * 1000};

    event_add(transaction->timer, &limit);
}

/* The connection is of no use any more. */
static void fail(struct transaction *transaction, const char *why)
{
    enum pool_outcome outcome = transaction->state == STATE_COMMIT ? POOL_LOST : POOL_AWAY;

    log_warn("transaction_lost", "error=%s", why ? why : PQerrorMessage(transaction->connection));
    transaction->state = STATE_OVER;
    if (transaction->event)
        event_del(transaction->event);
    if (transaction->callback)
        answer(transaction, outcome);
}

/* A call could not be sent: says so soon, but not before the caller is back in the loop. */
static void fail_soon(struct transaction *transaction)
{
    event_active(transaction->timer, EV_TIMEOUT, 0);
}

static void flush(struct transaction *transaction)
{
    int left = PQflush(transaction->connection);

    if (left < 0)
        fail_soon(transaction);
    else
        watch(transaction, left ? EV_READ | EV_WRITE : EV_READ);
}

/* --- what comes back --- */

static void on_connecting(struct transaction *transaction)
{
    switch (PQconnectPoll(transaction->connection)) {
    case PGRES_POLLING_READING: watch(transaction, EV_READ); break;
    case PGRES_POLLING_WRITING: watch(transaction, EV_WRITE); break;
    case PGRES_POLLING_OK:
        transaction->state = STATE_SETUP;
        if (PQsetnonblocking(transaction->connection, 1) < 0 ||
            !PQsendQuery(transaction->connection, SETUP))
            fail(transaction, NULL);
        else
            flush(transaction);
        break;
    default: fail(transaction, NULL); break;
    }
}

static void send_query(struct transaction *transaction)
{
    char name[32];

    snprintf(name, sizeof name, "k%p", (const void *)transaction->statement);
    transaction->state = STATE_QUERY;
    if (!PQsendQueryPrepared(transaction->connection, name, transaction->count,
                             (const char *const *)transaction->parameters, NULL, NULL, 0))
        fail_soon(transaction);
    else
        flush(transaction);
}

static void forget_parameters(struct transaction *transaction)
{
    for (int i = 0; i < transaction->count; i++)
        free(transaction->parameters[i]);
    free(transaction->parameters);
    transaction->parameters = NULL;
    transaction->count = 0;
}

/* True if `result` is what its state should bring. */
static bool is_good(const struct transaction *transaction, const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);

    if (transaction->state == STATE_COMMIT)
        return status == PGRES_COMMAND_OK &&
               strcmp(PQcmdStatus((PGresult *)(uintptr_t)result), "COMMIT") == 0;
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

/* All results of what was sent are there. */
static void on_complete(struct transaction *transaction)
{
    enum state state = transaction->state;

    if (!transaction->result || !is_good(transaction, transaction->result)) {
        transaction->state = STATE_OVER;
        if (transaction->result && PQresultStatus(transaction->result) == PGRES_FATAL_ERROR)
            answer(transaction, POOL_REFUSED);
        else
            fail(transaction, "an unexpected answer");
        return;
    }
    if (state == STATE_PREPARING) {
        PQclear(transaction->result);
        transaction->result = NULL;
        transaction->prepared[transaction->prepared_count++] = transaction->statement;
        send_query(transaction);
        return;
    }
    forget_parameters(transaction);
    if (state == STATE_COMMIT)
        CRASH_POINT("transaction_committed");
    transaction->state = state == STATE_COMMIT ? STATE_OVER : STATE_IDLE;
    answer(transaction, POOL_DONE);
}

static void on_results(struct transaction *transaction)
{
    while (!PQisBusy(transaction->connection)) {
        PGresult *result = PQgetResult(transaction->connection);

        if (PQstatus(transaction->connection) == CONNECTION_BAD) {
            PQclear(result);
            fail(transaction, NULL);
            return;
        }
        if (!result) {
            on_complete(transaction);
            return;
        }
        if (transaction->result && PQresultStatus(transaction->result) == PGRES_FATAL_ERROR) {
            PQclear(result);
        } else {
            PQclear(transaction->result);
            transaction->result = result;
        }
    }
}

static void on_socket(evutil_socket_t fd, short what, void *argument)
{
    struct transaction *transaction = argument;

    (void)fd;
    if (transaction->state == STATE_CONNECTING) {
        on_connecting(transaction);
        return;
    }
    if ((what & EV_READ) && !PQconsumeInput(transaction->connection)) {
        fail(transaction, NULL);
        return;
    }
    if (what & EV_WRITE)
        flush(transaction);
    if (transaction->state == STATE_IDLE || transaction->state == STATE_OVER) {
        if (PQstatus(transaction->connection) == CONNECTION_BAD)
            fail(transaction, NULL);
        return;
    }
    on_results(transaction);
}

/* The time is over, or there is an answer that had to come later. */
static void on_timer(evutil_socket_t fd, short what, void *argument)
{
    struct transaction *transaction = argument;

    (void)fd;
    (void)what;
    if (!transaction->connection) {
        transaction->state = STATE_OVER;
        metrics->admin_queue_full_total++;
        answer(transaction, POOL_FULL);
    } else if (transaction->callback) {
        fail(transaction,
             PQstatus(transaction->connection) == CONNECTION_BAD ? NULL : "no answer in time");
    }
}

/* --- calls --- */

struct transaction *transaction_begin(struct event_base *base, const char *url,
                                      pool_callback *callback, void *argument)
{
    const char *keywords[] = {"keepalives_idle", "tcp_user_timeout", "dbname", "application_name",
                              NULL};
    const char *values[] = {"10", "20000", url, "kudos-admin-bulk", NULL};
    struct transaction *transaction = calloc(1, sizeof *transaction);

    if (!transaction)
        return NULL;
    transaction->base = base;
    transaction->callback = callback;
    transaction->argument = argument;
    transaction->state = STATE_CONNECTING;
    transaction->timer = evtimer_new(base, on_timer, transaction);
    assert(transaction->timer);
    if (running < TRANSACTIONS_MAX)
        transaction->connection = PQconnectStartParams(keywords, values, 1);
    transaction->counted = transaction->connection != NULL;
    running += transaction->counted;
    if (!transaction->connection || PQstatus(transaction->connection) == CONNECTION_BAD) {
        fail_soon(transaction);
        return transaction;
    }
    watch(transaction, EV_WRITE);
    await(transaction, POOL_CONNECT_MS);
    return transaction;
}

static bool is_prepared(const struct transaction *transaction, const struct statement *statement)
{
    for (int i = 0; i < transaction->prepared_count; i++) {
        if (transaction->prepared[i] == statement)
            return true;
    }
    return false;
}

static void copy_parameters(struct transaction *transaction, int count,
                            const char *const *parameters)
{
    forget_parameters(transaction);
    transaction->parameters = calloc((size_t)count + 1, sizeof *transaction->parameters);
    assert(transaction->parameters);
    transaction->count = count;
    for (int i = 0; i < count; i++) {
        transaction->parameters[i] = parameters[i] ? strdup(parameters[i]) : NULL;
        assert(!parameters[i] || transaction->parameters[i]);
    }
}

/* False if the connection broke while nothing was asked: the answer follows soon. */
static bool call(struct transaction *transaction, pool_callback *callback, void *argument)
{
    assert((transaction->state == STATE_IDLE || transaction->state == STATE_OVER) &&
           !transaction->callback);
    transaction->callback = callback;
    transaction->argument = argument;
    if (transaction->state == STATE_OVER) {
        fail_soon(transaction);
        return false;
    }
    await(transaction, TRANSACTION_STATEMENT_MS + ANSWER_SLACK_MS);
    return true;
}

void transaction_query(struct transaction *transaction, const struct statement *statement,
                       int count, const char *const *parameters, pool_callback *callback,
                       void *argument)
{
    char name[32];

    CRASH_POINT("transaction_query");
    if (!call(transaction, callback, argument))
        return;
    transaction->statement = statement;
    copy_parameters(transaction, count, parameters);
    if (is_prepared(transaction, statement)) {
        send_query(transaction);
        return;
    }
    assert(transaction->prepared_count < TRANSACTION_PREPARED_MAX);
    snprintf(name, sizeof name, "k%p", (const void *)statement);
    transaction->state = STATE_PREPARING;
    if (!PQsendPrepare(transaction->connection, name, statement->sql, 0, NULL))
        fail_soon(transaction);
    else
        flush(transaction);
}

void transaction_commit(struct transaction *transaction, pool_callback *callback, void *argument)
{
    CRASH_POINT("transaction_commit");
    if (!call(transaction, callback, argument))
        return;
    transaction->state = STATE_COMMIT;
    if (!PQsendQuery(transaction->connection, "commit"))
        fail_soon(transaction);
    else
        flush(transaction);
}

void transaction_end(struct transaction *transaction)
{
    if (!transaction)
        return;
    if (transaction->event)
        event_free(transaction->event);
    event_free(transaction->timer);
    forget_parameters(transaction);
    PQclear(transaction->result);
    PQfinish(transaction->connection);
    assert(running >= transaction->counted);
    running -= transaction->counted;
    free(transaction);
}
