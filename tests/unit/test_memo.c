/* The memory of user agents: gives back what was kept for exactly that key, and nothing else. */
#include "server/visitor/memo.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int find(struct memo *memo, struct text first, struct text second)
{
    struct text texts[] = {first, second};
    struct memo_key key = memo_key(memo, texts, 2);
    int number = -2;

    return memo_find(memo, &key, &number) ? number : -2;
}

static void keep(struct memo *memo, struct text first, struct text second, int number)
{
    struct text texts[] = {first, second};
    struct memo_key key = memo_key(memo, texts, 2);

    memo_keep(memo, &key, &number);
}

static const struct text none;

static void gives_back_what_was_kept(void **state)
{
    struct memo *memo = memo_new(sizeof(int));

    (void)state;
    assert_non_null(memo);
    assert_int_equal(find(memo, TEXT("Mozilla/5.0"), none), -2);
    assert_int_equal(find(memo, none, none), -2);
    keep(memo, TEXT("Mozilla/5.0"), none, 7);
    keep(memo, TEXT("Mozilla/5.0"), TEXT("Android"), -1);
    keep(memo, none, TEXT("Mozilla/5.0"), 8);
    keep(memo, none, none, 9);
    assert_int_equal(find(memo, TEXT("Mozilla/5.0"), none), 7);
    assert_int_equal(find(memo, TEXT("Mozilla/5.0"), TEXT("Android")), -1);
    assert_int_equal(find(memo, none, TEXT("Mozilla/5.0")), 8);
    assert_int_equal(find(memo, none, none), 9);
    assert_int_equal(find(memo, TEXT("Mozilla/5.1"), none), -2);
    assert_int_equal(find(memo, TEXT("Mozilla/5."), TEXT("0")), -2);
    memo_free(memo);
}

static void forgets_but_never_mistakes(void **state)
{
    struct memo *memo = memo_new(sizeof(int));
    int kept = 0;
    char bytes[64];

    (void)state;
    for (int i = 0; i < 100000; i++) {
        struct text text = {bytes, (size_t)snprintf(bytes, sizeof bytes, "agent %d of many", i)};

        keep(memo, text, none, i);
        assert_int_equal(find(memo, text, none), i);
    }
    for (int i = 0; i < 100000; i++) {
        struct text text = {bytes, (size_t)snprintf(bytes, sizeof bytes, "agent %d of many", i)};
        int number = find(memo, text, none);

        assert_true(number == i || number == -2);
        kept += number == i;
    }
    assert_in_range(kept, MEMO_PLACES * 9 / 10, MEMO_PLACES); /* nearly all places are used */
    memo_free(memo);
}

/* One bit anywhere makes another key, whatever the length. */
static void tells_apart_what_nearly_is_the_same(void **state)
{
    struct memo *memo = memo_new(sizeof(int));
    char bytes[100];

    (void)state;
    memset(bytes, 'a', sizeof bytes);
    keep(memo, (struct text){bytes, sizeof bytes}, none, 1);
    for (size_t i = 0; i < 8 * sizeof bytes; i++) {
        bytes[i / 8] ^= (char)(1 << i % 8);
        assert_int_equal(find(memo, (struct text){bytes, sizeof bytes}, none), -2);
        bytes[i / 8] ^= (char)(1 << i % 8);
    }
    for (size_t i = 0; i < sizeof bytes; i++) {
        struct text first = {bytes, i}, rest = {bytes + i, sizeof bytes - i};

        assert_int_equal(find(memo, first, none), -2);
        assert_int_equal(find(memo, first, rest), -2);
    }
    assert_int_equal(find(memo, (struct text){bytes, sizeof bytes}, none), 1);
    memo_free(memo);
}

static void keeps_no_long_keys(void **state)
{
    struct memo *memo = memo_new(sizeof(int));
    char bytes[MEMO_KEY_MAX];
    struct text fits = {bytes, MEMO_KEY_MAX - 2}, too_long = {bytes, MEMO_KEY_MAX - 1};

    (void)state;
    memset(bytes, 'a', sizeof bytes);
    keep(memo, fits, none, 1);
    keep(memo, too_long, none, 2);
    assert_int_equal(find(memo, fits, none), 1);
    assert_int_equal(find(memo, too_long, none), -2);
    memo_free(memo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_back_what_was_kept),
        cmocka_unit_test(forgets_but_never_mistakes),
        cmocka_unit_test(tells_apart_what_nearly_is_the_same),
        cmocka_unit_test(keeps_no_long_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
