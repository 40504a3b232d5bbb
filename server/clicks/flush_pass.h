#pragma once
/* One pass of flush: from the partition's lock to the acknowledgement, or a recovery. */
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/clicks/flush_batch.h"
#include "server/clicks/flush_redis.h"
#include "server/clicks/rollup.h"
#include "server/settings.h"
#include "server/stores/redis.h"
#include "shared/error.h"

/* Most bytes of batches in one pass, and so in this process' memory (the answer of Redis is held
 * once, rows are encoded as they are sent). */
#define FLUSH_BATCH_BYTES (32LL * 1024 * 1024)

/* An origin whose entries had a hole when the partition was recovered. If the hole is there again,
 * at the same watermark, the event is in no journal: the origin is blocked until its watermark
 * moves (kudos gap declare), or for FLUSH_HOLE_FORGET_S, should something else have been wrong. */
struct flush_hole {
    uint64_t origin, watermark;
    unsigned recoveries;
    int64_t found_us; /* monotonic */
};
#define FLUSH_HOLES_MAX     256
#define FLUSH_HOLE_TRIES    2
#define FLUSH_HOLE_FORGET_S 600

struct flusher {
    const struct settings *settings;
    unsigned partition;
    struct flush_keys keys;
    PGconn *postgres;
    struct redis *redis;
    /* Scratch, kept from pass to pass for its memory only. */
    struct flush_batch batch;
    struct rollup rollup;
    /* While it works towards a recovery: origins with holes, whose entries are passed over so that
     * those of others can be taken first, and whether all of these have been. */
    uint64_t passed_over[FLUSH_PASSED_OVER_MAX];
    size_t passed_over_count;
    bool drained;
    struct flush_hole holes[FLUSH_HOLES_MAX];
    size_t hole_count;
    int64_t events_max; /* 0: as the settings say; lower for a while after many refusals */
};

enum flush_result {
    FLUSH_PASS_DONE,   /* everything there is has been written */
    FLUSH_PASS_AGAIN,  /* there is more to do at once */
    FLUSH_PASS_FAILED, /* a store failed; see the error. Nothing is lost; back off */
};

/* Needs a connection to PostgreSQL that is not in a transaction, and leaves it so, or broken. Keeps
 * no knowledge from pass to pass that correctness depends on. */
enum flush_result flush_pass(struct flusher *flusher, struct error *error) MUST_CHECK;
