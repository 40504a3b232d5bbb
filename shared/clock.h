#pragma once
/* Time, in microseconds. Wall time is what is stored; monotonic time is what waits are measured
 * with, since wall time may jump. */
#include <stdint.h>

#define US_PER_MS     1000LL
#define US_PER_SECOND 1000000LL
#define US_PER_HOUR   (3600 * US_PER_SECOND)
#define US_PER_DAY    (24 * US_PER_HOUR)

/* Microseconds since 1970-01-01 UTC. */
int64_t clock_wall_us(void);

/* Microseconds of a clock that never goes back; meaningful only as a difference. */
int64_t clock_mono_us(void);

#define HTTP_DATE_BYTES 29

/* Writes "Sun, 06 Nov 1994 08:49:37 GMT" (29 bytes and a NUL) for a wall time. */
void clock_http_date(int64_t wall_us, char out[HTTP_DATE_BYTES + 1]);
