/* See memo.h. A place holds the whole key, so that one can never be taken for another. */
#include "server/visitor/memo.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    uint32_t check;  /* bits of the hash that do not choose the place */
    uint32_t length; /* of the key; 0: empty */
    unsigned char value[MEMO_VALUE_MAX];
    char bytes[MEMO_KEY_MAX];
};

struct memo {
    size_t value_size;
    struct entry entries[MEMO_PLACES];
};

static_assert(sizeof(struct entry) == 512, "whole cache lines");

struct memo *memo_new(size_t value_size)
{
    struct memo *memo = calloc(1, sizeof *memo);

    assert(value_size <= MEMO_VALUE_MAX);
    if (memo)
        memo->value_size = value_size;
    return memo;
}

void memo_free(struct memo *memo)
{
    free(memo);
}

static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * 0x9fb21c651e98df25u;
    return hash ^ hash >> 32;
}

/* Not against an attacker, who can only make us forget. Eight bytes a step; the last step overlaps
 * the one before. */
static uint64_t hash_text(uint64_t hash, struct text text)
{
    uint64_t word = 0;
    size_t i;

    hash += text.length;
    for (i = 0; i + 8 < text.length; i += 8) {
        memcpy(&word, text.bytes + i, 8);
        hash = mix(hash, word);
    }
    word = 0;
    if (text.length >= 8)
        memcpy(&word, text.bytes + text.length - 8, 8);
    else if (text.length > 0)
        memcpy(&word, text.bytes, text.length);
    return mix(hash, word);
}

struct memo_key memo_key(const struct text *texts, unsigned count)
{
    struct memo_key key = {texts, count, 0, 0};

    for (unsigned i = 0; i < count; i++) {
        key.length += texts[i].length + 1;
        key.hash = hash_text(key.hash, texts[i]);
    }
    key.hash = mix(key.hash, 0); /* once more: the last characters are in the highest bits */
    return key;
}

/* Of a key's two places the first or the second. */
static struct entry *place_of(const struct memo *memo, const struct memo_key *key, bool second)
{
    uint64_t place = (second ? key->hash >> 16 : key->hash) % MEMO_PLACES;

    return (struct entry *)(uintptr_t)&memo->entries[place];
}

static bool holds(const struct entry *entry, const struct memo_key *key)
{
    const char *at = entry->bytes;

    if (entry->check != (uint32_t)(key->hash >> 32) || entry->length != key->length)
        return false;
    for (unsigned i = 0; i < key->count; i++) {
        const struct text *text = &key->texts[i];

        if (text->length > (size_t)(entry->bytes + entry->length - at) - 1 ||
            (text->length > 0 && memcmp(at, text->bytes, text->length) != 0) ||
            at[text->length] != '\0')
            return false;
        at += text->length + 1;
    }
    return true;
}

bool memo_find(const struct memo *memo, const struct memo_key *key, void *value)
{
    const struct entry *entry = place_of(memo, key, false);

    if (key->length > MEMO_KEY_MAX)
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

    if (first->length == 0 || holds(first, key))
        return first;
    if (second->length == 0 || holds(second, key))
        return second;
    return key->hash >> 63 ? first : second;
}

void memo_keep(struct memo *memo, const struct memo_key *key, const void *value)
{
    struct entry *entry = choose_place(memo, key);
    char *at = entry->bytes;

    if (key->length > MEMO_KEY_MAX)
        return;
    entry->check = (uint32_t)(key->hash >> 32);
    entry->length = (uint32_t)key->length;
    memcpy(entry->value, value, memo->value_size);
    for (unsigned i = 0; i < key->count; i++) {
        const struct text *text = &key->texts[i];

        if (text->length > 0)
            memcpy(at, text->bytes, text->length);
        at += text->length;
        *at++ = '\0';
    }
    assert(holds(entry, key));
}
