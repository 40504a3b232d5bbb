/* See flush_redis.h. Numbers go to the scripts as the decimal strings that they came in. */
#include "server/clicks/flush_redis.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/embed.h"

EMBED(read_lua, "server/clicks/read.lua");
EMBED(acknowledge_lua, "server/clicks/acknowledge.lua");

/* Entries, and origins, of one call of acknowledge.lua: keeps Redis responsive. */
#define ACKNOWLEDGE_ENTRIES 500
#define ACKNOWLEDGE_ORIGINS 500

#define NUMBER_MAX 24

void flush_keys_fill(struct flush_keys *keys, unsigned partition)
{
    snprintf(keys->ready, sizeof keys->ready, PARTITION_KEY_READY, partition);
    snprintf(keys->last_seq, sizeof keys->last_seq, PARTITION_KEY_LAST_SEQ, partition);
    snprintf(keys->flushed, sizeof keys->flushed, PARTITION_KEY_FLUSHED, partition);
    snprintf(keys->totals, sizeof keys->totals, PARTITION_KEY_TOTALS, partition);
    snprintf(keys->bytes, sizeof keys->bytes, PARTITION_KEY_BYTES, partition);
    snprintf(keys->events, sizeof keys->events, PARTITION_KEY_EVENTS, partition);
}

redisReply *flush_read(struct redis *redis, const struct flush_keys *keys,
                       const struct flush_window *window, struct error *error)
{
    enum { KEYS = 5, FIXED = KEYS + 3 };
    const char *argv[FIXED + FLUSH_PASSED_OVER_MAX] = {keys->ready, keys->last_seq, keys->flushed,
                                                       keys->bytes, keys->events};
    char limits[2][NUMBER_MAX], origins[FLUSH_PASSED_OVER_MAX][NUMBER_MAX];
    size_t count = window->passed_over_count;

    assert(count <= FLUSH_PASSED_OVER_MAX);
    snprintf(limits[0], NUMBER_MAX, "%" PRId64, window->bytes_max);
    snprintf(limits[1], NUMBER_MAX, "%" PRId64, window->events_max);
    argv[KEYS] = limits[0];
    argv[KEYS + 1] = limits[1];
    argv[KEYS + 2] = window->from ? window->from : "-";
    for (size_t i = 0; i < count; i++) {
        snprintf(origins[i], NUMBER_MAX, "%" PRIu64, window->passed_over[i]);
        argv[FIXED + i] = origins[i];
    }
    return redis_script(redis, read_lua, KEYS, (int)(FIXED + count), argv, NULL, error);
}

/* One call's arguments: strings that live elsewhere, and numbers. */
struct arguments {
    const char *argv[3 + 1 + 5 * ACKNOWLEDGE_ENTRIES + 2 * ACKNOWLEDGE_ORIGINS];
    int count;
    char numbers[1 + ACKNOWLEDGE_ENTRIES + 2 * ACKNOWLEDGE_ORIGINS][NUMBER_MAX];
    size_t number_count;
};

static void add_number(struct arguments *arguments, uint64_t value)
{
    char *text = arguments->numbers[arguments->number_count++];

    snprintf(text, NUMBER_MAX, "%" PRIu64, value);
    arguments->argv[arguments->count++] = text;
}

/* Each entry goes with its origin's watermark: no call may take out an entry without raising its
 * origin, whatever `flushed` was when it was read. */
static size_t add_entries(struct arguments *arguments, struct flush_batch *batch, size_t from)
{
    size_t left = batch->done_count - from;
    size_t until = from + (left < ACKNOWLEDGE_ENTRIES ? left : ACKNOWLEDGE_ENTRIES);

    add_number(arguments, until - from);
    for (size_t i = from; i < until; i++) {
        const struct flush_done *done = &batch->done[i];
        struct flush_origin *origin = &batch->origins.list[done->origin];
        for (size_t part = 0; part < 4; part++) /* id, origin, first, last */
            arguments->argv[arguments->count++] = done->entry->element[part]->str;
        add_number(arguments, origin->reached);
        origin->flushed = origin->reached; /* told, in a moment */
    }
    return until;
}

/* Adds origins of which Redis does not know how far they got, since an earlier acknowledgement was
 * lost, from list index `from` on; returns where to go on. */
static size_t add_watermarks(struct arguments *arguments, const struct flush_origins *origins,
                             size_t from)
{
    size_t i = from;

    for (size_t added = 0; i < origins->count && added < ACKNOWLEDGE_ORIGINS; i++) {
        const struct flush_origin *origin = &origins->list[i];
        if (origin->flushed >= origin->reached)
            continue;
        add_number(arguments, origin->id);
        add_number(arguments, origin->reached);
        added++;
    }
    return i;
}

static bool call(struct redis *redis, struct arguments *arguments, struct error *error)
{
    redisReply *reply =
        redis_script(redis, acknowledge_lua, 3, arguments->count, arguments->argv, NULL, error);
    bool good = reply && reply->type == REDIS_REPLY_INTEGER;

    if (reply && !good)
        error_set(error, "Redis: %s", reply->type == REDIS_REPLY_ERROR ? reply->str : "odd answer");
    freeReplyObject(reply);
    return good;
}

static void begin_call(struct arguments *arguments, const struct flush_keys *keys)
{
    arguments->count = 0;
    arguments->number_count = 0;
    arguments->argv[arguments->count++] = keys->flushed;
    arguments->argv[arguments->count++] = keys->bytes;
    arguments->argv[arguments->count++] = keys->events;
}

static bool has_news(const struct flush_origins *origins, size_t from)
{
    for (size_t i = from; i < origins->count; i++)
        if (origins->list[i].flushed < origins->list[i].reached)
            return true;
    return false;
}

/* Each call is a whole acknowledgement, of some of the entries with their origins. */
bool flush_acknowledge(struct redis *redis, const struct flush_keys *keys,
                       struct flush_batch *batch, struct error *error)
{
    struct arguments *arguments = malloc(sizeof *arguments);
    size_t entry = 0, origin = 0;
    bool good = true;

    assert(arguments);
    while (good && entry < batch->done_count) {
        begin_call(arguments, keys);
        entry = add_entries(arguments, batch, entry);
        good = call(redis, arguments, error);
    }
    while (good && has_news(&batch->origins, origin)) {
        begin_call(arguments, keys);
        add_number(arguments, 0);
        origin = add_watermarks(arguments, &batch->origins, origin);
        good = call(redis, arguments, error);
    }
    free(arguments);
    return good;
}
