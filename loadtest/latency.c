/* See latency.h. */
#include "loadtest/latency.h"

#include <assert.h>

#include "shared/histogram.h"

void latency_add(struct latency *latency, int64_t us)
{
    int bucket = histogram_bucket_of(us, LATENCY_STEP_BITS);

    latency->counts[bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1]++;
    latency->sum_us += us;
    latency->count++;
    if (us > latency->most_us)
        latency->most_us = us;
}

void latency_merge(struct latency *into, const struct latency *from)
{
    for (int i = 0; i < LATENCY_BUCKETS; i++)
        into->counts[i] += from->counts[i];
    into->sum_us += from->sum_us;
    into->count += from->count;
    if (from->most_us > into->most_us)
        into->most_us = from->most_us;
}

void latency_since(const struct latency *now, const struct latency *before, struct latency *out)
{
    *out = *now;
    for (int i = 0; i < LATENCY_BUCKETS; i++)
        out->counts[i] -= before->counts[i];
    out->sum_us -= before->sum_us;
    out->count -= before->count;
}

int64_t latency_bucket_us(const struct latency *latency, int bucket)
{
    int64_t limit;

    assert(bucket >= 0 && bucket < LATENCY_BUCKETS);
    limit = histogram_limit_of(bucket, LATENCY_STEP_BITS);
    return bucket == LATENCY_BUCKETS - 1 || limit > latency->most_us ? latency->most_us : limit;
}

int64_t latency_quantile_us(const struct latency *latency, double fraction)
{
    int64_t wanted = (int64_t)(fraction * (double)latency->count), seen = 0;

    assert(fraction >= 0 && fraction <= 1);
    for (int i = 0; i < LATENCY_BUCKETS; i++) {
        seen += latency->counts[i];
        if (seen > wanted || (seen == latency->count && seen > 0))
            return latency_bucket_us(latency, i);
    }
    return 0;
}
