/* Exports of other services as links. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/admin/bulk/import_map.h"

/* What becomes of a row: "{link} created clicks", or "part: error". */
static const char *read_row(const char *source, const char *text)
{
    static char out[1024];
    const struct import_map *map = import_map_find(source);
    json_t *row = json_loads(text, 0, NULL);
    struct import_row read;
    enum import_part part;
    struct error error;
    char *dump;

    assert_non_null(map);
    assert_non_null(row);
    if (import_map_row(map, row, &read, &part, &error)) {
        dump = json_dumps(read.link, JSON_COMPACT | JSON_SORT_KEYS);
        snprintf(out, sizeof out, "%s %lld %lld", dump, (long long)read.created_us,
                 (long long)read.clicks);
        free(dump);
    } else {
        snprintf(out, sizeof out, "%s: %s", import_part_name(part), error.text);
    }
    json_decref(read.link);
    json_decref(row);
    return out;
}

static void test_services(void **state)
{
    (void)state;
    assert_string_equal(
        read_row("bitly", "{\"Link\":\"https://bit.ly/3xYz\",\"Custom Link\":\"\","
                          "\"Destination URL\":\"https://a.example/\",\"Title\":\"A\","
                          "\"Date Created\":\"2024-03-01T10:00:00+0100\",\"Engagements\":\"12\"}"),
        "{\"destination\":\"https://a.example/\",\"slug\":\"3xYz\",\"title\":\"A\"} "
        "1709283600000000 12");
    assert_string_equal(read_row("bitly",
                                 "{\"Link\":\"bit.ly/3xYz\",\"Custom Link\":\"go.example/Spring\","
                                 "\"Long_URL\":\"https://a.example/\"}"),
                        "{\"destination\":\"https://a.example/\",\"slug\":\"Spring\"} 0 -1");
    assert_string_equal(
        read_row("yourls", "{\"keyword\":\"abc\",\"url\":\"https://a.example/\",\"title\":\"T\","
                           "\"timestamp\":\"2020-01-02 03:04:05\",\"ip\":\"1.2.3.4\","
                           "\"clicks\":\"7\"}"),
        "{\"destination\":\"https://a.example/\",\"slug\":\"abc\",\"title\":\"T\"} "
        "1577934245000000 7");
    assert_string_equal(
        read_row("kutt", "{\"address\":\"k1\",\"target\":\"https://a.example/\",\"visit_count\":3,"
                         "\"created_at\":\"2021-05-06T07:08:09.123Z\",\"description\":null}"),
        "{\"destination\":\"https://a.example/\",\"slug\":\"k1\"} 1620284889123000 3");
    assert_string_equal(
        read_row("shlink",
                 "{\"createdAt\":\"2022-02-03T04:05:06+02:00\",\"shortCode\":\"s1\","
                 "\"shortUrl\":\"https://s.example/s1\",\"longUrl\":\"https://a.example\","
                 "\"tags\":\"a|b c\",\"visits\":\"0\",\"title\":\"\"}"),
        "{\"destination\":\"https://a.example\",\"slug\":\"s1\",\"tags\":[\"a\",\"b c\"]} "
        "1643853906000000 0");
    assert_string_equal(
        read_row("dub", "{\"Short link\":\"https://dub.sh/d1?x=1\",\"Destination URL\":"
                        "\"https://a.example/\",\"Clicks\":\"5\",\"Tags\":\"x, y\","
                        "\"Created at\":\"1700000000\"}"),
        "{\"destination\":\"https://a.example/\",\"slug\":\"d1\",\"tags\":[\"x\",\"y\"]} "
        "1700000000000000 5");
    assert_string_equal(read_row("dub", "{\"key\":\"a/b\",\"url\":\"https://a.example/\"}"),
                        "{\"destination\":\"https://a.example/\",\"slug\":\"a/b\"} 0 -1");
    assert_string_equal(read_row("dub", "{\"link\":\"https://dub.sh/a/b/\"}"),
                        "{\"slug\":\"a/b\"} 0 -1");
    assert_string_equal(read_row("dub", "{\"link\":\"https://dub.sh\"}"),
                        "{\"slug\":\"dub.sh\"} 0 -1");
    assert_null(import_map_find("tinyurl"));
}

static void test_faults(void **state)
{
    (void)state;
    assert_string_equal(read_row("yourls", "{\"url\":\"https://a.example/\"}"),
                        "slug: is required: what is imported keeps its name");
    assert_string_equal(read_row("yourls", "{\"keyword\":\"a\",\"timestamp\":\"last week\"}"),
                        "created_at: must be a time such as 2026-11-21T20:00:00Z");
    assert_string_equal(read_row("yourls", "{\"keyword\":\"a\",\"clicks\":\"1,234\"}"),
                        "clicks: must be a whole number");
    assert_string_equal(read_row("yourls", "{\"keyword\":\"a\",\"timestamp\":\"2024-02-30\"}"),
                        "created_at: must be a time such as 2026-11-21T20:00:00Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_services),
        cmocka_unit_test(test_faults),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
