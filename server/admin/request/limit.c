/* See limit.h. For each key there is one number: the time at which all that it has asked for would
 * have been served at the even pace (the generic cell rate algorithm). */
#include "server/admin/request/limit.h"

#include <inttypes.h>
#include <stdio.h>

#include "server/admin/server.h"
#include "server/metrics.h"
#include "shared/clock.h"

#define MINUTE_US (60 * US_PER_SECOND)

static int64_t served_us[LIMIT_KEYS]; /* by key; monotonic */

static void refuse(struct request *request, int64_t per_minute, int64_t wait_us)
{
    char seconds[24];

    metrics->admin_limited_total++;
    snprintf(seconds, sizeof seconds, "%" PRId64,
             (int64_t)((wait_us + US_PER_SECOND - 1) / US_PER_SECOND));
    request_header(request, "Retry-After", seconds);
    request_problem(request, 429, "too-many-requests",
                    "this key may make %" PRId64 " requests in a minute, and has made them",
                    per_minute);
}

bool limit_allows(struct request *request)
{
    int64_t *slot = &served_us[(uint64_t)request->key.id % LIMIT_KEYS], now_us, next_us;
    int64_t per_minute = request->key.per_minute;

    if (per_minute == 0)
        per_minute = request->admin->settings->key_requests_per_minute;
    if (per_minute == 0)
        return true;
    now_us = clock_mono_us();
    next_us = (*slot > now_us ? *slot : now_us) + MINUTE_US / per_minute;
    if (next_us - now_us > MINUTE_US) {
        refuse(request, per_minute, next_us - now_us - MINUTE_US);
        return false;
    }
    *slot = next_us;
    return true;
}
