/* Slugs: generated ones are clean and differ; custom ones are checked; a request finds what a
 * marketer may have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/links/slug.h"

#define GENERATED 20000

static void generated_slugs(void **state)
{
    static char slugs[GENERATED][SLUG_GENERATED_LENGTH + 1];
    unsigned seen[256] = {0};

    (void)state;
    for (int i = 0; i < GENERATED; i++) {
        struct error error = {""};

        slug_generate(slugs[i]);
        assert_int_equal(strlen(slugs[i]), SLUG_GENERATED_LENGTH);
        assert_int_equal(strspn(slugs[i], "abcdefghjkmnpqrstuvwxyz23456789"),
                         SLUG_GENERATED_LENGTH);
        assert_false(slug_has_blocked_word(slugs[i], SLUG_GENERATED_LENGTH));
        assert_true(slug_check(slugs[i], SLUG_GENERATED_LENGTH, &error));
        for (int at = 0; at < SLUG_GENERATED_LENGTH; at++)
            seen[(unsigned char)slugs[i][at]]++;
        for (int other = i > 50 ? i - 50 : 0; other < i; other++)
            assert_string_not_equal(slugs[i], slugs[other]);
    }
    for (const char *c = "abcdefghjkmnpqrstuvwxyz23456789"; *c; c++) { /* about 4,516 each */
        assert_in_range(seen[(unsigned char)*c], 4000, 5000);
    }
}

static void blocked_words(void **state)
{
    (void)state;
    assert_true(slug_has_blocked_word("bitch", 5));
    assert_true(slug_has_blocked_word("xxBiTcHxx", 9));
    assert_true(slug_has_blocked_word("xxb1tch", 7));
    assert_false(slug_has_blocked_word("bitc", 4));
    assert_false(slug_has_blocked_word("", 0));
    assert_false(slug_has_blocked_word("spring", 6));
    assert_false(slug_has_blocked_word("mit licence", 11)); /* the list's heading is no word */
    assert_false(slug_has_blocked_word("# w", 3));
}

static void custom_slugs(void **state)
{
    static const struct {
        const char *slug;
        const char *reason; /* NULL: good */
    } cases[] = {
        {"a", NULL},
        {"Spring-2026_sale", NULL},
        {"login", NULL},
        {"\xC3\xBC"
         "ber",
         NULL},
        {"\xF0\x9F\x94\xA5", NULL},                             /* an emoji */
        {"\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x94\xAC", NULL}, /* with a joiner */
        {"\xD9\x86\xD8\xA7\xD9\x85\xD9\x87\xE2\x80\x8C\xD8\xA7\xDB\x8C", NULL},
        {"", "empty"},
        {"-", "reserved"},
        {"robots.txt", "reserved"},
        {"Favicon.ICO", "reserved"},
        {".well-known", "reserved"},
        {"Apple-App-Site-Association", "reserved"},
        {"-/health", "not /"},
        {"a b", "U+0020"},
        {"a.b", "not ."},
        {"a%20b", "not %"},
        {"a/b", "not /"},
        {"a?b", "not ?"},
        {"a\tb", "U+0009"},
        {"a\x7F", "U+007F"},
        {"a\xC2\xA0", "U+00A0"},     /* no-break space */
        {"a\xE2\x80\xAE", "U+202E"}, /* right-to-left override */
        {"a\xE2\x80\x8B", "U+200B"}, /* zero width space */
        {"a\xEF\xBB\xBF", "U+FEFF"},
        {"a\xEF\xBF\xBD", "U+FFFD"},
        {"a\xF0\x9F\xBF\xBF", "U+1FFFF"},
        {"a\xC3", "UTF-8"},
        {"a\xC0\xAF", "UTF-8"},
        {"a\xED\xA0\x80", "UTF-8"},
        {"a\xF4\x90\x80\x80", "UTF-8"},
        {"a\xFF", "UTF-8"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error error = {""};
        bool good = slug_check(cases[i].slug, strlen(cases[i].slug), &error);

        if (good != !cases[i].reason || (!good && !strstr(error.text, cases[i].reason)))
            fail_msg("\"%s\": %s", cases[i].slug, good ? "taken" : error.text);
    }
}

static void lengths(void **state)
{
    char slug[LINK_SLUG_MAX + 1], out[LINK_SLUG_MAX];
    struct error error = {""};

    (void)state;
    memset(slug, 's', sizeof slug);
    assert_true(slug_check(slug, LINK_SLUG_MAX, &error));
    assert_int_equal(slug_from_path(slug, LINK_SLUG_MAX, true, out), LINK_SLUG_MAX);
    assert_false(slug_check(slug, LINK_SLUG_MAX + 1, &error));
    assert_int_equal(slug_from_path(slug, LINK_SLUG_MAX + 1, true, out), 0);
}

static void paths(void **state)
{
    static const struct {
        const char *path;
        bool fold;
        const char *slug; /* "": a miss */
    } cases[] = {
        {"abc", true, "abc"},
        {"AbC-_9", true, "abc-_9"},
        {"AbC-_9", false, "AbC-_9"},
        {"%41bc", true, "abc"},
        {"%41bc", false, "Abc"},
        {"%C3%BCber", true,
         "\xC3\xBC"
         "ber"},
        {"%c3%bcBER", true,
         "\xC3\xBC"
         "ber"},
        {"\xC3\xBC"
         "ber",
         true,
         "\xC3\xBC"
         "ber"},
        {"%C3%9C", true, "\xC3\x9C"}, /* only ASCII is folded */
        {"", true, ""},
        {"%", true, ""},
        {"%4", true, ""},
        {"%4g", true, ""},
        {"%00", true, ""},
        {"%2F", true, ""},
        {"%2541", true, ""}, /* decoded once */
        {"a/b", true, ""},
        {"abc/", true, ""},
        {"a.b", true, ""},
        {"a+b", true, ""},
        {"%C3", true, ""},
        {"%E2%80%AE", true, ""},
        {"%ff", true, ""},
        {"a%20b", true, ""},
    };
    char out[LINK_SLUG_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t length = slug_from_path(cases[i].path, strlen(cases[i].path), cases[i].fold, out);

        if (length != strlen(cases[i].slug) || memcmp(out, cases[i].slug, length) != 0)
            fail_msg("\"%s\" became \"%.*s\"", cases[i].path, (int)length, out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(generated_slugs), cmocka_unit_test(blocked_words),
        cmocka_unit_test(custom_slugs),    cmocka_unit_test(lengths),
        cmocka_unit_test(paths),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
