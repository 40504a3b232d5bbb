/* The payload format: what goes in comes out, hostile text becomes harmless, and nothing that was
 * not encoded is accepted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/clicks/event.h"

static struct event full_click(void)
{
    struct event event = {.kind = EVENT_CLICK};

    event.click = (struct click){
        .time_us = 1795299300123456,
        .link = 0x1122334455667788,
        .domain = 2,
        .workspace = 3,
        .campaign = 4,
        .influencer = 5,
        .visitor = UINT64_MAX,
        .flags = CLICK_NO_VISITOR,
        .asn = 3320,
        .status = 302,
        .verdict = VERDICT_PREVIEW,
        .device = 1,
        .os = 2,
        .browser = 3,
        .app = 4,
        .medium = 5,
        .platform = 6,
        .variant = 7,
        .route = 258,
        .country = "DE",
        .rule = TEXT("agent:curl"),
        .referrer_host = TEXT("l.instagram.com"),
        .language = TEXT("de-AT"),
        .region = TEXT("BY"),
        .city = TEXT("M\xC3\xBCnchen"),
    };
    return event;
}

static void assert_text(struct text text, const char *expected)
{
    assert_int_equal(text.length, strlen(expected));
    assert_memory_equal(text.bytes ? text.bytes : "", expected, text.length);
}

/* Decodes from an allocation of exactly `length` bytes, so that the sanitizers see any step over. */
static bool decode(const unsigned char *bytes, size_t length, struct event *out)
{
    static unsigned char *copy; /* texts point into it */
    struct error error;

    free(copy);
    copy = malloc(length ? length : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, length);
    return event_decode(copy, length, out, &error);
}

static void click_survives(void **state)
{
    unsigned char payload[EVENT_PAYLOAD_MAX];
    struct event in = full_click(), out;
    size_t length = event_encode(&in, payload);

    (void)state;
    assert_true(decode(payload, length, &out));
    assert_int_equal(out.kind, EVENT_CLICK);
    assert_int_equal(out.click.time_us, in.click.time_us);
    assert_true(out.click.link == in.click.link && out.click.visitor == UINT64_MAX);
    assert_int_equal(out.click.domain, 2);
    assert_int_equal(out.click.workspace, 3);
    assert_int_equal(out.click.campaign, 4);
    assert_int_equal(out.click.influencer, 5);
    assert_int_equal(out.click.flags, CLICK_NO_VISITOR);
    assert_int_equal(out.click.asn, 3320);
    assert_int_equal(out.click.status, 302);
    assert_int_equal(out.click.route, 258);
    assert_int_equal(out.click.verdict, VERDICT_PREVIEW);
    assert_memory_equal(&out.click.device, &in.click.device, 7);
    assert_memory_equal(out.click.country, "DE", 2);
    assert_text(out.click.rule, "agent:curl");
    assert_text(out.click.referrer_host, "l.instagram.com");
    assert_text(out.click.language, "de-AT");
    assert_text(out.click.region, "BY");
    assert_text(out.click.city, "M\xC3\xBCnchen");
}

static void lost_and_gap_survive(void **state)
{
    unsigned char payload[EVENT_PAYLOAD_MAX];
    struct event in = {.kind = EVENT_LOST}, out;
    size_t length;

    (void)state;
    in.lost = (struct lost){.episode = 9, .count = 100, .from_us = -1, .until_us = 77};
    length = event_encode(&in, payload);
    assert_true(decode(payload, length, &out));
    assert_int_equal(out.kind, EVENT_LOST);
    assert_int_equal(out.lost.episode, 9);
    assert_int_equal(out.lost.count, 100);
    assert_int_equal(out.lost.from_us, -1);
    assert_int_equal(out.lost.until_us, 77);

    in.kind = EVENT_GAP;
    in.gap = (struct gap){.first = 5, .last = 1ull << 62, .reason = TEXT("damaged segment")};
    length = event_encode(&in, payload);
    assert_true(decode(payload, length, &out));
    assert_int_equal(out.kind, EVENT_GAP);
    assert_int_equal(out.gap.first, 5);
    assert_true(out.gap.last == 1ull << 62);
    assert_text(out.gap.reason, "damaged segment");
}

/* Encodes `in` as a city (at most 96 bytes) and looks at what is stored. */
static void assert_city(struct text in, const char *expected)
{
    unsigned char payload[EVENT_PAYLOAD_MAX];
    struct event event = full_click(), out;
    size_t length;

    event.click.city = in;
    length = event_encode(&event, payload);
    assert_true(decode(payload, length, &out));
    assert_text(out.click.city, expected);
}

static void hostile_text_is_made_harmless(void **state)
{
    char long_text[400], expected[EVENT_CITY_MAX + 1];

    (void)state;
    assert_city(TEXT("a\0b"), "a\xEF\xBF\xBD"
                              "b");
    assert_city(TEXT("\xC0\xAF"), "\xEF\xBF\xBD\xEF\xBF\xBD");                 /* overlong */
    assert_city(TEXT("\xED\xA0\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"); /* surrogate */
    assert_city(TEXT("\xF4\x90\x80\x80x"),
                "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDx"); /* too large */
    assert_city(TEXT("ok\xE2\x82"), "ok\xEF\xBF\xBD\xEF\xBF\xBD");    /* cut off */
    assert_city(TEXT("\xF0\x9F\x98\x80\xE2\x82\xAC\xC3\xA9"),
                "\xF0\x9F\x98\x80\xE2\x82\xAC\xC3\xA9");
    assert_city(TEXT("12345678\x80"), "12345678\xEF\xBF\xBD");
    assert_city(TEXT("1234567\0"), "1234567\xEF\xBF\xBD");

    /* Cut at a character boundary: 95 letters, then a character of two bytes. */
    memset(long_text, 'x', sizeof long_text);
    memcpy(long_text + 95, "\xC3\xA9", 2);
    memset(expected, 'x', sizeof expected);
    expected[95] = '\0';
    assert_city((struct text){long_text, sizeof long_text}, expected);
    /* The replacement counts into the maximum. */
    memset(long_text, 0xFF, sizeof long_text);
    for (size_t i = 0; i < EVENT_CITY_MAX; i++)
        expected[i] = "\xEF\xBF\xBD"[i % 3];
    expected[EVENT_CITY_MAX] = '\0';
    assert_city((struct text){long_text, sizeof long_text}, expected);
}

static void country_is_two_letters_or_none(void **state)
{
    unsigned char payload[EVENT_PAYLOAD_MAX];
    struct event event = full_click(), out;

    (void)state;
    memcpy(event.click.country, "d\xFF", 2);
    assert_true(decode(payload, event_encode(&event, payload), &out));
    assert_memory_equal(out.click.country, "\0", 2);
}

static void largest_event_fits(void **state)
{
    static char big[1000];
    unsigned char payload[EVENT_PAYLOAD_MAX + 1];
    struct event event = full_click(), out;
    struct text text = {big, sizeof big};
    size_t length;

    (void)state;
    memset(big, 'a', sizeof big);
    payload[EVENT_PAYLOAD_MAX] = 0x5A;
    event.click.rule = event.click.referrer_host = event.click.language = text;
    event.click.region = event.click.city = text;
    length = event_encode(&event, payload);
    assert_true(length <= EVENT_PAYLOAD_MAX && payload[EVENT_PAYLOAD_MAX] == 0x5A);
    assert_true(decode(payload, length, &out));
    assert_int_equal(out.click.referrer_host.length, EVENT_REFERRER_MAX);
}

static void everything_else_is_refused(void **state)
{
    unsigned char payload[EVENT_PAYLOAD_MAX + 1];
    struct event event = full_click(), out;
    size_t length = event_encode(&event, payload);

    (void)state;
    for (size_t cut = 0; cut < length; cut++)
        assert_false(decode(payload, cut, &out));
    payload[length] = 0;
    assert_false(decode(payload, length + 1, &out));
    payload[0] = EVENT_VERSION + 1;
    assert_false(decode(payload, length, &out));
    payload[0] = EVENT_VERSION;
    payload[1] = 99;
    assert_false(decode(payload, length, &out));
    payload[1] = EVENT_CLICK;
    payload[length - 1] = 0xFF; /* the city is no UTF-8 now */
    assert_false(decode(payload, length, &out));

    event.kind = EVENT_GAP;
    event.gap = (struct gap){.first = 5, .last = 4};
    length = event_encode(&event, payload);
    assert_false(decode(payload, length, &out));
}

/* Numbers of every length, and the ends of their ranges. */
static void all_numbers_survive(void **state)
{
    unsigned char payload[EVENT_PAYLOAD_MAX];
    struct event in = full_click(), out;

    (void)state;
    for (unsigned bits = 0; bits <= 64; bits++) {
        uint64_t value = bits == 64 ? UINT64_MAX : (1ull << bits) - 1;

        for (uint64_t each = value; each - value < 2 && each >= value; each++) {
            in.click.link = in.click.domain = in.click.workspace = each;
            in.click.campaign = in.click.influencer = each;
            in.click.flags = in.click.asn = (uint32_t)each;
            in.click.status = in.click.route = (uint16_t)each;
            assert_true(decode(payload, event_encode(&in, payload), &out));
            assert_true(out.click.link == each && out.click.domain == each);
            assert_true(out.click.workspace == each && out.click.campaign == each);
            assert_true(out.click.influencer == each);
            assert_true(out.click.flags == (uint32_t)each && out.click.asn == (uint32_t)each);
            assert_true(out.click.status == (uint16_t)each);
            assert_true(out.click.route == (uint16_t)each);
        }
    }
}

/* Numbers that are too large for their field, too long, or longer than needed. */
static void odd_numbers_are_refused(void **state)
{
    static const unsigned char odd[][11] = {
        {0x80, 0x00},                                                 /* 0 in two bytes */
        {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02}, /* 2^64 and more */
        {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x81, 0x00},
    };
    unsigned char payload[EVENT_PAYLOAD_MAX], changed[EVENT_PAYLOAD_MAX + 11];
    struct event in = full_click(), out;
    size_t length, size;

    (void)state;
    in.click.link = 5; /* the one byte behind version, kind and time */
    length = event_encode(&in, payload);
    assert_int_equal(payload[10], 5);
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        for (size = 1; odd[i][size - 1] & 0x80; size++)
            continue;
        memcpy(changed, payload, 10);
        memcpy(changed + 10, odd[i], size);
        memcpy(changed + 10 + size, payload + 11, length - 11);
        assert_false(decode(changed, length - 1 + size, &out));
    }
}

static void names_of_verdicts(void **state)
{
    (void)state;
    assert_string_equal(verdict_name(VERDICT_HUMAN), "human");
    assert_string_equal(verdict_name(VERDICT_INTERNAL), "internal");
    assert_string_equal(verdict_name((enum verdict)200), "unknown");
}

static struct event full_conversion(void)
{
    struct event event = {.kind = EVENT_CONVERSION};

    event.conversion = (struct conversion){
        .time_us = 1795299300123456,
        .workspace = 300,
        .source = UINT64_MAX,
        .path = CONVERSION_PIXEL,
        .verified = true,
        .told = TEXT("{\"event\":\"sale\",\"code\":\"\xC3\xA9\"}"),
    };
    memset(event.conversion.token_hash, 1, EVENT_HASH_BYTES);
    memset(event.conversion.digest, 2, EVENT_HASH_BYTES);
    memset(event.conversion.signature, 3, EVENT_HASH_BYTES);
    return event;
}

static void conversion_survives(void **state)
{
    unsigned char payload[EVENT_PAYLOAD_MAX];
    struct event in = full_conversion(), out;
    size_t length = event_encode(&in, payload), plain;

    (void)state;
    assert_true(decode(payload, length, &out));
    assert_int_equal(out.kind, EVENT_CONVERSION);
    assert_int_equal(out.conversion.time_us, in.conversion.time_us);
    assert_int_equal(out.conversion.workspace, 300);
    assert_true(out.conversion.source == UINT64_MAX);
    assert_int_equal(out.conversion.path, CONVERSION_PIXEL);
    assert_true(out.conversion.verified);
    assert_memory_equal(out.conversion.token_hash, in.conversion.token_hash, EVENT_HASH_BYTES);
    assert_memory_equal(out.conversion.digest, in.conversion.digest, EVENT_HASH_BYTES);
    assert_memory_equal(out.conversion.signature, in.conversion.signature, EVENT_HASH_BYTES);
    assert_text(out.conversion.told, "{\"event\":\"sale\",\"code\":\"\xC3\xA9\"}");

    /* What is not there takes no place, and comes back as nothing. */
    memset(in.conversion.token_hash, 0, EVENT_HASH_BYTES);
    memset(in.conversion.signature, 0, EVENT_HASH_BYTES);
    in.conversion.verified = false;
    plain = event_encode(&in, payload);
    assert_int_equal(plain, length - 3 * EVENT_HASH_BYTES);
    assert_true(decode(payload, plain, &out));
    assert_false(out.conversion.verified);
    for (size_t i = 0; i < EVENT_HASH_BYTES; i++)
        assert_int_equal(out.conversion.token_hash[i] | out.conversion.digest[i] |
                             out.conversion.signature[i],
                         0);
}

static void largest_conversion_fits(void **state)
{
    static char told[EVENT_TOLD_MAX];
    static unsigned char payload[EVENT_PAYLOAD_MAX + 1];
    struct event in = full_conversion(), out;
    size_t length;

    (void)state;
    memset(told, 'a', sizeof told);
    payload[EVENT_PAYLOAD_MAX] = 0x5A;
    in.conversion.workspace = UINT64_MAX;
    in.conversion.told = (struct text){told, sizeof told};
    length = event_encode(&in, payload);
    assert_true(length <= EVENT_PAYLOAD_MAX && payload[EVENT_PAYLOAD_MAX] == 0x5A);
    assert_true(decode(payload, length, &out));
    assert_int_equal(out.conversion.told.length, EVENT_TOLD_MAX);
}

static void other_conversions_are_refused(void **state)
{
    enum { PATH = 2 + 8 + 2 + 10, MARKS, HASH };
    unsigned char payload[EVENT_PAYLOAD_MAX + 1];
    struct event in = full_conversion(), out;
    size_t length = event_encode(&in, payload);

    (void)state;
    assert_int_equal(payload[PATH], CONVERSION_PIXEL);
    for (size_t cut = 0; cut < length; cut++)
        assert_false(decode(payload, cut, &out));
    payload[length] = 0;
    assert_false(decode(payload, length + 1, &out));
    for (unsigned path = 0; path < 256; path++) {
        payload[PATH] = (unsigned char)path;
        assert_int_equal(decode(payload, length, &out), path >= 1 && path < CONVERSION_PATHS);
    }
    payload[PATH] = CONVERSION_PIXEL;
    payload[MARKS] |= 8;
    assert_false(decode(payload, length, &out));
    payload[MARKS] &= 7;
    memset(payload + HASH, 0, EVENT_HASH_BYTES); /* a token that is said to be there */
    assert_false(decode(payload, length, &out));
    memset(payload + HASH, 1, EVENT_HASH_BYTES);
    assert_true(decode(payload, length, &out));
    payload[length - 1] = 0xFF;
    assert_false(decode(payload, length, &out));
}

static void names_of_paths(void **state)
{
    (void)state;
    assert_string_equal(conversion_path_name(CONVERSION_POSTBACK), "postback");
    assert_string_equal(conversion_path_name(CONVERSION_WOOCOMMERCE), "woocommerce");
    assert_null(conversion_path_name(0));
    assert_null(conversion_path_name(CONVERSION_PATHS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(click_survives),
        cmocka_unit_test(lost_and_gap_survive),
        cmocka_unit_test(hostile_text_is_made_harmless),
        cmocka_unit_test(country_is_two_letters_or_none),
        cmocka_unit_test(largest_event_fits),
        cmocka_unit_test(everything_else_is_refused),
        cmocka_unit_test(all_numbers_survive),
        cmocka_unit_test(odd_numbers_are_refused),
        cmocka_unit_test(names_of_verdicts),
        cmocka_unit_test(conversion_survives),
        cmocka_unit_test(largest_conversion_fits),
        cmocka_unit_test(other_conversions_are_refused),
        cmocka_unit_test(names_of_paths),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
