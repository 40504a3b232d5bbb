#pragma once
/* Destinations: checked like a browser would read them, stored normalised.
 *
 * Accepted: absolute http and https URLs. Refused with the reason: other schemes, control
 * characters, spaces, backslashes, userinfo, bad or empty hosts (bad percent-encoding included; in
 * path and query a stray % is kept, as browsers do), ports out of range, text that is not UTF-8,
 * more than LINK_DESTINATION_MAX bytes. Normalised: scheme and host to lower case, default
 * port dropped, empty path to "/", dot segments removed, numeric IPv4 hosts to dotted form,
 * non-ASCII in path, query and fragment percent-encoded, internationalised hosts to their ASCII
 * form. */
#include <stdbool.h>
#include <stddef.h>

#include "server/links/link.h"
#include "shared/error.h"

struct destination {
    char url[LINK_DESTINATION_MAX + 1]; /* normalised, NUL-terminated ASCII */
    size_t length;
    size_t host_offset, host_length;
    size_t fragment_offset; /* of '#', or `length` */
    bool has_query;         /* a '?' before the fragment */
};

/* Parses and normalises; false with a reason that a marketer understands. */
bool destination_parse(const char *url, size_t length, struct destination *out,
                       struct error *error) MUST_CHECK;
