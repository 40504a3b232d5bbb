/* See flush_pass.h, and server/clicks/README.md for why the order of steps is as it is:
 *
 *   lock → watermarks → read → plan → COPY clicks, COPY conversions into the inbox, rollup, gaps,
 *   quarantine → watermarks → COMMIT
 *   → acknowledge
 *
 * A crash anywhere before COMMIT leaves nothing in PostgreSQL; between COMMIT and the end of the
 * acknowledgement it leaves entries that the next pass drops as at or below the watermark.
 *
 * A recovery empties the stream, so what can be taken from it is taken first: the stream may hold
 * the last copy of events whose machine is gone. Only when a pass has read to the end, passing over
 * origins with holes, does the next one recover. */
#include "server/clicks/flush_pass.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/clicks/flush_array.h"
#include "server/clicks/flush_limits.h"
#include "server/clicks/flush_lock.h"
#include "server/clicks/flush_store.h"
#include "server/clicks/recover.h"
#include "server/metrics.h"
#include "server/stores/postgres.h"
#include "shared/clock.h"
#include "shared/crash.h"
#include "shared/log.h"

#define NUMBER_MAX 24

static void parse_pair(const PGresult *rows, int row, uint64_t *origin, uint64_t *seq)
{
    *origin = strtoull(PQgetvalue(rows, row, 0), NULL, 10);
    *seq = strtoull(PQgetvalue(rows, row, 1), NULL, 10);
}

static bool read_watermarks(struct flusher *flusher, struct error *error)
{
    char partition[NUMBER_MAX];
    const char *values[] = {partition};
    PGresult *rows;

    snprintf(partition, sizeof partition, "%u", flusher->partition);
    rows = postgres_query(flusher->postgres,
                          "select origin, seq from kudos.watermarks where partition = $1::smallint",
                          1, values, error);
    if (!rows)
        return false;
    for (int i = 0; i < PQntuples(rows); i++) {
        uint64_t origin, seq;
        parse_pair(rows, i, &origin, &seq);
        flush_batch_watermark(&flusher->batch, origin, seq);
    }
    PQclear(rows);
    return true;
}

static bool read_stream(struct flusher *flusher, struct error *error)
{
    const struct settings *settings = flusher->settings;
    struct flush_window window = {
        .bytes_max = FLUSH_BATCH_BYTES,
        .events_max = flusher->events_max ? flusher->events_max : settings->flush_batch_events,
        .passed_over = flusher->passed_over,
        .passed_over_count = flusher->passed_over_count,
    };
    redisReply *reply = flush_read(flusher->redis, &flusher->keys, &window, error);

    if (!reply || !flush_batch_open(&flusher->batch, reply, clock_wall_us(), error))
        return false;
    metrics->redis_stream_bytes = flusher->batch.stream_bytes;
    return true;
}

/* Holes ------------------------------------------------------------------------------------------ */

static struct flush_hole *find_hole(struct flusher *flusher, uint64_t origin)
{
    for (size_t i = 0; i < flusher->hole_count; i++) {
        if (flusher->holes[i].origin == origin)
            return &flusher->holes[i];
    }
    return NULL;
}

/* Marks origins that are passed over, and those whose hole outlived recoveries; forgets holes whose
 * watermark has moved, and old ones. */
static void mark_origins(struct flusher *flusher)
{
    struct flush_origins *origins = &flusher->batch.origins;
    int64_t forget_us = clock_mono_us() - FLUSH_HOLE_FORGET_S * US_PER_SECOND;

    for (size_t i = 0; i < flusher->passed_over_count; i++) {
        size_t index = flush_origins_find(origins, flusher->passed_over[i]);
        origins->list[index].passed_over = true;
    }
    for (size_t i = 0; i < flusher->hole_count;) {
        struct flush_hole *hole = &flusher->holes[i];
        struct flush_origin *origin = flush_origins_get(origins, hole->origin);
        if (origin->watermark != hole->watermark || hole->found_us < forget_us) {
            *hole = flusher->holes[--flusher->hole_count];
            continue;
        }
        origin->blocked = hole->recoveries >= FLUSH_HOLE_TRIES;
        i++;
    }
}

/* Remembers at a recovery which origins had holes. */
static void note_holes(struct flusher *flusher)
{
    const struct flush_origins *origins = &flusher->batch.origins;

    for (size_t i = 0; i < origins->count; i++) {
        const struct flush_origin *origin = &origins->list[i];
        struct flush_hole *hole;
        if (!origin->hole || origin->foreign)
            continue;
        hole = find_hole(flusher, origin->id);
        if (!hole && flusher->hole_count < FLUSH_HOLES_MAX) {
            hole = &flusher->holes[flusher->hole_count++];
            *hole = (struct flush_hole){origin->id, origin->watermark, 0, clock_mono_us()};
        }
        if (hole && ++hole->recoveries == FLUSH_HOLE_TRIES)
            log_error("origin_blocked",
                      "partition=%u origin=%" PRIu64 " watermark=%" PRIu64 " advice=%s",
                      flusher->partition, origin->id, origin->watermark,
                      "the next event is in no journal; see kudos gap declare");
    }
}

static void count_blocked(const struct flush_batch *batch)
{
    int64_t blocked = 0;

    for (size_t i = 0; i < batch->origins.count; i++) {
        const struct flush_origin *origin = &batch->origins.list[i];
        blocked += origin->hole && (origin->blocked || origin->foreign);
    }
    metrics->flush_blocked_origins = blocked;
}

/* Has the next read pass over origins with holes, if this one could not see the whole stream for
 * them; forgets them once all has been seen and no recovery is due. Returns whether the next read
 * passes over more than this one did. */
static bool pass_over_holes(struct flusher *flusher, bool trouble)
{
    const struct flush_origins *origins = &flusher->batch.origins;
    size_t before = flusher->passed_over_count;

    if (flusher->batch.complete) {
        if (!trouble)
            flusher->passed_over_count = 0;
        return false;
    }
    flusher->passed_over_count = 0;
    for (size_t i = 0; i < origins->count; i++) {
        if (origins->list[i].hole && flusher->passed_over_count < FLUSH_PASSED_OVER_MAX)
            flusher->passed_over[flusher->passed_over_count++] = origins->list[i].id;
    }
    return flusher->passed_over_count > before;
}

/* New origins ------------------------------------------------------------------------------------ */

/* Finds origins that are new to this partition but not to the table: their machine has changed its
 * setting `partitions`. Writing them twice over is what must not happen. */
static bool find_foreign(struct flusher *flusher, bool *found, struct error *error)
{
    struct flush_origins *origins = &flusher->batch.origins;
    struct flush_array fresh = {NULL, 0, 0};
    const char *value;
    PGresult *rows;

    *found = false;
    for (size_t i = 0; i < origins->count; i++) {
        if (origins->list[i].watermark == 0 && origins->list[i].reached > 0)
            flush_array_add(&fresh, (int64_t)origins->list[i].id);
    }
    if (fresh.length == 0)
        return true;
    value = flush_array_text(&fresh);
    rows = postgres_query(flusher->postgres,
                          "select origin, partition from kudos.watermarks"
                          " where origin = any ($1::bigint[])",
                          1, &value, error);
    for (int i = 0; i < PQntuples(rows); i++) {
        uint64_t origin, partition;
        parse_pair(rows, i, &origin, &partition);
        flush_origins_get(origins, origin)->foreign = true;
        log_error("origin_foreign", "origin=%" PRIu64 " partition=%u known_in=%" PRIu64, origin,
                  flusher->partition, partition);
        *found = true;
    }
    PQclear(rows);
    flush_array_free(&fresh);
    return rows != NULL;
}

static bool plan(struct flusher *flusher, struct error *error)
{
    bool foreign;

    mark_origins(flusher);
    flush_batch_plan(&flusher->batch);
    if (!find_foreign(flusher, &foreign, error))
        return false;
    if (foreign)
        flush_batch_plan(&flusher->batch);
    count_blocked(&flusher->batch);
    return true;
}

/* The end of a transaction ----------------------------------------------------------------------- */

/* False if it is not known whether the transaction is in, or it is not. */
static bool commit(struct flusher *flusher, struct error *error)
{
    PGresult *result;
    bool good;

    CRASH_POINT("flush_before_commit");
    result = postgres_query(flusher->postgres, "commit", 0, NULL, error);
    good = result && strcmp(PQcmdStatus(result), "COMMIT") == 0;
    if (result && !good)
        error_set(error, "COMMIT was answered with %s", PQcmdStatus(result));
    PQclear(result);
    CRASH_POINT("flush_after_commit");
    return good;
}

static void roll_back(struct flusher *flusher)
{
    if (PQstatus(flusher->postgres) == CONNECTION_OK &&
        PQtransactionStatus(flusher->postgres) != PQTRANS_IDLE)
        PQclear(PQexec(flusher->postgres, "rollback"));
}

static void count_committed(const struct flush_batch *batch)
{
    int64_t applied = 0;

    for (size_t i = 0; i < batch->origins.count; i++) {
        applied += batch->origins.list[i].applied;
        metrics->gaps_total += batch->origins.list[i].gaps;
    }
    metrics->flushed_events_total += applied;
    metrics->flushed_batches_total++;
    metrics->conversions_received_total += (int64_t)batch->told_count;
    metrics->quarantined_total += (int64_t)batch->refused_count;
    for (size_t i = 0; i < batch->gap_count; i++) {
        if (batch->gaps[i].lost)
            metrics->lost_recorded_total += (int64_t)batch->gaps[i].count;
    }
    if (batch->newest_us)
        metrics->flush_lag_seconds = (clock_wall_us() - batch->newest_us) / US_PER_SECOND;
}

static void log_refused(const struct flusher *flusher)
{
    const struct flush_refused *first = &flusher->batch.refused[0];

    if (flusher->batch.refused_count == 0)
        return;
    log_error("quarantined",
              "partition=%u events=%zu first_origin=%" PRIu64 " first_seq=%" PRIu64 " reason=%s",
              flusher->partition, flusher->batch.refused_count,
              flusher->batch.origins.list[first->origin].id, first->seq, first->reason);
}

/* Writes the plan and commits it. */
static bool write_batch(struct flusher *flusher, struct error *error)
{
    switch (flush_store(flusher->postgres, flusher->partition, &flusher->batch, &flusher->rollup,
                        error)) {
    case FLUSH_STORED: break;
    case FLUSH_TOO_MANY_REFUSED:
        flusher->events_max = FLUSH_CAREFUL_EVENTS;
        return error_prefix(error, "many clicks refused, going on with small batches");
    case FLUSH_STORE_FAILED: return false;
    }
    if (!commit(flusher, error))
        return false;
    count_committed(&flusher->batch);
    log_refused(flusher);
    return true;
}

static bool lags(const struct flush_batch *batch)
{
    for (size_t i = 0; i < batch->origins.count; i++) {
        if (batch->origins.list[i].flushed < batch->origins.list[i].reached)
            return true;
    }
    return false;
}

/* Writes what is planned, if anything, and tells Redis. */
static bool take(struct flusher *flusher, bool trouble, struct error *error)
{
    struct flush_batch *batch = &flusher->batch;
    bool empty = flush_batch_empty(batch);

    if (!(empty ? postgres_execute(flusher->postgres, "commit", 0, NULL, error)
                : write_batch(flusher, error)))
        return false;
    metrics->flush_duplicates_total += batch->duplicates;
    if (batch->done_count == 0 && (trouble || !lags(batch)))
        return true;
    if (!flush_acknowledge(flusher->redis, &flusher->keys, batch, error))
        return false;
    CRASH_POINT("flush_after_acknowledge");
    return true;
}

/* After the acknowledgement, so that it holds up nothing. Failing at it does not fail the pass. */
static void mark_used_up(struct flusher *flusher)
{
    struct error error;

    if (!flush_batch_empty(&flusher->batch) &&
        !flush_limits(flusher->postgres, &flusher->rollup, &error))
        log_warn("limits_not_marked", "partition=%u error=%s", flusher->partition, error.text);
}

static bool recover(struct flusher *flusher, const char *reason, uint64_t origin,
                    struct error *error)
{
    int64_t started_us = clock_mono_us();

    if (!recover_partition(flusher->postgres, flusher->redis, flusher->partition, error) ||
        !postgres_execute(flusher->postgres, "commit", 0, NULL, error))
        return false;
    metrics->recoveries_total++;
    log_warn("recovered", "partition=%u reason=%s origin=%" PRIu64 " ms=%lld", flusher->partition,
             reason, origin, (long long)((clock_mono_us() - started_us) / US_PER_MS));
    note_holes(flusher);
    flusher->passed_over_count = 0;
    flusher->drained = false;
    return true;
}

/* With the lock held. */
static enum flush_result pass_locked(struct flusher *flusher, struct error *error)
{
    struct flush_batch *batch = &flusher->batch;
    const char *trouble;
    uint64_t origin;
    bool moved_on;

    CRASH_POINT("flush_after_lock");
    if (!read_watermarks(flusher, error) || !read_stream(flusher, error) || !plan(flusher, error))
        return FLUSH_PASS_FAILED;
    trouble = flush_batch_trouble(batch, &origin);
    if (trouble && (flusher->drained || (batch->complete && flush_batch_empty(batch))))
        return recover(flusher, trouble, origin, error) ? FLUSH_PASS_AGAIN : FLUSH_PASS_FAILED;
    if (!take(flusher, trouble != NULL, error))
        return FLUSH_PASS_FAILED;
    mark_used_up(flusher);
    if (batch->refused_count == 0)
        flusher->events_max = 0;
    moved_on = pass_over_holes(flusher, trouble != NULL) || !flush_batch_empty(batch) ||
               batch->done_count > 0;
    flusher->drained = trouble && (batch->complete || !moved_on);
    if (trouble || (!batch->complete && moved_on))
        return FLUSH_PASS_AGAIN;
    return FLUSH_PASS_DONE;
}

enum flush_result flush_pass(struct flusher *flusher, struct error *error)
{
    enum flush_result result = FLUSH_PASS_FAILED;

    assert(PQtransactionStatus(flusher->postgres) == PQTRANS_IDLE);
    CRASH_POINT("flush_before_begin");
    switch (flush_lock(flusher->postgres, flusher->partition, flusher->settings->flush_takeover_ms,
                       error)) {
    case FLUSH_LOCK_HELD: result = pass_locked(flusher, error); break;
    case FLUSH_LOCK_BUSY: result = FLUSH_PASS_AGAIN; break;
    case FLUSH_LOCK_FAILED: break;
    }
    flush_batch_clear(&flusher->batch);
    if (result == FLUSH_PASS_FAILED)
        roll_back(flusher);
    return result;
}
