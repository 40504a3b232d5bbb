/* See histogram.h. */
#include "shared/histogram.h"

#include <assert.h>

static int bucket_of(int64_t us)
{
    int bucket = histogram_bucket_of(us, HISTOGRAM_STEP_BITS);

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
    assert(bucket >= 0 && bucket < HISTOGRAM_BUCKETS);
    return bucket == HISTOGRAM_BUCKETS - 1 ? INT64_MAX
                                           : histogram_limit_of(bucket, HISTOGRAM_STEP_BITS);
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
