#pragma once
/* Hosts of URLs, canonical: lower-case ASCII names, dotted IPv4, shortest IPv6 in brackets. */
#include <stddef.h>

#include "server/links/link.h"
#include "shared/error.h"

/* Parses the host part of a URL (without port); fills `out`, NUL-terminated. False with the reason.
 * Names are percent-decoded and, if not ASCII, converted as UTS #46 non-transitional says. */
bool host_parse(const char *host, size_t length, char out[LINK_HOST_MAX + 1],
                struct error *error) MUST_CHECK;
