/* Patterns: the automaton must agree with what each regular expression says by itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "server/visitor/literal.h"
#include "server/visitor/pattern.h"

static struct text as_text(const char *string)
{
    return (struct text){string, strlen(string)};
}

static struct pattern_set *set_of(bool fold, const char *const *patterns)
{
    struct pattern_set *set = pattern_set_new(fold);
    struct error error;

    for (; *patterns; patterns++)
        if (!pattern_set_add(set, *patterns, &error))
            fail_msg("%s", error.text);
    assert_true(pattern_set_compile(set, &error));
    return set;
}

static void assert_literal(const char *pattern, const char *expected, bool whole)
{
    struct literal literal;

    literal_extract(pattern, &literal);
    literal.bytes[literal.length] = '\0';
    assert_string_equal(literal.bytes, expected);
    assert_int_equal(literal.whole, whole);
}

static void test_literals(void **state)
{
    (void)state;
    assert_literal("Googlebot\\/", "Googlebot/", true);
    assert_literal("^curl", "curl", false);
    assert_literal("[wW]get", "get", false);
    assert_literal("(sistrix|SISTRIX) [cC]rawler", "rawler", false);
    assert_literal("S[eE][mM]rushBot", "rushBot", false);
    assert_literal("BlogTraffic\\/\\d\\.\\d+ Feed-Fetcher", " Feed-Fetcher", false);
    assert_literal("colou?r", "colo", false);
    assert_literal("ab+cde", "cde", false);
    assert_literal("x{2,3}yz", "yz", false);
    assert_literal("one|other", "", false);
    assert_literal("(?i)shout", "", false);
}

static void test_matches(void **state)
{
    const char *const patterns[] = {"Googlebot\\/",
                                    "^curl",
                                    "Automaton|Newsify Feed",
                                    "[wW]get",
                                    "AdsBot-Google([^-]|$)",
                                    "bot",
                                    "SSL Labs$",
                                    NULL};
    struct pattern_set *set = set_of(false, patterns);

    (void)state;
    assert_int_equal(pattern_set_match(set, as_text("Mozilla (Googlebot/2.1)")), 0);
    assert_int_equal(pattern_set_match(set, as_text("curl/7.1")), 1);
    assert_int_equal(pattern_set_match(set, as_text("libcurl/7.1")), PATTERN_NONE);
    assert_int_equal(pattern_set_match(set, as_text("an Automaton here")), 2);
    assert_int_equal(pattern_set_match(set, as_text("Newsify Feed Fetcher")), 2);
    assert_int_equal(pattern_set_match(set, as_text("Wget/1")), 3);
    assert_int_equal(pattern_set_match(set, as_text("AdsBot-Google")), 4);
    assert_int_equal(pattern_set_match(set, as_text("AdsBot-Google-Mobile")), PATTERN_NONE);
    assert_int_equal(pattern_set_match(set, as_text("a bot and Googlebot/1")), 0);
    assert_int_equal(pattern_set_match(set, as_text("by SSL Labs")), 6);
    assert_int_equal(pattern_set_match(set, as_text("SSL Labs again")), PATTERN_NONE);
    assert_int_equal(pattern_set_match(set, as_text("")), PATTERN_NONE);
    pattern_set_free(set);
}

/* Texts inside one another, and shared beginnings and ends: the classical traps. */
static void test_overlaps(void **state)
{
    const char *const patterns[] = {"hers", "his", "she", "he", NULL};
    struct pattern_set *set = set_of(true, patterns);

    (void)state;
    assert_int_equal(pattern_set_match(set, as_text("uSHErs")), 0);
    assert_int_equal(pattern_set_match(set, as_text("ashes")), 2);
    assert_int_equal(pattern_set_match(set, as_text("THE")), 3);
    assert_int_equal(pattern_set_match(set, as_text("xhisx")), 1);
    pattern_set_free(set);
}

static void test_refusals(void **state)
{
    struct pattern_set *set = pattern_set_new(false);
    struct error error;

    (void)state;
    assert_false(pattern_set_add(set, "(", &error));
    assert_non_null(strstr(error.text, "character"));
    assert_false(pattern_set_add(set, "", &error));
    assert_false(pattern_set_add(set, "a||b", &error));
    pattern_set_free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_literals),
        cmocka_unit_test(test_matches),
        cmocka_unit_test(test_overlaps),
        cmocka_unit_test(test_refusals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
