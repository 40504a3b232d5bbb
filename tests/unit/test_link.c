/* The link record: what goes in comes out, and nothing else is taken for a link. */
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
    struct link plain_got = *got, plain_wanted = *wanted;

    assert_text(got->slug, wanted->slug);
    assert_text(got->destination, wanted->destination);
    assert_text(got->fallback, wanted->fallback);
    plain_got.slug = plain_got.destination = plain_got.fallback = (struct text){0};
    plain_wanted.slug = plain_wanted.destination = plain_wanted.fallback = (struct text){0};
    assert_memory_equal(&plain_got, &plain_wanted, offsetof(struct link, slug));
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
    static char slug[LINK_SLUG_MAX], destination[LINK_DESTINATION_MAX];
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(smallest_and_largest),
        cmocka_unit_test(wrong_lengths_and_damage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
