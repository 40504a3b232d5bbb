/* See flush_origins.h. Open addressing over indexes, so that indexes stay valid while it grows. */
#include "server/clicks/flush_origins.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS_MIN 64

void flush_origins_free(struct flush_origins *origins)
{
    free(origins->list);
    free(origins->slots);
    memset(origins, 0, sizeof *origins);
}

void flush_origins_clear(struct flush_origins *origins)
{
    origins->count = 0;
    if (origins->slots)
        memset(origins->slots, 0, origins->slot_count * sizeof *origins->slots);
}

static uint32_t *find_slot(const struct flush_origins *origins, uint64_t id)
{
    size_t mask = origins->slot_count - 1;

    /* Origins are random numbers; multiplying guards against those that tests choose. */
    for (size_t i = (id * 0x9e3779b97f4a7c15u >> 20) & mask;; i = (i + 1) & mask) {
        uint32_t *slot = &origins->slots[i];
        if (*slot == 0 || origins->list[*slot - 1].id == id)
            return slot;
    }
}

static void grow(struct flush_origins *origins)
{
    origins->slot_count = origins->slot_count ? 2 * origins->slot_count : SLOTS_MIN;
    origins->room = origins->slot_count / 2;
    origins->list = realloc(origins->list, origins->room * sizeof *origins->list);
    free(origins->slots);
    origins->slots = calloc(origins->slot_count, sizeof *origins->slots);
    assert(origins->list && origins->slots);
    for (size_t i = 0; i < origins->count; i++)
        *find_slot(origins, origins->list[i].id) = (uint32_t)(i + 1);
}

size_t flush_origins_find(struct flush_origins *origins, uint64_t id)
{
    uint32_t *slot;

    if (origins->count == origins->room)
        grow(origins);
    slot = find_slot(origins, id);
    if (*slot == 0) {
        memset(&origins->list[origins->count], 0, sizeof *origins->list);
        origins->list[origins->count].id = id;
        *slot = (uint32_t)++origins->count;
    }
    assert(origins->list[*slot - 1].id == id);
    return *slot - 1;
}

struct flush_origin *flush_origins_get(struct flush_origins *origins, uint64_t id)
{
    size_t index = flush_origins_find(origins, id); /* may move the list */

    return &origins->list[index];
}

bool flush_parse_number(const char *text, size_t length, uint64_t *out)
{
    uint64_t value = 0;

    if (length == 0 || length > 19 || text[0] == '0')
        return false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = 10 * value + (uint64_t)(text[i] - '0');
    }
    *out = value;
    return value <= INT64_MAX;
}
