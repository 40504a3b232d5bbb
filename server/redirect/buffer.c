/* See buffer.h. */
#include "server/redirect/buffer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/metrics.h"

void buffer_pool_open(struct buffer_pool *pool, size_t large_bytes)
{
    memset(pool, 0, sizeof *pool);
    pool->large_bytes = large_bytes > BUFFER_SMALL_BYTES ? large_bytes : BUFFER_SMALL_BYTES;
}

void buffer_pool_close(struct buffer_pool *pool)
{
    assert(pool->taken_bytes == 0);
    for (int i = 0; i < 2; i++) {
        struct buffer *buffer = pool->kept[i], *next;

        for (; buffer; buffer = next) {
            next = buffer->next;
            free(buffer);
        }
    }
}

/* The list that buffers of this capacity are kept in; -1: none. */
static int list_of(const struct buffer_pool *pool, size_t capacity)
{
    return capacity == BUFFER_SMALL_BYTES ? 0 : capacity == pool->large_bytes ? 1 : -1;
}

struct buffer *buffer_take(struct buffer_pool *pool, size_t bytes)
{
    size_t capacity = bytes <= BUFFER_SMALL_BYTES  ? BUFFER_SMALL_BYTES
                      : bytes <= pool->large_bytes ? pool->large_bytes
                                                   : bytes;
    int list = list_of(pool, capacity);
    struct buffer *buffer = NULL;

    if (pool->taken_bytes + capacity <= BUFFER_TAKEN_MAX) {
        if (list >= 0 && pool->kept[list]) {
            buffer = pool->kept[list];
            pool->kept[list] = buffer->next;
            pool->kept_count[list]--;
        } else {
            buffer = malloc(sizeof *buffer + capacity);
        }
    }
    if (!buffer) {
        metrics->buffers_refused_total++;
        return NULL;
    }
    pool->taken_bytes += capacity;
    buffer->next = NULL;
    buffer->capacity = capacity;
    buffer->start = buffer->end = 0;
    return buffer;
}

void buffer_give(struct buffer_pool *pool, struct buffer **owner)
{
    struct buffer *buffer = *owner;
    int list;

    *owner = NULL;
    if (!buffer)
        return;
    assert(pool->taken_bytes >= buffer->capacity);
    pool->taken_bytes -= buffer->capacity;
    list = list_of(pool, buffer->capacity);
    if (list < 0 || pool->kept_count[list] == BUFFER_KEPT_MAX) {
        free(buffer);
        return;
    }
    buffer->next = pool->kept[list];
    pool->kept[list] = buffer;
    pool->kept_count[list]++;
}
