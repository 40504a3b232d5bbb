#pragma once
/* What a process of the load counts, in memory that it shares with the one that prints: written by
 * one, read by the other at any time. */
#include <stdint.h>

#include "loadtest/latency.h"

#define FIGURES_STATUSES 600

struct figures {
    int64_t sent, answered;
    int64_t statuses[FIGURES_STATUSES]; /* answers by HTTP status */
    int64_t bytes_out, bytes_in;
    int64_t connections; /* opened */
    int64_t busy;        /* requests out, now */
    int64_t backlog;     /* due and not sent, now */

    /* what got no answer, each counted once */
    int64_t not_connected; /* the connection could not be opened */
    int64_t broken;        /* it ended, or carried no HTTP */
    int64_t timed_out;
    int64_t not_sent; /* still waiting for a connection when the run had to end */

    struct latency intended; /* from when the request was due */
    struct latency sent_at;  /* from when it was sent */
};

void figures_merge(struct figures *into, const struct figures *from);

/* Requests without an answer. */
int64_t figures_errors(const struct figures *figures);
