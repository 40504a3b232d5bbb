/* See memo.h. */
#include "server/visitor/memo.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    uint64_t hash[2]; /* both 0: empty */
    unsigned char value[MEMO_VALUE_MAX];
};

struct memo {
    size_t value_size;
    unsigned char secret[crypto_shorthash_siphashx24_KEYBYTES];
    struct entry entries[MEMO_PLACES];
};

static_assert(sizeof(struct entry) == 32, "half a cache line");
static_assert(sizeof(((struct entry *)NULL)->hash) == crypto_shorthash_siphashx24_BYTES,
              "all of it");

struct memo *memo_new(size_t value_size)
{
    struct memo *memo = calloc(1, sizeof *memo); /* pages of zeros until they are touched */

    assert(value_size <= MEMO_VALUE_MAX);
    if (!memo)
        return NULL;
    memo->value_size = value_size;
    randombytes_buf(memo->secret, sizeof memo->secret);
    return memo;
}

void memo_free(struct memo *memo)
{
    free(memo);
}

struct memo_key memo_key(const struct memo *memo, const struct text *texts, unsigned count)
{
    char bytes[MEMO_KEY_MAX];
    struct memo_key key = {.fits = true};
    size_t length = 0;

    for (unsigned i = 0; i < count; i++) {
        if (texts[i].length >= sizeof bytes - length) {
            key.fits = false;
            return key;
        }
        if (texts[i].length > 0)
            memcpy(bytes + length, texts[i].bytes, texts[i].length);
        length += texts[i].length;
        bytes[length++] = '\0';
    }
    crypto_shorthash_siphashx24((unsigned char *)key.hash, (const unsigned char *)bytes, length,
                                memo->secret);
    key.hash[0] |= 1; /* never that of an empty place */
    return key;
}

/* Of a key's two places the first or the second. */
static struct entry *place_of(const struct memo *memo, const struct memo_key *key, bool second)
{
    uint64_t place = key->hash[1] >> (second ? 32 : 0);

    return (struct entry *)(uintptr_t)&memo->entries[place % MEMO_PLACES];
}

static bool holds(const struct entry *entry, const struct memo_key *key)
{
    return entry->hash[0] == key->hash[0] && entry->hash[1] == key->hash[1];
}

bool memo_find(const struct memo *memo, const struct memo_key *key, void *value)
{
    const struct entry *entry = place_of(memo, key, false);

    if (!key->fits)
        return false;
    if (!holds(entry, key)) {
        entry = place_of(memo, key, true);
        if (!holds(entry, key))
            return false;
    }
    memcpy(value, entry->value, memo->value_size);
    return true;
}

/* A free place if one of the two is; else either, as the key's hash will have it. */
static struct entry *choose_place(const struct memo *memo, const struct memo_key *key)
{
    struct entry *first = place_of(memo, key, false), *second = place_of(memo, key, true);

    if (first->hash[0] == 0 || holds(first, key))
        return first;
    if (second->hash[0] == 0 || holds(second, key))
        return second;
    return key->hash[0] >> 63 ? first : second;
}

void memo_keep(struct memo *memo, const struct memo_key *key, const void *value)
{
    struct entry *entry = choose_place(memo, key);

    if (!key->fits)
        return;
    memcpy(entry->hash, key->hash, sizeof entry->hash);
    memcpy(entry->value, value, memo->value_size);
}
