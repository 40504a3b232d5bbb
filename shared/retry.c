/* See retry.h. */
#include "shared/retry.h"

#include <assert.h>
#include <sodium.h>

int64_t retry_wait_ms(unsigned failures, int64_t first_ms, int64_t most_ms)
{
    int64_t ms = first_ms;

    assert(failures > 0 && first_ms > 0 && most_ms >= first_ms && most_ms <= UINT32_MAX);
    while (--failures && ms < most_ms)
        ms *= 2;
    ms = ms < most_ms ? ms : most_ms;
    return ms / 2 + (int64_t)randombytes_uniform((uint32_t)(ms - ms / 2) + 1);
}
