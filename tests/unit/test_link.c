/* The records of links and domains: what goes in comes out, and nothing else is taken for one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/links/link.h"

static struct link full_link(void)
{
    return (struct link){
        .id = 0x1122334455667788,
        .workspace = 2,
        .domain = 3,
        .campaign = 4,
        .influencer = UINT64_MAX,
        .changed = 5,
        .starts_at_us = -1,
        .expires_at_us = INT64_MAX,
        .flags = LINK_PASS_QUERY | LINK_HAS_QUERY,
        .fragment_offset = 22,
        .redirect_status = 308,
        .state = LINK_DISABLED,
        .slug = TEXT("Spring-26"),
        .destination = TEXT("https://example.com/?a#b"),
        .fallback = TEXT("https://example.com/over"),
        .rules = TEXT("\1\0\2"),
        .campaign_name = TEXT("Spring"),
        .influencer_name = TEXT("Ana"),
        .influencer_url = TEXT("https://social.example/ana"),
    };
}

static void assert_text(struct text got, struct text wanted)
{
    assert_int_equal(got.length, wanted.length);
    if (wanted.length > 0)
        assert_memory_equal(got.bytes, wanted.bytes, wanted.length);
}

static void assert_link(const struct link *got, const struct link *wanted)
{
    assert_text(got->slug, wanted->slug);
    assert_text(got->destination, wanted->destination);
    assert_text(got->fallback, wanted->fallback);
    assert_text(got->rules, wanted->rules);
    assert_text(got->campaign_name, wanted->campaign_name);
    assert_text(got->influencer_name, wanted->influencer_name);
    assert_text(got->influencer_url, wanted->influencer_url);
    assert_memory_equal(got, wanted, offsetof(struct link, slug));
}

static void round_trip(void **state)
{
    unsigned char record[LINK_RECORD_MAX], shifted[LINK_RECORD_MAX + 1];
    struct link link = full_link(), out;
    size_t length = link_encode(&link, record);

    (void)state;
    assert_true(link_decode(record, length, &out));
    assert_link(&out, &link);
    memcpy(shifted + 1, record, length); /* need not be aligned */
    assert_true(link_decode(shifted + 1, length, &out));
    assert_link(&out, &link);
}

static void smallest_and_largest(void **state)
{
    static char slug[LINK_SLUG_MAX], destination[LINK_DESTINATION_MAX], text[LINK_RULES_MAX];
    unsigned char record[LINK_RECORD_MAX];
    struct link empty = {.redirect_status = 302}, out;
    struct link large = {.id = 1, .fragment_offset = sizeof destination};

    (void)state;
    assert_true(link_decode(record, link_encode(&empty, record), &out));
    assert_link(&out, &empty);
    memset(slug, 's', sizeof slug);
    memset(destination, 'd', sizeof destination);
    large.slug = (struct text){slug, sizeof slug};
    large.destination = large.fallback = (struct text){destination, sizeof destination};
    large.rules = (struct text){text, LINK_RULES_MAX};
    large.campaign_name = large.influencer_name = (struct text){text, LINK_NAME_MAX};
    large.influencer_url = (struct text){text, LINK_PROFILE_MAX};
    assert_true(link_decode(record, link_encode(&large, record), &out));
    assert_link(&out, &large);
}

/* In an allocation of exactly its size, so that sanitizers see a read past the end. */
static bool decode_exactly(const unsigned char *bytes, size_t length, struct link *out)
{
    unsigned char *copy = malloc(length + !length);
    bool decoded;

    assert_non_null(copy);
    memcpy(copy, bytes, length);
    decoded = link_decode(copy, length, out);
    free(copy);
    return decoded;
}

static void wrong_lengths_and_damage(void **state)
{
    unsigned char record[LINK_RECORD_MAX];
    struct link link = full_link(), out;
    size_t length = link_encode(&link, record);

    (void)state;
    for (size_t cut = 0; cut < length; cut++)
        assert_false(decode_exactly(record, cut, &out));
    record[length] = 0;
    assert_false(decode_exactly(record, length + 1, &out));
    for (size_t i = 0; i < length; i++) {
        for (int bit = 0; bit < 8; bit++) {
            record[i] ^= (unsigned char)(1 << bit);
            if (decode_exactly(record, length, &out))
                assert_true(out.fragment_offset <= out.destination.length);
            record[i] ^= (unsigned char)(1 << bit);
        }
    }
    record[0]++;
    assert_false(decode_exactly(record, length, &out)); /* another version */
}

/* Domains --------------------------------------------------------------------------------------- */

static struct domain full_domain(void)
{
    return (struct domain){
        .id = 0x1122334455667788,
        .workspace = 2,
        .case_sensitive = true,
        .click_id = true,
        .redirect_status = 307,
        .host = TEXT("go.example"),
        .root_destination = TEXT("https://example.com/"),
        .not_found_destination = TEXT("https://example.com/what"),
        .fallback = TEXT("https://example.com/over"),
        .app_site_association = TEXT("{\"applinks\": {}}"),
        .assetlinks = TEXT("[]"),
    };
}

static void assert_domain(const struct domain *got, const struct domain *wanted)
{
    assert_memory_equal(got, wanted, offsetof(struct domain, redirect_status));
    assert_int_equal(got->redirect_status, wanted->redirect_status);
    assert_text(got->host, wanted->host);
    assert_text(got->root_destination, wanted->root_destination);
    assert_text(got->not_found_destination, wanted->not_found_destination);
    assert_text(got->fallback, wanted->fallback);
    assert_text(got->app_site_association, wanted->app_site_association);
    assert_text(got->assetlinks, wanted->assetlinks);
}

static void domain_round_trip(void **state)
{
    static char text[DOMAIN_JSON_MAX];
    static unsigned char record[DOMAIN_RECORD_MAX];
    struct domain full = full_domain(), empty = {.id = 1}, large = {.id = 2}, out;

    (void)state;
    memset(text, 'x', sizeof text);
    large.host = (struct text){text, DOMAIN_HOST_MAX};
    large.root_destination = large.not_found_destination = large.fallback =
        (struct text){text, DOMAIN_DESTINATION_MAX};
    large.app_site_association = large.assetlinks = (struct text){text, sizeof text};
    assert_true(domain_decode(record, domain_encode(&full, record), &out));
    assert_domain(&out, &full);
    assert_true(domain_decode(record, domain_encode(&empty, record), &out));
    assert_domain(&out, &empty);
    assert_true(domain_decode(record, domain_encode(&large, record), &out));
    assert_domain(&out, &large);
}

static void damaged_domains(void **state)
{
    static unsigned char record[DOMAIN_RECORD_MAX];
    struct domain full = full_domain(), out;
    size_t length = domain_encode(&full, record);

    (void)state;
    for (size_t cut = 0; cut < length; cut++) {
        unsigned char *copy = malloc(cut + !cut);

        assert_non_null(copy);
        memcpy(copy, record, cut);
        assert_false(domain_decode(copy, cut, &out));
        free(copy);
    }
    assert_false(domain_decode(record, length + 1, &out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(smallest_and_largest),
        cmocka_unit_test(wrong_lengths_and_damage),
        cmocka_unit_test(domain_round_trip),
        cmocka_unit_test(damaged_domains),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
