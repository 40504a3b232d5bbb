#pragma once
/* What the writing side (replica_write.c) and the reading side (replica.c) of the link replica
 * agree on.
 *
 * On disk, under <data_dir>/replica/:
 *   current      symbolic link to the folder of the snapshot that is served
 *   s-<number>/  one LMDB environment (data.mdb, lock.mdb); complete before `current` names it
 *   writer       locked (flock) by the one process that writes
 *
 * A folder per snapshot keeps data and lock file together, so that the rename of `current` swaps
 * both at once; a lock file shared by two data files would mix up their transaction numbers.
 *
 * Databases of an environment:
 *   meta           fixed names, below
 *   links          link key                   → link record (link.h)
 *   links_by_id    link id, big-endian        → link key
 *   domains        host                       → domain record (domain.h)
 *   domains_by_id  domain id, big-endian      → host
 *   salts          day, big-endian            → 16 random bytes
 * A link key is the domain id, big-endian, and the slug key, so that the order of keys is the order
 * of (domain_id, slug_key) in PostgreSQL and a snapshot can be appended. */
#include <endian.h>
#include <lmdb.h>
#include <stdint.h>
#include <string.h>

#include "server/links/link.h"

#define REPLICA_FOLDER      "replica"
#define REPLICA_CURRENT     "current"
#define REPLICA_NAME_MAX    64
#define REPLICA_PATH_MAX    1024
#define REPLICA_READERS_MAX 1024 /* slots of the reader table; redirect and admin use one each */

/* The layout of the environment and of a record: a replica with another number is rebuilt. */
#define REPLICA_VERSION (UINT32_C(2) << 16 | LINK_RECORD_VERSION)

#define META_VERSION  "version"  /* uint32_t: REPLICA_VERSION */
#define META_COMPLETE "complete" /* present once the snapshot is whole */
#define META_MOVED    "moved"    /* present once `current` names another folder */
#define META_SOURCE   "source"   /* text: which PostgreSQL, which start of it, which table files */
#define META_SNAPSHOT "snapshot" /* text: pg_current_snapshot() of what is stored */

enum replica_database {
    REPLICA_META,
    REPLICA_LINKS,
    REPLICA_LINKS_BY_ID,
    REPLICA_DOMAINS,
    REPLICA_DOMAINS_BY_ID,
    REPLICA_SALTS,
    REPLICA_DATABASES
};

static const char *const replica_database_names[REPLICA_DATABASES] = {
    "meta", "links", "links_by_id", "domains", "domains_by_id", "salts"};

#define LINK_KEY_MAX (8 + LINK_SLUG_MAX)

struct link_key {
    size_t length;
    unsigned char bytes[LINK_KEY_MAX];
};

/* Writes an id as it is used in keys. */
static inline void id_key(uint64_t id, unsigned char out[8])
{
    uint64_t big = htobe64(id);

    memcpy(out, &big, sizeof big);
}

static inline uint64_t id_of_key(const void *bytes)
{
    uint64_t big;

    memcpy(&big, bytes, sizeof big);
    return be64toh(big);
}

/* Fills `out`; false if the slug is empty or too long to be any link's. */
static inline bool link_key_make(uint64_t domain, const char *slug, size_t length,
                                 struct link_key *out)
{
    if (length == 0 || length > LINK_SLUG_MAX)
        return false;
    id_key(domain, out->bytes);
    memcpy(out->bytes + 8, slug, length);
    out->length = 8 + length;
    return true;
}
