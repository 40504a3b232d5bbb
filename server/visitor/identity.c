/* See identity.h. What is hashed: 8 bytes of domain, 8 of address (IPv4 as ::ffff:0:0/96 would have
 * no room: it stands behind a marker that no IPv6 network has), then the user agent. */
#include "server/visitor/identity.h"

#include <assert.h>
#include <netinet/in.h>
#include <sodium.h>
#include <string.h>

#define USER_AGENT_MAX 1024 /* bytes that count */

static_assert(IDENTITY_SALT_BYTES == crypto_shorthash_siphashx24_KEYBYTES, "the salt is a key");

static const unsigned char ipv4_marker[4] = {0xff, 0xff, 'v', '4'};

static void put_address(const struct sockaddr *address, unsigned char out[8])
{
    const struct in6_addr *v6 = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;

    memset(out, 0, 8);
    if (address->sa_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(v6)) {
        memcpy(out, v6, 8);
        return;
    }
    memcpy(out, ipv4_marker, sizeof ipv4_marker);
    if (address->sa_family == AF_INET6)
        memcpy(out + 4, v6->s6_addr + 12, 4);
    else if (address->sa_family == AF_INET)
        memcpy(out + 4, &((const struct sockaddr_in *)(const void *)address)->sin_addr, 4);
}

uint64_t identity_of(const unsigned char salt[IDENTITY_SALT_BYTES], const struct sockaddr *address,
                     struct text user_agent, uint64_t domain)
{
    unsigned char bytes[16 + USER_AGENT_MAX], hash[crypto_shorthash_siphashx24_BYTES];
    uint64_t value;

    if (user_agent.length > USER_AGENT_MAX)
        user_agent.length = USER_AGENT_MAX;
    memcpy(bytes, &domain, 8);
    put_address(address, bytes + 8);
    if (user_agent.length)
        memcpy(bytes + 16, user_agent.bytes, user_agent.length);
    crypto_shorthash_siphashx24(hash, bytes, 16 + user_agent.length, salt);
    memcpy(&value, hash, sizeof value);
    return value ? value : 1;
}
