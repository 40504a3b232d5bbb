/* Language, referrer host and verdict from header values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "server/visitor/bot.h"
#include "server/visitor/classes.h"
#include "server/visitor/language.h"
#include "server/visitor/parameters.h"
#include "server/visitor/referrer.h"

static struct text as_text(const char *string)
{
    return (struct text){string, strlen(string)};
}

static void assert_text(struct text text, const char *expected)
{
    assert_int_equal(text.length, strlen(expected));
    assert_memory_equal(text.bytes ? text.bytes : "", expected, text.length);
}

static void test_language(void **state)
{
    static const char *const cases[][2] = {
        {"de-DE,de;q=0.9,en;q=0.8", "de-DE"},
        {"en;q=0.5, fr;q=0.9", "fr"},
        {"PT-br", "pt-BR"},
        {"zh-hant-tw;q=1.0", "zh-Hant-TW"},
        {"*", ""},
        {"", ""},
        {"en;q=0", ""},
        {"x<script>,en", "en"},
        {"-en,en-,de", "de"},
        {"en;q=0.001,de;q=0.002", "de"},
    };
    char out[EVENT_LANGUAGE_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_text(language_preferred(as_text(cases[i][0]), out), cases[i][1]);
}

static void test_referrer(void **state)
{
    static const char *const cases[][2] = {
        {"https://www.Instagram.com/p/x", "www.instagram.com"},
        {"http://user:pw@host.example:8080/x", "host.example"},
        {"https://l.instagram.com", "l.instagram.com"},
        {"https://t.co.?x", "t.co"},
        {"android-app://com.twitter.android/", "com.twitter.android"},
        {"javascript:alert(1)", ""},
        {"https:///path", ""},
        {"https://a b.example/", ""},
        {"https://evil\r\n.example/", ""},
        {"about:client", ""},
        {"", ""},
    };
    char out[EVENT_REFERRER_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_text(referrer_host(as_text(cases[i][0]), out), cases[i][1]);
}

static void test_parameters(void **state)
{
    static const struct {
        const char *query;
        uint8_t medium;
        const char *platform;
    } cases[] = {
        {"gclid=Cj0KCQ", MEDIUM_PAID, "Google Ads"},
        {"a=1&wbraid=x&b=2", MEDIUM_PAID, "Google Ads"},
        {"ScCid=x", MEDIUM_PAID, "Snapchat"},
        {"utm_medium=CPC", MEDIUM_PAID, "unknown"},
        {"utm_medium=cpc&ttclid=x", MEDIUM_PAID, "TikTok"},
        {"ttclid=x&gclid=y", MEDIUM_PAID, "TikTok"},
        {"fbclid=IwAR0", MEDIUM_SOCIAL, "unknown"}, /* every link on Facebook has one */
        {"fbclid=IwAR0&msclkid=1", MEDIUM_PAID, "Bing"},
        {"igsh=MzRl", MEDIUM_SOCIAL, "Instagram"},
        {"utm_medium=influencer", CLASS_UNKNOWN, "unknown"},
        {"gclid", CLASS_UNKNOWN, "unknown"},
        {"gclid=&xgclid=1&gclidx=1", CLASS_UNKNOWN, "unknown"},
        {"", CLASS_UNKNOWN, "unknown"},
        {"&&==&", CLASS_UNKNOWN, "unknown"},
    };
    struct error error;
    struct parameters *parameters = parameters_open(&error);

    (void)state;
    assert_non_null(parameters);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct origin origin = parameters_origin(parameters, as_text(cases[i].query));

        assert_int_equal(origin.medium, cases[i].medium);
        assert_string_equal(platform_name(origin.platform), cases[i].platform);
    }
    parameters_close(parameters);
}

static void assert_verdict(const struct lists *lists, struct visitor_request request,
                           enum verdict verdict, const char *rule)
{
    struct click click = {.verdict = 99};
    struct bot_evidence evidence = {.untracked = false};

    agent_read(lists, &(struct agent_request){.user_agent = request.user_agent}, &evidence.agent);
    bot_judge(&request, &evidence, &click);
    assert_int_equal(click.verdict, verdict);
    assert_text(click.rule, rule);
}

static void test_verdict(void **state)
{
    const char *phone =
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 "
        "(KHTML, like Gecko) Version/17.0 Mobile/15E148 Safari/604.1";
    struct error error;
    struct lists *lists = lists_open("", &error);

    (void)state;
    assert_non_null(lists);
    assert_verdict(lists, (struct visitor_request){.user_agent = as_text(phone)}, VERDICT_HUMAN,
                   "");
    assert_verdict(lists,
                   (struct visitor_request){.user_agent = as_text("Mozilla/5.0 (compatible; "
                                                                  "Googlebot/2.1)")},
                   VERDICT_BOT, "crawler Googlebot/");
    assert_verdict(lists,
                   (struct visitor_request){.user_agent = as_text("facebookexternalhit/1.1")},
                   VERDICT_PREVIEW, "preview Facebook");
    assert_verdict(lists,
                   (struct visitor_request){.user_agent = as_text(phone),
                                            .sec_purpose = as_text("prefetch;prerender")},
                   VERDICT_PREFETCH, "Sec-Purpose");
    assert_verdict(
        lists,
        (struct visitor_request){.user_agent = as_text(phone), .purpose = as_text("Prefetch")},
        VERDICT_PREFETCH, "Purpose");
    lists_close(lists);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_language),
        cmocka_unit_test(test_referrer),
        cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_verdict),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
