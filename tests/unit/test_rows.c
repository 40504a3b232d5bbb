/* Rows out of a body: JSON arrays, NDJSON, CSV; also where they meet the window's end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <event2/buffer.h>

#include "server/admin/bulk/rows.h"

/* All rows, as "{…}{…}", or the error. */
static const char *read_all(enum rows_format format, const char *text, size_t length)
{
    static char out[4096];
    struct evbuffer *body = evbuffer_new();
    struct rows *rows;
    enum rows_result result;
    struct error error;
    json_t *row;

    evbuffer_add(body, text, length);
    rows = rows_new(format, body);
    assert_int_equal(evbuffer_get_length(body), 0);
    out[0] = '\0';
    while ((result = rows_next(rows, &row, &error)) == ROWS_ROW) {
        char *dump = json_dumps(row, JSON_COMPACT | JSON_SORT_KEYS);

        strcat(out, dump);
        free(dump);
        json_decref(row);
    }
    if (result == ROWS_BAD)
        strcpy(out, error.text);
    rows_free(rows);
    evbuffer_free(body);
    return out;
}

static void check(enum rows_format format, const char *text, const char *expected)
{
    assert_string_equal(read_all(format, text, strlen(text)), expected);
}

static void test_array(void **state)
{
    (void)state;
    check(ROWS_JSON, "[]", "");
    check(ROWS_JSON, " [ ] \n", "");
    check(ROWS_JSON, "[{\"a\":1},{\"a\":[2,{}]}]", "{\"a\":1}{\"a\":[2,{}]}");
    check(ROWS_JSON, "\n[ {\"a\" : 1}\n , {}\n]\n", "{\"a\":1}{}");
    check(ROWS_JSON, "", "row 0: the body must be an array of objects");
    check(ROWS_JSON, "{}", "row 0: the body must be an array of objects");
    check(ROWS_JSON, "[1]", "row 0: must be an object");
    check(ROWS_JSON, "[{},]", "row 1: an element is expected behind the comma");
    check(ROWS_JSON, "[{} {}]", "row 1: ',' or ']' is expected");
    check(ROWS_JSON, "[{}", "row 1: ',' or ']' is expected");
    check(ROWS_JSON, "[{}]x", "row 1: there is something behind the array");
    check(ROWS_JSON, "[{\"a\":\"\\u0000\"}]", "row 0: \\u0000 is not accepted");
    assert_non_null(strstr(read_all(ROWS_JSON, "[{\"a\":1,\"a\":2}]", 15), "duplicate"));
    assert_non_null(strstr(read_all(ROWS_JSON, "[{\"a\":tru}]", 11), "row 0"));
    assert_non_null(strstr(read_all(ROWS_JSON, "[{\"a\":", 6), "row 0"));
    assert_non_null(strstr(read_all(ROWS_JSON, "[{\"a\":\"\xff\"}]", 11), "row 0"));
    assert_non_null(strstr(read_all(ROWS_JSON, "[{\"a\0\":1}]", 10), "row 0"));
}

static void test_lines(void **state)
{
    (void)state;
    check(ROWS_NDJSON, "", "");
    check(ROWS_NDJSON, "{\"a\":1}\n\n \r\n{\"a\":2}\r\n{}", "{\"a\":1}{\"a\":2}{}");
    check(ROWS_NDJSON, "{}\n[]\n", "line 2: must be an object");
    assert_non_null(strstr(read_all(ROWS_NDJSON, "{}\n{} {}\n", 9), "line 2: "));
    assert_non_null(strstr(read_all(ROWS_NDJSON, "{}\n\n{\n}\n", 8), "line 3: "));
    check(ROWS_NDJSON, "{\"a\":\"\\u0000\"}", "line 1: \\u0000 is not accepted");
}

static void test_csv(void **state)
{
    (void)state;
    check(ROWS_CSV, "a, b\n1,2\n,\n\"x\ny\",\n", "{\"a\":\"1\",\"b\":\"2\"}{}{\"a\":\"x\\ny\"}");
    check(ROWS_CSV, "", "line 0: the header is missing");
    check(ROWS_CSV, "a,a\n", "line 1: two columns have the same name");
    check(ROWS_CSV, "a,\n", "line 1: a column has no name, or a very long one");
    check(ROWS_CSV, "a,b\n1\n", "line 2, column 2: the record has 1 cells, the header has 2");
}

/* A body of rows of all lengths is longer than many windows; each row is there, in order. */
static void check_windows(enum rows_format format)
{
    static char filler[5000];
    struct evbuffer *body = evbuffer_new();
    struct rows *rows;
    struct error error;
    int wanted = 3000, count = 0;
    json_t *row;

    memset(filler, 'x', sizeof filler - 1);
    evbuffer_add_printf(body, format == ROWS_JSON ? "[" : format == ROWS_CSV ? "n,x\r\n" : "");
    for (int i = 0; i < wanted; i++) {
        int size = i * 7 % 4999;

        if (format == ROWS_CSV)
            evbuffer_add_printf(body, "%d,\"\"\"\xc3\xa4%.*s\"\r\n", i, size, filler);
        else
            evbuffer_add_printf(body, "{\"n\":\"%d\",\"x\":\"\\\"\xc3\xa4%.*s\"}%s", i, size,
                                filler,
                                format == ROWS_NDJSON ? "\n"
                                : i + 1 < wanted      ? ","
                                                      : "]");
    }
    assert_true(evbuffer_get_length(body) > 20 * ROWS_WINDOW_BYTES);
    rows = rows_new(format, body);
    while (rows_next(rows, &row, &error) == ROWS_ROW) {
        const char *x = json_string_value(json_object_get(row, "x"));

        assert_int_equal(atoi(json_string_value(json_object_get(row, "n"))), count);
        assert_int_equal(strlen(x), (size_t)(3 + count * 7 % 4999));
        json_decref(row);
        count++;
    }
    assert_int_equal(count, wanted);
    rows_free(rows);
    evbuffer_free(body);
}

static void test_windows(void **state)
{
    (void)state;
    check_windows(ROWS_JSON);
    check_windows(ROWS_NDJSON);
    check_windows(ROWS_CSV);
}

static void test_long_rows(void **state)
{
    const char *begin[] = {"[{\"a\":\"", "{\"a\":\"", "a\n\""};
    char *text = malloc(2 * ROWS_WINDOW_BYTES);

    (void)state;
    for (int format = ROWS_JSON; format <= ROWS_CSV; format++) {
        memset(text, 'x', 2 * ROWS_WINDOW_BYTES);
        memcpy(text, begin[format], strlen(begin[format]));
        assert_non_null(strstr(read_all((enum rows_format)format, text, 2 * ROWS_WINDOW_BYTES),
                               "a row is longer than 262144 bytes"));
    }
    free(text);
}

static void test_types(void **state)
{
    enum rows_format format;

    (void)state;
    assert_true(rows_format_of("application/json", &format) && format == ROWS_JSON);
    assert_true(rows_format_of("Text/CSV; charset=UTF-8", &format) && format == ROWS_CSV);
    assert_true(rows_format_of("application/x-ndjson", &format) && format == ROWS_NDJSON);
    assert_false(rows_format_of("text/csv; charset=latin1", &format));
    assert_false(rows_format_of("text/csvx", &format));
    assert_false(rows_format_of("text/plain", &format));
    assert_false(rows_format_of(NULL, &format));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_array),     cmocka_unit_test(test_lines),
        cmocka_unit_test(test_csv),       cmocka_unit_test(test_windows),
        cmocka_unit_test(test_long_rows), cmocka_unit_test(test_types),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
