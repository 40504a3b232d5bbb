/* Routing rules: what is compiled is what is chosen, what is refused says where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/links/rules.h"
#include "server/visitor/classes.h"
#include "shared/timestamp.h"

static struct text as_text(const char *string)
{
    return (struct text){string, strlen(string)};
}

static bool is_own(void *owner, struct text host)
{
    (void)owner;
    return text_equals_nocase(host, "go.example");
}

static unsigned char program[RULES_BYTES_MAX];

static struct text compile(const char *json)
{
    struct rules_problem problem = {.pointer = ""};
    int length = rules_compile(as_text(json), NULL, is_own, NULL, program, &problem);

    if (length < 0)
        fail_msg("%s: %s", problem.pointer, problem.error.text);
    return (struct text){(const char *)program, (size_t)length};
}

static void assert_refused(const char *json, const char *pointer, const char *reason)
{
    struct rules_problem problem = {.pointer = ""};

    assert_int_equal(rules_compile(as_text(json), NULL, is_own, NULL, program, &problem), -1);
    assert_string_equal(problem.pointer, pointer);
    if (!strstr(problem.error.text, reason))
        fail_msg("\"%s\" does not say \"%s\"", problem.error.text, reason);
}

static struct click visitor_click(void)
{
    return (struct click){.device = DEVICE_SMARTPHONE,
                          .os = OS_IOS,
                          .verdict = VERDICT_HUMAN,
                          .country = {'D', 'E'},
                          .region = as_text("BE"),
                          .city = as_text("Berlin"),
                          .language = as_text("de-AT")};
}

static struct rules_choice choose(struct text rules, const struct click *click, const char *query,
                                  uint64_t draw)
{
    struct rules_visitor visitor = {
        .click = click, .query = as_text(query), .now_us = 1000000, .draw = draw};
    struct rules_choice choice;

    rules_choose(rules, &visitor, &choice);
    return choice;
}

static void assert_goes(struct rules_choice choice, int route, const char *url)
{
    assert_int_equal(choice.action, RULES_REDIRECT);
    assert_int_equal(choice.route, route);
    assert_int_equal(choice.destination.length, strlen(url));
    assert_memory_equal(choice.destination.bytes, url, strlen(url));
}

/* Each condition alone: the one that holds, and the one that does not. */
static void test_conditions(void **state)
{
    static const char *const cases[][2] = {
        {"\"device\":[\"tablet\",\"smartphone\"]", "\"device\":[\"desktop\"]"},
        {"\"os\":[\"ios\"]", "\"os\":[\"Android\"]"},
        {"\"app\":[\"unknown\"]", "\"app\":[\"Instagram\"]"},
        {"\"verdict\":[\"human\"]", "\"verdict\":[\"bot\",\"preview\"]"},
        {"\"country\":[\"at\",\"de\"]", "\"country\":[\"FR\"]"},
        {"\"region\":[\"DE-BE\"]", "\"region\":[\"FR-BE\",\"DE-BY\"]"},
        {"\"city\":[\"berlin\"]", "\"city\":[\"Bern\"]"},
        {"\"language\":[\"de\"]", "\"language\":[\"de-CH\",\"d\"]"},
        {"\"query\":{\"src\":\"tt\",\"x\":null}", "\"query\":{\"src\":\"t\"}"},
        {"\"time\":{\"until\":\"1970-01-01T00:00:02Z\"}",
         "\"time\":{\"from\":\"1970-01-01T00:00:02Z\"}"},
    };
    struct click click = visitor_click();
    char json[512];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int holds = 0; holds < 2; holds++) {
            snprintf(json, sizeof json,
                     "[{\"if\":{%s},\"then\":{\"destination\":\"https://x.example/\"}}]",
                     cases[i][!holds]);
            if ((choose(compile(json), &click, "a=1&src=tt&x", 0).action == RULES_REDIRECT) !=
                holds)
                fail_msg("%s", json);
        }
    }
}

static void test_first_match_wins(void **state)
{
    struct click click = visitor_click();
    struct text rules = compile("[{\"if\":{\"device\":[\"desktop\"]},\"then\":{\"block\":404}},"
                                "{\"if\":{\"os\":[\"iOS\"],\"country\":[\"FR\"]},\"then\":{"
                                "\"destination\":\"https://fr.example\"}},"
                                "{\"if\":{\"os\":[\"iOS\"],\"country\":[\"DE\"]},\"then\":{"
                                "\"destination\":\"https://de.example/a?b#c\"}},"
                                "{\"if\":{},\"then\":{\"block\":410}}]");
    struct rules_choice choice = choose(rules, &click, "", 0);

    (void)state;
    assert_goes(choice, 3, "https://de.example/a?b#c");
    assert_true(choice.has_query);
    assert_int_equal(choice.fragment_offset, strlen("https://de.example/a?b"));
    click.country[0] = 'X';
    choice = choose(rules, &click, "", 0);
    assert_int_equal(choice.action, RULES_BLOCK);
    assert_int_equal(choice.status, 410);
    assert_int_equal(choice.route, 4);
}

static void test_split(void **state)
{
    struct click click = visitor_click();
    struct text rules = compile(
        "[{\"if\":{},\"then\":{\"split\":[{\"weight\":70,\"destination\":\"https://a.example\"},"
        "{\"weight\":30,\"destination\":\"https://b.example\"}]}}]");
    int first = 0;

    (void)state;
    for (uint64_t draw = 0; draw < 1000; draw++) {
        struct rules_choice choice = choose(rules, &click, "", draw);

        assert_int_equal(choice.action, RULES_REDIRECT);
        assert_in_range(choice.variant, 1, 2);
        assert_goes(choice, 1, choice.variant == 1 ? "https://a.example/" : "https://b.example/");
        first += choice.variant == 1;
    }
    assert_int_equal(first, 700);
}

static void test_app(void **state)
{
    struct click click = visitor_click();
    struct text rules = compile(
        "[{\"if\":{},\"then\":{\"app\":{\"ios\":{\"link\":\"https://u.example/p\","
        "\"store\":\"https://apps.apple.com/1\"},\"android\":{\"package\":\"com.x.y\",\"link\":"
        "\"https://u.example/p?q=1\",\"store\":\"https://play.google.com/?id=1\"}}}}]");
    struct rules_choice choice;

    (void)state;
    assert_goes(choose(rules, &click, "", 0), 1, "https://u.example/p");
    click.os = OS_ANDROID;
    choice = choose(rules, &click, "", 0);
    assert_goes(choice, 1,
                "intent://u.example/p?q=1#Intent;scheme=https;package=com.x.y;"
                "S.browser_fallback_url=https%3A%2F%2Fplay.google.com%2F%3Fid%3D1;end");
    assert_int_equal(choice.fragment_offset, strlen("intent://u.example/p?q=1"));
    click.app = 1;
    assert_goes(choose(rules, &click, "", 0), 1, "https://play.google.com/?id=1");
    click.os = OS_WINDOWS;
    assert_int_equal(choose(rules, &click, "", 0).action, RULES_NOTHING);
}

static void test_refusals(void **state)
{
    (void)state;
    assert_refused("{}", "", "array");
    assert_refused("[", "", "JSON");
    assert_refused("[{\"if\":{},\"then\":{\"block\":404},\"else\":1}]", "/0/else", "unknown field");
    assert_refused("[{\"if\":{\"gender\":[\"x\"]},\"then\":{\"block\":404}}]", "/0/if/gender",
                   "unknown field");
    assert_refused("[{\"if\":{\"device\":[\"tablet\",\"phone\"]},\"then\":{\"block\":404}}]",
                   "/0/if/device/1", "phone");
    assert_refused("[{\"if\":{\"device\":[]},\"then\":{\"block\":404}}]", "/0/if/device", "1 to");
    assert_refused("[{\"if\":{\"region\":[\"CA\"]},\"then\":{\"block\":404}}]", "/0/if/region/0",
                   "US-CA");
    assert_refused("[{\"if\":{\"time\":{\"from\":\"yesterday\"}},\"then\":{\"block\":404}}]",
                   "/0/if/time/from", "2026");
    assert_refused("[{\"if\":{},\"then\":{}}]", "/0/then", "one of");
    assert_refused("[{\"if\":{},\"then\":{\"block\":500}}]", "/0/then/block", "404 or 410");
    assert_refused("[{\"if\":{},\"then\":{\"destination\":\"ftp://x\"}}]", "/0/then/destination",
                   "");
    assert_refused("[{\"if\":{},\"then\":{\"destination\":\"https://GO.example/x\"}}]",
                   "/0/then/destination", "short domain");
    assert_refused("[{\"if\":{},\"then\":{\"destination\":\"https://x.example/{handel}\"}}]",
                   "/0/then/destination", "{handel}");
    assert_refused("[{\"if\":{},\"then\":{\"destination\":\"https://{handle}.example/\"}}]",
                   "/0/then/destination", "host");
    assert_refused("[{\"if\":{},\"then\":{\"destination\":\"https://x-{Country}.example/\"}}]",
                   "/0/then/destination", "host");
    assert_refused(
        "[{\"if\":{},\"then\":{\"split\":[{\"weight\":60,\"destination\":\"https://a.b\"},"
        "{\"weight\":30,\"destination\":\"https://a.b\"}]}}]",
        "/0/then/split", "90");
    assert_refused("[{\"if\":{},\"then\":{\"app\":{\"android\":{\"package\":\"x;y\"}}}}]",
                   "/0/then/app/android/package", "package");
}

/* A damaged program is never read past its end (the sanitizers watch), whatever it chooses. */
static void test_damage(void **state)
{
    struct click click = visitor_click();
    struct text rules =
        compile("[{\"if\":{\"city\":[\"Bern\",\"Berlin\"],\"query\":{\"a\":\"1\"}},"
                "\"then\":{\"split\":[{\"weight\":50,\"destination\":\"https://a.example\"},"
                "{\"weight\":50,\"destination\":\"https://b.example\"}]}}]");

    (void)state;
    for (size_t length = 0; length < rules.length; length++) {
        unsigned char *copy = malloc(length ? length : 1);

        assert_non_null(copy);
        memcpy(copy, rules.bytes, length);
        assert_int_equal(choose((struct text){(char *)copy, length}, &click, "a=1", 7).action,
                         RULES_NOTHING);
        free(copy);
    }
    for (size_t i = 0; i < 8 * rules.length; i++) {
        unsigned char *copy = malloc(rules.length);

        assert_non_null(copy);
        memcpy(copy, rules.bytes, rules.length);
        copy[i / 8] ^= (unsigned char)(1 << (i % 8));
        (void)choose((struct text){(char *)copy, rules.length}, &click, "a=1", 7);
        free(copy);
    }
}

static void test_targets(void **state)
{
    struct target_values values = {.handle = as_text("anna b"),
                                   .code = as_text("ANNA20"),
                                   .campaign = as_text("spring"),
                                   .slug = as_text("x")};
    struct target target;
    struct error error;

    (void)state;
    values.utm[0] = as_text("{handle}");
    values.utm[1] = as_text("influencer");
    assert_true(
        target_compile(as_text("https://x.example/{code}/{country}?a={click_id}&utm_medium=own#f"),
                       &values, &target, &error));
    assert_string_equal(target.url, "https://x.example/ANNA20/{country}?a={click_id}&utm_medium=own"
                                    "&utm_source=anna%20b#f");
    assert_true(target.is_template);
    assert_int_equal(target.url[target.fragment_offset], '#');
    assert_true(target_compile(as_text("HTTPS://X.example/{handle}"), NULL, &target, &error));
    assert_string_equal(target.url, "https://x.example/{handle}");
    values.handle = as_text("a/../../?&#\r\n");
    assert_true(target_compile(as_text("https://x.example/{handle}"), &values, &target, &error));
    assert_string_equal(target.url,
                        "https://x.example/a%2F..%2F..%2F%3F%26%23%0D%0A"
                        "?utm_source=a%2F..%2F..%2F%3F%26%23%0D%0A&utm_medium=influencer");
    assert_false(target.is_template);
}

static void test_timestamps(void **state)
{
    static const char *const bad[] = {"2026-02-30T00:00:00Z",  "2026-06-01",
                                      "2026-06-01T24:00:00Z",  "2026-06-01T00:00:00",
                                      "2026-06-01T00:00:00Zx", "2026-06-01T00:00:00+2:00",
                                      "1969-06-01T00:00:00Z",  "",
                                      "2026-06-01T00:00:00.Z"};
    int64_t us;

    (void)state;
    assert_true(timestamp_parse(as_text("1970-01-02T01:00:00.25+01:00"), &us));
    assert_int_equal(us, 86400250000);
    assert_true(timestamp_parse(as_text("2024-02-29t00:00:00z"), &us));
    assert_int_equal(us, 1709164800000000);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(timestamp_parse(as_text(bad[i]), &us));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conditions), cmocka_unit_test(test_first_match_wins),
        cmocka_unit_test(test_split),      cmocka_unit_test(test_app),
        cmocka_unit_test(test_refusals),   cmocka_unit_test(test_damage),
        cmocka_unit_test(test_targets),    cmocka_unit_test(test_timestamps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
