/* What depends on who asks, and what a domain says: rules, placeholders, late visitors, prefetches,
 * previews, test links; without a socket. */
#include "server/redirect/decision.h"
#include "server/redirect/location.h"
#include "server/redirect/preview.h"
#include "server/redirect/reply.h"
#include "server/redirect/test_link.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/links/rules.h"
#include "server/visitor/classes.h"

#define NOW 1795600000000000
#define ID  "0123456789012345678901234567890123456789012345678901234567890123"

static const struct http_limits limits = {16384, 8192, 100};
static const struct decision_policy refuse = {.refuse_prefetch = true};
static struct http_head head;
static struct request request;
static struct domain domain;
static struct link link_;
static struct decision decision;
static struct click click;
static unsigned char program[RULES_BYTES_MAX];

static struct text as_text(const char *string)
{
    return (struct text){string, strlen(string)};
}

static void set_destination(const char *url, uint32_t flags)
{
    const char *fragment = strchr(url, '#');

    link_.destination = as_text(url);
    link_.fragment_offset = (uint32_t)(fragment ? (size_t)(fragment - url) : strlen(url));
    link_.flags = flags;
    if (memchr(url, '?', link_.fragment_offset))
        link_.flags |= LINK_HAS_QUERY;
    if (strchr(url, '{'))
        link_.flags |= LINK_TEMPLATE;
}

static void set_rules(const char *json)
{
    struct rules_problem problem;
    int length = rules_compile(as_text(json), NULL, NULL, NULL, program, &problem);

    if (length < 0)
        fail_msg("%s: %s", problem.pointer, problem.error.text);
    link_.rules = (struct text){(const char *)program, (size_t)length};
}

static int set_up(void **state)
{
    (void)state;
    domain = (struct domain){.id = 3, .workspace = 2, .redirect_status = 302, .click_id = true};
    link_ = (struct link){.id = 5, .workspace = 2, .domain = 3};
    set_destination("https://shop.example/p", 0);
    return 0;
}

/* Asks for the link as a smartphone in Germany, or as `who` says. */
static enum answer ask(const char *method, const char *target, const struct click *who)
{
    static char text[20000]; /* the request points into it */

    snprintf(text, sizeof text, "%s %s HTTP/1.1\r\nHost: h\r\n\r\n", method, target);
    assert_true(http_head_parse(text, strlen(text), 0, &limits, &head) > 0);
    request_read(&head, &request);
    decide_link(&request, &domain, &link_, NOW, &decision, &click);
    if (!decision.needs_visitor)
        return decision.answer;
    click.device = who ? who->device : DEVICE_SMARTPHONE;
    click.os = who ? who->os : OS_IOS;
    click.verdict = who ? who->verdict : VERDICT_HUMAN;
    memcpy(click.country, who ? who->country : "DE", 2);
    decide_visitor(&request, &link_, &refuse, &decision, &click);
    return decision.answer;
}

static const char *location(const char *id)
{
    static char out[65536];
    struct location_mark mark;
    struct text name = TEXT("kudos_id");
    size_t length = location_write(&decision, &name, id, out, &mark);

    assert_true(length <= location_max(decision.query.length));
    out[length] = '\0';
    if (mark.length > 0) {
        char stripped[65536], without[65536];
        struct location_mark none;

        memcpy(stripped, out, length + 1);
        stripped[location_strip(&mark, stripped, length)] = '\0';
        without[location_write(&decision, &name, NULL, without, &none)] = '\0';
        assert_string_equal(stripped, without);
    }
    return out;
}

static void takes_status_and_click_id_from_link_or_domain(void **state)
{
    (void)state;
    domain.redirect_status = 307;
    assert_int_equal(ask("GET", "/a", NULL), ANSWER_TEMPORARY);
    link_.redirect_status = 301;
    assert_int_equal(ask("GET", "/a", NULL), ANSWER_MOVED);
    assert_int_equal(click.status, 301);
    assert_int_equal(decision.id, ID_PARAMETER);
    domain.click_id = false;
    assert_int_equal(ask("GET", "/a", NULL), ANSWER_MOVED);
    assert_int_equal(decision.id, ID_PARAMETER); /* the link's own word counts */
    link_.flags |= LINK_CLICK_ID_INHERITED;
    ask("GET", "/a", NULL);
    assert_int_equal(decision.id, ID_NONE);
    assert_int_equal(click.flags, CLICK_NO_ID);
    domain.click_id = true;
    ask("GET", "/a", NULL);
    assert_int_equal(decision.id, ID_PARAMETER);
    link_.flags = LINK_NO_CLICK_ID;
    ask("GET", "/a", NULL);
    assert_int_equal(decision.id, ID_NONE);
}

static void follows_the_first_rule_that_matches(void **state)
{
    struct click tablet = {.device = DEVICE_TABLET, .country = "FR"};

    (void)state;
    set_destination("https://shop.example/p?own=1", LINK_PASS_QUERY);
    set_rules("[{\"if\": {\"device\": [\"desktop\"]}, \"then\": {\"destination\": "
              "\"https://desk.example/\"}},"
              "{\"if\": {\"country\": [\"DE\"]}, \"then\": {\"destination\": "
              "\"https://de.example/x?y=1#z\"}}]");
    assert_int_equal(ask("GET", "/a?b=2", NULL), ANSWER_FOUND);
    assert_string_equal(location(ID), "https://de.example/x?y=1&b=2&kudos_id=" ID "#z");
    assert_int_equal(click.route, 2);
    assert_int_equal(click.variant, 0);
    assert_int_equal(click.status, 302);
    assert_int_equal(ask("GET", "/a?b=2", &tablet), ANSWER_FOUND);
    assert_string_equal(location(ID), "https://shop.example/p?own=1&b=2&kudos_id=" ID);
    assert_int_equal(click.route, 0);
    assert_int_equal(ask("HEAD", "/a", NULL), ANSWER_FOUND); /* the same, but no click */
    assert_string_equal(location(NULL), "https://de.example/x?y=1#z");
    assert_false(decision.click);
}

static void splits_by_the_draw(void **state)
{
    struct decision_policy policy = {.draw = 100 * 12345 + 69};

    (void)state;
    set_rules("[{\"if\": {}, \"then\": {\"split\": [{\"weight\": 70, \"destination\": "
              "\"https://a.example/\"},"
              "{\"weight\": 30, \"destination\": \"https://b.example/\"}]}}]");
    ask("GET", "/a", NULL);
    assert_int_equal(click.variant, 1);
    for (int i = 0; i < 2; i++, policy.draw++) {
        decide_link(&request, &domain, &link_, NOW, &decision, &click);
        decide_visitor(&request, &link_, &policy, &decision, &click);
        assert_int_equal(click.variant, 1 + i);
        assert_string_equal(location(NULL), i ? "https://b.example/" : "https://a.example/");
    }
}

static void blocks(void **state)
{
    struct click bot = {.verdict = VERDICT_BOT, .country = "DE", .rule = TEXT("pattern")};

    (void)state;
    set_rules("[{\"if\": {\"country\": [\"DE\"]}, \"then\": {\"block\": 410}}]");
    assert_int_equal(ask("GET", "/a", NULL), ANSWER_GONE);
    assert_true(decision.click && decision.id == ID_NONE);
    assert_int_equal(click.status, 410);
    assert_int_equal(click.route, 1);
    assert_int_equal(click.verdict, VERDICT_INVALID); /* nobody pays for who was turned away */
    assert_memory_equal(click.rule.bytes, "blocked_by_rule", click.rule.length);
    assert_true(click.flags & CLICK_NO_ID);
    ask("GET", "/a", &bot);
    assert_int_equal(click.verdict, VERDICT_BOT);
    set_rules("[{\"if\": {}, \"then\": {\"block\": 404}}]");
    assert_int_equal(ask("GET", "/a", NULL), ANSWER_NOT_FOUND);
    assert_int_equal(ask("HEAD", "/a", NULL), ANSWER_NOT_FOUND);
    assert_false(decision.click);
}

static void puts_the_click_id_before_the_intent(void **state)
{
    struct click android = {.os = OS_ANDROID, .device = DEVICE_SMARTPHONE};

    (void)state;
    set_rules(
        "[{\"if\": {}, \"then\": {\"app\": {\"android\": {\"package\": \"com.shop.app\", \"link\": "
        "\"https://shop.example/p\", \"store\": \"https://play.example/?id=1\"}}}}]");
    ask("GET", "/a", &android);
    assert_string_equal(location(ID), "intent://shop.example/p?kudos_id=" ID "#Intent;scheme=https;"
                                      "package=com.shop.app;S.browser_fallback_url="
                                      "https%3A%2F%2Fplay.example%2F%3Fid%3D1;end");
    assert_int_equal(click.route, 1);
    ask("GET", "/a", NULL); /* iOS: the rule names no target for it */
    assert_string_equal(location(NULL), "https://shop.example/p");
    assert_int_equal(click.route, 0);
}

static void fills_in_placeholders_of_the_store_too(void **state)
{
    struct click android = {.os = OS_ANDROID, .device = DEVICE_SMARTPHONE, .country = "AT"};

    (void)state;
    set_rules("[{\"if\": {}, \"then\": {\"app\": {\"android\": {\"package\": \"com.shop.app\", "
              "\"link\": \"https://shop.example/p\", \"store\": "
              "\"https://play.example/{country}?referrer=kudos%3D{click_id}&x={y1}\"}}}}]");
    ask("GET", "/a", &android);
    assert_int_equal(decision.id, ID_IN_PLACE);
    assert_string_equal(location(ID),
                        "intent://shop.example/p#Intent;scheme=https;package=com.shop.app;"
                        "S.browser_fallback_url=https%3A%2F%2Fplay.example%2FAT%3Freferrer%3Dkudos"
                        "%253D" ID "%26x%3D%7By1%7D;end");
}

static void fills_in_placeholders(void **state)
{
    struct click nowhere = {.country = ""}, odd = {.country = {'\r', '&'}};

    (void)state;
    set_destination("https://n.example/{country}/{click_id}?c={country}&i={click_id}#{click_id}",
                    LINK_NO_CLICK_ID); /* which forbids only the parameter */
    ask("GET", "/a", NULL);
    assert_int_equal(decision.id, ID_IN_PLACE);
    assert_int_equal(click.flags, 0);
    assert_string_equal(location(ID), "https://n.example/DE/" ID "?c=DE&i=" ID "#" ID);
    assert_string_equal(location(NULL), "https://n.example/DE/?c=DE&i=#");
    ask("GET", "/a", &nowhere);
    assert_string_equal(location(NULL), "https://n.example//?c=&i=#");
    ask("GET", "/a", &odd);
    assert_string_equal(location(NULL), "https://n.example/%0D%26/?c=%0D%26&i=#");
    ask("HEAD", "/a", NULL);
    assert_int_equal(decision.id, ID_NONE);
    assert_string_equal(location(NULL), "https://n.example/DE/?c=DE&i=#");

    set_destination("https://n.example/{country}{x}{#{", LINK_PASS_QUERY);
    ask("GET", "/a?{click_id}", NULL); /* what a visitor sends is no placeholder */
    assert_string_equal(location(ID), "https://n.example/DE{x}{?%7Bclick_id%7D&kudos_id=" ID "#{");
}

static void bounds_what_it_fills_in(void **state)
{
    char url[LINK_DESTINATION_MAX + 1] = "https://n.example/";

    (void)state;
    while (strlen(url) + 10 <= LINK_DESTINATION_MAX)
        strcat(url, "{click_id}");
    set_destination(url, 0);
    ask("GET", "/a", NULL);
    assert_true(strlen(location(ID)) > 400 * CLICK_ID_LENGTH);
}

static void late_visitors_go_to_the_fallback(void **state)
{
    (void)state;
    link_.flags |= LINK_USED_UP;
    assert_int_equal(ask("GET", "/a", NULL), ANSWER_GONE);
    assert_false(decision.click);
    domain.fallback = TEXT("https://shop.example/{country}");
    domain.redirect_status = 301;
    assert_int_equal(ask("GET", "/a", NULL), ANSWER_FOUND);
    assert_string_equal(location(NULL), "https://shop.example/{country}"); /* as it is */
    assert_int_equal(click.verdict, VERDICT_INVALID);
    assert_memory_equal(click.rule.bytes, "link_used_up", click.rule.length);
    link_.fallback = TEXT("https://late.example/{country}?x={click_id}");
    link_.flags |= LINK_FALLBACK_TEMPLATE;
    set_rules(
        "[{\"if\": {}, \"then\": {\"block\": 404}}]"); /* the link is over, and its rules with it */
    assert_int_equal(ask("GET", "/a", NULL), ANSWER_FOUND);
    assert_string_equal(location(NULL), "https://late.example/DE?x=");
    assert_int_equal(decision.id, ID_NONE);
    link_.flags &= ~(uint32_t)LINK_USED_UP;
    link_.expires_at_us = NOW;
    ask("GET", "/a", NULL);
    assert_memory_equal(click.rule.bytes, "link_expired", click.rule.length);
}

static void refuses_prefetches(void **state)
{
    static const struct decision_policy serve = {.refuse_prefetch = false};
    struct click early = {.verdict = VERDICT_PREFETCH};

    (void)state;
    set_rules("[{\"if\": {}, \"then\": {\"destination\": \"https://a.example/\"}}]");
    assert_int_equal(ask("GET", "/a", &early), ANSWER_PREFETCH);
    assert_true(decision.click && decision.id == ID_NONE);
    assert_int_equal(click.status, 503);
    assert_int_equal(click.verdict, VERDICT_PREFETCH);
    assert_true(click.flags & CLICK_NO_ID);
    decide_link(&request, &domain, &link_, NOW, &decision, &click);
    click.verdict = VERDICT_PREFETCH;
    decide_visitor(&request, &link_, &serve, &decision, &click);
    assert_int_equal(decision.answer, ANSWER_FOUND);
}

static void domains_answer_themselves(void **state)
{
    (void)state;
    ask("GET", "/", NULL);
    decide_domain(ROUTE_ROOT, &domain, &decision);
    assert_int_equal(decision.answer, ANSWER_NOT_FOUND);
    domain.root_destination = TEXT("https://shop.example/#x");
    decide_domain(ROUTE_ROOT, &domain, &decision);
    assert_int_equal(decision.answer, ANSWER_FOUND);
    assert_string_equal(location(NULL), "https://shop.example/#x");
    assert_false(decision.click);
    decide_domain(ROUTE_ASSOCIATION, &domain, &decision);
    assert_int_equal(decision.answer, ANSWER_NOT_FOUND);
    domain.assetlinks = TEXT("[]");
    decide_domain(ROUTE_ASSETLINKS, &domain, &decision);
    assert_int_equal(decision.answer, ANSWER_JSON);
    assert_memory_equal(decision.body.bytes, "[]", 2);

    domain.not_found_destination = TEXT("https://shop.example/404");
    decide_link(&request, &domain, NULL, NOW, &decision, &click);
    assert_int_equal(decision.answer, ANSWER_FOUND);
    assert_false(decision.click || decision.needs_visitor);
    assert_string_equal(location(NULL), "https://shop.example/404");
    link_.state = LINK_DISABLED;
    assert_int_equal(ask("GET", "/a", NULL), ANSWER_FOUND);
    assert_string_equal(location(NULL), "https://shop.example/404");
    link_.state = LINK_ACTIVE;
    assert_int_equal(ask("GET", "/a+", NULL), ANSWER_FOUND);
    assert_false(decision.click);
    assert_int_equal(decision.id, ID_NONE);
    decide_link(&request, &domain, NULL, NOW, &decision, &click);
    assert_int_equal(decision.answer, ANSWER_NOT_FOUND); /* a page is wanted, not a place to go */
}

static const char *page(struct preview preview)
{
    static char out[PREVIEW_MAX + 1];

    preview.link = &link_;
    out[preview_write(&preview, out)] = '\0';
    return out;
}

static void shows_where_a_link_leads(void **state)
{
    struct preview preview = {.host = TEXT("go.example"),
                              .destination = TEXT("https://shop.example/?a=1&b='<x>")};
    const char *text;

    (void)state;
    link_.slug = TEXT("abc");
    text = page(preview);
    assert_non_null(strstr(text, "go.example/abc"));
    assert_non_null(strstr(text, "https://shop.example/?a=1&amp;b=&#39;&lt;x&gt;"));
    assert_null(strstr(text, "Campaign"));
    assert_null(strstr(text, "Shared by"));
    link_.campaign_name = TEXT("<script>alert(1)</script>\"\r\n");
    link_.influencer_name = TEXT("A & B");
    link_.influencer_url = TEXT("https://i.example/\"onclick=\"x");
    text = page(preview);
    assert_null(strstr(text, "<script"));
    assert_non_null(strstr(text, "&lt;script&gt;alert(1)&lt;/script&gt;&quot;  </bdi>"));
    assert_non_null(
        strstr(text, "href=\"https://i.example/&quot;onclick=&quot;x\"><bdi>A &amp; B"));
    link_.influencer_url = TEXT("javascript:alert(1)");
    assert_null(strstr(page(preview), "javascript"));
    preview.is_late = true;
    assert_non_null(strstr(page(preview), "is over"));
}

static void bounds_the_page(void **state)
{
    static char many[LINK_DESTINATION_MAX];
    struct preview preview = {.host = {many, LINK_HOST_MAX}, .destination = {many, sizeof many}};

    (void)state;
    memset(many, '"', sizeof many);
    memcpy(many, "https://", 8);
    link_.slug = (struct text){many, LINK_SLUG_MAX};
    link_.campaign_name = link_.influencer_name = (struct text){many, LINK_NAME_MAX};
    link_.influencer_url = (struct text){many, LINK_PROFILE_MAX};
    link_.rules = TEXT("x");
    assert_true(strlen(page(preview)) < PREVIEW_MAX);
    assert_true(strlen(page((struct preview){.host = TEXT("")})) <
                PREVIEW_FIXED_MAX + 6 * (3 * LINK_SLUG_MAX + 2 * LINK_NAME_MAX + LINK_PROFILE_MAX));
}

static void the_style_has_the_hash_that_is_sent(void **state)
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    char encoded[64];

    (void)state;
    crypto_hash_sha256(hash, (const unsigned char *)PREVIEW_STYLE, strlen(PREVIEW_STYLE));
    sodium_bin2base64(encoded, sizeof encoded, hash, sizeof hash, sodium_base64_VARIANT_ORIGINAL);
    assert_string_equal(PREVIEW_STYLE_HASH + strlen("sha256-"), encoded);
}

static void writes_bodies_of_its_own(void **state)
{
    struct decision own = {.answer = ANSWER_JSON, .body = TEXT("{\"a\": 1}")};
    static struct reply_writer writer;
    struct location_mark mark;
    char out[2048];

    (void)state;
    reply_open(&writer, "kudos_id");
    reply_set_time(&writer, NOW);
    out[reply_write(&writer, &own, REPLY_CLOSE, true, NULL, out, &mark)] = '\0';
    assert_non_null(strstr(out, "Content-Type: application/json\r\n"));
    assert_non_null(strstr(out, "Content-Length: 8\r\nConnection: close\r\n\r\n{\"a\": 1}"));
    out[reply_write(&writer, &own, REPLY_STAYS, false, NULL, out, &mark)] = '\0';
    assert_non_null(strstr(out, "Content-Length: 8\r\n\r\n"));
    assert_null(strstr(out, "{"));
    own.answer = ANSWER_PREVIEW;
    out[reply_write(&writer, &own, REPLY_STAYS, true, NULL, out, &mark)] = '\0';
    assert_non_null(
        strstr(out, "\r\nContent-Security-Policy: default-src 'none'; style-src 'sha256-"));
    assert_non_null(strstr(out, "\r\nX-Content-Type-Options: nosniff\r\n"));
    assert_true(reply_max(0) >= REPLY_HEAD_MAX + DOMAIN_JSON_MAX);
}

static void knows_test_links(void **state)
{
    unsigned char secret[CLICK_ID_SECRET_BYTES] = {1}, other[CLICK_ID_SECRET_BYTES] = {2};
    char sign[TEST_LINK_SIGN_LENGTH + 1], query[256];

    (void)state;
    test_link_sign(5, secret, sign);
    assert_int_equal(strlen(sign), TEST_LINK_SIGN_LENGTH);
    snprintf(query, sizeof query, "a=1&kudos_test=x&kudos_test=%s&b", sign);
    assert_true(test_link_is_signed(as_text(query), 5, secret));
    assert_false(test_link_is_signed(as_text(query), 6, secret));
    assert_false(test_link_is_signed(as_text(query), 5, other));
    query[strlen(query) - 3]++;
    assert_false(test_link_is_signed(as_text(query), 5, secret));
    assert_false(test_link_is_signed(as_text("kudos_test="), 5, secret));
    assert_false(test_link_is_signed((struct text){NULL, 0}, 5, secret));
    set_destination("https://shop.example/p", LINK_PASS_QUERY);
    snprintf(query, sizeof query, "/a?x=1&kudos_test=%s", sign);
    ask("GET", query, NULL);
    assert_string_equal(location(NULL), "https://shop.example/p?x=1"); /* it is for us alone */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(takes_status_and_click_id_from_link_or_domain, set_up),
        cmocka_unit_test_setup(follows_the_first_rule_that_matches, set_up),
        cmocka_unit_test_setup(splits_by_the_draw, set_up),
        cmocka_unit_test_setup(blocks, set_up),
        cmocka_unit_test_setup(puts_the_click_id_before_the_intent, set_up),
        cmocka_unit_test_setup(fills_in_placeholders_of_the_store_too, set_up),
        cmocka_unit_test_setup(fills_in_placeholders, set_up),
        cmocka_unit_test_setup(bounds_what_it_fills_in, set_up),
        cmocka_unit_test_setup(late_visitors_go_to_the_fallback, set_up),
        cmocka_unit_test_setup(refuses_prefetches, set_up),
        cmocka_unit_test_setup(domains_answer_themselves, set_up),
        cmocka_unit_test_setup(shows_where_a_link_leads, set_up),
        cmocka_unit_test_setup(bounds_the_page, set_up),
        cmocka_unit_test_setup(the_style_has_the_hash_that_is_sent, set_up),
        cmocka_unit_test_setup(writes_bodies_of_its_own, set_up),
        cmocka_unit_test_setup(knows_test_links, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
