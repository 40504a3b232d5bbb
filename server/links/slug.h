#pragma once
/* Slugs: what stands behind the slash of a short link.
 *
 * Generated ones are 7 characters of [a-z0-9] without look-alikes, from the CSPRNG, and contain no
 * blocked word. Custom ones are up to LINK_SLUG_MAX bytes of letters, digits, '-', '_' and UTF-8. */
#include <stdbool.h>
#include <stddef.h>

#include "server/links/link.h"
#include "shared/error.h"

#define SLUG_GENERATED_LENGTH 7

/* Makes a random slug, NUL-terminated. */
void slug_generate(char out[SLUG_GENERATED_LENGTH + 1]);

/* True if a generated slug or code may not contain this text (case-insensitive substring match
 * against the block list). */
bool slug_has_blocked_word(const char *slug, size_t length);

/* Checks a custom slug as a marketer sent it (UTF-8, not percent-encoded): length, alphabet,
 * reserved names (robots.txt, favicon.ico, …, a leading "-/" or ".well-known"). */
bool slug_check(const char *slug, size_t length, struct error *error) MUST_CHECK;

/* From a request path without its leading slash to a key: percent-decodes, and folds ASCII case if
 * `fold`. Returns the length, or 0 if it cannot be any slug (empty, too long, bad escapes, other
 * characters): a miss. No allocation. */
size_t slug_from_path(const char *path, size_t length, bool fold, char out[LINK_SLUG_MAX]);
