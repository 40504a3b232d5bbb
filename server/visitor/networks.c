/* See networks.h. Everything is compared as 16 bytes of IPv6. */
#include "server/visitor/networks.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <string.h>

static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};

static bool as_bytes(const struct sockaddr *address, unsigned char out[16])
{
    if (address->sa_family == AF_INET) {
        memcpy(out, mapped, sizeof mapped);
        memcpy(out + 12, &((const struct sockaddr_in *)(const void *)address)->sin_addr, 4);
        return true;
    }
    if (address->sa_family == AF_INET6) {
        memcpy(out, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, 16);
        return true;
    }
    return false;
}

static void unmap(struct sockaddr_storage *address)
{
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
    struct sockaddr_in v4 = {.sin_family = AF_INET};

    if (memcmp(&v6->sin6_addr, mapped, sizeof mapped) != 0)
        return;
    memcpy(&v4.sin_addr, v6->sin6_addr.s6_addr + 12, 4);
    v4.sin_port = v6->sin6_port;
    memset(address, 0, sizeof *address);
    memcpy(address, &v4, sizeof v4);
}

bool network_address(struct text text, struct sockaddr_storage *out)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    char copy[INET6_ADDRSTRLEN];

    memset(out, 0, sizeof *out);
    if (text.length == 0 || text.length >= sizeof copy || memchr(text.bytes, 0, text.length))
        return false;
    memcpy(copy, text.bytes, text.length);
    copy[text.length] = '\0';
    if (inet_pton(AF_INET, copy, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        return true;
    }
    if (inet_pton(AF_INET6, copy, &v6->sin6_addr) != 1)
        return false;
    v6->sin6_family = AF_INET6;
    unmap(out);
    return true;
}

static bool parse_bits(struct text text, unsigned most, unsigned *out)
{
    *out = 0;
    if (text.length == 0 || text.length > 3)
        return false;
    for (size_t i = 0; i < text.length; i++) {
        if (!ascii_is_digit(text.bytes[i]))
            return false;
        *out = *out * 10 + (unsigned)(text.bytes[i] - '0');
    }
    return *out <= most;
}

static bool has_host_bits(const struct network *network)
{
    for (unsigned bit = network->bits; bit < 128; bit++)
        if (network->bytes[bit / 8] & (0x80u >> bit % 8))
            return true;
    return false;
}

static bool parse_network(struct text text, struct network *out)
{
    struct text bits = text, host = text_cut(&bits, '/');
    struct sockaddr_storage address;
    unsigned most, prefix;

    if (!network_address(host, &address) || !as_bytes((struct sockaddr *)&address, out->bytes))
        return false;
    /* "::ffff:10.0.0.0/104" counts its bits in IPv6. */
    most = memchr(host.bytes, ':', host.length) ? 128 : 32;
    prefix = most;
    if (bits.bytes && !parse_bits(bits, most, &prefix))
        return false;
    out->bits = (uint8_t)(prefix + 128 - most);
    return !has_host_bits(out);
}

bool networks_parse(const char *text, struct networks *out, struct error *error)
{
    out->count = 0;
    while (*text) {
        size_t length = strcspn(text, " ,\t");

        if (length && out->count == NETWORKS_MAX)
            return error_set(error, "more than %d networks", NETWORKS_MAX);
        if (length && !parse_network((struct text){text, length}, &out->list[out->count]))
            return error_set(error, "\"%.*s\" is no network: 192.0.2.0/24 or 2001:db8::/32",
                             (int)(length < 60 ? length : 60), text);
        out->count += length != 0;
        text += length + (text[length] != '\0');
    }
    return true;
}

static bool matches(const struct network *network, const unsigned char bytes[16])
{
    unsigned whole = network->bits / 8, rest = network->bits % 8;

    assert(network->bits <= 128);
    if (memcmp(network->bytes, bytes, whole) != 0)
        return false;
    return rest == 0 || ((network->bytes[whole] ^ bytes[whole]) & (0xff00u >> rest) & 0xff) == 0;
}

bool networks_contain(const struct networks *networks, const struct sockaddr *address)
{
    unsigned char bytes[16];

    if (networks->count == 0 || !as_bytes(address, bytes))
        return false;
    for (unsigned i = 0; i < networks->count; i++)
        if (matches(&networks->list[i], bytes))
            return true;
    return false;
}
