/* The command line of the load generator: what is refused, and with which words. Answers it reads.
 * */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "loadtest/answers.h"
#include "loadtest/latency.h"
#include "loadtest/options.h"
#include "loadtest/response.h"

#define WORDS_MAX 16

static bool parse(const char *line, struct options *options, struct error *error)
{
    static char copy[512];
    char *argv[WORDS_MAX] = {"kudos-loadtest"}, *rest = NULL;
    int argc = 1;

    unsetenv("KUDOS_DATABASE_URL");
    strncpy(copy, line, sizeof copy - 1);
    for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        assert_true(argc < WORDS_MAX);
        argv[argc++] = word;
    }
    return options_parse(argc, argv, options, error);
}

static void test_good(void **state)
{
    struct options options;
    struct error error = {""};

    (void)state;
    if (!parse("--links f --rate=250.5 --duration 2 --new-connection 0.25 --verify --database d "
               "--target http://localhost:81/",
               &options, &error))
        fail_msg("%s", error.text);
    assert_true(options.rate > 250.4 && options.rate < 250.6);
    assert_true(options.new_connection > 0.24 && options.new_connection < 0.26);
    assert_true(options.verify && !options.closed);
    assert_int_equal(options.connections, 64);
    assert_string_equal(options.address_host, "localhost:81");
    assert_in_range(schedule_total(&options.schedule), 500, 501);
    assert_true(parse("--links f --target [::1]:80", &options, &error));
    assert_true(parse("--links f --remote-target http://192.0.2.1:8080", &options, &error));
    assert_true(parse("--help", &options, &error));
    setenv("KUDOS_DATABASE_URL", "postgresql:///kudos", 1);
}

static void test_bad(void **state)
{
    static const char *const cases[][2] = {
        {"", "which links?"},
        {"--links f --admin http://127.0.0.1:1", "which links?"},
        {"--admin http://127.0.0.1:1", "--key-file"},
        {"--links f --turbo", "no option \"--turbo\""},
        {"--links f extra", "no option \"extra\""},
        {"--links f --new_connection 0.5", "no option"},
        {"--links", "a value is missing"},
        {"--links f --closed=yes", "takes no value"},
        {"--links f --rate fast", "--rate: a number from 0.001 to 1000000 is wanted, not \"fast\""},
        {"--links f --rate 1e7", "a number from"},
        {"--links f --rate nan", "a number from"},
        {"--links f --connections 1.5", "a number from"},
        {"--links f --connections 99999999999999999999", "a number from"},
        {"--links f --keepalive 1.1", "a number from 0 to 1"},
        {"--links f --closed --rate 5", "--closed has no rate"},
        {"--links f --profile 5@5 --rate 5", "no --rate"},
        {"--links f --profile 5", "--profile: \"5\" is no part"},
        {"--links f --arrivals random", "poisson or constant"},
        {"--links f --processes 8 --connections 4", "each process needs a connection"},
        {"--links f --pipeline 2 --keepalive 0.5", "--pipeline goes with"},
        {"--links f --verify", "--database"},
        {"--links f --verify --database d --ids-max 0", "--ids-max"},
        {"--links f --target http://192.0.2.1:8080", "not on this machine"},
        {"--links f --target http://[2001:db8::1]:8080", "not on this machine"},
        {"--links f --target http://0.0.0.0:8080", "not on this machine"},
        {"--links f --target http://localhost.example.com", "is no address"},
        {"--links f --target http://example.com", "is no address"},
        {"--links f --target https://127.0.0.1", "TLS is not spoken"},
        {"--links f --target http://127.0.0.1/x", "is no http://ADDRESS:PORT"},
        {"--links f --target http://127.0.0.1:2 --remote-target http://192.0.2.1", "not both"},
        {"--admin http://192.0.2.1:8081 --key-file k", "that goes with --remote-target"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct options options;
        struct error error = {""};
        if (parse(cases[i][0], &options, &error))
            fail_msg("\"%s\" was taken", cases[i][0]);
        if (!strstr(error.text, cases[i][1]))
            fail_msg("\"%s\": \"%s\" instead of \"%s\"", cases[i][0], error.text, cases[i][1]);
    }
}

static void test_responses(void **state)
{
    static const char good[] =
        "HTTP/1.1 302 Found\r\nLocation: https://e.com/?a=1&kudos_id=XY#z\r\n"
        "content-length:  12 \r\n\r\n";
    static const char *const bad[] = {
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 0\r\n\r\n",
    };
    struct response response;
    struct text id;

    (void)state;
    for (size_t length = 0; length < sizeof good - 1; length++)
        assert_int_equal(response_parse(good, length, &response), RESPONSE_PARTIAL);
    assert_int_equal(response_parse(good, sizeof good - 1, &response), sizeof good - 1);
    assert_int_equal(response.status, 302);
    assert_int_equal(response.body_bytes, 12);
    assert_false(response.closes);
    id = response_parameter(response.location, "kudos_id", 8);
    assert_int_equal(id.length, 2);
    assert_memory_equal(id.bytes, "XY", 2);
    assert_int_equal(response_parameter(response.location, "b", 1).length, 0);
    assert_int_equal(response_parameter((struct text){NULL, 0}, "b", 1).length, 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(response_parse(bad[i], strlen(bad[i]), &response), RESPONSE_BAD);
    assert_true(response_parse("HTTP/1.0 204 No Content\r\n\r\n", 27, &response) > 0);
    assert_true(response.closes);
}

static void test_latency(void **state)
{
    struct latency latency = {.count = 0}, before, since;

    (void)state;
    for (int i = 1; i <= 100000; i++)
        latency_add(&latency, i);
    assert_in_range(latency_quantile_us(&latency, 0.5), 50000, 50800);
    assert_in_range(latency_quantile_us(&latency, 0.999), 99900, 100000);
    assert_int_equal(latency_quantile_us(&latency, 1), 100000);
    before = latency;
    latency_add(&latency, 5);
    latency_since(&latency, &before, &since);
    assert_int_equal(since.count, 1);
    assert_int_equal(latency_quantile_us(&since, 0.5), 5);
    latency_add(&latency, INT64_MAX / 2);
    assert_int_equal(latency_quantile_us(&latency, 1), INT64_MAX / 2);
}

static const char ID[] = "AQABogAIQSZb0J0Su70biAAAAAAAAAABAAAAAAAAAAGRUahKFiC-PcMqq76Vz80G";

static void test_answers(void **state)
{
    struct error error = {""};
    struct answers *answers = answers_open(2, 3, &error);

    (void)state;
    assert_non_null(answers);
    answers_add(answers, 0, (struct text){ID, 64});
    answers_add(answers, 0, (struct text){ID, 64});
    answers_add(answers, 0, (struct text){ID, 64});
    answers_add(answers, 1, (struct text){NULL, 0});
    answers_add(answers, 1, (struct text){"x", 1});
    answers_miss(answers, 2);
    assert_int_equal(answers->count, 2); /* bounded */
    assert_int_equal(answers->with_id, 3);
    assert_int_equal(answers->links[0].answered, 3);
    assert_int_equal(answers->links[0].id, 1);
    assert_int_equal(answers->without_id, 1);
    assert_int_equal(answers->not_an_id, 1);
    assert_int_equal(answers->links[2].unanswered, 1);
    assert_int_equal(answers->other_link, 0);
    answers_expect(answers, 1, 17);
    answers_add(answers, 1, (struct text){ID, 64});
    assert_int_equal(answers->other_link, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),      cmocka_unit_test(test_bad),
        cmocka_unit_test(test_responses), cmocka_unit_test(test_latency),
        cmocka_unit_test(test_answers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
