#pragma once
/* Times as people and JSON write them (RFC 3339). */
#include <stdbool.h>
#include <stdint.h>

#include "shared/text.h"

/* "2026-06-01T00:00:00Z", with fractions to the microsecond, with an offset ("+02:00") or Z; the
 * years 1970 to 9999. False for anything else, also for the 30th of February. */
bool timestamp_parse(struct text text, int64_t *wall_us);
