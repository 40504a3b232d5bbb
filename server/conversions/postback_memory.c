/* See postback_memory.h. */
#include "server/conversions/postback_memory.h"

#include <assert.h>
#include <jansson.h>
#include <stddef.h>
#include <stdlib.h>

#include "server/conversions/postback.h"

#define ALIGNMENT 16

static _Alignas(ALIGNMENT) unsigned char memory[POSTBACK_MEMORY];
static size_t used, limit; /* limit 0: nobody is at it */
static bool failed;

static void *take(size_t size)
{
    size_t rounded = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    void *piece = memory + used;

    assert(limit > 0);
    if (size > sizeof memory || rounded > limit - used) {
        failed = true;
        return NULL;
    }
    used += rounded;
    return piece;
}

/* All at once, at the end. */
static void give(void *piece)
{
    (void)piece;
}

void postback_memory_begin(void)
{
    assert(limit == 0);
    used = 0;
    limit = sizeof memory / 4 * 3;
    failed = false;
    json_set_alloc_funcs(take, give);
}

void postback_memory_extend(void)
{
    assert(limit > 0);
    limit = sizeof memory;
}

bool postback_memory_failed(void)
{
    return failed;
}

void postback_memory_end(void)
{
    assert(limit > 0);
    limit = 0;
    json_set_alloc_funcs(malloc, free);
}
