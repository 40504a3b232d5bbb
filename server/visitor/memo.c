/* See memo.h. The hash is NH, of UMAC (RFC 4418): sums of products of words of text and key, which is
 * universal, and costs one multiplication for sixteen bytes; SipHash would cost as much as all the
 * rest of what is remembered. */
#include "server/visitor/memo.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    uint64_t hash[2]; /* both 0: empty */
    unsigned char value[MEMO_VALUE_MAX];
};

#define WORDS_MAX (MEMO_KEY_MAX / 8 + 2) /* with the length, which is the first */

struct memo {
    size_t value_size;
    uint64_t secret[WORDS_MAX];
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

/* Spreads what is in few bits over all, and is its own kind of one-to-one. */
static uint64_t spread(uint64_t word)
{
    word = (word ^ word >> 32) * 0x9fb21c651e98df25u;
    return word ^ word >> 32;
}

/* The texts, each with a NUL behind it, behind their length; zeros up to a whole pair of words. Returns
 * how many words, 0: they do not fit. */
static size_t gather(const struct text *texts, unsigned count, uint64_t words[WORDS_MAX])
{
    char *bytes = (char *)words;
    size_t length = sizeof words[0], pairs;

    for (unsigned i = 0; i < count; i++) {
        if (texts[i].length >= MEMO_KEY_MAX + sizeof words[0] - length)
            return 0;
        if (texts[i].length > 0)
            memcpy(bytes + length, texts[i].bytes, texts[i].length);
        length += texts[i].length;
        bytes[length++] = '\0';
    }
    words[0] = length;
    pairs = (length + 15) / 16;
    memset(bytes + length, 0, 16 * pairs - length);
    return 2 * pairs;
}

struct memo_key memo_key(const struct memo *memo, const struct text *texts, unsigned count)
{
    uint64_t words[WORDS_MAX];
    size_t used = gather(texts, count, words);
    unsigned __int128 sum = 0;

    for (size_t i = 0; i < used; i += 2)
        sum +=
            (unsigned __int128)(words[i] + memo->secret[i]) * (words[i + 1] + memo->secret[i + 1]);
    return (struct memo_key){
        .hash = {spread((uint64_t)sum) | 1, /* never that of an empty place */
                 spread((uint64_t)(sum >> 64))},
        .fits = used > 0,
    };
}

/* Of a key's two places the first or the second. */
static struct entry *place_of(const struct memo *memo, const struct memo_key *key, bool second)
{
    uint64_t place = key->hash[second] >> 32;

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
