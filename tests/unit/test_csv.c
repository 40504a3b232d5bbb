/* CSV: what is a record and what is not, where the fault is, and cells that spreadsheets would run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <event2/buffer.h>

#include "server/admin/bulk/csv.h"

/* Reads `text` in pieces that grow by `step` bytes; the cells as "a|b/c|d", or the error. */
static const char *read_all(const char *text, size_t step)
{
    static char out[8192];
    char *copy = strdup(text);
    size_t length = strlen(text), begin = 0, known = step < length ? step : length, used;
    struct csv csv = {0};
    struct error error;

    out[0] = '\0';
    for (;;) {
        switch (csv_read(&csv, copy + begin, known - begin, known == length, &used, &error)) {
        case CSV_MORE:
            assert_true(known < length);
            known = known + step < length ? known + step : length;
            begin += used;
            continue;
        case CSV_END: free(copy); return out;
        case CSV_BAD: free(copy); return strcpy(out, error.text);
        case CSV_RECORD: break;
        }
        begin += used;
        for (size_t i = 0; i < csv.count; i++) {
            strncat(out, csv.cells[i].bytes, csv.cells[i].length);
            strcat(out, i + 1 < csv.count ? "|" : "/");
        }
    }
}

static void check(const char *text, const char *expected)
{
    for (size_t step = 1; step < 8; step++)
        assert_string_equal(read_all(text, step), expected);
    assert_string_equal(read_all(text, 1000), expected);
}

static void test_records(void **state)
{
    (void)state;
    check("", "");
    check("\r\n\n", "");
    check("a,b\r\n1,2\r\n", "a|b/1|2/");
    check("a,b\n1,2", "a|b/1|2/");
    check("a,b\n\n1,\n\r\n,2\n", "a|b/1|/|2/");
    check("\xef\xbb\xbf"
          "a,b\n1,2\n",
          "a|b/1|2/");
    check("a,b\n\"1,\"\"x\"\"\r\ny\",\"\"\n\"\"\"\",2\n", "a|b/1,\"x\"\r\ny|/\"|2/");
    check("a;b\n1,5;2\n", "a|b/1,5|2/");
    check("a\tb\n1\t2\n", "a|b/1|2/");
    check("\"a;b\",c\n1,2\n", "a;b|c/1|2/");
    check("n\n\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\n", "n/\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80/");
}

static void test_faults_have_a_place(void **state)
{
    (void)state;
    check("a,b\n1\n", "line 2, column 2: the record has 1 cells, the header has 2");
    check("a,b\n1,2\n1,2,3\n", "line 3, column 6: the record has 3 cells, the header has 2");
    check("a,b\n1,x\"y\n",
          "line 2, column 4: a quote inside of a cell that does not begin with one");
    check("a,b\n\"1\"x,2\n", "line 2, column 4: text behind the quote that ends a cell");
    check("a,b\n\"1\n2,3\n", "line 4, column 1: the quote of a cell is never closed");
    check("a,b\n\xc3\xa4,\"\r\n\xff\"\n", "line 3, column 1: not UTF-8");
    check("a,b\n\xc3\xa4,\xc3", "line 2, column 3: not UTF-8");
    check("a,b\n1\r2,3\n", "line 2, column 2: a carriage return without a line feed");
    check("a,b\n1,2\r", "line 2, column 4: a carriage return without a line feed");
}

static void test_bounds(void **state)
{
    char text[3 * CSV_CELLS_MAX];

    (void)state;
    memset(text, ',', sizeof text);
    text[CSV_CELLS_MAX - 1] = '\0';
    assert_int_equal(strlen(read_all(text, 1000)), CSV_CELLS_MAX);
    text[CSV_CELLS_MAX - 1] = ',';
    text[CSV_CELLS_MAX] = '\0';
    assert_string_equal(read_all(text, 1000), "line 1, column 64: too many cells");
}

static void test_nul(void **state)
{
    char text[] = "a,b\n1,\0002\n";
    struct csv csv = {0};
    struct error error;
    size_t used, first;

    (void)state;
    assert_int_equal(csv_read(&csv, text, sizeof text - 1, true, &first, &error), CSV_RECORD);
    assert_int_equal(csv_read(&csv, text + first, sizeof text - 1 - first, true, &used, &error),
                     CSV_BAD);
    assert_string_equal(error.text, "line 2, column 3: a NUL byte");
}

/* What is written, and that it is read back as it was. */
static void check_cell(const char *cell, const char *written)
{
    struct evbuffer *out = evbuffer_new();
    struct csv csv = {0};
    struct error error;
    char *text;
    size_t length, used;

    csv_put_text(out, (struct text){cell, strlen(cell)});
    assert_int_equal(evbuffer_get_length(out), strlen(written));
    assert_memory_equal(evbuffer_pullup(out, -1), written, strlen(written));
    evbuffer_add(out, ",x\r\n", 4);
    length = evbuffer_get_length(out);
    text = (char *)evbuffer_pullup(out, -1);
    assert_int_equal(csv_read(&csv, text, length, true, &used, &error), CSV_RECORD);
    assert_int_equal(csv.count, 2);
    assert_int_equal(csv.cells[0].length, strlen(cell));
    assert_memory_equal(csv.cells[0].bytes, cell, strlen(cell));
    evbuffer_free(out);
}

static void test_cells(void **state)
{
    (void)state;
    check_cell("plain", "plain");
    check_cell("a,b", "\"a,b\"");
    check_cell("say \"hi\"", "\"say \"\"hi\"\"\"");
    check_cell("two\r\nlines", "\"two\r\nlines\"");
    check_cell(" space", "\" space\"");
    check_cell("=1+1", "'=1+1");
    check_cell("+49", "'+49");
    check_cell("-1", "'-1");
    check_cell("@SUM(A1)", "'@SUM(A1)");
    check_cell("=HYPERLINK(\"x\",\"y\")", "\"'=HYPERLINK(\"\"x\"\",\"\"y\"\")\"");
    check_cell("\t=1", "\"'\t=1\"");
    check_cell("'=1", "''=1");
    check_cell("''=1", "'''=1");
    check_cell("'t Hooft", "'t Hooft");
    check_cell("'", "'");
    check_cell("1-2", "1-2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records), cmocka_unit_test(test_faults_have_a_place),
        cmocka_unit_test(test_bounds),  cmocka_unit_test(test_nul),
        cmocka_unit_test(test_cells),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
