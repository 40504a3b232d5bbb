/* From request to decision to reply, without a socket: what is promised about links. */
#include "server/redirect/decision.h"
#include "server/redirect/reply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shared/clock.h"

#define NOW 1795600000000000
#define ID  "0123456789012345678901234567890123456789012345678901234567890123"

static const struct http_limits limits = {16384, 8192, 100};
static struct http_head head;
static struct request request;
static struct reply_writer writer;
static const struct decision_policy refusing = {.refuse_prefetch = true};
static struct domain domain = {.id = 3, .workspace = 2, .redirect_status = 302};

static void read_request(const char *text)
{
    assert_true(http_head_parse(text, strlen(text), 0, &limits, &head) > 0);
    request_read(&head, &request);
}

static struct link make_link(const char *destination, uint32_t flags)
{
    const char *fragment = strchr(destination, '#');
    struct link link = {.id = 5, .workspace = 2, .domain = 3, .campaign = 7, .influencer = 11};

    link.redirect_status = 302;
    link.destination = (struct text){destination, strlen(destination)};
    link.fragment_offset =
        (uint32_t)(fragment ? (size_t)(fragment - destination) : strlen(destination));
    link.flags = flags;
    if (memchr(destination, '?', link.fragment_offset))
        link.flags |= LINK_HAS_QUERY;
    return link;
}

/* Decides a GET of /a?query on the link and gives the Location. */
static const char *location(const char *query, const struct link *link, const char *id)
{
    static char out[65536];
    char text[20000];
    struct location_mark mark;
    struct decision decision;
    struct click click;
    struct text name = TEXT("kudos_id");
    size_t length, most;

    snprintf(text, sizeof text, "GET /a?%s HTTP/1.1\r\nHost: h\r\n\r\n", query);
    read_request(text);
    decide_link(&request, &domain, link, NOW, &decision, &click);
    length = location_write(&decision, &name, id, out, &mark);
    most = location_max(strlen(query));
    assert_true(length <= most && mark.at + mark.length <= length);
    out[length] = '\0';
    if (id && mark.length) { /* taking the id out again leaves what it would have been */
        char with[65536], without[65536];
        struct location_mark none;

        strcpy(with, out);
        with[location_strip(&mark, with, length)] = '\0';
        without[location_write(&decision, &name, NULL, without, &none)] = '\0';
        assert_string_equal(with, without);
        assert_int_equal(none.length, 0);
    }
    return out;
}

static void reads_the_host(void **state)
{
    static const char *const cases[][2] = {
        {"Go.Brand.Example", "go.brand.example"},
        {"h:8080", "h"},
        {"h.", "h"},
        {"h.:80", "h"},
        {"", ""},
        {"[::1]:80", "[::1]"},
        {"X_y", "x_y"},
        {".", ""},
        {":80", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];

        snprintf(text, sizeof text, "GET /a HTTP/1.1\r\nHost: %s\r\n\r\n", cases[i][0]);
        read_request(text);
        assert_int_equal(request.host_length, strlen(cases[i][1]));
        assert_memory_equal(request.host, cases[i][1], request.host_length);
    }
}

static void joins_the_lines_of_forwarded_for(void **state)
{
    char text[8192] = "GET /a HTTP/1.1\r\nHost: h\r\n", line[1600];

    (void)state;
    read_request("GET /a HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n");
    assert_int_equal(request.forwarded_for.length, 7);
    read_request("GET /a HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.1.1.1\r\nA: b\r\n"
                 "X-Forwarded-For: 2.2.2.2, 3.3.3.3\r\n\r\n");
    assert_int_equal(request.forwarded_for.length, 24);
    assert_memory_equal(request.forwarded_for.bytes, "1.1.1.1,2.2.2.2, 3.3.3.3", 24);
    for (int i = 0; i < 3; i++) { /* more than fits: the end is what counts */
        snprintf(line, sizeof line, "X-Forwarded-For: %0*d, 10.0.0.%d\r\n", 600 + 300 * i, 0, i);
        strcat(text, line);
    }
    strcat(text, "\r\n");
    read_request(text);
    assert_true(request.forwarded_for.length <= REQUEST_FORWARDED_MAX);
    assert_memory_equal(request.forwarded_for.bytes + request.forwarded_for.length - 8, "10.0.0.2",
                        8);
}

static void routes_by_method_and_path(void **state)
{
    static const struct {
        const char *line;
        enum route route;
    } cases[] = {
        {"GET /abc", ROUTE_LINK},
        {"HEAD /abc", ROUTE_LINK},
        {"POST /abc", ROUTE_METHOD},
        {"DELETE /-/health", ROUTE_METHOD},
        {"GET /-/health", ROUTE_HEALTH},
        {"GET /-/health?x=1", ROUTE_HEALTH},
        {"GET /-/healthy", ROUTE_NOTHING},
        {"GET /-/", ROUTE_NOTHING},
        {"GET /robots.txt", ROUTE_ROBOTS},
        {"GET /favicon.ico", ROUTE_FAVICON},
        {"GET /", ROUTE_ROOT},
        {"GET http://h", ROUTE_ROOT},
        {"GET http://h/abc", ROUTE_LINK},
        {"GET /.well-known/x", ROUTE_NOTHING},
        {"GET /-abc", ROUTE_LINK},
        {"OPTIONS *", ROUTE_METHOD},
        {"CONNECT h:443", ROUTE_METHOD},
        {"GET /robots.txt2", ROUTE_LINK},
        {"GET /abc+", ROUTE_PREVIEW},
        {"HEAD /abc%2B?x", ROUTE_PREVIEW},
        {"POST /abc+", ROUTE_METHOD},
        {"GET /+", ROUTE_LINK},
        {"GET /-/health+", ROUTE_NOTHING},
        {"GET /a+b", ROUTE_LINK},
        {"GET /robots.txt+", ROUTE_PREVIEW},
        {"GET /.well-known/assetlinks.json", ROUTE_ASSETLINKS},
        {"GET /.well-known/apple-app-site-association", ROUTE_ASSOCIATION},
        {"GET /.well-known/assetlinks.json+", ROUTE_NOTHING},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];

        snprintf(text, sizeof text, "%s HTTP/1.1\r\nHost: h\r\n\r\n", cases[i].line);
        read_request(text);
        assert_int_equal(request_route(&request), cases[i].route);
    }
}

static enum answer decide(const struct link *link, struct decision *decision, struct click *click)
{
    decide_link(&request, &domain, link, NOW, decision, click);
    return decision->answer;
}

static void decides_by_the_state_of_the_link(void **state)
{
    struct link link = make_link("https://shop.example/", 0);
    struct decision decision;
    struct click click;

    (void)state;
    read_request("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(decide(NULL, &decision, &click), ANSWER_NOT_FOUND);
    assert_int_equal(decide(&link, &decision, &click), ANSWER_FOUND);
    assert_true(decision.click && decision.id == ID_PARAMETER && !decision.late);
    assert_int_equal(click.link, 5);
    assert_int_equal(click.workspace, 2);
    assert_int_equal(click.domain, 3);
    assert_int_equal(click.campaign, 7);
    assert_int_equal(click.influencer, 11);
    assert_int_equal(click.time_us, NOW);
    assert_int_equal(click.status, 302);
    assert_int_equal(click.flags, 0);

    link.state = LINK_DISABLED;
    assert_int_equal(decide(&link, &decision, &click), ANSWER_NOT_FOUND);
    link.state = LINK_ARCHIVED;
    assert_int_equal(decide(&link, &decision, &click), ANSWER_NOT_FOUND);
    assert_false(decision.click);
    link.state = LINK_ACTIVE;
    link.starts_at_us = NOW + 1;
    assert_int_equal(decide(&link, &decision, &click), ANSWER_NOT_FOUND);
    link.starts_at_us = NOW;
    assert_int_equal(decide(&link, &decision, &click), ANSWER_FOUND);
    link.expires_at_us = NOW + 1;
    assert_int_equal(decide(&link, &decision, &click), ANSWER_FOUND);
    link.expires_at_us = NOW;
    assert_int_equal(decide(&link, &decision, &click), ANSWER_GONE);
    assert_false(decision.click);
}

static void sends_late_visitors_to_the_fallback(void **state)
{
    struct link link = make_link("https://shop.example/", LINK_PASS_QUERY);
    struct decision decision;
    struct click click;

    (void)state;
    link.expires_at_us = NOW - 1;
    link.redirect_status = 301;
    link.fallback = TEXT("https://shop.example/over#x");
    read_request("GET /a?b=c HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(decide(&link, &decision, &click), ANSWER_FOUND);
    assert_true(decision.click && decision.late == LATE_EXPIRED && decision.id == ID_NONE);
    assert_int_equal(click.flags, CLICK_NO_ID);
    decide_visitor(&request, &link, &refusing, &decision, &click);
    assert_int_equal(click.verdict, VERDICT_INVALID);
    assert_memory_equal(click.rule.bytes, "link_expired", click.rule.length);
    assert_string_equal(location("b=c", &link, NULL), "https://shop.example/over#x");
}

static void heads_are_no_clicks(void **state)
{
    struct link link = make_link("https://shop.example/", 0);
    struct decision decision;
    struct click click;

    (void)state;
    read_request("HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(decide(&link, &decision, &click), ANSWER_FOUND);
    assert_false(decision.click || decision.id || decision.needs_visitor);
}

static void builds_locations(void **state)
{
    struct link plain = make_link("https://s.example/p", 0);
    struct link query = make_link("https://s.example/p?a=1#frag?x", 0);
    struct link pass = make_link("https://s.example/p#f", LINK_PASS_QUERY);
    struct link both = make_link("https://s.example/p?utm_source=own&b", LINK_PASS_QUERY);
    struct link empty = make_link("https://s.example/?", LINK_PASS_QUERY);
    struct link asking = make_link("https://s.example/p?a=b?", LINK_PASS_QUERY);

    (void)state;
    assert_string_equal(location("x=1", &plain, NULL), "https://s.example/p");
    assert_string_equal(location("x=1", &plain, ID), "https://s.example/p?kudos_id=" ID);
    assert_string_equal(location("", &query, ID), "https://s.example/p?a=1&kudos_id=" ID "#frag?x");
    assert_string_equal(location("x=1&&y", &pass, NULL), "https://s.example/p?x=1&y#f");
    assert_string_equal(location("x=1", &pass, ID), "https://s.example/p?x=1&kudos_id=" ID "#f");
    assert_string_equal(location("x=1", &empty, ID), "https://s.example/?x=1&kudos_id=" ID);
    assert_string_equal(location("", &empty, ID), "https://s.example/?kudos_id=" ID);
    assert_string_equal(location("x=1", &asking, ID), /* its '?' is part of a value */
                        "https://s.example/p?a=b?&x=1&kudos_id=" ID);
    /* the destination's own win, however the name is spelt; ids are ours alone */
    assert_string_equal(location("utm_source=x&utm%5Fsource=y&utm_sourc%65=z&b=2&c=3&kudos_id=1&"
                                 "kudos%5fid=2",
                                 &both, NULL),
                        "https://s.example/p?utm_source=own&b&c=3");
    assert_string_equal(location("a=%0d%0aSet-Cookie:x", &pass, NULL),
                        "https://s.example/p?a=%0d%0aSet-Cookie:x#f");
    assert_string_equal(location("a=<\"\\^`{|}>", &pass, NULL),
                        "https://s.example/p?a=%3C%22%5C%5E%60%7B%7C%7D%3E#f");
    assert_string_equal(location("%&%4&a%4", &pass, NULL), "https://s.example/p?%&%4&a%4#f");
}

static void bounds_what_it_passes_on(void **state)
{
    struct link pass = make_link("https://s.example/", LINK_PASS_QUERY);
    char query[8000] = "";
    const char *result;
    size_t parameters = 0;

    (void)state;
    for (int i = 0; i < 200; i++)
        snprintf(query + strlen(query), 32, "p%d=\"&", i);
    result = location(query, &pass, ID);
    for (const char *at = result; (at = strchr(at, '=')); at++)
        parameters++;
    assert_int_equal(parameters, LOCATION_PARAMETERS_MAX + 1);
    memset(query, '"', 7999);
    query[7999] = '\0';
    assert_int_equal(strlen(location(query, &pass, NULL)),
                     strlen("https://s.example/?") + 3 * 7999);
}

static const char *reply(const struct decision *decision, enum reply_connection connection,
                         bool with_body, const char *id)
{
    static char out[8192];
    struct location_mark mark;
    size_t length = reply_write(&writer, decision, connection, with_body, id, out, &mark);

    assert_true(length <= reply_max(decision->query.length));
    out[length] = '\0';
    if (id)
        assert_memory_equal(out + mark.at + mark.length - CLICK_ID_LENGTH, ID, CLICK_ID_LENGTH);
    return out;
}

static void writes_redirects(void **state)
{
    struct link link = make_link("https://s.example/p", 0);
    struct decision decision;
    struct click click;

    (void)state;
    reply_open(&writer, "kudos_id");
    reply_set_time(&writer, 784111777 * US_PER_SECOND);
    read_request("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
    decide(&link, &decision, &click);
    assert_string_equal(reply(&decision, REPLY_STAYS, true, ID),
                        "HTTP/1.1 302 Found\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                        "Cache-Control: private, no-store\r\n"
                        "Referrer-Policy: strict-origin-when-cross-origin\r\n"
                        "X-Robots-Tag: noindex\r\nContent-Length: 0\r\n"
                        "Location: https://s.example/p?kudos_id=" ID "\r\n\r\n");
    assert_non_null(strstr(reply(&decision, REPLY_CLOSE, true, NULL),
                           "Location: https://s.example/p\r\nConnection: close\r\n\r\n"));
    link.redirect_status = 308;
    decide(&link, &decision, &click);
    assert_non_null(strstr(reply(&decision, REPLY_KEEP_ALIVE, true, NULL),
                           "Location: https://s.example/p\r\nConnection: keep-alive\r\n\r\n"));
    assert_int_equal(strncmp(reply(&decision, REPLY_STAYS, true, NULL), "HTTP/1.1 308 ", 13), 0);
}

static void writes_every_other_answer(void **state)
{
    (void)state;
    reply_open(&writer, "k\r\n&=");
    assert_int_equal(writer.name_length, 13);
    assert_memory_equal(writer.name, "k%0D%0A%26%3D", 13);
    reply_set_time(&writer, NOW);
    for (enum answer answer = 0; answer < ANSWER_COUNT; answer++) {
        struct decision decision = {.answer = answer};
        const char *text, *body, *size;
        char status[32];

        if (answer >= ANSWER_MOVED && answer <= ANSWER_PERMANENT)
            continue;
        text = reply(&decision, REPLY_CLOSE, true, NULL);
        snprintf(status, sizeof status, "HTTP/1.1 %d ", answer_status(answer));
        assert_int_equal(strncmp(text, status, strlen(status)), 0);
        body = strstr(text, "\r\n\r\n") + 4;
        size = strstr(text, "Content-Length: ");
        assert_int_equal(size ? atoi(size + 16) : 0, strlen(body));
        assert_int_equal(strstr(text, "Allow: GET, HEAD\r\n") != NULL, answer == ANSWER_METHOD);
        text = reply(&decision, REPLY_CLOSE, false, NULL);
        assert_string_equal(strstr(text, "\r\n\r\n"), "\r\n\r\n");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_host),
        cmocka_unit_test(joins_the_lines_of_forwarded_for),
        cmocka_unit_test(routes_by_method_and_path),
        cmocka_unit_test(decides_by_the_state_of_the_link),
        cmocka_unit_test(sends_late_visitors_to_the_fallback),
        cmocka_unit_test(heads_are_no_clicks),
        cmocka_unit_test(builds_locations),
        cmocka_unit_test(bounds_what_it_passes_on),
        cmocka_unit_test(writes_redirects),
        cmocka_unit_test(writes_every_other_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
