#pragma once
/* Remembers what was found out about texts that come again and again: a few thousand user agents make
 * up nearly all traffic, and reading one costs more than everything else in a redirect.
 *
 * A place holds no text but its 128-bit hash under random keys of this process. Two texts, whoever
 * chose them, are taken for one another with a probability of 2^-63: the keys show in nothing that
 * leaves the process.
 *
 * A fixed number of places, two for each key; who comes later and finds both taken gets one. So a
 * stream of made-up texts costs what it would cost without a memory, and nothing more. */
#include <stdbool.h>
#include <stdint.h>

#include "shared/text.h"

#define MEMO_PLACES    16384 /* 32 bytes each, touched as they fill */
#define MEMO_KEY_MAX   2048 /* bytes, with a NUL behind each text; what is longer is not remembered */
#define MEMO_VALUE_MAX 16

struct memo;

/* What stands for texts in their order, none of which holds a NUL. */
struct memo_key {
    uint64_t hash[2];
    bool fits; /* within MEMO_KEY_MAX */
};

/* Values are `value_size` bytes. NULL: out of memory. */
struct memo *memo_new(size_t value_size);
void memo_free(struct memo *memo);

struct memo_key memo_key(const struct memo *memo, const struct text *texts, unsigned count);

/* The value kept for exactly this key; false if there is none. */
bool memo_find(const struct memo *memo, const struct memo_key *key, void *value);
void memo_keep(struct memo *memo, const struct memo_key *key, const void *value);
