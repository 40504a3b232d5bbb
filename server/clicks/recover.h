#pragma once
/* Recovery: makes a partition in Redis what PostgreSQL says it is. See server/clicks/README.md. */
#include <libpq-fe.h>
#include <stdbool.h>

#include "server/stores/redis.h"
#include "shared/error.h"

/* Reads the totals and watermarks of the partition in one statement of the open transaction, which
 * holds the partition's lock, prepares them in Redis under private names, and has recover.lua put
 * them in place in one step. After a failure the partition is either recovered or as it was; coming
 * again is always right. */
bool recover_partition(PGconn *connection, struct redis *redis, unsigned partition,
                       struct error *error) MUST_CHECK;
