#pragma once
/* A histogram of durations with fixed buckets, cheap to add to (no division, no allocation) and
 * plain memory, so that it can live in shared memory and be summed.
 *
 * Buckets are powers of two with four steps each, from 1 µs to about 134 s: a value is known to
 * within 25 %. Values are microseconds. */
#include <stdint.h>

#define HISTOGRAM_STEPS   4
#define HISTOGRAM_BUCKETS (27 * HISTOGRAM_STEPS + 1)

struct histogram {
    int64_t counts[HISTOGRAM_BUCKETS];
    int64_t sum_us;
    int64_t count;
};

void histogram_add(struct histogram *histogram, int64_t us);
void histogram_merge(struct histogram *into, const struct histogram *from);

/* The largest value that falls into a bucket, in microseconds; INT64_MAX for the last. */
int64_t histogram_bucket_limit_us(int bucket);

/* The value below which `fraction` (0 … 1) of the values lie; 0 for an empty one. */
int64_t histogram_quantile_us(const struct histogram *histogram, double fraction);
