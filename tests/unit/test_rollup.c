/* The rollup in memory: sums, order, growth, hours before 1970. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/clicks/flush_array.h"
#include "server/clicks/rollup.h"
#include "shared/clock.h"

static void test_hours(void **state)
{
    (void)state;
    assert_int_equal(rollup_hour(0), 0);
    assert_int_equal(rollup_hour(US_PER_HOUR - 1), 0);
    assert_int_equal(rollup_hour(US_PER_HOUR), 1);
    assert_int_equal(rollup_hour(-1), -1);
    assert_int_equal(rollup_hour(-US_PER_HOUR), -1);
    assert_int_equal(rollup_hour(-US_PER_HOUR - 1), -2);
}

static void test_sums_and_order(void **state)
{
    struct rollup rollup = {NULL, 0, 0};
    size_t count;

    (void)state;
    for (int round = 0; round < 2; round++) {
        rollup_clear(&rollup);
        for (uint64_t i = 0; i < 30000; i++)
            rollup_add(&rollup, i % 5000, (int64_t)(i % 2), i % 3 ? VERDICT_HUMAN : VERDICT_BOT);
        count = rollup_sort(&rollup);
        assert_int_equal(count, 10000);
        for (size_t i = 0; i < count; i++) {
            const struct rollup_row *row = &rollup.rows[i];
            assert_int_equal(row->link, i / 2);
            assert_int_equal(row->hour, i / 2 % 2);
            assert_int_equal(row->verdict, i % 2 ? VERDICT_BOT : VERDICT_HUMAN);
            assert_int_equal(row->clicks, i % 2 ? 2 : 4);
        }
    }
    rollup_clear(&rollup);
    assert_int_equal(rollup_sort(&rollup), 0);
    rollup_free(&rollup);
}

/* Ids are numbers without a sign here and with one in PostgreSQL: its order counts. */
static void test_large_ids(void **state)
{
    struct rollup rollup = {NULL, 0, 0};

    (void)state;
    rollup_add(&rollup, 1, 0, VERDICT_HUMAN);
    rollup_add(&rollup, UINT64_MAX, 0, VERDICT_HUMAN);
    assert_int_equal(rollup_sort(&rollup), 2);
    assert_int_equal(rollup.rows[0].link, -1);
    assert_int_equal(rollup.rows[1].link, 1);
    rollup_free(&rollup);
}

static void test_arrays(void **state)
{
    struct flush_array array = {NULL, 0, 0};

    (void)state;
    assert_string_equal(flush_array_text(&array), "{}");
    flush_array_free(&array);
    flush_array_add(&array, INT64_MIN);
    flush_array_add(&array, 0);
    flush_array_add_name(&array, "human");
    flush_array_add(&array, INT64_MAX);
    assert_string_equal(flush_array_text(&array),
                        "{-9223372036854775808,0,human,9223372036854775807}");
    flush_array_free(&array);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hours),
        cmocka_unit_test(test_sums_and_order),
        cmocka_unit_test(test_large_ids),
        cmocka_unit_test(test_arrays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
