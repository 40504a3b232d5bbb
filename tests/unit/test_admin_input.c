/* What comes from outside: text, numbers, times, queries, cursors, paths. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "server/admin/fields/list.h"
#include "server/admin/request/input.h"
#include "server/admin/request/query.h"
#include "server/admin/routes.h"

static void test_utf8(void **state)
{
    static const char *const good[] = {"", "a", "ä", "€", "\xf0\x9f\x98\x80", "\xed\x9f\xbf"};
    static const char *const bad[] = {"\x80",         "\xc0\x80",         "\xc3",
                                      "\xe0\x80\x80", "\xed\xa0\x80",     "\xf4\x90\x80\x80",
                                      "\xff",         "\xf0\x80\x80\x80", "a\xe2\x82"};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(input_is_utf8(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(input_is_utf8(bad[i], strlen(bad[i])));
}

static void test_control(void **state)
{
    (void)state;
    assert_false(input_has_control("abc äöü\xc2\xa0", strlen("abc äöü\xc2\xa0")));
    assert_true(input_has_control("a\nb", 3));
    assert_true(input_has_control("\x7f", 1));
    assert_true(input_has_control("\xc2\x85", 2)); /* NEL, a C1 control */
}

static void test_id(void **state)
{
    static const char *const bad[] = {"", "0", "01", "-1", "+1", "1x", " 1", "9223372036854775808"};
    uint64_t id = 0;

    (void)state;
    assert_true(input_to_id("9223372036854775807", &id));
    assert_int_equal(id, INT64_MAX);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(input_to_id(bad[i], &id));
}

static void test_time(void **state)
{
    static const char *const bad[] = {
        "",
        "2026-11-21",
        "2026-11-21T20:00:00",
        "2026-13-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-11-21T24:00:00Z",
        "2026-11-21T20:00:60Z",
        "2026-11-21T20:00:00.Z",
        "2026-11-21T20:00:00.1234567890Z",
        "2026-11-21T20:00:00+1:00",
        "2026-11-21T20:00:00Zx",
        "1969-12-31T23:59:59Z",
        "2026-11-21 20:00:00Z",
        "infinity",
    };
    int64_t us = 0;

    (void)state;
    assert_true(input_to_time("1970-01-01T00:00:00Z", &us));
    assert_int_equal(us, 0);
    assert_true(input_to_time("2024-02-29T12:34:56.789Z", &us));
    assert_int_equal(us, 1709210096789000);
    assert_true(input_to_time("2026-11-21T21:00:00+01:00", &us));
    assert_int_equal(us, 1795291200000000);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(input_to_time(bad[i], &us));
}

static void test_query(void **state)
{
    static const char *const bad[] = {"a=%", "a=%4", "a=%zz", "a=%00", "a=%ff", "a=1&a=2", "%C3=1"};
    struct query query;

    (void)state;
    assert_true(query_parse(NULL, &query));
    assert_int_equal(query.count, 0);
    assert_true(query_parse("limit=10&q=two+w%C3%B6rds&&empty", &query));
    assert_int_equal(query.count, 3);
    assert_string_equal(query_get(&query, "limit"), "10");
    assert_string_equal(query_get(&query, "q"), "two wörds");
    assert_string_equal(query_get(&query, "empty"), "");
    assert_null(query_get(&query, "none"));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(query_parse(bad[i], &query));
}

static void test_query_limits(void **state)
{
    char text[QUERY_BYTES_MAX + 2];
    struct query query;

    (void)state;
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = '\0';
    assert_false(query_parse(text, &query));
    text[QUERY_BYTES_MAX] = '\0';
    assert_true(query_parse(text, &query));
    text[0] = '\0';
    for (int i = 0; i <= QUERY_PARAMETERS_MAX; i++)
        sprintf(text + strlen(text), "p%d=1&", i);
    assert_false(query_parse(text, &query));
}

static void test_cursor(void **state)
{
    static const char *const bad[] = {"", "x", "YWZ0ZXI6", "YWZ0ZXI6MA", "YWZ0ZXI6LTE", "=", "ä"};
    char cursor[CURSOR_MAX];
    uint64_t id = 0;

    (void)state;
    cursor_make(INT64_MAX, cursor);
    assert_true(cursor_read(cursor, &id));
    assert_int_equal(id, INT64_MAX);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(cursor_read(bad[i], &id));
}

static void test_routes(void **state)
{
    static const char *const none[] = {"",
                                       "/",
                                       "/v1/links/",
                                       "/v1/links/0",
                                       "/v1/linksx",
                                       "/v1/links/x",
                                       "/v1/links/1/",
                                       "/v1/link",
                                       "/v1/links/1/stats/",
                                       "/v1/links/99999999999999999999"};
    const struct route *route = NULL;
    uint64_t id = 0;
    char allow[64], name[REQUEST_NAME_MAX];

    (void)state;
    assert_int_equal(route_find(EVHTTP_REQ_GET, "/v1/links", &route, &id, name, allow),
                     ROUTE_FOUND);
    assert_int_equal(route->scope, SCOPE_READ);
    assert_int_equal(route_find(EVHTTP_REQ_HEAD, "/v1/links/17", &route, &id, name, allow),
                     ROUTE_FOUND);
    assert_int_equal(id, 17);
    assert_int_equal(route_find(EVHTTP_REQ_GET, "/v1/links/18/stats", &route, &id, name, allow),
                     ROUTE_FOUND);
    assert_int_equal(id, 18);
    assert_true(route->flags & ROUTE_STORE_AWAY);
    assert_int_equal(route_find(EVHTTP_REQ_PUT, "/v1/links/17", &route, &id, name, allow),
                     ROUTE_NO_METHOD);
    assert_string_equal(allow, "GET, HEAD, PATCH, DELETE");
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        assert_int_equal(route_find(EVHTTP_REQ_GET, none[i], &route, &id, name, allow),
                         ROUTE_NO_PATH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_utf8),   cmocka_unit_test(test_control),
        cmocka_unit_test(test_id),     cmocka_unit_test(test_time),
        cmocka_unit_test(test_query),  cmocka_unit_test(test_query_limits),
        cmocka_unit_test(test_cursor), cmocka_unit_test(test_routes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
