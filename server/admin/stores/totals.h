#pragma once
/* Live click totals: what Redis has counted for a link, read without ever blocking the loop.
 *
 * One connection, made when it is first needed and again when it broke (not more often than every
 * TOTALS_RETRY_MS). Every read is answered within redis_timeout_ms; a connection on which an answer
 * is late is closed, so that a late answer is never taken for another question's. */
#include <stdbool.h>
#include <stdint.h>

#include "server/admin/server.h"

#define TOTALS_RETRY_MS    200
#define TOTALS_PENDING_MAX 1024 /* reads waiting for Redis; a further one is answered at once */

struct total {
    bool available;
    const char *reason; /* why not, in words */
    int64_t clicks;
    int64_t human;
};

typedef void totals_callback(const struct total *total, void *argument);

struct totals *totals_new(struct admin *admin);
void totals_free(struct totals *totals);

/* Reads the totals of a link, summed over the partitions. May call back before it returns. */
void totals_read(struct totals *totals, uint64_t link, totals_callback *callback, void *argument);
