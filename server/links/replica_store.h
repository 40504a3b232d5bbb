#pragma once
/* One LMDB environment of the link replica that is being written: what replica_write.c is made of.
 * Functions return 0 or an error of LMDB or errno (mdb_strerror() knows both). After a failure the
 * open transaction can only be aborted. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/links/replica_format.h"

struct replica_store {
    char name[REPLICA_NAME_MAX]; /* of its folder; "": not open */
    MDB_env *env;
    MDB_txn *txn; /* the open write transaction, or NULL */
    MDB_dbi databases[REPLICA_DATABASES];
    int64_t puts; /* in the open transaction */
};

/* Opens the environment in `folder`/`name`, making its files if there are none. */
int store_open(struct replica_store *store, const char *folder, const char *name, size_t map_bytes);
void store_close(struct replica_store *store);

int store_begin(struct replica_store *store);
int store_commit(struct replica_store *store);
void store_abort(struct replica_store *store);

int store_get(struct replica_store *store, enum replica_database database, const void *key,
              size_t length, MDB_val *out);
int store_put(struct replica_store *store, enum replica_database database, const void *key,
              size_t key_length, const void *value, size_t length, unsigned flags);

/* Texts of the database `meta`. */
int store_get_text(struct replica_store *store, const char *name, char *out, size_t size);
int store_put_text(struct replica_store *store, const char *name, const char *text);

/* Rows that have an id and a key: links and domains. */
struct replica_table {
    enum replica_database by_key;
    enum replica_database by_id;
    uint64_t (*id_of)(const MDB_val *value); /* 0: malformed */
};

extern const struct replica_table replica_links;
extern const struct replica_table replica_domains;

/* Stores a row under its key, wherever its id was before; adds 1 to `changes` unless exactly this
 * was there. */
int store_put_row(struct replica_store *store, const struct replica_table *table, uint64_t id,
                  const void *key, size_t key_length, const void *value, size_t length,
                  int64_t *changes);
int store_remove_row(struct replica_store *store, const struct replica_table *table, uint64_t id,
                     int64_t *changes);

/* The smallest id above `after`; 0: none. */
int store_next_id(struct replica_store *store, const struct replica_table *table, uint64_t after,
                  uint64_t *id);

/* Removes what a database with ids as keys holds below `id`. */
int store_remove_before(struct replica_store *store, enum replica_database database, uint64_t id,
                        int64_t *changes);
