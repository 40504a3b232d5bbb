#pragma once
/* How many requests a key may make: so many per minute as the key itself says, else as the setting
 * key_requests_per_minute; 0, which is usual, sets no limit.
 *
 * A key that has been quiet may make a whole minute's requests at once; then they are let through at
 * their even pace. Each admin process counts for itself. Nothing is kept over a restart. */
#include "server/admin/request/request.h"

#define LIMIT_KEYS 4096 /* counted at a time; two keys that share a slot count together */

/* True if the request may go on. Else answers 429 with Retry-After, in seconds, and ends it. */
bool limit_allows(struct request *request);
