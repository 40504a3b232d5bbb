/* The blocking Redis session against a real server: calls, scripts, time limits, reconnects. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/clicks/partition.h"
#include "server/stores/redis.h"
#include "shared/clock.h"
#include "shared/embed.h"
#include "tests/unit/redis_server.h"

EMBED(test_append_lua, "server/clicks/append.lua");
EMBED(test_idle_lua, "server/clicks/idle.lua");

static struct redis_server server;
static struct redis *redis;

static int start(void **state)
{
    struct error error;

    (void)state;
    if (!redis_server_start(&server))
        return -1;
    redis = redis_open(server.url, 300, &error);
    return redis ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    redis_close(redis);
    redis_server_stop(&server);
    return 0;
}

/* Runs a command of up to 8 words; the reply's text ("" for nil, numbers as text). */
static const char *call(const char *command)
{
    static char text[256];
    char copy[256], *rest = copy, *word;
    const char *argv[8];
    size_t lengths[8];
    struct error error = {""};
    redisReply *reply;
    int argc = 0;

    snprintf(copy, sizeof copy, "%s", command);
    while ((word = strsep(&rest, " ")) && argc < 8) {
        argv[argc] = word;
        lengths[argc++] = strlen(word);
    }
    reply = redis_call(redis, argc, argv, lengths, &error);
    if (!reply)
        return NULL;
    if (reply->type == REDIS_REPLY_INTEGER)
        snprintf(text, sizeof text, "%lld", reply->integer);
    else
        snprintf(text, sizeof text, "%s", reply->str ? reply->str : "");
    freeReplyObject(reply);
    return text;
}

static void urls(void **state)
{
    static const char *const good[] = {"redis://127.0.0.1:6379/0",
                                       "redis://h",
                                       "redis://[::1]:1/2",
                                       "redis://u:p%40@h:7",
                                       "redis://:p@h",
                                       "unix:/a/b",
                                       "unix:/a?db=3"};
    static const char *const bad[] = {"",           "redis:/h",      "redis://",     "redis://h:0",
                                      "unix:a",     "unix:/a?x=1",   "redis://h:1x", "redis://h/x",
                                      "rediss://h", "redis://%zz@h", "redis://[::1", "redis://u@"};
    struct error error;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!redis_url_check(good[i], &error))
            fail_msg("%s: %s", good[i], error.text);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (redis_url_check(bad[i], &error))
            fail_msg("accepted %s", bad[i]);
}

static void calls_are_binary_safe(void **state)
{
    const char *set[] = {"SET", "k", "a\0b"}, *get[] = {"GET", "k"};
    const size_t set_lengths[] = {3, 1, 3}, get_lengths[] = {3, 1};
    struct error error;
    redisReply *reply;

    (void)state;
    reply = redis_call(redis, 3, set, set_lengths, &error);
    assert_non_null(reply);
    freeReplyObject(reply);
    reply = redis_call(redis, 2, get, get_lengths, &error);
    assert_non_null(reply);
    assert_int_equal(reply->len, 3);
    assert_memory_equal(reply->str, "a\0b", 3);
    freeReplyObject(reply);
}

static void error_replies_are_handed_out(void **state)
{
    (void)state;
    assert_int_equal(strncmp(call("NOSUCH x"), "ERR unknown command", 19), 0);
    assert_string_equal(call("PING"), "PONG"); /* the connection is still good */
}

static void scripts_are_loaded_when_unknown(void **state)
{
    static const char source[] = "return {KEYS[1], ARGV[1]}";
    const char *argv[] = {"key", "value"};
    struct error error;
    redisReply *reply;

    (void)state;
    for (int i = 0; i < 3; i++) {
        reply = redis_script(redis, source, 1, 2, argv, NULL, &error);
        assert_non_null(reply);
        assert_int_equal(reply->type, REDIS_REPLY_ARRAY);
        assert_string_equal(reply->element[0]->str, "key");
        assert_string_equal(reply->element[1]->str, "value");
        freeReplyObject(reply);
        assert_string_equal(call("SCRIPT FLUSH"), "OK"); /* the next one meets NOSCRIPT */
    }
}

static void a_late_answer_is_never_taken(void **state)
{
    int64_t before;

    (void)state;
    assert_string_equal(call("SET late 1"), "OK");
    kill(server.pid, SIGSTOP);
    before = clock_mono_us();
    assert_null(call("GET late"));
    assert_in_range(clock_mono_us() - before, 250 * US_PER_MS, 2000 * US_PER_MS);
    kill(server.pid, SIGCONT);
    before = clock_mono_us();
    while (!call("PING") && clock_mono_us() - before < 5 * US_PER_SECOND)
        usleep(5000);
    assert_string_equal(call("PING"), "PONG"); /* and not the answer to GET */
}

static void a_dead_server_is_met_again(void **state)
{
    int64_t before;

    (void)state;
    assert_string_equal(call("PING"), "PONG");
    redis_server_kill(&server);
    assert_null(call("PING"));
    before = clock_mono_us();
    for (int i = 0; i < 1000; i++)
        assert_null(call("PING"));
    assert_in_range(clock_mono_us() - before, 0, 500 * US_PER_MS); /* waits cost nothing */
    assert_true(redis_server_launch(&server));
    while (!call("PING") && clock_mono_us() - before < 10 * US_PER_SECOND)
        usleep(5000);
    assert_string_equal(call("PING"), "PONG");
}

static void assert_script(const char *source, int keys, int argc, const char **argv,
                          const char *expected)
{
    struct error error = {""};
    redisReply *reply = redis_script(redis, source, keys, argc, argv, NULL, &error);
    char text[512] = "";

    if (!reply)
        fail_msg("%s", error.text);
    if (reply->type == REDIS_REPLY_ERROR)
        fail_msg("%s", reply->str);
    for (size_t i = 0; i < reply->elements; i++) {
        size_t used = strlen(text);

        if (reply->element[i]->type == REDIS_REPLY_INTEGER)
            snprintf(text + used, sizeof text - used, "%lld ", reply->element[i]->integer);
        else
            snprintf(text + used, sizeof text - used, "%s ", reply->element[i]->str);
    }
    freeReplyObject(reply);
    assert_string_equal(text, expected);
}

/* append.lua with the given prev, first, last and stream limit. */
static void assert_append(const char *prev, const char *first, const char *last, const char *limit,
                          const char *expected)
{
    const char *argv[] = {"{0}r", "{0}l", "{0}f", "{0}t", "{0}b",  "{0}e", "9223372036854775807",
                          prev,   first,  last,   limit,  "BATCH", "77",   "2",
                          "77:x", "1"};

    assert_script(test_append_lua, 6, 16, argv, expected);
}

static void append_applies_each_batch_once(void **state)
{
    (void)state;
    assert_append("0", "1", "2", "100", "not ready 0 0 ");
    assert_string_equal(call("SET {0}r 1"), "OK");
    assert_append("0", "1", "2", "100", "applied 2 0 ");
    assert_append("0", "1", "2", "100", "refused 2 0 ");
    assert_append("3", "4", "4", "100", "refused 2 0 ");
    assert_append("2", "3", "4", "5", "full 2 0 ");
    assert_append("2", "3", "4", "6", "applied 4 0 ");
    assert_string_equal(call("XLEN {0}e"), "2");
    assert_string_equal(call("GET {0}b"), "10");
    assert_string_equal(call("HGET {0}t 77"), "4");
    assert_string_equal(call("HGET {0}t 77:x"), "2");

    /* Beyond 2^53, where doubles end. */
    assert_string_equal(call("HSET {0}l 9223372036854775807 9007199254740992"), "0");
    assert_string_equal(call("HSET {0}f 9223372036854775807 9007199254740993"), "1");
    assert_append("9007199254740993", "9007199254740994", "9007199254740994", "100",
                  "refused 9007199254740992 9007199254740993 ");
}

static void idle_reads_all_origins(void **state)
{
    const char *argv[] = {"{0}r", "{0}l", "{0}f", "9223372036854775807", "5"};

    (void)state;
    assert_script(test_idle_lua, 3, 5, argv, "1 9007199254740992 9007199254740993 0 0 ");
    assert_string_equal(call("DEL {0}r"), "1");
    assert_script(test_idle_lua, 3, 5, argv, "0 9007199254740992 9007199254740993 0 0 ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls),
        cmocka_unit_test(calls_are_binary_safe),
        cmocka_unit_test(error_replies_are_handed_out),
        cmocka_unit_test(scripts_are_loaded_when_unknown),
        cmocka_unit_test(a_late_answer_is_never_taken),
        cmocka_unit_test(a_dead_server_is_met_again),
        cmocka_unit_test(append_applies_each_batch_once),
        cmocka_unit_test(idle_reads_all_origins),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, start, stop);
}
