#pragma once
/* The visitor value: tells the clicks of one visitor on one day apart from those of others, and
 * nothing more. Pure. */
#include <stdint.h>
#include <sys/socket.h>

#include "shared/text.h"

#define IDENTITY_SALT_BYTES 16

/* SipHash of the address (all of IPv4, the first 64 bits of IPv6), the user agent and the domain,
 * under the day's salt. Never 0, which stands for "none". Once the salt is gone nobody can find the
 * address by trying all of them. */
uint64_t identity_of(const unsigned char salt[IDENTITY_SALT_BYTES], const struct sockaddr *address,
                     struct text user_agent, uint64_t domain);
