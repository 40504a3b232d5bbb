#pragma once
/* A transaction of several round trips, on a connection of its own, in the event loop. For calls
 * that change thousands of rows; whatever fits into one statement goes through pool.h.
 *
 * Guarantees: nothing blocks the loop (as pool.h has it). Every call is answered exactly once, later,
 * never before it returns. Until transaction_commit() was called nothing is changed, whatever dies:
 * a broken connection is then POOL_AWAY. Only an answer to COMMIT that is lost is POOL_LOST. At most
 * TRANSACTIONS_MAX run; a further one is POOL_FULL.
 *
 * One call at a time; after an answer other than POOL_DONE only transaction_end() may follow. */
#include "server/admin/stores/pool.h"

#define TRANSACTIONS_MAX         4
#define TRANSACTION_STATEMENT_MS 30000 /* a statement that takes longer is ended */
#define TRANSACTION_IDLE_MS      60000 /* PostgreSQL ends a transaction in which nothing happens */
#define TRANSACTION_PREPARED_MAX 16

struct transaction;

/* Connects and begins. NULL only when memory is out. */
struct transaction *transaction_begin(struct event_base *base, const char *url,
                                      pool_callback *callback, void *argument);

/* Runs a statement (prepared at its first use) with text parameters, which are sent at once. */
void transaction_query(struct transaction *transaction, const struct statement *statement,
                       int count, const char *const *parameters, pool_callback *callback,
                       void *argument);

/* Commits. POOL_DONE: committed. */
void transaction_commit(struct transaction *transaction, pool_callback *callback, void *argument);

/* Closes the connection, which rolls back what was not committed, and frees. An answer that is
 * awaited will not come. May be called from a callback; NULL is let pass. */
void transaction_end(struct transaction *transaction);
