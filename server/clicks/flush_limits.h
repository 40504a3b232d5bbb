#pragma once
/* max_clicks: marks the links that a batch has used up. */
#include <libpq-fe.h>

#include "server/clicks/rollup.h"
#include "shared/error.h"

/* Looks at the links that a committed batch counted human clicks for (`rollup` as rollup_store() left
 * it) and sets used_up where the stored total has reached max_clicks; sync does the rest. A
 * transaction of its own, so that it can neither hold up nor undo clicks; costs one small query
 * while no link has a limit. If it is not reached, for whatever reason, the link's next human click
 * marks it. False with the reason. */
bool flush_limits(PGconn *connection, const struct rollup *rollup, struct error *error) MUST_CHECK;
