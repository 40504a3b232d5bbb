/* See pool.h.
 *
 * A connection is in one of the states of enum session_state, changed by session_enter() alone. Its
 * `job` is owned by it while it is BUSY; waiting jobs are owned by the queue. Connections always
 * work in libpq's pipeline mode, so that preparing a statement and its first use are one round
 * trip; a job is answered only when the synchronisation point after it came back, which is after
 * its implicit COMMIT. One timer, every POOL_TICK_MS, sees to all limits of time. */
#include "server/admin/stores/pool.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "server/metrics.h"
#include "shared/clock.h"
#include "shared/log.h"
#include "shared/retry.h"

#define POOL_TICK_MS        50
#define POOL_DELAY_FIRST_MS 20
#define POOL_STATEMENTS_MAX 256 /* prepared per connection */
#define POOL_SETUP                                                                  \
    "set timezone to 'UTC'; set search_path to ''; set client_encoding to 'UTF8'; " \
    "set datestyle to 'ISO, YMD'; set statement_timeout to 4000; set jit to off; "  \
    "set idle_in_transaction_session_timeout to 10000"

struct job {
    TAILQ_ENTRY(job) entry;
    pool_callback *callback;
    void *argument;
    int64_t deadline_us;
    int count;
    struct pool_step steps[POOL_STEPS_MAX];
    const char *parameters[]; /* of all steps, followed by the texts that they point into */
};
TAILQ_HEAD(job_list, job);

enum session_state {
    SESSION_CLOSED,     /* nothing open; the next attempt is at retry_us */
    SESSION_CONNECTING, /* PQconnectPoll() at work */
    SESSION_SETUP,      /* connected; POOL_SETUP was sent */
    SESSION_IDLE,       /* can take a job */
    SESSION_BUSY,       /* `job` was sent */
};

struct session {
    struct pool *pool;
    enum session_state state;
    PGconn *connection;
    struct event *event;
    int watched_fd;
    short watched; /* what `event` waits for */
    struct job *job;
    PGresult *result;               /* of the job, kept until its synchronisation point */
    int result_step;                /* the step of the job that `result` is of */
    int step;                       /* the step whose results come next */
    bool preparing[POOL_STEPS_MAX]; /* the step's statement is being prepared in this round trip */
    int64_t deadline_us;            /* of CONNECTING and SETUP */
    int64_t retry_us;
    unsigned failures; /* in a row; the first attempt after it is made at once */
    int prepared_count;
    const struct statement *prepared[POOL_STATEMENTS_MAX];
};

struct pool {
    struct event_base *base;
    struct event *tick;
    struct job_list queue;
    size_t queue_length;
    char *url;
    char *name;
    unsigned count, up, failures;
    struct session sessions[];
};

static void session_on_socket(evutil_socket_t fd, short what, void *argument);
static void pool_dispatch(struct pool *pool);

/* --- jobs --- */

static struct job *job_new(const struct pool_step *steps, int count)
{
    size_t texts = 0, pointers = 0;
    const char **parameters;
    struct job *job;
    char *text;

    assert(count >= 1 && count <= POOL_STEPS_MAX);
    for (int i = 0; i < count; i++) {
        assert(steps[i].count >= 0 && steps[i].count <= POOL_PARAMETERS_MAX);
        pointers += (size_t)steps[i].count;
        for (int p = 0; p < steps[i].count; p++)
            texts += steps[i].parameters[p] ? strlen(steps[i].parameters[p]) + 1 : 0;
    }
    job = calloc(1, sizeof *job + pointers * sizeof job->parameters[0] + texts);
    if (!job)
        return NULL;
    job->count = count;
    parameters = job->parameters;
    text = (char *)(parameters + pointers);
    for (int i = 0; i < count; i++) {
        job->steps[i] = (struct pool_step){steps[i].statement, steps[i].count, parameters};
        for (int p = 0; p < steps[i].count; p++, parameters++) {
            *parameters = steps[i].parameters[p] ? text : NULL;
            text = *parameters ? stpcpy(text, steps[i].parameters[p]) + 1 : text;
        }
    }
    return job;
}

/* Answers and frees the job. */
static void job_answer(struct job *job, enum pool_outcome outcome, const PGresult *result, int step)
{
    struct pool_answer answer = {.outcome = outcome, .result = result, .step = step};
    const char *text = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;

    answer.sqlstate = text ? text : "";
    text = result ? PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME) : NULL;
    answer.constraint = text ? text : "";
    job->callback(&answer, job->argument);
    free(job);
}

/* --- one connection --- */

/* The only place where a state changes, so that `up` is right. */
static void session_enter(struct session *session, enum session_state state)
{
    bool was_up = session->state >= SESSION_IDLE, is_up = state >= SESSION_IDLE;

    session->pool->up += (unsigned)is_up - (unsigned)was_up;
    session->state = state;
    assert((state == SESSION_BUSY) == (session->job != NULL));
    assert((state == SESSION_CLOSED) == (session->connection == NULL));
}

/* Watches the socket for `what`; its number changes while libpq tries one address after another. */
static void session_watch(struct session *session, short what)
{
    int fd = PQsocket(session->connection);

    if (session->event && session->watched == what && session->watched_fd == fd &&
        session->state != SESSION_CONNECTING)
        return;
    if (session->event)
        event_free(session->event);
    session->watched = what;
    session->watched_fd = fd;
    session->event =
        event_new(session->pool->base, fd, (short)(what | EV_PERSIST), session_on_socket, session);
    if (!session->event || event_add(session->event, NULL) < 0)
        log_error("out_of_memory", "where=pool");
}

static void session_close(struct session *session)
{
    struct job *job = session->job;

    if (session->event)
        event_free(session->event);
    session->event = NULL;
    PQfinish(session->connection);
    session->connection = NULL;
    PQclear(session->result);
    session->result = NULL;
    session->prepared_count = 0;
    session->job = NULL;
    session->retry_us = clock_mono_us();
    if (session->failures++ > 0)
        session->retry_us += US_PER_MS * retry_wait_ms(session->failures - 1, POOL_DELAY_FIRST_MS,
                                                       POOL_DELAY_MAX_MS);
    session_enter(session, SESSION_CLOSED);
    if (job)
        job_answer(job, POOL_LOST, NULL, 0);
}

/* Closes after a failure; says why, once per outage. */
static void session_fail(struct session *session, const char *why)
{
    struct pool *pool = session->pool;
    char line[ERROR_TEXT_MAX];

    if (!why)
        why = PQerrorMessage(session->connection);
    snprintf(line, sizeof line, "%.*s", (int)strcspn(why, "\n"), why);
    if (pool->failures++ == 0)
        log_warn("postgres_away", "connections=%s error=%s", pool->name, line);
    session_close(session);
    pool_dispatch(pool);
}

static void session_connect(struct session *session)
{
    /* Later words win: what stands before dbname is a default, what stands after is fixed. */
    const char *keywords[] = {"keepalives_idle",
                              "keepalives_interval",
                              "keepalives_count",
                              "tcp_user_timeout",
                              "dbname",
                              "application_name",
                              NULL};
    const char *values[] = {"10", "5", "3", "20000", session->pool->url, session->pool->name, NULL};

    assert(session->state == SESSION_CLOSED);
    session->connection = PQconnectStartParams(keywords, values, 1);
    if (!session->connection)
        return;
    session_enter(session, SESSION_CONNECTING);
    session->deadline_us = clock_mono_us() + POOL_CONNECT_MS * US_PER_MS;
    if (PQstatus(session->connection) == CONNECTION_BAD)
        session_fail(session, NULL);
    else
        session_watch(session, EV_WRITE);
}

static void session_ready(struct session *session)
{
    struct pool *pool = session->pool;

    if (!PQenterPipelineMode(session->connection)) {
        session_fail(session, NULL);
        return;
    }
    session->failures = 0;
    session_enter(session, SESSION_IDLE);
    metrics->postgres_reconnects_total++;
    if (pool->failures)
        log_info("postgres_back", "connections=%s", pool->name);
    pool->failures = 0;
    pool_dispatch(pool);
}

/* Writes what libpq holds; asks to be called when the socket takes more. */
static void session_flush(struct session *session)
{
    int left = PQflush(session->connection);

    if (left < 0)
        session_fail(session, NULL);
    else
        session_watch(session, left ? EV_READ | EV_WRITE : EV_READ);
}

static void session_on_connecting(struct session *session)
{
    switch (PQconnectPoll(session->connection)) {
    case PGRES_POLLING_READING: session_watch(session, EV_READ); break;
    case PGRES_POLLING_WRITING: session_watch(session, EV_WRITE); break;
    case PGRES_POLLING_OK:
        session_enter(session, SESSION_SETUP);
        if (PQsetnonblocking(session->connection, 1) < 0 ||
            !PQsendQuery(session->connection, POOL_SETUP))
            session_fail(session, NULL);
        else
            session_flush(session);
        break;
    default: session_fail(session, NULL); break;
    }
}

static void session_on_setup(struct session *session)
{
    PGresult *result;

    while (!PQisBusy(session->connection)) {
        result = PQgetResult(session->connection);
        if (!result) {
            session_ready(session);
            return;
        }
        if (PQresultStatus(result) != PGRES_COMMAND_OK) {
            PQclear(result);
            session_fail(session, NULL);
            return;
        }
        PQclear(result);
    }
}

static bool session_has(const struct session *session, const struct statement *statement)
{
    for (int i = 0; i < session->prepared_count; i++) {
        if (session->prepared[i] == statement)
            return true;
    }
    return false;
}

/* Sends one statement of the job, which is prepared now if it is new here. */
static bool session_send_step(struct session *session, int step)
{
    const struct pool_step *each = &session->job->steps[step];
    PGconn *connection = session->connection;
    char name[32] = "";

    if (!each->statement->once)
        snprintf(name, sizeof name, "k%p", (const void *)each->statement);
    session->preparing[step] = each->statement->once || !session_has(session, each->statement);
    return (!session->preparing[step] ||
            PQsendPrepare(connection, name, each->statement->sql, 0, NULL)) &&
           PQsendQueryPrepared(connection, name, each->count, each->parameters, NULL, NULL, 0);
}

/* Sends the job: its statements, then a synchronisation point. */
static void session_send(struct session *session, struct job *job)
{
    bool sent = true;

    assert(session->state == SESSION_IDLE);
    assert(session->prepared_count + POOL_STEPS_MAX <= POOL_STATEMENTS_MAX);
    session->job = job;
    session->step = session->result_step = 0;
    session_enter(session, SESSION_BUSY);
    for (int i = 0; sent && i < job->count; i++)
        sent = session_send_step(session, i);
    if (!sent || !PQpipelineSync(session->connection))
        session_fail(session, NULL);
    else
        session_flush(session);
}

/* A migration changed a table under a prepared statement, or a proxy in between lost it. */
static bool plan_is_stale(const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    return state && (strcmp(state, "0A000") == 0 || strcmp(state, "26000") == 0);
}

/* The job's synchronisation point is back. */
static void session_finish(struct session *session)
{
    struct job *job = session->job;
    PGresult *result = session->result;
    ExecStatusType status = PQresultStatus(result);
    bool done = status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;
    bool stale = !done && result && plan_is_stale(result);

    session->job = NULL;
    session->result = NULL;
    session_enter(session, SESSION_IDLE);
    if (!done)
        log_warn("postgres_refused", "error=%s",
                 result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : "no result");
    job_answer(job, done ? POOL_DONE : POOL_REFUSED, result, session->result_step);
    PQclear(result);
    if (stale && session->state == SESSION_IDLE)
        session_fail(session, "prepared statements are stale");
    else
        pool_dispatch(session->pool);
}

/* Takes one result of the job; the first error is the one that counts, what follows it is skipped by
 * PostgreSQL. */
static void session_keep(struct session *session, PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    bool over = session->step == session->job->count; /* "terminating connection" before COMMIT */

    if (over || (session->result && PQresultStatus(session->result) == PGRES_FATAL_ERROR)) {
        PQclear(result);
    } else if (session->preparing[session->step] && status == PGRES_COMMAND_OK) {
        if (!session->job->steps[session->step].statement->once)
            session->prepared[session->prepared_count++] =
                session->job->steps[session->step].statement;
        PQclear(result);
    } else {
        PQclear(session->result);
        session->result = result;
        session->result_step = session->step;
    }
}

/* The results of one command are over; a step is one command, or two when it was prepared. */
static void session_next(struct session *session)
{
    if (session->step == session->job->count)
        return;
    if (session->preparing[session->step])
        session->preparing[session->step] = false;
    else
        session->step++;
}

static void session_on_busy(struct session *session)
{
    int empty = 0;

    while (!PQisBusy(session->connection)) {
        PGresult *result = PQgetResult(session->connection);

        if (PQstatus(session->connection) == CONNECTION_BAD || (!result && ++empty > 1)) {
            PQclear(result);
            session_fail(session, NULL);
            return;
        }
        if (!result) {
            session_next(session);
            continue;
        }
        empty = 0;
        if (PQresultStatus(result) == PGRES_PIPELINE_SYNC) {
            PQclear(result);
            session_finish(session);
            return;
        }
        session_keep(session, result);
    }
}

static void session_on_socket(evutil_socket_t fd, short what, void *argument)
{
    struct session *session = argument;

    (void)fd;
    assert(session->state != SESSION_CLOSED);
    if (session->state == SESSION_CONNECTING) {
        session_on_connecting(session);
        return;
    }
    if ((what & EV_READ) && !PQconsumeInput(session->connection)) {
        session_fail(session, NULL);
        return;
    }
    if (what & EV_WRITE) {
        enum session_state before = session->state;

        session_flush(session);
        if (session->state != before)
            return;
    }
    if (session->state == SESSION_SETUP)
        session_on_setup(session);
    else if (session->state == SESSION_BUSY)
        session_on_busy(session);
    else if (PQisBusy(session->connection) || PQstatus(session->connection) == CONNECTION_BAD)
        session_fail(session, "unexpected message"); /* such as: shutting down */
}

/* --- all connections --- */

static struct session *pool_idle(struct pool *pool)
{
    for (unsigned i = 0; i < pool->count; i++) {
        if (pool->sessions[i].state == SESSION_IDLE)
            return &pool->sessions[i];
    }
    return NULL;
}

static struct job *pool_take(struct pool *pool)
{
    struct job *job = TAILQ_FIRST(&pool->queue);

    if (job) {
        assert(pool->queue_length > 0);
        TAILQ_REMOVE(&pool->queue, job, entry);
        pool->queue_length--;
    }
    return job;
}

/* Hands waiting jobs to idle connections, or gives them back while none is up. */
static void pool_dispatch(struct pool *pool)
{
    struct session *session;
    struct job *job;

    while (!TAILQ_EMPTY(&pool->queue) && (session = pool_idle(pool)))
        session_send(session, pool_take(pool));
    if (pool->up > 0 || !pool_tried(pool))
        return;
    while ((job = pool_take(pool)))
        job_answer(job, POOL_AWAY, NULL, 0);
}

static void session_check_time(struct session *session, int64_t now_us)
{
    switch (session->state) {
    case SESSION_CLOSED:
        if (now_us >= session->retry_us)
            session_connect(session);
        break;
    case SESSION_CONNECTING:
    case SESSION_SETUP:
        if (now_us >= session->deadline_us)
            session_fail(session, "no answer while connecting");
        break;
    case SESSION_BUSY:
        if (now_us >= session->job->deadline_us)
            session_fail(session, "no answer in time");
        break;
    case SESSION_IDLE: break;
    }
}

static void pool_on_tick(evutil_socket_t fd, short what, void *argument)
{
    struct pool *pool = argument;
    int64_t now_us = clock_mono_us();
    struct job *job;

    (void)fd;
    (void)what;
    for (unsigned i = 0; i < pool->count; i++)
        session_check_time(&pool->sessions[i], now_us);
    while ((job = TAILQ_FIRST(&pool->queue)) && now_us >= job->deadline_us)
        job_answer(pool_take(pool), POOL_AWAY, NULL, 0);
}

struct pool *pool_new(struct event_base *base, const char *url, const char *name,
                      unsigned connections)
{
    struct timeval every = {.tv_usec = POOL_TICK_MS * 1000};
    struct pool *pool;

    assert(connections >= 1 && connections <= POOL_CONNECTIONS_MAX);
    pool = calloc(1, sizeof *pool + connections * sizeof pool->sessions[0]);
    if (!pool)
        return NULL;
    TAILQ_INIT(&pool->queue);
    pool->base = base;
    pool->count = connections;
    pool->url = strdup(url);
    pool->name = strdup(name);
    pool->tick = event_new(base, -1, EV_PERSIST, pool_on_tick, pool);
    if (!pool->url || !pool->name || !pool->tick || event_add(pool->tick, &every) < 0) {
        pool_free(pool);
        return NULL;
    }
    for (unsigned i = 0; i < connections; i++) {
        pool->sessions[i].pool = pool;
        session_connect(&pool->sessions[i]);
    }
    return pool;
}

void pool_free(struct pool *pool)
{
    struct job *job;

    if (!pool)
        return;
    for (unsigned i = 0; i < pool->count; i++) {
        struct session *session = &pool->sessions[i];

        if (session->event)
            event_free(session->event);
        PQclear(session->result);
        PQfinish(session->connection);
        free(session->job);
    }
    while ((job = pool_take(pool)))
        free(job);
    if (pool->tick)
        event_free(pool->tick);
    free(pool->url);
    free(pool->name);
    free(pool);
}

void pool_query(struct pool *pool, const struct statement *statement, int count,
                const char *const *parameters, pool_callback *callback, void *argument)
{
    const struct pool_step step = {statement, count, parameters};

    pool_run(pool, &step, 1, callback, argument);
}

void pool_run(struct pool *pool, const struct pool_step *steps, int count, pool_callback *callback,
              void *argument)
{
    struct job *job = job_new(steps, count);
    struct pool_answer refusal = {.sqlstate = "", .constraint = ""};

    if (!job || pool->queue_length >= POOL_QUEUE_MAX) {
        free(job);
        metrics->admin_queue_full_total++;
        refusal.outcome = POOL_FULL;
        callback(&refusal, argument);
        return;
    }
    job->callback = callback;
    job->argument = argument;
    job->deadline_us = clock_mono_us() + POOL_ANSWER_MS * US_PER_MS;
    TAILQ_INSERT_TAIL(&pool->queue, job, entry);
    pool->queue_length++;
    pool_dispatch(pool);
}

bool pool_up(const struct pool *pool)
{
    return pool->up > 0;
}

bool pool_tried(const struct pool *pool)
{
    return pool->up > 0 || pool->failures > 0;
}
