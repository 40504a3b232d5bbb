/* The PROXY protocol: what is taken, what closes the connection, and that the way in which the
 * bytes arrive changes nothing. With the argument "parse" it prints what it makes of standard
 * input, for the conformance tests. */
#include "server/visitor/proxy_protocol.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>

static struct sockaddr_storage address;

static int parse(const void *bytes, size_t length)
{
    /* A block of its own, so that a sanitizer sees a read past its end. */
    unsigned char *copy = malloc(length ? length : 1);
    int result;

    memcpy(copy, bytes, length);
    result = proxy_protocol_parse(copy, length, &address);
    free(copy);
    return result;
}

static int parse_text(const char *text)
{
    return parse(text, strlen(text));
}

static const char *as_text(void)
{
    static char text[INET6_ADDRSTRLEN];
    const void *bytes = address.ss_family == AF_INET
                            ? (const void *)&((struct sockaddr_in *)&address)->sin_addr
                            : (const void *)&((struct sockaddr_in6 *)&address)->sin6_addr;

    return address.ss_family == AF_UNSPEC ? "peer"
                                          : inet_ntop(address.ss_family, bytes, text, sizeof text);
}

static void version_1(void **state)
{
    static const char line[] = "PROXY TCP4 198.51.100.7 192.0.2.1 40000 443\r\n";

    (void)state;
    assert_int_equal(parse_text(line), sizeof line - 1);
    assert_string_equal(as_text(), "198.51.100.7");
    assert_int_equal(ntohs(((struct sockaddr_in *)&address)->sin_port), 40000);
    assert_int_equal(parse_text("PROXY TCP6 2001:db8::7 2001:db8::1 40000 443\r\nGET /"), 46);
    assert_string_equal(as_text(), "2001:db8::7");
    assert_int_equal(parse_text("PROXY UNKNOWN\r\n"), 15);
    assert_string_equal(as_text(), "peer");
}

static void version_1_refusals(void **state)
{
    static const char *const lines[] = {
        "GET / HTTP/1.1\r\n\r\n",
        "PROXY TCP4 198.51.100.7 192.0.2.1 40000 443\n",
        "PROXY TCP4 198.51.100.7 192.0.2.1 40000 65536\r\n",
        "PROXY TCP4 198.51.100.7 192.0.2.1 040000 443\r\n",
        "PROXY TCP4 198.51.100.7 192.0.2.1 40000\r\n",
        "PROXY TCP4 198.51.100.7  192.0.2.1 40000 443\r\n",
        "PROXY TCP4 2001:db8::7 192.0.2.1 40000 443\r\n",
        "PROXY TCP6 198.51.100.7 192.0.2.1 40000 443\r\n",
        "PROXY tcp4 198.51.100.7 192.0.2.1 40000 443\r\n",
        "PROXY TCP4 0198.51.100.7 192.0.2.1 40000 443\r\n",
        "PROXY \r\n",
        "PROXYTCP4",
        "proxy TCP4",
        "PROXY UNKNOWN "
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
        "xxxxxxxxxxxxxxxxxxxxxxxx\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        if (parse_text(lines[i]) != PROXY_PROTOCOL_BAD)
            fail_msg("accepted: %s", lines[i]);
}

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define TCP4      SIGNATURE "\x21\x11\0\x0c\xc6\x33\x64\x07\xc0\0\2\1\x9c\x40\1\xbb"

static void version_2(void **state)
{
    static const char local[] = SIGNATURE "\x20\0\0\0";
    static const char tlv[] =
        SIGNATURE "\x21\x11\0\x10\xc6\x33\x64\x07\xc0\0\2\1\x9c\x40\1\xbb\4\0\1x";
    static const char ipv6[] =
        SIGNATURE "\x21\x21\0\x24"
                  "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\7\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"
                  "\x9c\x40\1\xbb";

    (void)state;
    assert_int_equal(parse(TCP4, sizeof TCP4 - 1), 28);
    assert_string_equal(as_text(), "198.51.100.7");
    assert_int_equal(parse(tlv, sizeof tlv - 1), 32);
    assert_string_equal(as_text(), "198.51.100.7");
    assert_int_equal(parse(ipv6, sizeof ipv6 - 1), 52);
    assert_string_equal(as_text(), "2001:db8::7");
    assert_int_equal(parse(local, sizeof local - 1), 16);
    assert_string_equal(as_text(), "peer");
}

static void version_2_refusals(void **state)
{
    static const char version[] = SIGNATURE "\x11\x11\0\x0c";
    static const char command[] = SIGNATURE "\x22\x11\0\x0c";
    static const char shorter[] = SIGNATURE "\x21\x11\0\x08\xc6\x33\x64\x07\xc0\0\2\1";
    static const char udp[] = SIGNATURE "\x21\x12\0\x0c\xc6\x33\x64\x07\xc0\0\2\1\x9c\x40\1\xbb";
    static const char huge[] = SIGNATURE "\x21\x11\xff\xff";

    (void)state;
    assert_int_equal(parse(version, sizeof version - 1), PROXY_PROTOCOL_BAD);
    assert_int_equal(parse(command, sizeof command - 1), PROXY_PROTOCOL_BAD);
    assert_int_equal(parse(shorter, sizeof shorter - 1), PROXY_PROTOCOL_BAD);
    assert_int_equal(parse(udp, sizeof udp - 1), PROXY_PROTOCOL_BAD);
    assert_int_equal(parse(huge, sizeof huge - 1), PROXY_PROTOCOL_BAD);
    assert_int_equal(parse("\r\n\r\nGET", 7), PROXY_PROTOCOL_BAD);
}

static void any_cut_waits_for_more(void **state)
{
    static const char line[] = "PROXY TCP4 198.51.100.7 192.0.2.1 40000 443\r\n";

    (void)state;
    for (size_t i = 0; i < sizeof line - 1; i++)
        assert_int_equal(parse(line, i), PROXY_PROTOCOL_PARTIAL);
    for (size_t i = 0; i < sizeof TCP4 - 1; i++)
        assert_int_equal(parse(TCP4, i), PROXY_PROTOCOL_PARTIAL);
}

static int print_parsed(void)
{
    char bytes[4096];
    size_t length = fread(bytes, 1, sizeof bytes, stdin);
    int result = parse(bytes, length);

    puts(result == PROXY_PROTOCOL_BAD       ? "close"
         : result == PROXY_PROTOCOL_PARTIAL ? "partial"
                                            : as_text());
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_1),
        cmocka_unit_test(version_1_refusals),
        cmocka_unit_test(version_2),
        cmocka_unit_test(version_2_refusals),
        cmocka_unit_test(any_cut_waits_for_more),
    };

    if (argc > 1 && strcmp(argv[1], "parse") == 0)
        return print_parsed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
