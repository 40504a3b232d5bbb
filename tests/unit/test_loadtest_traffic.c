/* Who clicks what: links by Zipf's law, the same requests for a seed, each of them HTTP that the
 * service's own parser takes, mixes with the weights of their lists. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loadtest/traffic.h"
#include "shared/http_head.h"

#define DRAWS 200000

static const struct traffic_plan plan = {.zipf = 1,
                                         .bots = 0.25,
                                         .repeats = 0.5,
                                         .keepalive = 0.9,
                                         .new_connection = 0.1,
                                         .forwarded = true};

struct world {
    struct links links;
    struct mix mix;
};

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    struct error error = {""};
    char slug[16];

    links_open(&world->links, "127.0.0.1:8080", "", 1000000);
    for (int i = 0; i < 100; i++) {
        snprintf(slug, sizeof slug, "n%d", i);
        assert_true(links_add(&world->links, slug, &error));
    }
    if (!mix_open(&world->mix, "", "", "", &error))
        fail_msg("%s", error.text);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    links_close(&world->links);
    mix_close(&world->mix);
    free(world);
    return 0;
}

static void check_zipf(uint64_t count, double exponent)
{
    struct draw draw = draw_open(5, 0);
    double sum = 0, *seen = calloc(count, sizeof *seen);
    struct zipf zipf;

    zipf_open(&zipf, count, exponent);
    for (int i = 0; i < DRAWS; i++) {
        uint64_t rank = zipf_draw(&zipf, &draw);
        assert_true(rank < count);
        seen[rank]++;
    }
    for (uint64_t k = 1; k <= count; k++)
        sum += pow((double)k, -exponent);
    for (uint64_t k = 1; k <= count && k <= 20; k++) {
        double expected = DRAWS * pow((double)k, -exponent) / sum;
        /* five standard deviations */
        if (fabs(seen[k - 1] - expected) > 5 * sqrt(expected) + 1)
            fail_msg("rank %llu of %llu, exponent %g: %g, expected %g", (unsigned long long)k,
                     (unsigned long long)count, exponent, seen[k - 1], expected);
    }
    free(seen);
}

static void test_zipf(void **state)
{
    (void)state;
    check_zipf(1, 1);
    check_zipf(2, 1);
    check_zipf(100, 0);
    check_zipf(100, 0.5);
    check_zipf(1000, 1);
    check_zipf(1000, 1.2);
    check_zipf(1000000, 2.5);
    check_zipf(10, 4);
}

static const struct http_limits limits = {16384, 8192, 100};

static void parse(const char *bytes, size_t length, struct http_head *head)
{
    assert_int_equal(http_head_parse(bytes, length, 0, &limits, head), (int)length);
    assert_int_equal(head->method, HTTP_GET);
    assert_false(http_has_body(head));
}

static void test_requests_are_http(void **state)
{
    struct world *world = *state;
    char out[TRAFFIC_REQUEST_MAX];
    struct traffic traffic;
    struct traffic_request request;
    int last = 0, fresh = 0;

    traffic_open(&traffic, &plan, &world->links, &world->mix, 1, 0);
    for (int i = 0; i < 20000; i++) {
        struct http_head head;
        char path[16];

        traffic_next(&traffic, out, &request);
        parse(out, request.length, &head);
        snprintf(path, sizeof path, "/n%u", request.link);
        assert_int_equal(head.path.length, strlen(path));
        assert_memory_equal(head.path.bytes, path, strlen(path));
        assert_int_equal(head.keep_alive, !request.last);
        assert_int_equal(head.repeated, 0);
        assert_true(head.known[HTTP_NAME_X_FORWARDED_FOR].length >= 7);
        last += request.last;
        fresh += request.fresh;
    }
    assert_in_range(last, 1800, 2200);
    assert_in_range(fresh, 1800, 2200);
}

static void test_same_seed_same_requests(void **state)
{
    struct world *world = *state;
    char a[TRAFFIC_REQUEST_MAX], b[TRAFFIC_REQUEST_MAX], c[TRAFFIC_REQUEST_MAX];
    struct traffic one, same, other;
    struct traffic_request x, y, z;
    int differ = 0;

    traffic_open(&one, &plan, &world->links, &world->mix, 9, 1);
    traffic_open(&same, &plan, &world->links, &world->mix, 9, 1);
    traffic_open(&other, &plan, &world->links, &world->mix, 9, 2);
    for (int i = 0; i < 1000; i++) {
        traffic_next(&one, a, &x);
        traffic_next(&same, b, &y);
        traffic_next(&other, c, &z);
        assert_int_equal(x.length, y.length);
        assert_memory_equal(a, b, x.length);
        differ += x.length != z.length || memcmp(a, c, x.length) != 0;
    }
    assert_true(differ > 950);
}

static int compare_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* How many different addresses, of 2,000 requests. */
static int count_visitors(struct world *world, double repeats)
{
    static char seen[2000][INET6_ADDRSTRLEN];
    struct traffic_plan own = plan;
    char out[TRAFFIC_REQUEST_MAX];
    struct traffic traffic;
    struct traffic_request request;
    int count = 0;

    own.repeats = repeats;
    traffic_open(&traffic, &own, &world->links, &world->mix, 3, 0);
    for (int i = 0; i < 2000; i++) {
        struct http_head head;
        struct text address;
        traffic_next(&traffic, out, &request);
        parse(out, request.length, &head);
        address = head.known[HTTP_NAME_X_FORWARDED_FOR];
        snprintf(seen[i], sizeof seen[i], "%.*s", (int)address.length, address.bytes);
    }
    qsort(seen, 2000, sizeof seen[0], compare_text);
    for (int i = 0; i < 2000; i++)
        count += i == 0 || strcmp(seen[i], seen[i - 1]) != 0;
    return count;
}

static void test_repeats(void **state)
{
    assert_in_range(count_visitors(*state, 0), 1990, 2000);
    assert_in_range(count_visitors(*state, 0.5), 900, 1100);
    assert_int_equal(count_visitors(*state, 1), 1);
}

static void test_bots(void **state)
{
    struct world *world = *state;
    struct traffic_plan own = plan;
    char out[TRAFFIC_REQUEST_MAX];
    struct traffic traffic;
    struct traffic_request request;
    int bots = 0;

    own.repeats = 0;
    own.forwarded = false;
    traffic_open(&traffic, &own, &world->links, &world->mix, 3, 0);
    for (int i = 0; i < 20000; i++) {
        struct http_head head;
        traffic_next(&traffic, out, &request);
        parse(out, request.length, &head);
        bots += head.known[HTTP_NAME_ACCEPT_LANGUAGE].length == 0; /* no built-in bot sends one */
        assert_int_equal(head.known[HTTP_NAME_X_FORWARDED_FOR].length, 0);
    }
    assert_in_range(bots, 4700, 5300);
}

static void test_weights(void **state)
{
    struct world *world = *state;
    const struct mix_list *list = &world->mix.countries;
    struct draw draw = draw_open(1, 1);
    int seen[64] = {0};
    double before = 0;

    assert_true(list->count > 10 && list->count < 64);
    for (int i = 0; i < DRAWS; i++)
        seen[mix_pick(list, draw_unit(&draw)) - list->entries]++;
    for (size_t i = 0; i < list->count; i++) {
        double share = (list->entries[i].up_to - before) / list->entries[list->count - 1].up_to;
        before = list->entries[i].up_to;
        assert_true(fabs(seen[i] - share * DRAWS) < 5 * sqrt(share * DRAWS));
    }
}

static void refuse_list(const char *text, const char *reason)
{
    char path[] = "/tmp/kudos-mix-XXXXXX";
    int fd = mkstemp(path);
    struct error error = {""};
    struct mix mix;

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    assert_false(mix_open(&mix, path, "", "", &error));
    unlink(path);
    if (!strstr(error.text, reason))
        fail_msg("\"%s\" instead of \"%s\"", error.text, reason);
}

static void test_bad_lists(void **state)
{
    struct error error = {""};
    struct mix mix;

    (void)state;
    refuse_list("", "persons");
    refuse_list("1\tperson\ta\tA\n", "bots");
    refuse_list("# all right\nx\tperson\ta\tA\n", ":2: a line begins with a weight");
    refuse_list("-1\tperson\ta\tA\n", "weight");
    refuse_list("1\talien\ta\tA\n", "person or bot");
    refuse_list("1\tperson\ta\tA\tno colon\n", "no header line");
    refuse_list("1\tperson\ta\tA\rX: y\n", "control characters");
    refuse_list("0\tperson\ta\tA\n0\tbot\tb\tB\n", "all its weights are 0");
    assert_false(mix_open(&mix, "/nonexistent", "", "", &error));
    assert_non_null(strstr(error.text, "/nonexistent"));
}

static void test_links(void **state)
{
    static const char *const bad[] = {
        "", "a b", "/a\rb", "http://", "http://go.example.com", "/a#b", "http:///x", "\x01"};
    struct error error = {""};
    struct links links;

    (void)state;
    links_open(&links, "127.0.0.1", "", 3);
    assert_true(links_add(&links, "https://go.example.com:8/x?y=1", &error));
    assert_true(links_add(&links, "/z", &error));
    assert_true(links_add(&links, "sch\xc3\xb6n", &error));
    assert_true(links_add(&links, "more", &error));
    assert_int_equal(links.count, 3);
    assert_string_equal(links.list[0].start, "GET /x?y=1 HTTP/1.1\r\nHost: go.example.com:8\r\n");
    assert_string_equal(links.list[1].start, "GET /z HTTP/1.1\r\nHost: 127.0.0.1\r\n");
    assert_string_equal(links.list[2].start, "GET /sch\xc3\xb6n HTTP/1.1\r\nHost: 127.0.0.1\r\n");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(links_add(&links, bad[i], &error));
    links_close(&links);
    links_open(&links, "127.0.0.1", "brand.example", 3);
    assert_true(links_add(&links, "http://go.example.com/x", &error));
    assert_string_equal(links.list[0].start, "GET /x HTTP/1.1\r\nHost: brand.example\r\n");
    links_close(&links);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zipf),
        cmocka_unit_test(test_requests_are_http),
        cmocka_unit_test(test_same_seed_same_requests),
        cmocka_unit_test(test_repeats),
        cmocka_unit_test(test_bots),
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_bad_lists),
        cmocka_unit_test(test_links),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
