/* Structured fields: what clients send as hints, and what must be refused. With CORPUS set, all of
 * the HTTP working group's cases in CORPUS/http/structured_fields.jsonl as well. */
#include "server/visitor/structured.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

static struct text as_text(const char *string)
{
    return (struct text){string, strlen(string)};
}

static void assert_text(struct text text, const char *expected)
{
    assert_int_equal(text.length, strlen(expected));
    assert_memory_equal(text.bytes, expected, text.length);
}

static void reads_items(void **state)
{
    struct sf_item item;

    (void)state;
    assert_true(sf_item(as_text("?1"), &item));
    assert_int_equal(item.type, SF_BOOLEAN);
    assert_text(item.text, "1");
    assert_true(sf_item(as_text(" \"Pixel 7\" "), &item));
    assert_int_equal(item.type, SF_STRING);
    assert_text(item.text, "Pixel 7");
    assert_true(sf_item(as_text("tok;a=1;b"), &item));
    assert_text(item.text, "tok");
    assert_false(sf_item(as_text(""), &item));
    assert_false(sf_item(as_text("?2"), &item));
    assert_false(sf_item(as_text("\"open"), &item));
    assert_false(sf_item(as_text("\"a\" \"b\""), &item));
    assert_false(sf_item((struct text){NULL, 0}, &item));
}

static void walks_brands(void **state)
{
    struct text rest =
        as_text("\"Not;A=Brand\";v=\"99\", \"Chromium\";v=\"124\" , \"Google Chrome\";v=\"124\"");
    const char *const names[] = {"Not;A=Brand", "Chromium", "Google Chrome"};
    struct sf_item item;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        assert_true(sf_next_in_list(&rest, &item));
        assert_text(item.text, names[i]);
    }
    assert_false(sf_next_in_list(&rest, &item));
    assert_null(rest.bytes);
    rest = as_text("\"a\",");
    assert_false(sf_next_in_list(&rest, &item));
    assert_non_null(rest.bytes);
}

/* Lines of a field that came several times are one. */
static char *joined(const json_t *raw)
{
    static char line[8192];
    size_t i;
    json_t *part;

    line[0] = '\0';
    json_array_foreach(raw, i, part)
    {
        strncat(line, i ? ", " : "", sizeof line - strlen(line) - 1);
        strncat(line, json_string_value(part), sizeof line - strlen(line) - 1);
    }
    return line;
}

static bool is_accepted(const char *kind, struct text field)
{
    bool (*next)(struct text *, struct sf_item *) =
        strcmp(kind, "list") == 0 ? sf_next_in_list : sf_next_in_dictionary;
    struct sf_item item;

    if (strcmp(kind, "item") == 0)
        return sf_item(field, &item);
    while (next(&field, &item))
        continue;
    return !field.bytes;
}

static void agrees_with_the_working_group(void **state)
{
    const char *folder = getenv("CORPUS");
    char path[1024], line[65536];
    FILE *cases;
    int count = 0;

    (void)state;
    if (!folder)
        skip();
    snprintf(path, sizeof path, "%s/http/structured_fields.jsonl", folder);
    cases = fopen(path, "r");
    assert_non_null(cases);
    while (fgets(line, sizeof line, cases)) {
        json_t *test = json_loads(line, 0, NULL);
        const char *field = joined(json_object_get(test, "raw"));
        const char *kind = json_string_value(json_object_get(test, "header_type"));
        bool accepted = is_accepted(kind, as_text(field));

        count++;
        if (accepted != !json_is_true(json_object_get(test, "must_fail")) &&
            !json_is_true(json_object_get(test, "can_fail")))
            fail_msg("%s \"%s\": %s", kind, field, accepted ? "accepted" : "refused");
        json_decref(test);
    }
    fclose(cases);
    print_message("%d cases\n", count);
    assert_true(count > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_items),
        cmocka_unit_test(walks_brands),
        cmocka_unit_test(agrees_with_the_working_group),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
