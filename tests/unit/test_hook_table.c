/* The sources of webhooks as PostgreSQL and the file say them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/admin/hooks/hook_sources.h"

#define SOURCE(id, kind, more)                                                                \
    "{\"id\":" #id ",\"workspace\":7,\"kind\":\"" kind "\",\"secrets\":[\"a\"],\"previous\":" \
    "[\"b\",\"c\"],\"until_us\":1000" more "}"
#define TABLE(sources) "{\"version\":\"v\",\"sources\":[" sources "]}"

static void test_reads(void **state)
{
    struct hook_table *table = hook_table_read(TABLE(SOURCE(3, "shopify", "") "," SOURCE(
        5, "stripe", "") "," SOURCE(9000000000, "woocommerce", "")));
    const struct hook_source *source;

    (void)state;
    assert_non_null(table);
    assert_string_equal(hook_table_version(table), "v");
    for (uint64_t id = 0; id < 10; id++)
        assert_true((hook_table_find(table, id) != NULL) == (id == 3 || id == 5));
    source = hook_table_find(table, 9000000000);
    assert_non_null(source);
    assert_int_equal(source->shop, HOOK_WOOCOMMERCE);
    assert_int_equal(source->workspace, 7);
    assert_int_equal(hook_source_secrets(source, 999).count, 3);
    assert_int_equal(hook_source_secrets(source, 1000).count, 1);
    assert_true(text_same(hook_source_secrets(source, 1000).list[0], TEXT("a")));
    assert_true(text_same(hook_source_secrets(source, 999).list[2], TEXT("c")));
    hook_table_free(table);
}

static void test_nothing(void **state)
{
    struct hook_table *table = hook_table_read(TABLE(""));

    (void)state;
    assert_non_null(table);
    assert_null(hook_table_find(table, 1));
    hook_table_free(table);
    hook_table_free(NULL);
}

static void test_refuses(void **state)
{
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"version\":\"v\"}",
        "{\"version\":1,\"sources\":[]}",
        "{\"version\":\"v\",\"sources\":{}}",
        TABLE("7"),
        TABLE(SOURCE(1, "postback", "")),
        TABLE(SOURCE(0, "stripe", "")),
        TABLE(SOURCE(-1, "stripe", "") "," SOURCE(1, "stripe", "")),
        TABLE(SOURCE(2, "stripe", "") "," SOURCE(1, "stripe", "")),
        TABLE(SOURCE(1, "stripe", "") "," SOURCE(1, "stripe", "")),
        TABLE(SOURCE(1, "stripe", ",\"id\":2")),
        TABLE(SOURCE(1, "stripe", "")) "x",
        TABLE("{\"id\":1,\"workspace\":7,\"kind\":\"stripe\",\"secrets\":[1],\"previous\":[]}"),
        TABLE("{\"id\":1,\"workspace\":7,\"kind\":\"stripe\",\"secrets\":[],\"previous\":null}"),
        TABLE("{\"id\":1,\"workspace\":0,\"kind\":\"stripe\",\"secrets\":[],\"previous\":[]}"),
        TABLE("{\"id\":1,\"workspace\":7,\"kind\":\"stripe\",\"secrets\":[\"\",\"\",\"\",\"\",\"\","
              "\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\"],\"previous\":[]}")};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct hook_table *table = hook_table_read(bad[i]);

        if (table)
            fail_msg("taken: %s", bad[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_refuses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
