/* The request head parser: what it finds, what it refuses, and that neither the cutting of the
 * bytes nor what lies behind them changes the result. */
#include "shared/http_head.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/fuzz/fuzz_http_head.c"

static const struct http_limits limits = {16384, 8192, 100};

static struct http_head head;

static int parse(const char *text)
{
    return http_head_parse(text, strlen(text), 0, &limits, &head);
}

static void assert_span(struct text span, const char *text)
{
    assert_int_equal(span.length, strlen(text));
    assert_memory_equal(span.bytes, text, span.length);
}

static void finds_the_parts_of_a_browser_request(void **state)
{
    static const char text[] = "GET /Summer-24?utm_source=ig&x=1#top HTTP/1.1\r\n"
                               "Host: go.brand.example:8080\r\n"
                               "user-agent:  Mozilla/5.0 (iPhone) \t\r\n"
                               "X-Forwarded-For: 203.0.113.9\r\n"
                               "x-forwarded-for: 10.0.0.1\r\n"
                               "Accept: */*\r\n"
                               "ACCEPT-LANGUAGE: de-DE,de;q=0.9\r\n"
                               "Referer: https://instagram.com/\r\n"
                               "Sec-GPC: 1\r\nDNT: 1\r\nSec-Purpose: prefetch\r\n"
                               "Purpose: p\r\nX-Purpose: xp\r\nX-Moz: xm\r\nEmpty:\r\n\r\n";

    (void)state;
    assert_int_equal(parse(text), sizeof text - 1);
    assert_int_equal(head.method, HTTP_GET);
    assert_int_equal(head.form, HTTP_ORIGIN);
    assert_int_equal(head.minor_version, 1);
    assert_true(head.keep_alive);
    assert_false(http_has_body(&head));
    assert_int_equal(head.field_count, 14);
    assert_span(head.path, "/Summer-24");
    assert_span(head.query, "utm_source=ig&x=1");
    assert_span(head.host, "go.brand.example:8080");
    assert_span(head.known[HTTP_NAME_USER_AGENT], "Mozilla/5.0 (iPhone)");
    assert_span(head.known[HTTP_NAME_ACCEPT_LANGUAGE], "de-DE,de;q=0.9");
    assert_span(head.known[HTTP_NAME_REFERER], "https://instagram.com/");
    assert_span(head.known[HTTP_NAME_SEC_GPC], "1");
    assert_span(head.known[HTTP_NAME_DNT], "1");
    assert_span(head.known[HTTP_NAME_SEC_PURPOSE], "prefetch");
    assert_span(head.known[HTTP_NAME_PURPOSE], "p");
    assert_span(head.known[HTTP_NAME_X_PURPOSE], "xp");
    assert_span(head.known[HTTP_NAME_X_MOZ], "xm");
    assert_span(head.known[HTTP_NAME_X_FORWARDED_FOR], "203.0.113.9");
    assert_int_equal(head.repeated, 1u << HTTP_NAME_X_FORWARDED_FOR);
}

static void walks_all_lines_of_a_field(void **state)
{
    struct text rest, name, value;
    char joined[64] = "";

    (void)state;
    assert_true(parse("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1\r\nB:\r\n"
                      "x-forwarded-for: \t2 \r\n\r\n") > 0);
    for (rest = head.fields; http_next_field(&rest, &name, &value);) {
        if (http_name_of(name.bytes, name.length) == HTTP_NAME_X_FORWARDED_FOR)
            strncat(joined, value.bytes, value.length);
    }
    assert_string_equal(joined, "12");
}

static void understands_the_forms_of_a_target(void **state)
{
    (void)state;
    assert_true(parse("GET HTTP://Brand.Example:80/a?b HTTP/1.1\r\nHost: other\r\n\r\n") > 0);
    assert_int_equal(head.form, HTTP_ABSOLUTE);
    assert_span(head.host, "Brand.Example:80");
    assert_span(head.path, "/a");
    assert_span(head.query, "b");
    assert_true(parse("GET https://h?q HTTP/1.1\r\nHost: h\r\n\r\n") > 0);
    assert_span(head.path, "");
    assert_span(head.query, "q");
    assert_true(parse("HEAD /a??b HTTP/1.1\r\nHost: h\r\n\r\n") > 0);
    assert_int_equal(head.method, HTTP_HEAD);
    assert_span(head.query, "?b");
    assert_true(parse("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n") > 0);
    assert_int_equal(head.form, HTTP_ASTERISK);
    assert_true(parse("CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n") > 0);
    assert_int_equal(head.form, HTTP_AUTHORITY);
    assert_int_equal(head.method, HTTP_OTHER);
    assert_true(parse("GETS /a HTTP/1.1\r\nHost: h\r\n\r\n") > 0);
    assert_int_equal(head.method, HTTP_OTHER);
    assert_true(parse("\r\n\r\nGET /a HTTP/1.1\r\nHost: [::1]:80\r\n\r\n") > 0);
    assert_span(head.host, "[::1]:80");
}

static void knows_when_a_connection_stays(void **state)
{
    static const struct {
        const char *version, *fields;
        bool keep_alive;
    } cases[] = {
        {"1.1", "", true},
        {"1.1", "Connection: close\r\n", false},
        {"1.1", "Connection: foo, CLOSE ,bar\r\n", false},
        {"1.1", "Connection: keep-alive\r\nConnection: close\r\n", false},
        {"1.1", "Connection: closed\r\n", true},
        {"1.0", "", false},
        {"1.0", "Connection: Keep-Alive\r\n", true},
        {"1.0", "Connection: keep-alive, close\r\n", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];

        snprintf(text, sizeof text, "GET / HTTP/%s\r\nHost: h\r\n%s\r\n", cases[i].version,
                 cases[i].fields);
        assert_true(parse(text) > 0);
        assert_int_equal(head.keep_alive, cases[i].keep_alive);
    }
}

static void knows_when_a_body_follows(void **state)
{
    (void)state;
    assert_true(parse("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0042 \r\n\r\n") > 0);
    assert_int_equal(head.content_length, 42);
    assert_true(http_has_body(&head));
    assert_true(parse("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n") > 0);
    assert_false(http_has_body(&head));
    assert_true(parse("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n") > 0);
    assert_true(http_has_body(&head));
}

/* Each must be refused with 400, at once and in pieces. */
static const char *const refused[] = {
    "GET / HTTP/1.1\nHost: h\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\n\n",
    "GET / HTTP/1.1\r\nHost: h\r\rX: y\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\n\rX",
    "\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET / HTTP/1.1\r\nHost : h\r\n\r\n",
    "GET / HTTP/1.1\r\nHost\t: h\r\n\r\n",
    "GET / HTTP/1.1\r\n Host: h\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n\tc\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nA: b\x01\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nA: b\x7f\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nA@: b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\n: b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nNo colon\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nA\xc3\xa4: b\r\n\r\n",
    "GET / HTTP/2.0\r\nHost: h\r\n\r\n",
    "GET / HTTP/1.2\r\nHost: h\r\n\r\n",
    "GET / HTTP/1.10\r\nHost: h\r\n\r\n",
    "GET / http/1.1\r\nHost: h\r\n\r\n",
    "GET / HTTP/1.1 \r\nHost: h\r\n\r\n",
    "GET /\r\n\r\n",
    "GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /  HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n",
    " GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "G@T / HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /\xc3\xa4 HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /\x7f HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET a HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET * HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET http:///x HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET http://u@h/ HTTP/1.1\r\nHost: h\r\n\r\n",
    "CONNECT /x HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET / HTTP/1.1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: u@h\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1, 1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000000000000000\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \x0b"
    "chunked\r\n\r\n",
    "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
};

/* Feeds `text` in pieces of `step` bytes, as a connection would. */
static int parse_in_pieces(const char *text, size_t length, size_t step)
{
    size_t seen = 0;
    int result;

    do {
        size_t now = length - seen < step ? length : seen + step;

        result = http_head_parse(text, now, seen, &limits, &head);
        if (result != HTTP_HEAD_PARTIAL)
            return result;
        seen = now;
    } while (seen < length);
    return result;
}

static void refuses_what_can_be_read_in_two_ways(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        if (parse(refused[i]) != HTTP_HEAD_BAD || head.status != 400)
            fail_msg("accepted: %s", refused[i]);
        for (size_t step = 1; step < strlen(refused[i]); step++) {
            if (parse_in_pieces(refused[i], strlen(refused[i]), step) != HTTP_HEAD_BAD)
                fail_msg("accepted in pieces of %zu: %s", step, refused[i]);
            assert_int_equal(head.status, 400);
        }
    }
}

static void refuses_nul_everywhere(void **state)
{
    static const char good[] = "GET /a HTTP/1.1\r\nHost: h\r\nAccept: */*\r\n\r\n";

    (void)state;
    for (size_t at = 0; at < sizeof good - 1; at++) {
        char text[sizeof good];

        memcpy(text, good, sizeof good);
        text[at] = '\0';
        assert_int_equal(http_head_parse(text, sizeof good - 1, 0, &limits, &head), HTTP_HEAD_BAD);
        assert_int_equal(head.status, 400);
    }
}

static void every_prefix_is_partial(void **state)
{
    static const char good[] = "HEAD http://h:1/a?b HTTP/1.0\r\nHost: h\r\nX-Long-Name-Of-A-Field: "
                               "value value value\r\nConnection: keep-alive\r\n\r\n";
    size_t length = sizeof good - 1;

    (void)state;
    for (size_t n = 0; n < length; n++)
        assert_int_equal(http_head_parse(good, n, 0, &limits, &head), HTTP_HEAD_PARTIAL);
    for (size_t step = 1; step <= length; step++) {
        assert_int_equal(parse_in_pieces(good, length, step), length);
        assert_true(head.keep_alive);
        assert_span(head.known[HTTP_NAME_CONNECTION], "keep-alive");
    }
}

static void never_reads_past_the_end(void **state)
{
    static const char good[] = "GET /0123456789abcdef0123456789?q=0123456789abcdef HTTP/1.1\r\n"
                               "Host: brand.example\r\nUser-Agent: 0123456789abcdef0123456789\r\n"
                               "Some-Other-Field-Name: 0123456789abcdef\r\n\r\n";
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)state;
    assert_ptr_not_equal(pages, MAP_FAILED);
    assert_int_equal(mprotect(pages + page, page, PROT_NONE), 0);
    for (size_t n = 0; n < sizeof good; n++) {
        char *text = pages + page - n;
        int result;

        memcpy(text, good, n);
        result = http_head_parse(text, n, 0, &limits, &head);
        assert_int_equal(result, n == sizeof good - 1  ? (int)n
                                 : n < sizeof good - 1 ? -2
                                                       : (int)n - 1);
    }
    munmap(pages, 2 * page);
}

static char *repeat(char *at, const char *text, size_t times)
{
    size_t length = strlen(text);

    for (; times > 0; times--, at += length)
        memcpy(at, text, length + 1);
    return at;
}

static void keeps_its_limits(void **state)
{
    static char text[70000];
    char *at;

    (void)state;
    at = repeat(repeat(repeat(text, "GET /", 1), "a", 8191), " HTTP/1.1\r\nHost: h\r\n\r\n", 1);
    assert_int_equal(parse(text), at - text);
    repeat(repeat(repeat(text, "GET /", 1), "a", 8192), " HTTP/1.1\r\nHost: h\r\n\r\n", 1);
    assert_int_equal(parse(text), HTTP_HEAD_BAD);
    assert_int_equal(head.status, 414);
    assert_int_equal(parse_in_pieces(text, strlen(text), 1), HTTP_HEAD_BAD);
    assert_int_equal(head.status, 414);

    repeat(repeat(text, "GET / HTTP/1.1\r\nHost: h\r\n", 1), "A: b\r\n", 99);
    strcat(text, "\r\n");
    assert_int_equal(parse(text), strlen(text));
    repeat(repeat(text, "GET / HTTP/1.1\r\nHost: h\r\n", 1), "A: b\r\n", 100);
    assert_int_equal(parse(text), HTTP_HEAD_BAD);
    assert_int_equal(head.status, 431);

    at = repeat(repeat(text, "GET / HTTP/1.1\r\nHost: h\r\nA: ", 1), "b", 16384 - 28 - 4);
    strcpy(at, "\r\n\r\n");
    assert_int_equal(parse(text), 16384);
    at = repeat(repeat(text, "GET / HTTP/1.1\r\nHost: h\r\nA: ", 1), "b", 16384 - 28 - 3);
    assert_int_equal(parse(text), HTTP_HEAD_PARTIAL);
    strcpy(at, "\r\n\r\n");
    assert_int_equal(parse(text), HTTP_HEAD_BAD);
    assert_int_equal(head.status, 431);
    assert_int_equal(parse_in_pieces(text, strlen(text), 7), HTTP_HEAD_BAD);
    assert_int_equal(head.status, 431);
    repeat(text, "\r\n", 9000);
    assert_int_equal(parse(text), HTTP_HEAD_BAD);
    assert_int_equal(head.status, 431);
}

/* Inputs that are, or once were, interesting. Tests run from the top of the source tree. */
static void replays_what_the_fuzzer_found(void **state)
{
    static const char folder[] = "tests/fuzz/fuzz_http_head";
    static uint8_t data[65536];
    DIR *list = opendir(folder);
    struct dirent *entry;
    int count = 0;

    (void)state;
    assert_non_null(list);
    while ((entry = readdir(list))) {
        char path[512];
        FILE *file;

        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        file = fopen(path, "rb");
        assert_non_null(file);
        LLVMFuzzerTestOneInput(data, fread(data, 1, sizeof data, file));
        fclose(file);
        count++;
    }
    closedir(list);
    assert_true(count >= 13);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_parts_of_a_browser_request),
        cmocka_unit_test(walks_all_lines_of_a_field),
        cmocka_unit_test(understands_the_forms_of_a_target),
        cmocka_unit_test(knows_when_a_connection_stays),
        cmocka_unit_test(knows_when_a_body_follows),
        cmocka_unit_test(refuses_what_can_be_read_in_two_ways),
        cmocka_unit_test(refuses_nul_everywhere),
        cmocka_unit_test(every_prefix_is_partial),
        cmocka_unit_test(never_reads_past_the_end),
        cmocka_unit_test(keeps_its_limits),
        cmocka_unit_test(replays_what_the_fuzzer_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
