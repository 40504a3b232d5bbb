/* Names of codes: templates, accents, what happens when one is taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/admin/bulk/code_names.h"
#include "server/links/slug.h"

static const char *name_of(const char *code_template, const char *handle, const char *percent,
                           unsigned attempt)
{
    static char out[CODE_NAME_MAX + 1];
    struct code_parts parts = {handle, percent, "spring-sale"};

    code_name_make(code_template, &parts, attempt, out);
    return out;
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(name_of("{HANDLE}{PERCENT}", "anna", "20", 1), "ANNA20");
    assert_string_equal(name_of("{HANDLE}{PERCENT}", "@Anna.B_99", "20.00", 1), "ANNAB9920");
    assert_string_equal(name_of("{HANDLE}{PERCENT}", "anna", "12.50", 1), "ANNA12-5");
    assert_string_equal(name_of("{HANDLE}{PERCENT}", "anna", "100", 1), "ANNA100");
    assert_string_equal(name_of("{CAMPAIGN}-{HANDLE}", "anna", NULL, 1), "SPRINGSALE-ANNA");
    assert_string_equal(name_of("{HANDLE}", "Zo\xc3\xab", NULL, 1), "ZOE");
    assert_string_equal(name_of("{HANDLE}", "\xc5\x81ukasz\xc3\x9f\xc3\xa6\xc3\xbe", NULL, 1),
                        "LUKASZSSAETH");
    assert_string_equal(name_of("{HANDLE}",
                                "\xc4\x9e\xc5\x9e\xc4\xb0\xc4\xb1\xc5\xbd\xc5\x99\xc5\x91"
                                "\xc3\xbf\xc5\xb7\xc5\xbf",
                                NULL, 1),
                        "GSIIZROYYS");
}

/* Each letter of the two blocks keeps its base letter: those whose decomposition is known. */
static void test_all_letters(void **state)
{
    static const struct {
        const char *letters;
        const char *base;
    } rows[] = {
        {"ÀÁÂÃÄÅàáâãäåĀāĂăĄą", "A"},
        {"ÇçĆćĈĉĊċČč", "C"},
        {"ĎďĐđÐð", "D"},
        {"ÈÉÊËèéêëĒēĔĕĖėĘęĚě", "E"},
        {"ĜĝĞğĠġĢģ", "G"},
        {"ĤĥĦħ", "H"},
        {"ÌÍÎÏìíîïĨĩĪīĬĭĮįİı", "I"},
        {"Ĵĵ", "J"},
        {"Ķķĸ", "K"},
        {"ĹĺĻļĽľĿŀŁł", "L"},
        {"ÑñŃńŅņŇňŉŊŋ", "N"},
        {"ÒÓÔÕÖØòóôõöøŌōŎŏŐő", "O"},
        {"ŔŕŖŗŘř", "R"},
        {"ŚśŜŝŞşŠšſ", "S"},
        {"ŢţŤťŦŧ", "T"},
        {"ÙÚÛÜùúûüŨũŪūŬŭŮůŰűŲų", "U"},
        {"Ŵŵ", "W"},
        {"ÝýÿŶŷŸ", "Y"},
        {"ŹźŻżŽž", "Z"},
    };
    size_t count = 0;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (const char *at = rows[i].letters; *at; at += 2, count++) {
            char letter[3] = {at[0], at[1], '\0'};

            assert_string_equal(name_of("{HANDLE}", letter, NULL, 1), rows[i].base);
        }
    }
    /* All of U+00C0 to U+017F but × and ÷, and those that become two letters. */
    assert_int_equal(count, 0x180 - 0xC0 - 2 - 9);
}

static void test_next_names(void **state)
{
    char long_handle[201];

    (void)state;
    assert_string_equal(name_of("{HANDLE}", "anna", NULL, 2), "ANNA-2");
    assert_string_equal(name_of("{HANDLE}", "anna", NULL, 9), "ANNA-9");
    for (int i = 0; i < 1000; i++) {
        const char *name = name_of("{HANDLE}", "anna", NULL, 10);

        assert_int_equal(strlen(name), 9);
        assert_int_equal(strspn(name + 5, "ABCDEFGHJKMNPQRSTUVWXYZ23456789"), 4);
        assert_false(slug_has_blocked_word(name + 5, 4));
    }
    memset(long_handle, 'x', 200);
    long_handle[200] = '\0';
    assert_int_equal(strlen(name_of("{HANDLE}", long_handle, NULL, 1)), CODE_NAME_MAX - 8);
    assert_string_equal(name_of("{HANDLE}", long_handle, NULL, 3) + CODE_NAME_MAX - 8, "-3");
}

static void test_other_scripts(void **state)
{
    (void)state;
    assert_int_equal(strlen(name_of("{HANDLE}{PERCENT}", "\xe6\x9d\x8e\xe5\xa8\x9c", "20", 1)), 6);
    assert_int_equal(strlen(name_of("A-{RANDOM}", "anna", NULL, 1)), 6);
    assert_int_equal(strlen(name_of("{HANDLE}", "\xff\xfe", NULL, 1)), 4);
}

static const char *fault_of(const char *code_template, bool has_percent)
{
    static struct error error;

    error.text[0] = '\0';
    return code_template_check(code_template, has_percent, &error) ? "" : error.text;
}

static void test_templates(void **state)
{
    (void)state;
    assert_string_equal(fault_of("{HANDLE}{PERCENT}", true), "");
    assert_string_equal(fault_of("SPRING-{RANDOM}_1", false), "");
    assert_non_null(strstr(fault_of("{HANDLE}{PERCENT}", false), "no percent"));
    assert_non_null(strstr(fault_of("{PERCENT}", true), "must hold {HANDLE} or {RANDOM}"));
    assert_non_null(strstr(fault_of("{handle}", true), "may hold"));
    assert_non_null(strstr(fault_of("{HANDLE} 20", true), "may hold"));
    assert_non_null(strstr(fault_of("", true), "must have 1 to"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),         cmocka_unit_test(test_all_letters),
        cmocka_unit_test(test_next_names),    cmocka_unit_test(test_templates),
        cmocka_unit_test(test_other_scripts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
