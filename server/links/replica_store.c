/* One environment of the link replica; see replica_store.h. */
#include "server/links/replica_store.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

/* A store: open, close, get, put --------------------------------------------------------------- */

void store_close(struct replica_store *store)
{
    if (store->txn)
        mdb_txn_abort(store->txn);
    if (store->env)
        mdb_env_close(store->env);
    *store = (struct replica_store){0};
}

int store_begin(struct replica_store *store)
{
    assert(!store->txn);
    store->puts = 0;
    return mdb_txn_begin(store->env, NULL, 0, &store->txn);
}

int store_commit(struct replica_store *store)
{
    MDB_txn *txn = store->txn;

    assert(txn);
    store->txn = NULL; /* mdb_txn_commit() frees it whatever happens */
    return mdb_txn_commit(txn);
}

void store_abort(struct replica_store *store)
{
    if (store->txn)
        mdb_txn_abort(store->txn);
    store->txn = NULL;
}

static int open_databases(struct replica_store *store)
{
    int rc = store_begin(store);

    for (int i = 0; i < REPLICA_DATABASES && rc == 0; i++)
        rc = mdb_dbi_open(store->txn, replica_database_names[i], MDB_CREATE, &store->databases[i]);
    return rc != 0 ? rc : store_commit(store);
}

int store_open(struct replica_store *store, const char *folder, const char *name, size_t map_bytes)
{
    char path[REPLICA_PATH_MAX];
    int rc, dead;

    if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, name) >= sizeof path)
        return ENAMETOOLONG;
    snprintf(store->name, sizeof store->name, "%s", name);
    if ((rc = mdb_env_create(&store->env)) != 0 ||
        (rc = mdb_env_set_mapsize(store->env, map_bytes)) != 0 ||
        (rc = mdb_env_set_maxreaders(store->env, REPLICA_READERS_MAX)) != 0 ||
        (rc = mdb_env_set_maxdbs(store->env, REPLICA_DATABASES)) != 0 ||
        (rc = mdb_env_open(store->env, path, MDB_NOTLS, 0600)) != 0 ||
        (rc = mdb_reader_check(store->env, &dead)) != 0 || (rc = open_databases(store)) != 0)
        store_close(store);
    return rc;
}

int store_get(struct replica_store *store, enum replica_database database, const void *key,
              size_t length, MDB_val *out)
{
    MDB_val wanted = {length, (void *)(uintptr_t)key};

    return mdb_get(store->txn, store->databases[database], &wanted, out);
}

int store_put(struct replica_store *store, enum replica_database database, const void *key,
              size_t key_length, const void *value, size_t length, unsigned flags)
{
    MDB_val put_key = {key_length, (void *)(uintptr_t)key};
    MDB_val put_value = {length, (void *)(uintptr_t)value};

    assert(key_length > 0);
    store->puts++;
    return mdb_put(store->txn, store->databases[database], &put_key, &put_value, flags);
}

static int store_delete(struct replica_store *store, enum replica_database database,
                        const void *key, size_t length)
{
    MDB_val wanted = {length, (void *)(uintptr_t)key};

    return mdb_del(store->txn, store->databases[database], &wanted, NULL);
}

int store_get_text(struct replica_store *store, const char *name, char *out, size_t size)
{
    MDB_val value;
    int rc = store_get(store, REPLICA_META, name, strlen(name), &value);

    if (rc == 0 && value.mv_size >= size)
        rc = MDB_INVALID;
    if (rc != 0)
        return rc;
    memcpy(out, value.mv_data, value.mv_size);
    out[value.mv_size] = '\0';
    return 0;
}

int store_put_text(struct replica_store *store, const char *name, const char *text)
{
    return store_put(store, REPLICA_META, name, strlen(name), text, strlen(text), 0);
}

/* Rows that have an id and a key: links and domains --------------------------------------------- */

static uint64_t id_of_link(const MDB_val *value)
{
    struct link link;

    return link_decode(value->mv_data, value->mv_size, &link) ? link.id : 0;
}

static uint64_t id_of_domain(const MDB_val *value)
{
    struct domain domain;

    return domain_decode(value->mv_data, value->mv_size, &domain) ? domain.id : 0;
}

const struct replica_table replica_links = {REPLICA_LINKS, REPLICA_LINKS_BY_ID, id_of_link};
const struct replica_table replica_domains = {REPLICA_DOMAINS, REPLICA_DOMAINS_BY_ID, id_of_domain};

static bool same(const MDB_val *value, const void *bytes, size_t length)
{
    return value->mv_size == length && memcmp(value->mv_data, bytes, length) == 0;
}

/* Removes the row under `key` unless it has become another id's. */
static int drop_key(struct replica_store *store, const struct replica_table *table, uint64_t id,
                    const unsigned char *key, size_t length)
{
    MDB_val value;
    int rc = store_get(store, table->by_key, key, length, &value);

    if (rc == MDB_NOTFOUND || (rc == 0 && table->id_of(&value) != id))
        return 0;
    return rc != 0 ? rc : store_delete(store, table->by_key, key, length);
}

/* The key under which an id is stored, copied, since a write would move it; length 0: none. */
static int key_of_id(struct replica_store *store, const struct replica_table *table,
                     const unsigned char id[8], unsigned char *out, size_t size, size_t *length)
{
    MDB_val key;
    int rc = store_get(store, table->by_id, id, 8, &key);

    *length = 0;
    if (rc == MDB_NOTFOUND)
        return 0;
    if (rc == 0 && key.mv_size > size)
        rc = MDB_CORRUPTED;
    if (rc != 0)
        return rc;
    memcpy(out, key.mv_data, key.mv_size);
    *length = key.mv_size;
    return 0;
}

int store_put_row(struct replica_store *store, const struct replica_table *table, uint64_t id,
                  const void *key, size_t key_length, const void *value, size_t length,
                  int64_t *changes)
{
    unsigned char old[LINK_HOST_MAX + 1], id_bytes[8];
    size_t old_length;
    MDB_val there;
    int rc;

    id_key(id, id_bytes);
    rc = key_of_id(store, table, id_bytes, old, sizeof old, &old_length);
    if (rc == 0 && old_length == key_length && memcmp(old, key, key_length) == 0) {
        rc = store_get(store, table->by_key, key, key_length, &there);
        if (rc == 0 && same(&there, value, length))
            return 0;
        rc = rc == MDB_NOTFOUND ? 0 : rc;
    } else if (rc == 0) {
        if (old_length > 0)
            rc = drop_key(store, table, id, old, old_length);
        if (rc == 0)
            rc = store_put(store, table->by_id, id_bytes, sizeof id_bytes, key, key_length, 0);
    }
    if (rc == 0)
        rc = store_put(store, table->by_key, key, key_length, value, length, 0);
    *changes += rc == 0;
    return rc;
}

int store_remove_row(struct replica_store *store, const struct replica_table *table, uint64_t id,
                     int64_t *changes)
{
    unsigned char old[LINK_HOST_MAX + 1], id_bytes[8];
    size_t length;
    int rc;

    id_key(id, id_bytes);
    rc = key_of_id(store, table, id_bytes, old, sizeof old, &length);
    if (rc != 0 || length == 0)
        return rc;
    rc = drop_key(store, table, id, old, length);
    if (rc == 0)
        rc = store_delete(store, table->by_id, id_bytes, sizeof id_bytes);
    *changes += rc == 0;
    return rc;
}

int store_next_id(struct replica_store *store, const struct replica_table *table, uint64_t after,
                  uint64_t *id)
{
    unsigned char from[8];
    MDB_val key = {sizeof from, from}, value;
    MDB_cursor *cursor;
    int rc;

    *id = 0;
    if (after == UINT64_MAX)
        return 0;
    id_key(after + 1, from);
    rc = mdb_cursor_open(store->txn, store->databases[table->by_id], &cursor);
    if (rc != 0)
        return rc;
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    if (rc == 0)
        *id = id_of_key(key.mv_data);
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int store_remove_before(struct replica_store *store, enum replica_database database, uint64_t id,
                        int64_t *changes)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int rc = mdb_cursor_open(store->txn, store->databases[database], &cursor);

    if (rc != 0)
        return rc;
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST)) == 0 &&
           (key.mv_size != 8 || id_of_key(key.mv_data) < id)) {
        rc = mdb_cursor_del(cursor, 0);
        if (rc != 0)
            break;
        ++*changes;
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}
