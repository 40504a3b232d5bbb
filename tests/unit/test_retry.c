#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shared/retry.h"

static void waits_double_up_to_the_most(void **state)
{
    static const int64_t whole[] = {100, 200, 400, 800, 1000, 1000};

    (void)state;
    for (unsigned failures = 1; failures <= 6; failures++) {
        for (int i = 0; i < 200; i++) {
            int64_t ms = retry_wait_ms(failures, 100, 1000);
            assert_in_range(ms, whole[failures - 1] / 2, whole[failures - 1]);
        }
    }
    assert_in_range(retry_wait_ms(UINT32_MAX, 100, 1000), 500, 1000);
}

static void waits_differ(void **state)
{
    int64_t first = retry_wait_ms(10, 1000, 1000000), other = first;

    (void)state;
    for (int i = 0; i < 20 && other == first; i++)
        other = retry_wait_ms(10, 1000, 1000000);
    assert_true(other != first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_double_up_to_the_most),
        cmocka_unit_test(waits_differ),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
