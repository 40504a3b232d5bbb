#pragma once
/* The plan of one pass: from what Redis and PostgreSQL hold to what is to be written. Pure: it reads
 * the answer of read.lua and the watermarks, and touches nothing else, so that every rule about what
 * is taken, dropped or left to recovery can be tested without a server.
 *
 * Rules: of each origin, events are taken in order from watermark + 1. What is at or below it has
 * been written before and is dropped. An entry that begins further on, or whose records cannot be
 * told apart, is a hole: that origin is left to recovery, and so are its later entries. A payload
 * that cannot be decoded is an event all the same; it goes to quarantine. */
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/clicks/event.h"
#include "server/clicks/flush_origins.h"
#include "shared/error.h"

/* One click that is to become a row. The payload points into the reply. */
struct flush_row {
    const unsigned char *payload;
    uint32_t length;
    uint32_t origin; /* index */
    uint64_t seq;
    uint64_t link;
    int64_t hour;
    uint8_t verdict;
    bool refused; /* PostgreSQL did not take it; it is in `refused` instead */
};

/* One conversion that is to become a row of kudos.conversion_inbox. */
struct flush_told {
    const unsigned char *payload;
    uint32_t length;
    uint32_t origin; /* index */
    uint64_t seq;
    bool refused; /* as above */
};

/* A gap, or a note of lost clicks. */
struct flush_gap {
    uint32_t origin; /* index */
    bool lost;
    uint64_t first, last;
    uint64_t count;
    uint64_t episode;          /* lost */
    int64_t from_us, until_us; /* lost */
    struct text reason;
};

#define FLUSH_REFUSAL_MAX 240

/* An event for quarantine. */
struct flush_refused {
    const unsigned char *payload;
    uint32_t length;
    uint32_t origin; /* index */
    uint64_t seq;
    uint64_t link; /* meaningless if not `decoded` */
    bool decoded;
    bool human;
    char reason[FLUSH_REFUSAL_MAX];
};

/* An entry that is at or below its origin's watermark after this pass. */
struct flush_done {
    const redisReply *entry;
    uint32_t origin; /* index */
};

struct flush_batch {
    redisReply *reply; /* owned; payloads point into it */
    int64_t now_us;
    struct flush_origins origins;
    /* From the reply. */
    bool ready;
    bool complete;   /* the stream was read to its end */
    bool unreadable; /* an entry without proper origin, first and last */
    int64_t stream_bytes;
    /* The plan; each array is owned. */
    struct flush_row *rows;
    size_t row_count, row_room;
    struct flush_told *told;
    size_t told_count, told_room;
    struct flush_gap *gaps;
    size_t gap_count, gap_room;
    struct flush_refused *refused;
    size_t refused_count, refused_room;
    struct flush_done *done;
    size_t done_count, done_room;
    int64_t duplicates; /* events dropped */
    int64_t newest_us;  /* time of the newest click or conversion taken; 0: none */
};

/* Zeroed memory is an empty batch. Clearing keeps the memory. */
void flush_batch_free(struct flush_batch *batch);
void flush_batch_clear(struct flush_batch *batch);

/* Notes an origin's watermark, before flush_batch_plan(). */
void flush_batch_watermark(struct flush_batch *batch, uint64_t origin, uint64_t seq);

/* Takes over the answer of read.lua (also its memory, whatever comes of it): first what it says of
 * origins. False if it is not in the shape of an answer. */
bool flush_batch_open(struct flush_batch *batch, redisReply *reply, int64_t now_us,
                      struct error *error) MUST_CHECK;

/* Makes the plan from the entries; may be repeated after marking origins as foreign. */
void flush_batch_plan(struct flush_batch *batch);

/* Moves a click row to the refused ones. */
void flush_batch_refuse(struct flush_batch *batch, size_t row, const char *reason);

/* The same for a conversion. */
void flush_batch_refuse_told(struct flush_batch *batch, size_t index, const char *reason);

/* The stream id of the last entry in the answer; NULL if there is none. */
const char *flush_batch_last_id(const struct flush_batch *batch);

/* Whether there is anything to write. */
bool flush_batch_empty(const struct flush_batch *batch);

/* Why the partition must be recovered, or NULL: a short snake_case name; `origin` is then set to
 * the origin that gave the reason (0: none in particular). */
const char *flush_batch_trouble(const struct flush_batch *batch, uint64_t *origin);
