/* Destinations: what is stored, and why others are refused. The web-platform-tests are run by
 * tests/conformance; these are the cases that people meet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/links/destination.h"

/* Parses from an allocation of exactly the input's size, so that sanitizers see any step over. */
static bool parse(const char *url, size_t length, struct destination *out, struct error *error)
{
    char *copy = malloc(length + !length);
    bool good;

    assert_non_null(copy);
    memcpy(copy, url, length);
    error->text[0] = '\0';
    good = destination_parse(copy, length, out, error);
    free(copy);
    return good;
}

static void accepted(void **state)
{
    static const struct {
        const char *url;
        const char *stored; /* NULL: as it is */
    } cases[] = {
        {"https://example.com/", NULL},
        {"https://example.com", "https://example.com/"},
        {"HTTPS://Example.COM", "https://example.com/"},
        {"http://example.com:80/", "http://example.com/"},
        {"http://example.com:/", "http://example.com/"},
        {"http://example.com:443/", NULL},
        {"https://example.com:443/", "https://example.com/"},
        {"https://example.com:00443/", "https://example.com/"},
        {"https://example.com:65535/", NULL},
        {"https://example.com?a=b", "https://example.com/?a=b"},
        {"https://example.com#top", "https://example.com/#top"},
        {"https://example.com/?", NULL},
        {"https://example.com/#", NULL},
        {"https://example.com/a/../b/./c", "https://example.com/b/c"},
        {"https://example.com/a/%2E%2e/b", "https://example.com/b"},
        {"https://example.com/../../a", "https://example.com/a"},
        {"https://example.com/a/..", "https://example.com/"},
        {"https://example.com/a/.", "https://example.com/a/"},
        {"https://example.com/a//b//", NULL},
        {"https://example.com/.../a", NULL},
        {"https://example.com/?a/../b", NULL},
        {"https://example.com/100%", NULL},
        {"https://example.com/?utm_source=ig&utm_content=a%20b", NULL},
        {"https://example.com/caf\xC3\xA9?q=\xC3\xA9#\xC3\xA9",
         "https://example.com/caf%C3%A9?q=%C3%A9#%C3%A9"},
        {"https://example.com/<a>\"{b}`^|", "https://example.com/%3Ca%3E%22%7Bb%7D%60%5E|"},
        {"https://example.com/?<a>\"'{b}`", "https://example.com/?%3Ca%3E%22%27{b}`"},
        {"https://example.com/#<a>\"'{b}`", "https://example.com/#%3Ca%3E%22'{b}%60"},
        {"https://example.com/a:b@c", NULL},
        {"https://example.com/#a?b#c", NULL},
        {"https://b\xC3\xBC"
         "cher.example/",
         "https://xn--bcher-kva.example/"},
        {"https://stra\xC3\x9F"
         "e.example/",
         "https://xn--strae-oqa.example/"},
        {"https://\xEF\xBC\xA5xample.com/", "https://example.com/"}, /* a full-width E */
        {"https://ex%41mple.com/", "https://example.com/"},
        {"https://example.com./", NULL},
        {"https://a_b.example/", NULL},
        {"http://127.0.0.1:8080/", NULL},
        {"http://0x7f.1/", "http://127.0.0.1/"},
        {"http://2130706433/", "http://127.0.0.1/"},
        {"http://017700000001/", "http://127.0.0.1/"},
        {"http://[2001:DB8:0:0:1:0:0:1]/", "http://[2001:db8::1:0:0:1]/"},
        {"http://[::]/", NULL},
        {"http://[::1]:8080/", NULL},
        {"http://[1::]/", NULL},
        {"http://[::ffff:1.2.3.4]/", "http://[::ffff:102:304]/"},
        {"http://[1:0:2:3:4:5:6:7]/", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *wanted = cases[i].stored ? cases[i].stored : cases[i].url;
        struct destination first, second;
        struct error error;

        if (!parse(cases[i].url, strlen(cases[i].url), &first, &error))
            fail_msg("%s: %s", cases[i].url, error.text);
        assert_string_equal(first.url, wanted);
        assert_int_equal(first.length, strlen(wanted));
        assert_true(parse(first.url, first.length, &second, &error));
        assert_string_equal(second.url, first.url);
    }
}

static void refused(void **state)
{
    static const struct {
        const char *url;
        const char *reason;
    } cases[] = {
        {"", "empty"},
        {"example.com", "http://"},
        {"//example.com/", "http://"},
        {"ftp://example.com/", "http://"},
        {"javascript:alert(1)", "http://"},
        {"data:text/html,x", "http://"},
        {"httpsx://example.com/", "http://"},
        {"http:example.com", "//"},
        {"http:/example.com", "//"},
        {"http:///example.com", "no host"},
        {"http://", "no host"},
        {"http://:80/", "no host"},
        {"http://?a", "no host"},
        {" https://example.com/", "space"},
        {"https://example.com/a b", "space"},
        {"https://example.com/\r\nSet-Cookie: a=b", "control"},
        {"https://example.com/\t", "control"},
        {"https://example.com/\x7F", "control"},
        {"https://example.com/\xC2\x85", "control"},
        {"https:\\\\example.com/", "backslash"},
        {"https://example.com\\@evil.example/", "backslash"},
        {"https://example.com/?a=\\", "backslash"},
        {"https://user@example.com/", "user name"},
        {"https://user:secret@example.com/", "user name"},
        {"https://@example.com/", "user name"},
        {"https://example.com%/", "encodes nothing"},
        {"https://example.com%2/", "encodes nothing"},
        {"https://example%2Fcom/", "cannot contain /"},
        {"https://example%00.com/", "not valid"},
        {"https://exa<mple.com/", "cannot contain <"},
        {"https://example.com:65536/", "65535"},
        {"https://example.com:99999999999999999999/", "65535"},
        {"https://example.com:8x/", "not a number"},
        {"https://example.com:-1/", "not a number"},
        {"https://1.2.3.4.5/", "IPv4"},
        {"https://256.1.1.1/", "IPv4"},
        {"https://4294967296/", "IPv4"},
        {"https://1..2/", "IPv4"},
        {"https://[::1/", "IPv6"},
        {"https://[::1]x/", "IPv6"},
        {"https://[1:2]/", "IPv6"},
        {"https://[fe80::1%25eth0]/", "IPv6"},
        {"https://[]/", "IPv6"},
        {"https://a]b/", "cannot contain ]"},
        {"https://example.com/\xFF", "UTF-8"},
        {"https://%FF.example/", "UTF-8"},
        {"https://\xEF\xBF\xBF.example/", "xn--"},
        {"https://0123456789012345678901234567890123456789012345678901234567890123.example/",
         "part of the host"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct destination out;
        struct error error;
        bool good = parse(cases[i].url, strlen(cases[i].url), &out, &error);

        if (good || !strstr(error.text, cases[i].reason))
            fail_msg("%s: %s", cases[i].url, good ? out.url : error.text);
    }
}

static void parts(void **state)
{
    struct destination out;
    struct error error;

    (void)state;
    assert_true(parse("https://Example.com:8443/a?b=1#c", 32, &out, &error));
    assert_int_equal(out.host_offset, 8);
    assert_int_equal(out.host_length, 11);
    assert_int_equal(out.fragment_offset, 30);
    assert_true(out.has_query);
    assert_true(parse("https://example.com/#a?b", 24, &out, &error));
    assert_int_equal(out.fragment_offset, 20);
    assert_false(out.has_query);
    assert_true(parse("https://example.com/", 20, &out, &error));
    assert_int_equal(out.fragment_offset, out.length);
    assert_false(parse("https://example.com/\0x", 22, &out, &error));
}

/* The longest URL is stored; one byte more, or one that grows beyond it, is refused. */
static void lengths(void **state)
{
    static char url[LINK_DESTINATION_MAX + 2];
    struct destination out;
    struct error error;
    size_t start = strlen("https://example.com/");

    (void)state;
    memset(url, 'a', sizeof url);
    memcpy(url, "https://example.com/", start);
    assert_true(parse(url, LINK_DESTINATION_MAX, &out, &error));
    assert_int_equal(out.length, LINK_DESTINATION_MAX);
    assert_false(parse(url, LINK_DESTINATION_MAX + 1, &out, &error));
    assert_non_null(strstr(error.text, "longer"));
    url[LINK_DESTINATION_MAX - 1] = '"'; /* becomes three bytes */
    assert_false(parse(url, LINK_DESTINATION_MAX, &out, &error));
    assert_non_null(strstr(error.text, "once encoded"));
    assert_true(parse(url, LINK_DESTINATION_MAX - 1, &out, &error));
    memset(url + start, '/', sizeof url - start); /* full, then a segment to pop */
    memcpy(url + LINK_DESTINATION_MAX - 2, "..", 2);
    assert_true(parse(url, LINK_DESTINATION_MAX, &out, &error));
    memset(url + start, '"', sizeof url - start); /* too long amid the path, and more behind it */
    memcpy(url + LINK_DESTINATION_MAX - 6, "/x?y#z", 6);
    assert_false(parse(url, LINK_DESTINATION_MAX, &out, &error));
    assert_non_null(strstr(error.text, "once encoded"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepted),
        cmocka_unit_test(refused),
        cmocka_unit_test(parts),
        cmocka_unit_test(lengths),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
