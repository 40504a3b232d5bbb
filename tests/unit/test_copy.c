/* COPY rows: shape, nulls, clamped and impossible times, texts at their maxima. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <endian.h>
#include <stdio.h>
#include <string.h>

#include "server/clicks/copy.h"
#include "server/visitor/classes.h"

#define FIELDS 27
#define NOW_US 1700000000000000LL

struct field {
    int32_t length; /* -1: null */
    const unsigned char *bytes;
};

static size_t read_fields(const unsigned char *row, struct field *fields, int count)
{
    const unsigned char *at = row + 2;

    assert_int_equal(row[0] << 8 | row[1], count);
    for (int i = 0; i < count; i++) {
        uint32_t big;
        memcpy(&big, at, sizeof big);
        fields[i].length = (int32_t)be32toh(big);
        fields[i].bytes = at + 4;
        at += 4 + (fields[i].length > 0 ? fields[i].length : 0);
    }
    return (size_t)(at - row);
}

static size_t read_row(const unsigned char *row, struct field fields[FIELDS])
{
    return read_fields(row, fields, FIELDS);
}

static int64_t int64_of(const struct field *field)
{
    uint64_t big;

    assert_int_equal(field->length, 8);
    memcpy(&big, field->bytes, sizeof big);
    return (int64_t)be64toh(big);
}

static void assert_text(const struct field *field, const char *expected)
{
    assert_int_equal(field->length, (int)strlen(expected));
    assert_memory_equal(field->bytes, expected, strlen(expected));
}

static struct text text_of(const char *string)
{
    return (struct text){string, strlen(string)};
}

static void test_row(void **state)
{
    struct click click = {.time_us = NOW_US,
                          .link = 11,
                          .domain = 12,
                          .workspace = 13,
                          .influencer = 15,
                          .asn = 4200000000u,
                          .status = 302,
                          .route = 60000,
                          .flags = CLICK_NO_ID,
                          .verdict = VERDICT_PREFETCH,
                          .country = {'D', 'E'},
                          .rule = text_of("sec-purpose")};
    unsigned char row[COPY_ROW_MAX];
    struct field fields[FIELDS];
    size_t length;

    (void)state;
    click.city = text_of("Köln");
    click.device = DEVICE_TABLET;
    click.os = OS_CHROME;
    click.browser = 255; /* of a later release */
    length = copy_row(7, 8, &click, NOW_US, row);
    assert_int_equal(read_row(row, fields), length);
    assert_int_equal(int64_of(&fields[0]), 7);
    assert_int_equal(int64_of(&fields[1]), 8);
    assert_int_equal(int64_of(&fields[2]), NOW_US - 946684800000000LL);
    assert_int_equal(int64_of(&fields[3]), 11);
    assert_int_equal(int64_of(&fields[4]), 12);
    assert_int_equal(int64_of(&fields[5]), 13);
    assert_int_equal(fields[6].length, -1); /* no campaign */
    assert_int_equal(int64_of(&fields[7]), 15);
    assert_int_equal(fields[8].length, -1); /* no visitor */
    assert_int_equal(int64_of(&fields[9]), 4200000000LL);
    assert_text(&fields[10], "prefetch");
    assert_text(&fields[11], "tablet");
    assert_int_equal(fields[12].length, -1);
    assert_text(&fields[18], "Chrome OS");
    assert_int_equal(fields[19].length, -1);
    assert_int_equal(fields[13].length, 4);
    assert_memory_equal(fields[13].bytes, "\0\0\xea\x60", 4);
    assert_memory_equal(fields[14].bytes, "\x01\x2e", 2);
    assert_memory_equal(fields[15].bytes, "\0\x04", 2);
    assert_int_equal(fields[16].length, -1);
    assert_text(&fields[17], "sec-purpose");
    assert_int_equal(fields[22].length, -1);
    assert_text(&fields[24], "DE");
    assert_text(&fields[26], "Köln");
}

static void test_times(void **state)
{
    static const int64_t cases[][2] = {
        {NOW_US, NOW_US},
        {NOW_US + COPY_AHEAD_MAX_US, NOW_US + COPY_AHEAD_MAX_US},
        {NOW_US + COPY_AHEAD_MAX_US + 1, NOW_US},
        {INT64_MAX, NOW_US},
        {-5, -5},
        {INT64_MIN, INT64_MIN},
    };
    struct click click = {.link = 1};
    unsigned char row[COPY_ROW_MAX];
    struct field fields[FIELDS];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool clamped = cases[i][0] != cases[i][1];
        click.time_us = cases[i][0];
        assert_int_equal(copy_time_us(cases[i][0], NOW_US), cases[i][1]);
        copy_row(1, 1, &click, NOW_US, row);
        read_row(row, fields);
        assert_int_equal(fields[15].bytes[1], clamped ? CLICK_CLAMPED : 0);
        /* Never PostgreSQL's -infinity, which it would accept. */
        assert_true(int64_of(&fields[2]) > INT64_MIN);
    }
}

static void test_longest(void **state)
{
    static char letters[EVENT_PAYLOAD_MAX];
    struct click click = {.time_us = NOW_US, .country = {'U', 'S'}};
    unsigned char guarded[COPY_ROW_MAX + 1];
    struct field fields[FIELDS];
    size_t length;

    (void)state;
    memset(letters, 'x', sizeof letters);
    memset(&click.link, 0xff, 6 * sizeof click.link);
    click.flags = click.asn = UINT32_MAX;
    click.status = click.route = UINT16_MAX;
    click.variant = UINT8_MAX;
    click.verdict = VERDICT_DATACENTER;
    click.rule = (struct text){letters, EVENT_RULE_MAX};
    click.referrer_host = (struct text){letters, EVENT_REFERRER_MAX};
    click.language = (struct text){letters, EVENT_LANGUAGE_MAX};
    click.region = (struct text){letters, EVENT_REGION_MAX};
    click.city = (struct text){letters, EVENT_CITY_MAX};
    guarded[COPY_ROW_MAX] = 0x5a;
    length = copy_row(INT64_MAX, INT64_MAX, &click, NOW_US, guarded);
    assert_true(length <= COPY_ROW_MAX);
    assert_int_equal(guarded[COPY_ROW_MAX], 0x5a);
    assert_int_equal(read_row(guarded, fields), length);
    assert_int_equal(fields[26].length, EVENT_CITY_MAX);
}

static void test_told(void **state)
{
    static char letters[EVENT_TOLD_MAX];
    static unsigned char row[COPY_TOLD_ROW_MAX + 1];
    struct conversion told = {.time_us = INT64_MAX,
                              .workspace = UINT64_MAX,
                              .path = CONVERSION_WOOCOMMERCE,
                              .verified = true,
                              .told = {letters, sizeof letters}};
    struct field fields[11];
    size_t length;

    (void)state;
    memset(letters, 'x', sizeof letters);
    memset(told.token_hash, 7, sizeof told.token_hash);
    row[COPY_TOLD_ROW_MAX] = 0x5a;
    length = copy_told_row(7, 8, &told, NOW_US, row);
    assert_int_equal(row[COPY_TOLD_ROW_MAX], 0x5a);
    assert_int_equal(read_fields(row, fields, 11), length);
    assert_int_equal(int64_of(&fields[0]), 7);
    assert_int_equal(int64_of(&fields[1]), 8);
    assert_int_equal(int64_of(&fields[2]), NOW_US - 946684800000000LL); /* not in the future */
    assert_int_equal(int64_of(&fields[3]), -1);
    assert_int_equal(fields[4].length, -1); /* no source */
    assert_text(&fields[5], "woocommerce");
    assert_int_equal(fields[6].length, 1);
    assert_int_equal(fields[6].bytes[0], 1);
    assert_int_equal(fields[7].length, EVENT_HASH_BYTES);
    assert_memory_equal(fields[7].bytes, told.token_hash, EVENT_HASH_BYTES);
    assert_int_equal(fields[8].length, -1);
    assert_int_equal(fields[9].length, -1);
    assert_int_equal(fields[10].length, 1 + EVENT_TOLD_MAX);
    assert_int_equal(fields[10].bytes[0], 1); /* version of jsonb */
    assert_memory_equal(fields[10].bytes + 1, letters, sizeof letters);
}

/* Whether a statement of the schema names `name` among an enum's labels. */
static bool schema_has(const char *schema, const char *type, const char *name)
{
    char head[64], label[64];
    const char *start, *end, *found;

    snprintf(head, sizeof head, "create type kudos.%s as enum", type);
    snprintf(label, sizeof label, "'%s'", name);
    start = strstr(schema, head);
    assert_non_null(start);
    end = strchr(start, ';');
    found = strstr(start, label);
    return found && found < end;
}

/* A class that the enum types do not know would send every click of it to quarantine. */
static void test_enums(void **state)
{
    static char schema[65536];
    FILE *file = fopen("server/schema/002_pipeline.sql", "r");
    size_t length;

    (void)state;
    assert_non_null(file);
    length = fread(schema, 1, sizeof schema - 1, file);
    fclose(file);
    assert_true(length > 0 && length < sizeof schema - 1);
    assert_false(schema_has(schema, "device", "toaster"));
    for (int i = 0; i < VERDICT_COUNT; i++)
        assert_true(schema_has(schema, "verdict", verdict_name((enum verdict)i)));
    for (unsigned i = 1; i < 256; i++) {
        if (strcmp(device_name((uint8_t)i), "unknown") != 0)
            assert_true(schema_has(schema, "device", device_name((uint8_t)i)));
        if (strcmp(medium_name((uint8_t)i), "unknown") != 0)
            assert_true(schema_has(schema, "medium", medium_name((uint8_t)i)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_row),  cmocka_unit_test(test_times), cmocka_unit_test(test_longest),
        cmocka_unit_test(test_told), cmocka_unit_test(test_enums),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
