/* See replica_memo.h. */
#include "server/links/replica_memo.h"

#include <assert.h>
#include <string.h>
#include <sys/mman.h>

#define KEY_MAX 39 /* a longer key (a slug of more than 31 bytes) is not remembered */

struct entry {
    size_t txn; /* 0: empty; numbers of transactions begin at 1 */
    const void *value;
    uint32_t size;
    uint8_t length;
    unsigned char key[KEY_MAX];
    uint32_t reserved;
};

struct replica_memo {
    struct entry entries[REPLICA_MEMO_PLACES];
};

static_assert(sizeof(struct entry) == 64, "a cache line");

struct replica_memo *replica_memo_new(void)
{
    void *pages = mmap(NULL, sizeof(struct replica_memo), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); /* aligned, zero, and free until used */

    return pages == MAP_FAILED ? NULL : pages;
}

void replica_memo_free(struct replica_memo *memo)
{
    if (memo)
        munmap(memo, sizeof *memo);
}

void replica_memo_clear(struct replica_memo *memo)
{
    memset(memo, 0, sizeof *memo);
}

static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * 0x9fb21c651e98df25u;
    return hash ^ hash >> 32;
}

/* Eight bytes a step; the last step overlaps the one before. */
static struct entry *place_of(const struct replica_memo *memo, const struct link_key *key)
{
    uint64_t hash = key->length, word;
    size_t i;

    assert(key->length > 8); /* a domain id and a slug */
    for (i = 0; i + 8 < key->length; i += 8) {
        memcpy(&word, key->bytes + i, 8);
        hash = mix(hash, word);
    }
    memcpy(&word, key->bytes + key->length - 8, 8);
    hash = mix(mix(hash, word), 0); /* twice: the last characters are in the highest bits */
    return (struct entry *)(uintptr_t)&memo->entries[hash % REPLICA_MEMO_PLACES];
}

bool replica_memo_find(const struct replica_memo *memo, size_t txn, const struct link_key *key,
                       MDB_val *value)
{
    const struct entry *entry = place_of(memo, key);

    if (entry->txn != txn || entry->length != key->length ||
        memcmp(entry->key, key->bytes, key->length) != 0)
        return false;
    value->mv_data = (void *)(uintptr_t)entry->value;
    value->mv_size = entry->size;
    return true;
}

void replica_memo_keep(struct replica_memo *memo, size_t txn, const struct link_key *key,
                       const MDB_val *value)
{
    struct entry *entry = place_of(memo, key);

    if (key->length > KEY_MAX || value->mv_size > UINT32_MAX || txn == 0)
        return;
    entry->txn = txn;
    entry->value = value->mv_data;
    entry->size = (uint32_t)value->mv_size;
    entry->length = (uint8_t)key->length;
    memcpy(entry->key, key->bytes, key->length);
}
