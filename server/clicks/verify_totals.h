#pragma once
/* Clicks per link, to be balanced: what one store has is added, what the other has is taken off, and
 * what is left over is wrong. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct verify_total {
    uint64_t link;
    int64_t clicks;
    int64_t other; /* of these, not human */
    bool used;
};

struct verify_totals {
    struct verify_total *slots; /* open addressing */
    size_t size;                /* a power of two, or 0 */
    size_t used;
};

/* Zeroed memory is empty. */
void verify_totals_free(struct verify_totals *totals);
void verify_totals_add(struct verify_totals *totals, uint64_t link, int64_t clicks, int64_t other);

/* Adds a field of Redis' hash ("<link>" or "<link>:x"), times `sign`; false if it is none. */
bool verify_totals_add_field(struct verify_totals *totals, const char *field, const char *value,
                             int sign);

/* How many links do not balance; up to `room` of them go to `out`. */
size_t verify_totals_wrong(const struct verify_totals *totals, struct verify_total *out,
                           size_t room);
