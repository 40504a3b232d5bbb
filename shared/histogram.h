#pragma once
/* A histogram of durations with fixed buckets, cheap to add to (no division, no allocation) and
 * plain memory, so that it can live in shared memory and be summed.
 *
 * Buckets are powers of two with four steps each, from 1 µs to about 134 s: a value is known to
 * within 25 %. Values are microseconds. */
#include <stdint.h>

#define HISTOGRAM_STEP_BITS 2
#define HISTOGRAM_STEPS     (1 << HISTOGRAM_STEP_BITS)
#define HISTOGRAM_BUCKETS   (27 * HISTOGRAM_STEPS + 1)

struct histogram {
    int64_t counts[HISTOGRAM_BUCKETS];
    int64_t sum_us;
    int64_t count;
};

void histogram_add(struct histogram *histogram, int64_t us);
void histogram_merge(struct histogram *into, const struct histogram *from);

/* The arithmetic of buckets for any fineness: powers of two with 1 << step_bits steps each, and below
 * that a bucket per microsecond. No last bucket: the caller has one. */
static inline int histogram_bucket_of(int64_t us, int step_bits)
{
    int log2;

    if (us < 1LL << step_bits)
        return us < 0 ? 0 : (int)us;
    log2 = 63 - __builtin_clzll((unsigned long long)us);
    return ((log2 - step_bits + 1) << step_bits) +
           (int)((us >> (log2 - step_bits)) & ((1LL << step_bits) - 1));
}

/* The largest value of such a bucket. */
static inline int64_t histogram_limit_of(int bucket, int step_bits)
{
    int steps = 1 << step_bits, shift = bucket / steps - 1;

    return shift < 0 ? bucket : ((int64_t)(steps + bucket % steps + 1) << shift) - 1;
}

/* The largest value that falls into a bucket, in microseconds; INT64_MAX for the last. */
int64_t histogram_bucket_limit_us(int bucket);

/* The value below which `fraction` (0 … 1) of the values lie; 0 for an empty one. */
int64_t histogram_quantile_us(const struct histogram *histogram, double fraction);
