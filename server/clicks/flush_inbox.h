#pragma once
/* Conversions: from the inbox, where flush has put them with the clicks, to where they are credited. */
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "shared/error.h"

/* Records reports that wait in kudos.conversion_inbox, a bounded number in a bounded time, in a
 * transaction of its own that waits for nobody: what is locked, or cannot be recorded, is tried
 * again later. `more`: there may be more to do at once. A crash leaves each report recorded and
 * marked so, or neither; other flushers may be at it at the same time. False with the reason. */
bool flush_inbox(PGconn *connection, bool *more, struct error *error) MUST_CHECK;

/* Decides again about conversions whose click has been flushed since, about uses of codes that have a
 * limit, and about what was written at the same time as what it depends on, likewise. */
bool flush_settle(PGconn *connection, struct error *error) MUST_CHECK;
