#pragma once
/* How long answers took, known to 1.6 %: shared/histogram.h with finer steps, since percentiles are
 * compared here and only drawn there. Plain memory, fit for sharing between processes. */
#include <stdint.h>

#define LATENCY_STEP_BITS 6
#define LATENCY_BUCKETS   ((28 - LATENCY_STEP_BITS) * (1 << LATENCY_STEP_BITS) + 1)

struct latency {
    int64_t counts[LATENCY_BUCKETS];
    int64_t sum_us, count, most_us;
};

void latency_add(struct latency *latency, int64_t us);
void latency_merge(struct latency *into, const struct latency *from);

/* What was added to `now` since the copy `before` was taken (`most_us` is that of all). */
void latency_since(const struct latency *now, const struct latency *before, struct latency *out);

/* The longest time that falls into a bucket; that of the last is what was measured. */
int64_t latency_bucket_us(const struct latency *latency, int bucket);

/* The time within which `fraction` (0 … 1) of the answers came; 0 for none. */
int64_t latency_quantile_us(const struct latency *latency, double fraction);
