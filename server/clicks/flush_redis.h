#pragma once
/* Flush's two questions to Redis, as scripts. */
#include <stdint.h>

#include "server/clicks/flush_batch.h"
#include "server/clicks/partition.h"
#include "server/stores/redis.h"
#include "shared/error.h"

/* Names of a partition's keys. */
struct flush_keys {
    char ready[PARTITION_KEY_MAX];
    char last_seq[PARTITION_KEY_MAX];
    char flushed[PARTITION_KEY_MAX];
    char totals[PARTITION_KEY_MAX];
    char bytes[PARTITION_KEY_MAX];
    char events[PARTITION_KEY_MAX];
};
void flush_keys_fill(struct flush_keys *keys, unsigned partition);

/* What to read. */
struct flush_window {
    int64_t bytes_max;
    int64_t events_max;
    const char *from; /* NULL: the first entry; else "(" and the id of the entry before */
    const uint64_t *passed_over; /* origins whose entries are not wanted */
    size_t passed_over_count;
};
#define FLUSH_PASSED_OVER_MAX 256

/* Runs read.lua; the reply, which may be an error reply, or NULL when Redis is away. */
redisReply *flush_read(struct redis *redis, const struct flush_keys *keys,
                       const struct flush_window *window, struct error *error) MUST_CHECK;

/* Runs acknowledge.lua, in as many calls as it takes, for the batch's done entries and the origins
 * whose `flushed` is behind. PostgreSQL must have committed the batch. */
bool flush_acknowledge(struct redis *redis, const struct flush_keys *keys,
                       struct flush_batch *batch, struct error *error) MUST_CHECK;
