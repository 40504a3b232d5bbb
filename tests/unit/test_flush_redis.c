/* Acknowledging: entries never go while `flushed` stays behind them, whatever Redis did since it was
 * read. Against a real Redis. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/clicks/flush_redis.h"
#include "tests/unit/redis_server.h"

static struct redis_server server;
static struct redis *redis;
static struct flush_keys keys;

static int start(void **state)
{
    struct error error;

    (void)state;
    if (!redis_server_start(&server))
        return -1;
    redis = redis_open(server.url, 2000, &error);
    flush_keys_fill(&keys, 0);
    return redis ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    redis_close(redis);
    redis_server_stop(&server);
    return 0;
}

static long long ask(int argc, const char **argv)
{
    struct error error;
    redisReply *reply = redis_call(redis, argc, argv, NULL, &error);
    long long number;

    assert_non_null(reply);
    assert_int_not_equal(reply->type, REDIS_REPLY_ERROR);
    number = reply->type == REDIS_REPLY_INTEGER  ? reply->integer
             : reply->type == REDIS_REPLY_STRING ? atoll(reply->str)
                                                 : 0;
    freeReplyObject(reply);
    return number;
}

static long long flushed(const char *origin)
{
    const char *argv[] = {"HGET", keys.flushed, origin};

    return ask(3, argv);
}

/* `count` origins with one entry 1 … 2 each, read and planned as after a commit. */
static void make_batch(struct flush_batch *batch, int count)
{
    struct flush_window window = {.bytes_max = 1 << 20, .events_max = 1 << 20};
    const char *empty[] = {"FLUSHALL"};
    struct error error;
    redisReply *reply;

    ask(1, empty);
    for (int i = 1; i <= count; i++) {
        char origin[16];
        const char *add[] = {"XADD", keys.events, "*", "o", origin, "f", "1", "l", "2", "b", "xx"};
        const char *last[] = {"HSET", keys.last_seq, origin, "2"};
        const char *known[] = {"HSET", keys.flushed, origin, "2"};

        snprintf(origin, sizeof origin, "%d", i);
        ask(11, add);
        ask(4, last);
        ask(4, known);
        flush_batch_watermark(batch, (uint64_t)i, 2);
    }
    reply = flush_read(redis, &keys, &window, &error);
    assert_non_null(reply);
    assert_true(flush_batch_open(batch, reply, 0, &error));
    flush_batch_plan(batch);
    assert_int_equal(batch->done_count, count);
}

/* Redis seemed to know already how far its origins had got, but fell back before it is told. */
static void test_fell_back(void **state)
{
    struct flush_batch batch = {.ready = false};
    const char *forget[] = {"DEL", keys.flushed};
    const char *length[] = {"XLEN", keys.events};
    struct error error;

    (void)state;
    make_batch(&batch, 3);
    ask(2, forget);
    assert_true(flush_acknowledge(redis, &keys, &batch, &error));
    assert_int_equal(ask(2, length), 0);
    assert_int_equal(flushed("1"), 2);
    assert_int_equal(flushed("3"), 2);
    flush_batch_free(&batch);
}

/* More origins than one call takes: at no moment may an entry be gone whose origin was not raised.
 */
static void test_each_call_is_whole(void **state)
{
    struct flush_batch batch = {.ready = false};
    const char *forget[] = {"DEL", keys.flushed};
    const char *length[] = {"XLEN", keys.events};
    const char *raised[] = {"HLEN", keys.flushed};
    struct error error;

    (void)state;
    make_batch(&batch, 1200);
    ask(2, forget);
    batch.done_count = 500; /* as if it died after its first call */
    for (size_t i = 0; i < batch.origins.count; i++)
        batch.origins.list[i].flushed = batch.origins.list[i].reached;
    assert_true(flush_acknowledge(redis, &keys, &batch, &error));
    assert_int_equal(ask(2, length), 700);
    assert_int_equal(ask(2, raised), 500);
    assert_int_equal(flushed("1"), 2);
    assert_int_equal(flushed("500"), 2);
    batch.done_count = 1200;
    assert_true(flush_acknowledge(redis, &keys, &batch, &error));
    assert_int_equal(ask(2, length), 0);
    assert_int_equal(ask(2, raised), 1200);
    flush_batch_free(&batch);
}

/* No entries, but an acknowledgement that was lost before. */
static void test_without_entries(void **state)
{
    struct flush_batch batch = {.ready = false};
    const char *forget[] = {"DEL", keys.flushed};
    struct error error;

    (void)state;
    make_batch(&batch, 2);
    ask(2, forget);
    batch.done_count = 0;
    batch.origins.list[0].flushed = batch.origins.list[1].flushed = 0;
    assert_true(flush_acknowledge(redis, &keys, &batch, &error));
    assert_int_equal(flushed("1"), 2);
    assert_int_equal(flushed("2"), 2);
    flush_batch_free(&batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fell_back),
        cmocka_unit_test(test_each_call_is_whole),
        cmocka_unit_test(test_without_entries),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
