#pragma once
/* Remembers where in the replica's map the links that are asked for again and again are, so that a
 * look-up costs two cache lines instead of a walk through the tree. Of use as long as the replica
 * does not change: each entry says to which transaction number it belongs, and is worth nothing in
 * any other. A transaction number names one state of the file, so what is found is what the tree
 * would say. */
#include <lmdb.h>
#include <stdbool.h>

#include "server/links/replica_format.h"

#define REPLICA_MEMO_PLACES 32768 /* 64 bytes each, touched as they fill */

struct replica_memo;

/* NULL: out of memory. */
struct replica_memo *replica_memo_new(void);
void replica_memo_free(struct replica_memo *memo);

/* Forgets everything: needed when the map has moved. */
void replica_memo_clear(struct replica_memo *memo);

/* The value of a key in the state that `txn` numbers. */
bool replica_memo_find(const struct replica_memo *memo, size_t txn, const struct link_key *key,
                       MDB_val *value);
void replica_memo_keep(struct replica_memo *memo, size_t txn, const struct link_key *key,
                       const MDB_val *value);
