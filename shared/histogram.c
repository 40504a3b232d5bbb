/* See histogram.h. */
#include "shared/histogram.h"

#include <assert.h>

/* 0,1,2,3 µs have a bucket each; then four buckets per power of two. */
static int bucket_of(int64_t us)
{
    int log2, bucket;

    if (us < HISTOGRAM_STEPS)
        return us < 0 ? 0 : (int)us;
    log2 = 63 - __builtin_clzll((unsigned long long)us);
    bucket = (log2 - 1) * HISTOGRAM_STEPS + (int)((us >> (log2 - 2)) & (HISTOGRAM_STEPS - 1));
    return bucket < HISTOGRAM_BUCKETS - 1 ? bucket : HISTOGRAM_BUCKETS - 1;
}

void histogram_add(struct histogram *histogram, int64_t us)
{
    histogram->counts[bucket_of(us)]++;
    histogram->sum_us += us;
    histogram->count++;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++)
        into->counts[i] += from->counts[i];
    into->sum_us += from->sum_us;
    into->count += from->count;
}

int64_t histogram_bucket_limit_us(int bucket)
{
    int log2 = bucket / HISTOGRAM_STEPS + 1, step = bucket % HISTOGRAM_STEPS;

    assert(bucket >= 0 && bucket < HISTOGRAM_BUCKETS);
    if (bucket == HISTOGRAM_BUCKETS - 1)
        return INT64_MAX;
    if (bucket < HISTOGRAM_STEPS)
        return bucket;
    return ((int64_t)(HISTOGRAM_STEPS + step + 1) << (log2 - 2)) - 1;
}

int64_t histogram_quantile_us(const struct histogram *histogram, double fraction)
{
    int64_t wanted = (int64_t)(fraction * (double)histogram->count), seen = 0;

    assert(fraction >= 0 && fraction <= 1);
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->counts[i];
        if (seen > wanted || (seen == histogram->count && seen > 0))
            return histogram_bucket_limit_us(i);
    }
    return 0;
}
