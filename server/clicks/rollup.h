#pragma once
/* Clicks per link, hour and verdict of one flush transaction, gathered in memory so that
 * kudos.clicks_hourly is touched once for each, in key order: two flushers can then never wait for
 * each other in a circle, and neighbouring rows are neighbours on disk. */
#include <libpq-fe.h>
#include <stddef.h>
#include <stdint.h>

#include "server/clicks/event.h"
#include "shared/error.h"

struct rollup_row {
    int64_t link; /* as in PostgreSQL: order is that of bigint */
    int64_t hour; /* hours since 1970 */
    int64_t clicks;
    uint8_t verdict;
};

struct rollup {
    struct rollup_row *rows; /* open addressing; clicks 0: free */
    size_t size;             /* a power of two, or 0 */
    size_t used;
};

/* Frees what is gathered; `rollup` may be used again. Zeroed memory is an empty rollup. */
void rollup_free(struct rollup *rollup);

/* Forgets what is gathered, keeps the memory. */
void rollup_clear(struct rollup *rollup);

/* Counts a click. */
void rollup_add(struct rollup *rollup, uint64_t link, int64_t hour, enum verdict verdict);

/* Moves the rows to the front, in key order; returns how many there are (`used`). They may be read;
 * then only rollup_clear() may follow. */
size_t rollup_sort(struct rollup *rollup);

/* Hours since 1970, rounded down. */
int64_t rollup_hour(int64_t time_us);

/* Adds everything to kudos.clicks_hourly, within the caller's transaction. Sorts; see there. */
bool rollup_store(struct rollup *rollup, PGconn *connection, unsigned partition,
                  struct error *error) MUST_CHECK;
