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

static struct pattern_set *set_of(enum pattern_case letters, const char *const *patterns)
{
    struct pattern_set *set = pattern_set_new();
    struct error error;

    for (; *patterns; patterns++)
        if (!pattern_set_add(set, 0, *patterns, letters, &error))
            fail_msg("%s", error.text);
    assert_true(pattern_set_compile(set, &error));
    return set;
}

static int match(const struct pattern_set *set, const char *text)
{
    struct pattern_hits hits;

    pattern_set_match(set, as_text(text), &hits);
    for (int group = 1; group < PATTERN_GROUPS_MAX; group++)
        assert_int_equal(hits.first[group], PATTERN_NONE);
    return hits.first[0];
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
    struct pattern_set *set = set_of(PATTERN_EXACT, patterns);

    (void)state;
    assert_int_equal(match(set, "Mozilla (Googlebot/2.1)"), 0);
    assert_int_equal(match(set, "curl/7.1"), 1);
    assert_int_equal(match(set, "libcurl/7.1"), PATTERN_NONE);
    assert_int_equal(match(set, "an Automaton here"), 2);
    assert_int_equal(match(set, "Newsify Feed Fetcher"), 2);
    assert_int_equal(match(set, "Wget/1"), 3);
    assert_int_equal(match(set, "AdsBot-Google"), 4);
    assert_int_equal(match(set, "AdsBot-Google-Mobile"), PATTERN_NONE);
    assert_int_equal(match(set, "a bot and Googlebot/1"), 0);
    assert_int_equal(match(set, "by SSL Labs"), 6);
    assert_int_equal(match(set, "SSL Labs again"), PATTERN_NONE);
    assert_int_equal(match(set, ""), PATTERN_NONE);
    pattern_set_free(set);
}

/* Texts inside one another, and shared beginnings and ends: the classical traps. */
static void test_overlaps(void **state)
{
    const char *const patterns[] = {"hers", "his", "she", "he", NULL};
    struct pattern_set *set = set_of(PATTERN_SMART, patterns);

    (void)state;
    assert_int_equal(match(set, "uSHErs"), 0);
    assert_int_equal(match(set, "ashes"), 2);
    assert_int_equal(match(set, "THE"), 3);
    assert_int_equal(match(set, "xhisx"), 1);
    pattern_set_free(set);
}

/* Anchors are answered without PCRE2; they must mean what they mean there. */
static void test_anchors(void **state)
{
    const char *const patterns[] = {"^start", "end$", "\\bword\\b", "^all$", "x\\b", NULL};
    struct pattern_set *set = set_of(PATTERN_SMART, patterns);

    (void)state;
    assert_int_equal(match(set, "Start of it"), 0);
    assert_int_equal(match(set, "a start"), PATTERN_NONE);
    assert_int_equal(match(set, "at the END"), 1);
    assert_int_equal(match(set, "ending"), PATTERN_NONE);
    assert_int_equal(match(set, "one-Word/1"), 2);
    assert_int_equal(match(set, "words"), PATTERN_NONE);
    assert_int_equal(match(set, "sword"), PATTERN_NONE);
    assert_int_equal(match(set, "a_word"), PATTERN_NONE);
    assert_int_equal(match(set, "sword word"), 2);
    assert_int_equal(match(set, "all"), 3);
    assert_int_equal(match(set, "all of"), PATTERN_NONE);
    assert_int_equal(match(set, "max"), 4);
    assert_int_equal(match(set, "xx1"), PATTERN_NONE);
    pattern_set_free(set);
}

/* Capitals decide for each alternative by itself. */
static void test_smart_case(void **state)
{
    const char *const patterns[] = {"small|BIG|M[0-9]x", "\\Bin|\\.net", NULL};
    struct pattern_set *set = set_of(PATTERN_SMART, patterns);

    (void)state;
    assert_int_equal(match(set, "SMALL"), 0);
    assert_int_equal(match(set, "BIG"), 0);
    assert_int_equal(match(set, "big"), PATTERN_NONE);
    assert_int_equal(match(set, "m4x"), PATTERN_NONE);
    assert_int_equal(match(set, "M4x"), 0);
    assert_int_equal(match(set, "TWINS"), 1);
    assert_int_equal(match(set, ".NET"), 1);
    pattern_set_free(set);
}

/* One pass answers for each group by itself, with the lowest number of the group. */
static void test_groups(void **state)
{
    struct pattern_set *set = pattern_set_new();
    struct pattern_hits hits;
    struct error error;

    (void)state;
    assert_true(pattern_set_add(set, 3, "one", PATTERN_EXACT, &error));
    assert_true(pattern_set_add(set, 5, "one two", PATTERN_EXACT, &error));
    assert_true(pattern_set_add(set, 3, "two", PATTERN_EXACT, &error));
    assert_true(pattern_set_add(set, 5, "two", PATTERN_EXACT, &error));
    assert_true(pattern_set_compile(set, &error));
    pattern_set_match(set, as_text("one two"), &hits);
    assert_int_equal(hits.first[3], 0);
    assert_int_equal(hits.first[5], 1);
    assert_int_equal(hits.first[0], PATTERN_NONE);
    pattern_set_match(set, as_text("just two"), &hits);
    assert_int_equal(hits.first[3], 2);
    assert_int_equal(hits.first[5], 3);
    pattern_set_free(set);
}

static void test_refusals(void **state)
{
    struct pattern_set *set = pattern_set_new();
    struct error error;

    (void)state;
    assert_false(pattern_set_add(set, 0, "(", PATTERN_EXACT, &error));
    assert_non_null(strstr(error.text, "character"));
    assert_false(pattern_set_add(set, 0, "", PATTERN_EXACT, &error));
    assert_false(pattern_set_add(set, 0, "a||b", PATTERN_EXACT, &error));
    pattern_set_free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_literals),   cmocka_unit_test(test_matches),
        cmocka_unit_test(test_overlaps),   cmocka_unit_test(test_anchors),
        cmocka_unit_test(test_smart_case), cmocka_unit_test(test_groups),
        cmocka_unit_test(test_refusals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
