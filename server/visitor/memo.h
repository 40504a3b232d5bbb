#pragma once
/* Remembers what was found out about texts that come again and again: a few hundred user agents
 * make up nearly all traffic, and reading one costs more than everything else in a redirect.
 *
 * A fixed number of places, two for each key; who comes later and finds both taken gets one. So a
 * stream of made-up texts costs what it would cost without a memory, and nothing more. */
#include <stdbool.h>
#include <stdint.h>

#include "shared/text.h"

#define MEMO_PLACES    1024
#define MEMO_KEY_MAX   480 /* bytes; a longer key is not remembered */
#define MEMO_VALUE_MAX 24

struct memo;

/* A key: texts without NUL, in their order. `texts` must outlive it. */
struct memo_key {
    const struct text *texts;
    unsigned count;
    size_t length; /* of all, each with a NUL behind it */
    uint64_t hash;
};

/* Values are `value_size` bytes. NULL: out of memory. 512 KiB, touched as it fills. */
struct memo *memo_new(size_t value_size);
void memo_free(struct memo *memo);

struct memo_key memo_key(const struct text *texts, unsigned count);

/* The value kept for exactly this key; false if there is none. */
bool memo_find(const struct memo *memo, const struct memo_key *key, void *value);
void memo_keep(struct memo *memo, const struct memo_key *key, const void *value);
