#pragma once
/* What one pass of flush knows of each origin: what PostgreSQL has, what Redis says, and how far the
 * entries of the stream carry on from there. A table by origin, made anew for each pass. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct flush_origin {
    uint64_t id;
    /* From PostgreSQL. */
    uint64_t watermark; /* 0: the origin is new */
    bool foreign;       /* known there, but of another partition */
    /* From Redis; 0 when it has none. */
    uint64_t last_seq;
    uint64_t flushed;
    /* What this pass found. `reached` is the last seq up to which nothing is missing: the watermark,
     * and on with every entry that was taken. */
    uint64_t reached;
    int64_t applied;  /* events taken */
    int64_t gaps;     /* seqs of gaps taken */
    bool hole;        /* an entry begins beyond reached + 1, or cannot be read */
    bool passed_over; /* it had a hole earlier in this stretch of passes; entries were not read */
    bool blocked;     /* its hole was still there after a recovery; see flush_holes.h */
};

struct flush_origins {
    struct flush_origin *list; /* in the order of their finding */
    size_t count, room;
    uint32_t *slots; /* index into list + 1; 0: free */
    size_t slot_count;
};

/* Zeroed memory is an empty table. */
void flush_origins_free(struct flush_origins *origins);
void flush_origins_clear(struct flush_origins *origins);

/* The index of `id` in list, adding it if need be. */
size_t flush_origins_find(struct flush_origins *origins, uint64_t id);

/* The same as a pointer, valid until the next is added. */
struct flush_origin *flush_origins_get(struct flush_origins *origins, uint64_t id);

/* Parses what flush, ship and the scripts write: 1 … 2^63-1 in decimal, without leading zeros. */
bool flush_parse_number(const char *text, size_t length, uint64_t *out);
