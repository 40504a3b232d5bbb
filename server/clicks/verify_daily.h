#pragma once
/* Daily figures (kudos.uniques_daily, kudos.clicks_daily) against the single clicks that they were made
 * of: totals and different people of each grain exactly; of the classes of a link, that they add up.
 *
 * Looked at is each day that is built, that is not to be built again, and of which all rows are kept. In
 * one snapshot such a day is exact: what has come since it was built has left its note in the same
 * transaction. It costs about what building these days did. */
#include <jansson.h>
#include <libpq-fe.h>

#include "shared/error.h"

/* Within the caller's REPEATABLE READ transaction. Sets "days", how many it has looked at, in `result`. */
bool verify_daily(PGconn *connection, json_t *result, json_t *problems,
                  struct error *error) MUST_CHECK;
