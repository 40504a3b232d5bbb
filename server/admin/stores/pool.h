#pragma once
/* A few connections to PostgreSQL that live in the event loop: non-blocking libpq, prepared
 * statements, a bounded queue.
 *
 * Guarantees: nothing here blocks the loop (but for libpq's look-up of a host *name* when it
 * connects: give PostgreSQL's address as a number or a socket where that matters). Every query gets
 * exactly one answer, after its COMMIT (each query is a transaction of its own), within
 * POOL_ANSWER_MS. While no connection is up a query is answered POOL_AWAY at once. Lost connections
 * are made again by themselves, with growing, jittered delays.
 *
 * Not: transactions of several round trips. What must be atomic is one statement, or a few that are
 * sent together (pool_run) and do not need each other's answers. */
#include <event2/event.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#include "shared/error.h"

#define POOL_CONNECTIONS_MAX 64
#define POOL_PARAMETERS_MAX  96
#define POOL_STEPS_MAX       4    /* statements in one transaction */
#define POOL_QUEUE_MAX       1024 /* queries waiting for a connection; beyond: POOL_FULL */
#define POOL_ANSWER_MS       5000 /* a query that takes longer closes its connection */
#define POOL_CONNECT_MS      3000
#define POOL_DELAY_MAX_MS    1000 /* longest pause between two attempts to connect */

struct pool;

/* A statement is prepared once per connection and known by its address: let it live as long as the
 * pool. With `once` it is planned anew for its parameters and need only live until its answer: for
 * lists, whose best plan depends on the filters. */
struct statement {
    const char *sql;
    bool once;
};

enum pool_outcome {
    POOL_DONE,    /* committed; `result` has the rows */
    POOL_REFUSED, /* PostgreSQL said no: see sqlstate; nothing was changed */
    POOL_AWAY,    /* never sent; nothing was changed */
    POOL_FULL,    /* never sent: more than POOL_QUEUE_MAX wait */
    POOL_LOST,    /* sent, but the connection broke or the time was over: nobody knows */
};

/* What became of a query. Everything in it is valid during the callback only. */
struct pool_answer {
    enum pool_outcome outcome;
    const PGresult *result; /* POOL_DONE, POOL_REFUSED */
    const char *sqlstate;   /* POOL_REFUSED; else "" */
    const char *constraint; /* name of the constraint that was violated, or "" */
    int step;               /* POOL_REFUSED: the number of the statement that was refused, from 0 */
};

/* A statement with its text parameters; NULL is SQL null. */
struct pool_step {
    const struct statement *statement;
    int count;
    const char *const *parameters;
};

typedef void pool_callback(const struct pool_answer *answer, void *argument);

/* Begins to connect. `name` becomes application_name. */
struct pool *pool_new(struct event_base *base, const char *url, const char *name,
                      unsigned connections);

/* Closes the connections. Queries that are not answered yet are forgotten, without a call. */
void pool_free(struct pool *pool);

/* Runs `statement` with `count` text parameters (copied; NULL is SQL null). The callback may be
 * called before pool_query() returns. */
void pool_query(struct pool *pool, const struct statement *statement, int count,
                const char *const *parameters, pool_callback *callback, void *argument);

/* Runs up to POOL_STEPS_MAX statements in one transaction and one round trip; each sees what those
 * before it did and what others committed before it began. The answer's result is that of the last,
 * or the refusal of the first that was refused: then nothing was changed. Else as pool_query(). */
void pool_run(struct pool *pool, const struct pool_step *steps, int count, pool_callback *callback,
              void *argument);

/* True while at least one connection is up. */
bool pool_up(const struct pool *pool);

/* True once the first attempts to connect have ended, well or not. */
bool pool_tried(const struct pool *pool);
