#pragma once
/* "Is it redirecting yet?": announces committed link changes to `sync` and tells when this
 * machine's replica has them.
 *
 * live_wait() notes that a transaction has committed a change of a link. At the end of the loop's
 * round one NOTIFY goes out for all of them, on a connection of its own. From then on the replica
 * is asked every LIVE_POLL_MS, for as long as something waits. */
#include <stdbool.h>
#include <stdint.h>

#include "server/admin/server.h"

#define LIVE_POLL_MS 1
#define LIVE_MAX     4096 /* changes waiting; a further one is answered as not live, at once */

typedef void live_callback(bool live, void *argument);

struct live *live_new(struct admin *admin);
void live_free(struct live *live);

/* Calls back once the replica holds link `id` as of transaction `changed` or later, or
 * live_timeout_ms has passed. `gone`: it may also be missing there. Never calls back before it
 * returns. */
void live_wait(struct live *live, uint64_t id, uint64_t changed, bool gone, live_callback *callback,
               void *argument);

/* Notes that a transaction has committed something else that `sync` copies. */
void live_announce(struct live *live);

/* To be called at the end of each round of the loop. */
void live_round(struct live *live);
