#pragma once
/* A list of networks (CIDR, IPv4 and IPv6), as settings give it. */
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "shared/error.h"
#include "shared/text.h"

#define NETWORKS_MAX 128

struct network {
    unsigned char bytes[16]; /* IPv6; IPv4 as ::ffff:a.b.c.d */
    uint8_t bits;
};

struct networks {
    unsigned count;
    struct network list[NETWORKS_MAX];
};

/* Reads networks or single addresses separated by spaces or commas; false with the reason. Bits
 * behind the prefix must be zero: "10.0.0.1/8" is more likely a slip than a wish. */
bool networks_parse(const char *text, struct networks *out, struct error *error) MUST_CHECK;

/* Whether an address is in one of them. IPv4 and its mapped form in IPv6 are the same. */
bool networks_contain(const struct networks *networks, const struct sockaddr *address);

/* An address without port or brackets, into `out` (AF_INET for IPv4 and for mapped IPv4). Strict:
 * four decimal numbers without leading zeros, or RFC 4291 text without a zone. */
bool network_address(struct text text, struct sockaddr_storage *out) MUST_CHECK;
