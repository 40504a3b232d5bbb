/* What links belong to, in memory: found as it was put in, nulls are nulls, and there is an end. */
#include "server/links/relations.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void finds_what_was_added(void **state)
{
    struct relations *relations = relations_new();
    struct relation one = {.of = {TEXT("{}"), {NULL, 0}, TEXT("")}}, found;

    (void)state;
    assert_false(relations_find(relations, RELATION_CAMPAIGN, 7, &found));
    assert_true(relations_add(relations, RELATION_CAMPAIGN, 7, &one));
    assert_false(relations_find(relations, RELATION_INFLUENCER, 7, &found));
    assert_null(found.of[0].bytes);
    assert_false(relations_find(relations, RELATION_CAMPAIGN, 0, &found));
    assert_true(relations_find(relations, RELATION_CAMPAIGN, 7, &found));
    assert_true(text_same(found.of[0], TEXT("{}")));
    assert_null(found.of[1].bytes);
    assert_non_null(found.of[2].bytes); /* empty is not null */
    assert_int_equal(found.of[2].length, 0);
    relations_free(relations);
}

static void holds_many(void **state)
{
    struct relations *relations = relations_new();
    char bytes[32];

    (void)state;
    for (uint64_t id = 1; id <= 100000; id++) {
        struct text name = {bytes, (size_t)snprintf(bytes, sizeof bytes, "h%d", (int)id)};
        struct relation relation = {.of = {name, name, {NULL, 0}}};

        assert_true(relations_add(relations, RELATION_INFLUENCER, id * 3, &relation));
    }
    for (uint64_t id = 1; id <= 300000; id++) {
        struct text name = {bytes, (size_t)snprintf(bytes, sizeof bytes, "h%d", (int)id / 3)};
        struct relation found;

        assert_int_equal(relations_find(relations, RELATION_INFLUENCER, id, &found), id % 3 == 0);
        assert_true(id % 3 != 0 || text_same(found.of[1], name));
    }
    relations_free(relations);
}

static void has_an_end(void **state)
{
    struct relations *relations = relations_new();
    size_t length = 16 * 1024 * 1024;
    char *bytes = calloc(1, length);
    struct relation large = {.of = {{bytes, length}, {NULL, 0}, {NULL, 0}}}, found;
    uint64_t id = 1;

    (void)state;
    assert_non_null(bytes);
    while (relations_add(relations, RELATION_CAMPAIGN, id, &large))
        id++;
    assert_int_equal(id, RELATIONS_BYTES_MAX / (length + 12) + 1);
    assert_true(relations_find(relations, RELATION_CAMPAIGN, id - 1, &found));
    assert_false(relations_find(relations, RELATION_CAMPAIGN, id, &found));
    free(bytes);
    relations_free(relations);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_was_added),
        cmocka_unit_test(holds_many),
        cmocka_unit_test(has_an_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
