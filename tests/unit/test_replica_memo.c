/* The memory of link look-ups: right in the state that it was kept in, and empty in every other. */
#include "server/links/replica_memo.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct link_key key_of(uint64_t domain, const char *slug)
{
    struct link_key key;

    assert_true(link_key_make(domain, slug, strlen(slug), &key));
    return key;
}

static void keep(struct replica_memo *memo, size_t txn, const char *slug, const void *at)
{
    struct link_key key = key_of(1, slug);
    MDB_val value = {7, (void *)(uintptr_t)at};

    replica_memo_keep(memo, txn, &key, &value);
}

static const void *find(struct replica_memo *memo, size_t txn, uint64_t domain, const char *slug)
{
    struct link_key key = key_of(domain, slug);
    MDB_val value = {0, NULL};

    if (!replica_memo_find(memo, txn, &key, &value))
        return NULL;
    assert_int_equal(value.mv_size, 7);
    return value.mv_data;
}

static void holds_in_one_state_only(void **state)
{
    struct replica_memo *memo = replica_memo_new();

    (void)state;
    assert_non_null(memo);
    assert_null(find(memo, 5, 1, "abc"));
    keep(memo, 5, "abc", "value");
    assert_string_equal(find(memo, 5, 1, "abc"), "value");
    assert_null(find(memo, 5, 1, "abd"));
    assert_null(find(memo, 5, 1, "abcd"));
    assert_null(find(memo, 5, 2, "abc"));
    assert_null(find(memo, 4, 1, "abc"));
    assert_null(find(memo, 6, 1, "abc"));
    keep(memo, 6, "abc", "later");
    assert_string_equal(find(memo, 6, 1, "abc"), "later");
    replica_memo_clear(memo);
    assert_null(find(memo, 6, 1, "abc"));
    replica_memo_free(memo);
}

static void never_mistakes_one_for_another(void **state)
{
    struct replica_memo *memo = replica_memo_new();
    static char values[200000];
    int kept = 0;
    char slug[64];

    (void)state;
    for (int i = 0; i < 200000; i++) {
        snprintf(slug, sizeof slug, "slug%d", i);
        keep(memo, 9, slug, values + i);
        assert_ptr_equal(find(memo, 9, 1, slug), values + i);
    }
    for (int i = 0; i < 200000; i++) {
        const char *at;

        snprintf(slug, sizeof slug, "slug%d", i);
        at = find(memo, 9, 1, slug);
        assert_true(at == NULL || at == values + i);
        kept += at != NULL;
    }
    assert_in_range(kept, REPLICA_MEMO_PLACES * 9 / 10, REPLICA_MEMO_PLACES);
    memset(slug, 's', LINK_SLUG_MAX);
    slug[LINK_SLUG_MAX - 1] = '\0';
    keep(memo, 9, slug, values); /* too long to be kept */
    assert_null(find(memo, 9, 1, slug));
    replica_memo_free(memo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(holds_in_one_state_only),
        cmocka_unit_test(never_mistakes_one_for_another),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
