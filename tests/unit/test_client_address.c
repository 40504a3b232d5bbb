/* Networks from settings, the visitor's address behind proxies, and the visitor value. */
#include "server/visitor/client_address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>

#include "server/visitor/datacenters.h"
#include "server/visitor/identity.h"

static struct text as_text(const char *string)
{
    return (struct text){string, strlen(string)};
}

static struct sockaddr_storage address_of(const char *text)
{
    struct sockaddr_storage address;

    if (!network_address(as_text(text), &address))
        fail_msg("no address: %s", text);
    return address;
}

static bool contains(const char *list, const char *address)
{
    struct sockaddr_storage storage = address_of(address);
    struct networks networks;
    struct error error;

    if (!networks_parse(list, &networks, &error))
        fail_msg("%s", error.text);
    return networks_contain(&networks, (struct sockaddr *)&storage);
}

static void networks_contain_what_they_should(void **state)
{
    struct sockaddr_in6 mapped = {.sin6_family = AF_INET6};
    struct networks networks;
    struct error error;

    (void)state;
    assert_true(contains("10.0.0.0/8", "10.255.1.2"));
    assert_false(contains("10.0.0.0/8", "11.0.0.1"));
    assert_true(contains("192.0.2.128/25, 10.0.0.0/8", "192.0.2.200"));
    assert_false(contains("192.0.2.128/25", "192.0.2.127"));
    assert_true(contains("192.0.2.7", "192.0.2.7"));
    assert_false(contains("192.0.2.7", "192.0.2.6"));
    assert_true(contains("2001:db8::/32", "2001:db8:1::1"));
    assert_false(contains("2001:db8::/32", "2001:db9::1"));
    assert_true(contains("0.0.0.0/0", "203.0.113.1"));
    assert_false(contains("0.0.0.0/0", "2001:db8::1"));
    assert_true(contains("::/0", "203.0.113.1"));
    assert_true(contains("::ffff:10.0.0.0/104", "10.1.1.1"));
    assert_false(contains("", "10.1.1.1"));
    assert_true(networks_parse("10.0.0.0/8", &networks, &error));
    assert_int_equal(inet_pton(AF_INET6, "::ffff:10.1.2.3", &mapped.sin6_addr), 1);
    assert_true(networks_contain(&networks, (struct sockaddr *)&mapped));
}

static void networks_refuse_slips(void **state)
{
    static const char *const bad[] = {
        "10.0.0.1/8",     "10.0.0.0/33", "10.0.0/8",         "10.0.0.0/", "10.0.0.0/x",
        "2001:db8::1/64", "example",     "fe80::1%eth0/128", "::/129",    "010.0.0.0/8"};
    struct networks networks;
    struct error error;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (networks_parse(bad[i], &networks, &error))
            fail_msg("accepted: %s", bad[i]);
}

/* The address found, as text. */
static const char *found(const char *peer, const char *forwarded, const char *forwarded_for)
{
    static char text[INET6_ADDRSTRLEN];
    struct sockaddr_storage from = address_of(peer), out;
    struct networks trusted;
    struct error error;

    assert_true(networks_parse("127.0.0.1/32 10.0.0.0/8 2001:db8:ffff::/48", &trusted, &error));
    client_address(&trusted, (struct sockaddr *)&from, as_text(forwarded), as_text(forwarded_for),
                   &out);
    inet_ntop(out.ss_family,
              out.ss_family == AF_INET ? (void *)&((struct sockaddr_in *)&out)->sin_addr
                                       : (void *)&((struct sockaddr_in6 *)&out)->sin6_addr,
              text, sizeof text);
    return text;
}

static void reads_x_forwarded_for_from_the_right(void **state)
{
    (void)state;
    assert_string_equal(found("203.0.113.5", "", "198.51.100.7"), "203.0.113.5");
    assert_string_equal(found("10.0.0.2", "", "198.51.100.7"), "198.51.100.7");
    assert_string_equal(found("10.0.0.2", "", "1.2.3.4, 198.51.100.7, 10.3.3.3"), "198.51.100.7");
    assert_string_equal(found("10.0.0.2", "", "10.9.9.9, 10.3.3.3"), "10.9.9.9");
    assert_string_equal(found("10.0.0.2", "", " , ,198.51.100.7,"), "198.51.100.7");
    assert_string_equal(found("10.0.0.2", "", "[2001:db8::7]:4711"), "2001:db8::7");
    assert_string_equal(found("10.0.0.2", "", "2001:db8::7"), "2001:db8::7");
    assert_string_equal(found("10.0.0.2", "", "198.51.100.7:4711"), "198.51.100.7");
    assert_string_equal(found("10.0.0.2", "", "198.51.100.7:"), "10.0.0.2");
    assert_string_equal(found("10.0.0.2", "", "198.51.100.7, unknown"), "10.0.0.2");
    assert_string_equal(found("10.0.0.2", "", "198.51.100.7, fe80::1%eth0"), "10.0.0.2");
    assert_string_equal(found("10.0.0.2", "", "198.51.100.7, 0177.0.0.1"), "10.0.0.2");
    assert_string_equal(found("10.0.0.2", "", "198.51.100.7, [10.0.0.3]"), "10.0.0.2");
    assert_string_equal(found("10.0.0.2", "", ""), "10.0.0.2");
    assert_string_equal(found("10.0.0.2", "", "::ffff:198.51.100.7"), "198.51.100.7");
}

static void reads_forwarded(void **state)
{
    (void)state;
    assert_string_equal(found("10.0.0.2", "for=198.51.100.7", ""), "198.51.100.7");
    assert_string_equal(
        found("10.0.0.2", "for=1.2.3.4;proto=http, For=198.51.100.7;by=10.0.0.1", ""),
        "198.51.100.7");
    assert_string_equal(found("10.0.0.2", "proto=https;for=\"[2001:db8::7]:4711\"", ""),
                        "2001:db8::7");
    assert_string_equal(found("10.0.0.2", "for=198.51.100.7, for=_hidden", ""), "10.0.0.2");
    assert_string_equal(found("10.0.0.2", "for=198.51.100.7, by=10.0.0.1", ""), "10.0.0.2");
    assert_string_equal(found("10.0.0.2", "for=\"198.51.100.7", ""), "10.0.0.2");
    /* A proxy that writes X-Forwarded-For hands on a Forwarded that the visitor made up. */
    assert_string_equal(found("10.0.0.2", "for=1.2.3.4", "198.51.100.7"), "198.51.100.7");
    assert_string_equal(found("203.0.113.5", "for=1.2.3.4", ""), "203.0.113.5");
}

static void a_long_list_of_proxies_ends(void **state)
{
    char list[CLIENT_ADDRESS_HOPS_MAX * 12 + 64] = "198.51.100.7";

    (void)state;
    for (int i = 0; i < CLIENT_ADDRESS_HOPS_MAX; i++)
        strcat(list, ", 10.0.0.9");
    assert_string_equal(found("10.0.0.2", "", list), "10.0.0.9");
}

static void the_visitor_value(void **state)
{
    const unsigned char salt[IDENTITY_SALT_BYTES] = "0123456789abcde";
    const unsigned char other_salt[IDENTITY_SALT_BYTES] = "0123456789abcdf";
    struct sockaddr_storage v4 = address_of("198.51.100.7"), other = address_of("198.51.100.8"),
                            v6 = address_of("2001:db8:1:2::7"),
                            same_net = address_of("2001:db8:1:2:ffff::9"),
                            other_net = address_of("2001:db8:1:3::7");
    struct text agent = as_text("Mozilla/5.0");

#define VALUE(salt, address, agent, domain) \
    identity_of(salt, (struct sockaddr *)&(address), agent, domain)
    (void)state;
    assert_true(VALUE(salt, v4, agent, 3) == VALUE(salt, v4, agent, 3));
    assert_true(VALUE(salt, v4, agent, 3) != VALUE(salt, other, agent, 3));
    assert_true(VALUE(salt, v4, agent, 3) != VALUE(salt, v4, agent, 4));
    assert_true(VALUE(salt, v4, agent, 3) != VALUE(other_salt, v4, agent, 3));
    assert_true(VALUE(salt, v4, agent, 3) != VALUE(salt, v4, as_text("Mozilla/5.1"), 3));
    assert_true(VALUE(salt, v6, agent, 3) == VALUE(salt, same_net, agent, 3));
    assert_true(VALUE(salt, v6, agent, 3) != VALUE(salt, other_net, agent, 3));
    assert_true(VALUE(salt, v4, agent, 3) != 0);
#undef VALUE
}

static void networks_of_servers(void **state)
{
    struct datacenters list;
    struct error error;

    (void)state;
    assert_true(datacenters_parse("builtin", &list, &error));
    assert_true(datacenters_contain(&list, 16509));
    assert_true(datacenters_contain(&list, 24940));
    assert_false(datacenters_contain(&list, 13335)); /* people's traffic leaves from there too */
    assert_false(datacenters_contain(&list, 3320));
    assert_false(datacenters_contain(&list, 0));
    assert_true(datacenters_parse("64500, AS64501 builtin", &list, &error));
    assert_true(datacenters_contain(&list, 64500) && datacenters_contain(&list, 64501));
    assert_true(datacenters_contain(&list, 16509));
    assert_true(datacenters_parse("", &list, &error));
    assert_false(datacenters_contain(&list, 16509));
    assert_false(datacenters_parse("64500x", &list, &error));
    assert_false(datacenters_parse("4294967296", &list, &error));
    assert_false(datacenters_parse("0", &list, &error));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks_contain_what_they_should),
        cmocka_unit_test(networks_refuse_slips),
        cmocka_unit_test(reads_x_forwarded_for_from_the_right),
        cmocka_unit_test(reads_forwarded),
        cmocka_unit_test(a_long_list_of_proxies_ends),
        cmocka_unit_test(the_visitor_value),
        cmocka_unit_test(networks_of_servers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
