/* Every value falls into the bucket whose limits hold it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shared/histogram.h"

static int bucket_of(int64_t us)
{
    struct histogram histogram = {.count = 0};

    histogram_add(&histogram, us);
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++)
        if (histogram.counts[i])
            return i;
    return -1;
}

static void test_limits(void **state)
{
    (void)state;
    for (int64_t us = 0; us < 200000; us += us < 5000 ? 1 : 97) {
        int bucket = bucket_of(us);

        assert_true(us <= histogram_bucket_limit_us(bucket));
        assert_true(bucket == 0 || us > histogram_bucket_limit_us(bucket - 1));
    }
    assert_int_equal(bucket_of(INT64_MAX), HISTOGRAM_BUCKETS - 1);
    assert_int_equal(bucket_of(-1), 0);
}

static void test_quantiles(void **state)
{
    struct histogram histogram = {.count = 0}, other = {.count = 0};

    (void)state;
    assert_int_equal(histogram_quantile_us(&histogram, 0.5), 0);
    for (int i = 1; i <= 1000; i++)
        histogram_add(i % 2 ? &histogram : &other, i);
    histogram_merge(&histogram, &other);
    assert_int_equal(histogram.count, 1000);
    assert_int_equal(histogram.sum_us, 500500);
    assert_in_range(histogram_quantile_us(&histogram, 0.5), 500, 640);
    assert_in_range(histogram_quantile_us(&histogram, 0.99), 990, 1100);
    assert_in_range(histogram_quantile_us(&histogram, 1), 1000, 1100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_quantiles),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
