#pragma once
/* Accepting connections from the inherited socket, in batches. */
#include <stdbool.h>

#include "server/redirect/worker.h"

#define ACCEPT_BATCH_MAX    64 /* per round */
#define ACCEPT_PAUSE_US     (100 * US_PER_MS)
#define DESCRIPTORS_RESERVE 64 /* for the journal, the replica, GeoIP files, the log */

/* Starts accepting on `fd`, which stays the caller's. NULL: out of memory. */
struct listener *listener_open(struct worker *worker, int fd);

/* Accepts no more; what is queued stays so, for the successor. */
void listener_stop(struct listener *listener);
void listener_close(struct listener *listener);

/* At every tick: goes on after a pause. */
void listener_maintain(struct listener *listener);

/* How many connections this process can have: `wanted`, or less if the limit on descriptors (raised
 * as far as it may be) does not allow it. */
unsigned listener_connections_max(int64_t wanted);
