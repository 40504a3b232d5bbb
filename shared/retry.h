#pragma once
/* Waiting before another attempt at something that failed. */
#include <stdint.h>

/* Milliseconds to wait after the `failures`-th failure in a row (from 1): `first_ms`, doubled with
 * each, at most `most_ms`. The upper half is random, so that many processes and machines do not come
 * back to a restarted server in step. Needs no state but the count, which success sets to 0. */
int64_t retry_wait_ms(unsigned failures, int64_t first_ms, int64_t most_ms);
