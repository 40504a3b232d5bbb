#pragma once
/* Idempotency-Key: a POST that carries one has its effect once, however often it is sent within 24
 * hours; the repetition is answered as the first was, another call under the same key 422.
 *
 * The key's row (kudos.idempotency_keys) is written by the transaction of the effect, so that a crash
 * leaves both or neither. Calls under one key that arrive together wait for each other on an advisory
 * lock of that transaction. What was refused or failed had no effect and leaves no row: it is tried
 * anew. A transaction of this kind runs idempotency_lock first; its next statement, which sees what
 * was committed before the lock was had, looks for the key, has its effect if there is none, and
 * keeps the key. */
#include "server/admin/request/request.h"

#define IDEMPOTENCY_KEY_MAX 255

/* $1 workspace, $2 key */
extern const struct statement idempotency_lock;

/* $1 workspace, $2 key, $3 fingerprint: no row, or (same: "t" or "f", answer as JSON text) */
extern const struct statement idempotency_find;

/* $1 workspace, $2 key, $3 fingerprint, $4 answer (JSON) */
extern const struct statement idempotency_keep;

/* $1 how many at most: deletes keys whose time is over */
extern const struct statement idempotency_forget;

/* Reads the header of a POST into request->idempotency_key and ->fingerprint (of method, path, query
 * and body). False after answering 400 for a key that cannot be one. */
bool idempotency_read(struct request *request);

/* Answers 422: this key was used for another call. Ends the request. */
void idempotency_misused(struct request *request);
