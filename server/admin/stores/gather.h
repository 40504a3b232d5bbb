#pragma once
/* Creates that arrive together are inserted together: one statement for up to GATHER_MAX of them, in
 * one transaction, which costs PostgreSQL a fraction of as many statements and commits. Nobody waits
 * for company: what came in one round of the loop is sent at its end, unless GATHER_FLIGHTS statements
 * are under way, and those that come meanwhile go together in the next one.
 *
 * Only creates of one key and resource go together. Each gets its own answer, as if it had been alone:
 * where a statement is refused for the sake of one (a rule of the table, a lock that is not had within
 * GATHER_LOCK_MS), nothing of it was done, and all of them are sent again one by one. */
#include "server/admin/fields/fields.h"
#include "server/admin/request/request.h"

#define GATHER_MAX     32
#define GATHER_FLIGHTS 2
#define GATHER_LOCK_MS "100"
#define GATHER_BYTES   8192 /* of values; a longer create goes alone */

struct gather;

struct gather *gather_new(struct admin *admin);
void gather_free(struct gather *gather);

/* True if creates of this resource may be gathered at all. */
bool gather_takes(const struct resource *resource);

/* Inserts what `request` asks for: `parameters` are those of insert[INSERT_PLAIN], behind workspace
 * and key. The callback gets what request_query() would have given it, with rows of the same shape. */
void gather_insert(struct request *request, const struct resource *resource,
                   const char *const *parameters, int count, pool_callback *callback);

/* Sends what has come together; to be called at the end of each round of the loop. */
void gather_round(struct gather *gather);
