#pragma once
/* Days of kudos.clicks: made ahead, and dropped when they are too old. */
#include <libpq-fe.h>
#include <stdint.h>

#include "shared/error.h"

#define FLUSH_DAYS_AHEAD   7
#define FLUSH_DAYS_EVERY_S 600

/* Makes the partitions of today … today + FLUSH_DAYS_AHEAD, and of up to as many days for which
 * clicks arrived late; drops days older than `retention_days`. Each day is a transaction of its own
 * that waits at most two seconds for its locks; what could not be had is tried again the next time.
 * Does nothing if another process is at it. False with the reason. */
bool flush_days(PGconn *connection, int64_t retention_days, struct error *error) MUST_CHECK;
