/* When requests are due: as many as the profile says, at the times it says, the same for a seed,
 * and the same traffic from several processes as from one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "loadtest/schedule.h"

static struct schedule parsed(const char *profile)
{
    struct schedule schedule;
    struct error error = {""};

    if (!schedule_parse(&schedule, profile, &error))
        fail_msg("%s: %s", profile, error.text);
    return schedule;
}

static int count_until(struct schedule schedule, int64_t end_us)
{
    int64_t before = 0, due;
    int count = 0;

    while ((due = schedule_next(&schedule)) >= 0 && due <= end_us) {
        assert_true(due >= before);
        before = due;
        count++;
    }
    return count;
}

static void test_constant(void **state)
{
    struct schedule schedule = parsed("1000@2");

    (void)state;
    schedule_begin(&schedule, false, 1, 0, 1);
    assert_int_equal(schedule_length_us(&schedule), 2000000);
    for (int n = 1; n <= 2000; n++)
        assert_in_range(schedule_next(&schedule), n * 1000 - 1, n * 1000);
    assert_int_equal(schedule_next(&schedule), -1);
    assert_int_equal(schedule_next(&schedule), -1);
}

static void test_processes_take_turns(void **state)
{
    struct schedule each[3];

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        each[i] = parsed("300@1");
        schedule_begin(&each[i], false, 1, i, 3);
    }
    for (int n = 0; n < 300; n++)
        assert_in_range(schedule_next(&each[n % 3]), (n + 1) * 10000 / 3 - 1, (n + 1) * 10000 / 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(schedule_next(&each[i]), -1);
}

static void test_ramp_and_steps(void **state)
{
    struct schedule schedule = parsed("100-300@2,0@1,50@2");

    (void)state;
    assert_int_equal(schedule_length_us(&schedule), 5000000);
    assert_true(fabs(schedule_total(&schedule) - 500) < 1e-6);
    assert_true(fabs(schedule_rate_at(&schedule, 1000000) - 200) < 1e-6);
    assert_true(fabs(schedule_rate_at(&schedule, 2500000)) < 1e-6);
    schedule_begin(&schedule, false, 1, 0, 1);
    assert_in_range(count_until(schedule, 1000000), 149, 150); /* 100 to 200 in the first second */
    assert_in_range(count_until(schedule, 2000000), 399, 400);
    assert_in_range(count_until(schedule, 3000000), 400, 400);
    assert_in_range(count_until(schedule, 4000000), 449, 451);
    assert_int_equal(count_until(schedule, 6000000), 500);
}

static void test_down_to_nothing(void **state)
{
    struct schedule schedule = parsed("100-0@2");

    (void)state;
    schedule_begin(&schedule, false, 1, 0, 1);
    assert_in_range(count_until(schedule, 1000000), 74, 75);
    assert_int_equal(count_until(schedule, 2000000), 100);
}

static void test_poisson_rate(void **state)
{
    struct schedule schedule = parsed("10000@10");
    double squares = 0;
    int seconds[1000] = {0};
    int64_t due;

    (void)state;
    schedule_begin(&schedule, true, 7, 0, 1);
    while ((due = schedule_next(&schedule)) >= 0)
        seconds[due / 10000]++; /* hundredths of a second: 100 each on average */
    for (int i = 0; i < 1000; i++)
        squares += (seconds[i] - 100.0) * (seconds[i] - 100.0);
    /* the variance of a Poisson number is its mean; evenly spaced ones would have none */
    assert_true(squares / 1000 > 80 && squares / 1000 < 120);
}

static void test_poisson_repeats_by_seed(void **state)
{
    struct schedule one = parsed("1000@1"), same = one, other = one, second = one;
    int differ = 0, differ_by_process = 0;

    (void)state;
    schedule_begin(&one, true, 42, 0, 2);
    schedule_begin(&same, true, 42, 0, 2);
    schedule_begin(&other, true, 43, 0, 2);
    schedule_begin(&second, true, 42, 1, 2);
    for (int i = 0; i < 300; i++) {
        int64_t due = schedule_next(&one);
        assert_int_equal(due, schedule_next(&same));
        differ += due != schedule_next(&other);
        differ_by_process += due != schedule_next(&second);
    }
    assert_true(differ > 290 && differ_by_process > 290);
}

static void test_poisson_shares(void **state)
{
    int total = 0;

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct schedule schedule = parsed("10000@4");
        int count;
        schedule_begin(&schedule, true, 1, i, 4);
        count = count_until(schedule, 5000000);
        assert_in_range(count, 9500, 10500);
        total += count;
    }
    assert_in_range(total, 39000, 41000);
}

static void test_bad_profiles(void **state)
{
    static const char *const bad[] = {
        "",      "1000",  "1000@",    "@10",       "1000@0",   "1000@10,",    ",1000@10",
        "-5@10", "x@10",  "1000@10x", "2000000@1", "10@90000", "1e9@1",       "1000-@1",
        "nan@1", "inf@1", "1000@nan", "0@10",      "0.01@10",  "1@86400,1@1",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct schedule schedule;
        struct error error = {""};
        if (schedule_parse(&schedule, bad[i], &error))
            fail_msg("\"%s\" was taken", bad[i]);
        assert_true(strlen(error.text) > 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_constant),       cmocka_unit_test(test_processes_take_turns),
        cmocka_unit_test(test_ramp_and_steps), cmocka_unit_test(test_down_to_nothing),
        cmocka_unit_test(test_poisson_rate),   cmocka_unit_test(test_poisson_repeats_by_seed),
        cmocka_unit_test(test_poisson_shares), cmocka_unit_test(test_bad_profiles),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
