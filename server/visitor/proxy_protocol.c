/* See proxy_protocol.h. */
#include "server/visitor/proxy_protocol.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "server/visitor/networks.h"

#define V2_HEAD 16

static const unsigned char signature[12] = "\r\n\r\n\0\r\nQUIT\n";

/* ---- version 1: "PROXY TCP4 source destination port port\r\n" -------------------------------- */

static struct text next_word(struct text *rest)
{
    return text_cut(rest, ' ');
}

/* Digits without leading zeros, at most 65535. */
static bool parse_port(struct text text, in_port_t *out)
{
    unsigned port = 0;

    if (text.length == 0 || text.length > 5 || (text.length > 1 && text.bytes[0] == '0'))
        return false;
    for (size_t i = 0; i < text.length; i++) {
        if (!ascii_is_digit(text.bytes[i]))
            return false;
        port = port * 10 + (unsigned)(text.bytes[i] - '0');
    }
    *out = htons((uint16_t)port);
    return port <= UINT16_MAX;
}

/* An address of the family that the line names. */
static bool parse_host(struct text text, bool ipv6, struct sockaddr_storage *out)
{
    bool looks_ipv6 = text.length && memchr(text.bytes, ':', text.length);

    return looks_ipv6 == ipv6 && network_address(text, out);
}

static void set_port(struct sockaddr_storage *address, in_port_t port)
{
    if (address->ss_family == AF_INET)
        ((struct sockaddr_in *)address)->sin_port = port;
    else
        ((struct sockaddr_in6 *)address)->sin6_port = port;
}

static bool parse_line(struct text line, struct sockaddr_storage *out)
{
    struct text protocol = next_word(&line);
    struct sockaddr_storage destination;
    in_port_t source_port, destination_port;
    bool ipv6 = text_equals_nocase(protocol, "TCP6");

    out->ss_family = AF_UNSPEC;
    if (protocol.length == 7 && memcmp(protocol.bytes, "UNKNOWN", 7) == 0)
        return true;
    if (protocol.length != 4 || memcmp(protocol.bytes, ipv6 ? "TCP6" : "TCP4", 4) != 0)
        return false;
    if (!parse_host(next_word(&line), ipv6, out) ||
        !parse_host(next_word(&line), ipv6, &destination) ||
        !parse_port(next_word(&line), &source_port))
        return false;
    set_port(out, source_port);
    return line.bytes && parse_port(line, &destination_port);
}

static int parse_v1(const unsigned char *bytes, size_t length, struct sockaddr_storage *out)
{
    static const char start[] = "PROXY ";
    size_t known = sizeof start - 1,
           most = length < PROXY_PROTOCOL_V1_MAX ? length : PROXY_PROTOCOL_V1_MAX;
    const unsigned char *end;

    if (memcmp(bytes, start, length < known ? length : known) != 0)
        return PROXY_PROTOCOL_BAD;
    end = memchr(bytes, '\n', most);
    if (!end)
        return length < PROXY_PROTOCOL_V1_MAX ? PROXY_PROTOCOL_PARTIAL : PROXY_PROTOCOL_BAD;
    if (end[-1] != '\r')
        return PROXY_PROTOCOL_BAD;
    if (!parse_line((struct text){(const char *)bytes + known, (size_t)(end - 1 - bytes) - known},
                    out))
        return PROXY_PROTOCOL_BAD;
    return (int)(end + 1 - bytes);
}

/* ---- version 2: signature, version and command, family, length, addresses, TLVs -------------- */

static bool parse_addresses(unsigned family, const unsigned char *bytes, size_t length,
                            struct sockaddr_storage *out)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;

    switch (family) {
    case 0x11: /* TCP over IPv4 */
        if (length < 12)
            return false;
        v4->sin_family = AF_INET;
        memcpy(&v4->sin_addr, bytes, 4);
        memcpy(&v4->sin_port, bytes + 8, 2);
        return true;
    case 0x21: /* TCP over IPv6 */
        if (length < 36)
            return false;
        v6->sin6_family = AF_INET6;
        memcpy(&v6->sin6_addr, bytes, 16);
        memcpy(&v6->sin6_port, bytes + 32, 2);
        return true;
    case 0x00: return true;          /* unspecified: the peer */
    case 0x31: return length >= 216; /* a UNIX socket has no address: the peer */
    default: return false;           /* datagrams do not carry HTTP */
    }
}

static int parse_v2(const unsigned char *bytes, size_t length, struct sockaddr_storage *out)
{
    size_t size;

    if (memcmp(bytes, signature, length < sizeof signature ? length : sizeof signature) != 0)
        return PROXY_PROTOCOL_BAD;
    if (length < V2_HEAD)
        return PROXY_PROTOCOL_PARTIAL;
    size = (size_t)bytes[14] << 8 | bytes[15];
    if (bytes[12] >> 4 != 2 || (bytes[12] & 15) > 1 || V2_HEAD + size > PROXY_PROTOCOL_MAX)
        return PROXY_PROTOCOL_BAD;
    if (length < V2_HEAD + size)
        return PROXY_PROTOCOL_PARTIAL;
    if ((bytes[12] & 15) == 1 && !parse_addresses(bytes[13], bytes + V2_HEAD, size, out))
        return PROXY_PROTOCOL_BAD;
    return (int)(V2_HEAD + size);
}

int proxy_protocol_parse(const unsigned char *bytes, size_t length, struct sockaddr_storage *out)
{
    int result;

    memset(out, 0, sizeof *out);
    assert(out->ss_family == AF_UNSPEC);
    if (length == 0)
        return PROXY_PROTOCOL_PARTIAL;
    result = bytes[0] == 'P' ? parse_v1(bytes, length, out) : parse_v2(bytes, length, out);
    assert(result <= (int)length);
    return result;
}
