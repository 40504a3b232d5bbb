/* The plan of a pass: what is taken, dropped, left to recovery, and why the partition is recovered.
 * Answers of read.lua are made as Redis would send them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/clicks/flush_batch.h"
#include "server/clicks/rollup.h"

#define NOW_US 1700000000000000LL

/* An answer under construction, in the Redis protocol. */
struct answer {
    char bytes[65536];
    size_t length;
};

static void add(struct answer *answer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void add(struct answer *answer, const char *format, ...)
{
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(answer->bytes + answer->length, sizeof answer->bytes - answer->length,
                       format, arguments);
    va_end(arguments);
    assert_true(length >= 0 && answer->length + (size_t)length < sizeof answer->bytes);
    answer->length += (size_t)length;
}

static void add_string(struct answer *answer, const void *bytes, size_t length)
{
    add(answer, "$%zu\r\n", length);
    assert_true(answer->length + length + 2 < sizeof answer->bytes);
    memcpy(answer->bytes + answer->length, bytes, length);
    answer->length += length;
    add(answer, "\r\n");
}

static void add_number(struct answer *answer, uint64_t number)
{
    char text[24];

    add_string(answer, text, (size_t)snprintf(text, sizeof text, "%" PRIu64, number));
}

/* Positions: pairs of origin and seq, ended by origin 0. */
static void add_positions(struct answer *answer, const uint64_t (*positions)[2])
{
    size_t count = 0;

    while (positions && positions[count][0])
        count++;
    add(answer, "*%zu\r\n", 2 * count);
    for (size_t i = 0; i < count; i++) {
        add_number(answer, positions[i][0]);
        add_number(answer, positions[i][1]);
    }
}

static void begin(struct answer *answer, bool ready, const uint64_t (*last_seq)[2],
                  const uint64_t (*flushed)[2], size_t entries)
{
    answer->length = 0;
    add(answer, "*6\r\n:%d\r\n", ready);
    add_positions(answer, last_seq);
    add_positions(answer, flushed);
    add_string(answer, "123", 3);
    add(answer, "*%zu\r\n", entries);
}

/* A batch under construction. */
struct payloads {
    unsigned char bytes[32768];
    size_t length;
};

static void add_payload(struct payloads *payloads, const void *bytes, size_t length)
{
    uint32_t prefix = (uint32_t)length;

    assert_true(payloads->length + sizeof prefix + length <= sizeof payloads->bytes);
    memcpy(payloads->bytes + payloads->length, &prefix, sizeof prefix);
    memcpy(payloads->bytes + payloads->length + sizeof prefix, bytes, length);
    payloads->length += sizeof prefix + length;
}

static void add_event(struct payloads *payloads, const struct event *event)
{
    unsigned char bytes[EVENT_PAYLOAD_MAX];

    add_payload(payloads, bytes, event_encode(event, bytes));
}

static void add_clicks(struct payloads *payloads, int count)
{
    struct event event = {.kind = EVENT_CLICK,
                          .click = {.time_us = NOW_US, .link = 9, .verdict = VERDICT_BOT}};

    for (int i = 0; i < count; i++)
        add_event(payloads, &event);
}

static void add_entry(struct answer *answer, uint64_t origin, uint64_t first, uint64_t last,
                      const struct payloads *payloads)
{
    add(answer, "*5\r\n");
    add_string(answer, "1-1", 3);
    add_number(answer, origin);
    add_number(answer, first);
    add_number(answer, last);
    add_string(answer, payloads->bytes, payloads->length);
}

/* An entry of plain clicks. */
static void add_click_entry(struct answer *answer, uint64_t origin, uint64_t first, uint64_t last)
{
    struct payloads payloads = {.length = 0};

    add_clicks(&payloads, (int)(last - first + 1));
    add_entry(answer, origin, first, last, &payloads);
}

static void finish(struct answer *answer, struct flush_batch *batch, bool complete)
{
    redisReader *reader = redisReaderCreate();
    struct error error;
    void *reply = NULL;

    add(answer, ":%d\r\n", complete);
    assert_int_equal(redisReaderFeed(reader, answer->bytes, answer->length), REDIS_OK);
    assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
    assert_non_null(reply);
    redisReaderFree(reader);
    assert_true(flush_batch_open(batch, reply, NOW_US, &error));
    flush_batch_plan(batch);
}

static const char *trouble(const struct flush_batch *batch)
{
    uint64_t origin;

    return flush_batch_trouble(batch, &origin);
}

static const struct flush_origin *origin(struct flush_batch *batch, uint64_t id)
{
    return flush_origins_get(&batch->origins, id);
}

#define POSITIONS(...)    \
    (const uint64_t[][2]) \
    {                     \
        __VA_ARGS__,      \
        {                 \
            0, 0          \
        }                 \
    }

static struct answer answer;
static struct flush_batch batch;

static int teardown(void **state)
{
    (void)state;
    flush_batch_free(&batch);
    return 0;
}

static void test_takes_in_order(void **state)
{
    (void)state;
    flush_batch_watermark(&batch, 1, 10);
    begin(&answer, true, POSITIONS({1, 20}, {2, 3}), POSITIONS({1, 10}), 5);
    add_click_entry(&answer, 1, 5, 10); /* all of it again */
    add_click_entry(&answer, 1, 9, 12); /* half of it again */
    add_click_entry(&answer, 2, 1, 3);  /* of a new origin */
    add_click_entry(&answer, 1, 13, 20);
    add_click_entry(&answer, 1, 13, 20); /* twice in the stream */
    finish(&answer, &batch, true);
    assert_int_equal(batch.row_count, 13);
    assert_int_equal(batch.duplicates, 6 + 2 + 8);
    assert_int_equal(batch.done_count, 5);
    assert_int_equal(batch.stream_bytes, 123);
    assert_int_equal(batch.newest_us, NOW_US);
    assert_int_equal(origin(&batch, 1)->reached, 20);
    assert_int_equal(origin(&batch, 1)->applied, 10);
    assert_int_equal(origin(&batch, 2)->reached, 3);
    assert_int_equal(batch.rows[0].seq, 11);
    assert_int_equal(batch.rows[0].link, 9);
    assert_int_equal(batch.rows[0].verdict, VERDICT_BOT);
    assert_int_equal(batch.rows[0].hour, rollup_hour(NOW_US));
    assert_null(trouble(&batch));
    /* Again, from the same answer: the same. */
    flush_batch_plan(&batch);
    assert_int_equal(batch.row_count, 13);
    assert_int_equal(batch.done_count, 5);
}

static void test_hole_stops_one_origin(void **state)
{
    (void)state;
    flush_batch_watermark(&batch, 1, 10);
    begin(&answer, true, POSITIONS({1, 30}, {2, 5}), POSITIONS({1, 10}), 3);
    add_click_entry(&answer, 1, 12, 20);
    add_click_entry(&answer, 2, 1, 5);
    add_click_entry(&answer, 1, 11, 30); /* would fit, but order is lost */
    finish(&answer, &batch, true);
    assert_int_equal(batch.row_count, 5);
    assert_int_equal(batch.done_count, 1);
    assert_true(origin(&batch, 1)->hole);
    assert_string_equal(trouble(&batch), "hole");
    origin(&batch, 1);
    batch.origins.list[0].blocked = true;
    assert_null(trouble(&batch));
}

static void test_troubles(void **state)
{
    static const struct {
        bool ready, complete;
        uint64_t watermark, last_seq, flushed;
        const char *expected;
    } cases[] = {
        {true, true, 10, 10, 10, NULL},
        {true, true, 10, 10, 9, NULL}, /* an acknowledgement got lost */
        {false, true, 10, 10, 10, "not_ready"},
        {false, false, 10, 10, 10, "not_ready"},
        {true, true, 10, 11, 11, "postgres_went_back"},
        {true, false, 10, 11, 11, "postgres_went_back"},
        {true, true, 10, 9, 9, "redis_went_back"},
        {true, false, 10, 0, 0, "redis_went_back"},
        {true, true, 10, 11, 10, "stream_lacks_end"},
        {true, false, 10, 11, 10, NULL}, /* its entries may be further on */
        {true, true, 0, 5, 0, "stream_lacks_end"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *found;
        if (cases[i].watermark)
            flush_batch_watermark(&batch, 1, cases[i].watermark);
        begin(&answer, cases[i].ready, POSITIONS({1, cases[i].last_seq}),
              POSITIONS({1, cases[i].flushed}), 0);
        finish(&answer, &batch, cases[i].complete);
        found = trouble(&batch);
        if (cases[i].expected)
            assert_string_equal(found, cases[i].expected);
        else
            assert_null(found);
        assert_true(flush_batch_empty(&batch));
        flush_batch_clear(&batch);
    }
}

static void test_other_events(void **state)
{
    const struct event gap = {.kind = EVENT_GAP, .gap = {3, 1002, {"torn", 4}}};
    const struct event lost = {.kind = EVENT_LOST, .lost = {77, 5, NOW_US - 9, NOW_US}};
    struct payloads payloads = {.length = 0};

    (void)state;
    begin(&answer, true, POSITIONS({1, 1005}), NULL, 1);
    add_clicks(&payloads, 2);
    add_event(&payloads, &gap);
    add_event(&payloads, &lost);
    add_payload(&payloads, "\1\1short", 7);
    add_clicks(&payloads, 1);
    add_entry(&answer, 1, 1, 1005, &payloads);
    finish(&answer, &batch, true);
    assert_null(trouble(&batch));
    assert_int_equal(batch.row_count, 3);
    assert_int_equal(batch.rows[2].seq, 1005);
    assert_int_equal(batch.gap_count, 2);
    assert_int_equal(batch.gaps[0].count, 1000);
    assert_false(batch.gaps[0].lost);
    assert_int_equal(batch.gaps[1].first, 1003);
    assert_int_equal(batch.gaps[1].count, 5);
    assert_int_equal(batch.refused_count, 1);
    assert_int_equal(batch.refused[0].seq, 1004);
    assert_false(batch.refused[0].decoded);
    assert_int_equal(origin(&batch, 1)->applied, 5);
    assert_int_equal(origin(&batch, 1)->gaps, 1000);
    assert_int_equal(origin(&batch, 1)->reached, 1005);
}

/* A conversion is an event like any other, and no click. */
static void test_conversions(void **state)
{
    struct event told = {
        .kind = EVENT_CONVERSION,
        .conversion = {.time_us = NOW_US + 5, .path = CONVERSION_POSTBACK, .told = {"{}", 2}}};
    struct payloads payloads = {.length = 0};

    (void)state;
    flush_batch_watermark(&batch, 1, 2);
    begin(&answer, true, POSITIONS({1, 5}), POSITIONS({1, 2}), 1);
    add_clicks(&payloads, 1);
    add_event(&payloads, &told); /* at the watermark: a duplicate */
    add_event(&payloads, &told);
    add_clicks(&payloads, 1);
    add_event(&payloads, &told);
    add_entry(&answer, 1, 1, 5, &payloads);
    finish(&answer, &batch, true);
    assert_null(trouble(&batch));
    assert_false(flush_batch_empty(&batch));
    assert_int_equal(batch.row_count, 1);
    assert_int_equal(batch.told_count, 2);
    assert_int_equal(batch.told[0].seq, 3);
    assert_int_equal(batch.told[1].seq, 5);
    assert_int_equal(batch.duplicates, 2);
    assert_int_equal(batch.newest_us, NOW_US + 5);
    assert_int_equal(origin(&batch, 1)->applied, 3);
    flush_batch_refuse_told(&batch, 1, "22P02: no JSON");
    assert_true(batch.told[1].refused && !batch.told[0].refused);
    assert_int_equal(batch.refused_count, 1);
    assert_int_equal(batch.refused[0].seq, 5);
    assert_false(batch.refused[0].decoded); /* it counts for no link */
    flush_batch_clear(&batch);
    assert_true(flush_batch_empty(&batch));
}

/* A gap of which the first part is below the watermark. */
static void test_gap_across_the_watermark(void **state)
{
    const struct event gap = {.kind = EVENT_GAP, .gap = {1, 100, {"", 0}}};
    struct payloads payloads = {.length = 0};

    (void)state;
    flush_batch_watermark(&batch, 1, 60);
    begin(&answer, true, POSITIONS({1, 100}), POSITIONS({1, 60}), 1);
    add_event(&payloads, &gap);
    add_entry(&answer, 1, 1, 100, &payloads);
    finish(&answer, &batch, true);
    assert_int_equal(batch.gap_count, 1);
    assert_int_equal(batch.gaps[0].first, 61);
    assert_int_equal(batch.gaps[0].count, 40);
    assert_int_equal(origin(&batch, 1)->gaps, 40);
}

/* Records that are not exactly those of first … last: nothing of the entry is taken. */
static void test_spoilt_batches(void **state)
{
    static const struct {
        int clicks, cut;
        uint64_t last, gap_first, gap_last;
    } cases[] = {
        {5, 0, 6, 0, 0},          /* too few */
        {5, 0, 4, 0, 0},          /* too many */
        {5, 1, 5, 0, 0},          /* cut in a payload */
        {0, 0, 1, 0, 0},          /* none */
        {2, 0, 9, 5, 9},          /* a gap elsewhere */
        {2, 0, 9, 3, 10},         /* a gap beyond the end */
        {2, 0, 9, 3, UINT64_MAX}, /* a gap without end */
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct payloads payloads = {.length = 0};
        struct event gap = {.kind = EVENT_GAP,
                            .gap = {cases[i].gap_first, cases[i].gap_last, {"", 0}}};
        add_clicks(&payloads, cases[i].clicks);
        if (cases[i].gap_first)
            add_event(&payloads, &gap);
        payloads.length -= (size_t)cases[i].cut;
        begin(&answer, true, POSITIONS({1, 99}), NULL, 1);
        add_entry(&answer, 1, 1, cases[i].last, &payloads);
        finish(&answer, &batch, false);
        assert_true(flush_batch_empty(&batch));
        assert_int_equal(batch.done_count, 0);
        assert_int_equal(origin(&batch, 1)->reached, 0);
        assert_int_equal(origin(&batch, 1)->applied + origin(&batch, 1)->gaps, 0);
        assert_string_equal(trouble(&batch), "hole");
        flush_batch_clear(&batch);
    }
}

static void test_unreadable_entry(void **state)
{
    static const char *const origins[] = {"", "0", "01", "-1", "1x", "9223372036854775808"};

    (void)state;
    for (size_t i = 0; i < sizeof origins / sizeof origins[0]; i++) {
        begin(&answer, true, NULL, NULL, 1);
        add(&answer, "*5\r\n");
        add_string(&answer, "1-1", 3);
        add_string(&answer, origins[i], strlen(origins[i]));
        add_number(&answer, 1);
        add_number(&answer, 1);
        add_string(&answer, "", 0);
        finish(&answer, &batch, true);
        assert_string_equal(trouble(&batch), "unreadable");
        assert_int_equal(batch.done_count, 0);
        flush_batch_clear(&batch);
    }
}

/* An origin of another partition is neither taken nor a cause of a recovery. */
static void test_foreign(void **state)
{
    (void)state;
    begin(&answer, true, POSITIONS({1, 5}, {2, 5}), NULL, 2);
    add_click_entry(&answer, 1, 1, 5);
    add_click_entry(&answer, 2, 1, 5);
    finish(&answer, &batch, true);
    assert_int_equal(batch.row_count, 10);
    flush_origins_get(&batch.origins, 1)->foreign = true;
    flush_batch_plan(&batch);
    assert_int_equal(batch.row_count, 5);
    assert_int_equal(batch.done_count, 1);
    assert_int_equal(origin(&batch, 1)->reached, 0);
    assert_null(trouble(&batch));
}

static void test_refuse(void **state)
{
    (void)state;
    begin(&answer, true, POSITIONS({1, 2}), NULL, 1);
    add_click_entry(&answer, 1, 1, 2);
    finish(&answer, &batch, true);
    flush_batch_refuse(&batch, 1, "22008: out of range");
    assert_false(batch.rows[0].refused);
    assert_true(batch.rows[1].refused);
    assert_int_equal(batch.refused_count, 1);
    assert_int_equal(batch.refused[0].seq, 2);
    assert_int_equal(batch.refused[0].link, 9);
    assert_false(batch.refused[0].human);
    assert_string_equal(batch.refused[0].reason, "22008: out of range");
}

static void test_other_answers(void **state)
{
    static const char *const answers[] = {
        "-LOADING Redis is loading the dataset in memory\r\n",
        "+OK\r\n",
        "*-1\r\n",
        "*6\r\n:1\r\n*1\r\n$1\r\n1\r\n*0\r\n$1\r\n0\r\n*0\r\n:1\r\n",
        "*5\r\n:1\r\n*0\r\n*0\r\n$1\r\n0\r\n*0\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        redisReader *reader = redisReaderCreate();
        struct error error = {""};
        void *reply = NULL;
        redisReaderFeed(reader, answers[i], strlen(answers[i]));
        assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
        redisReaderFree(reader);
        assert_false(flush_batch_open(&batch, reply, NOW_US, &error));
        assert_true(error.text[0] != '\0');
        flush_batch_clear(&batch);
    }
}

/* Thousands of origins: indexes stay valid while the table grows. */
static void test_many_origins(void **state)
{
    (void)state;
    for (uint64_t id = 1; id <= 5000; id++)
        flush_batch_watermark(&batch, id << 32, id);
    assert_int_equal(batch.origins.count, 5000);
    for (uint64_t id = 1; id <= 5000; id++)
        assert_int_equal(origin(&batch, id << 32)->watermark, id);
    assert_int_equal(batch.origins.count, 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_takes_in_order, teardown),
        cmocka_unit_test_teardown(test_hole_stops_one_origin, teardown),
        cmocka_unit_test_teardown(test_troubles, teardown),
        cmocka_unit_test_teardown(test_other_events, teardown),
        cmocka_unit_test_teardown(test_conversions, teardown),
        cmocka_unit_test_teardown(test_gap_across_the_watermark, teardown),
        cmocka_unit_test_teardown(test_spoilt_batches, teardown),
        cmocka_unit_test_teardown(test_unreadable_entry, teardown),
        cmocka_unit_test_teardown(test_foreign, teardown),
        cmocka_unit_test_teardown(test_refuse, teardown),
        cmocka_unit_test_teardown(test_other_answers, teardown),
        cmocka_unit_test_teardown(test_many_origins, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
