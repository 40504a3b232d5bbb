#pragma once
/* Builds the value of Location: the destination with {country} and {click_id} filled in, the
 * request's parameters where the link passes them on, the click id, the fragment. Pure, without
 * allocation.
 *
 * What comes from the request can neither end the header (its bytes were checked by the parser, and
 * what does not belong into a URL is percent-encoded here) nor override the destination: of a
 * parameter that the destination has itself, under any spelling, the destination's stays. */
#include <stddef.h>

#include "server/conversions/click_id.h"
#include "server/redirect/decision.h"

/* More parameters of one request than these are not passed on. */
#define LOCATION_PARAMETERS_MAX 64

/* Bytes of the encoded name of the click id parameter, at most. */
#define LOCATION_NAME_MAX (3 * 32)

/* Where in the output the click id stands, in case that it must not leave. */
struct location_mark {
    size_t at;
    size_t length; /* 0: there is none */
    bool in_place; /* filled into the destination: from the first of it to the end of the last */
};

/* The most that location_write() writes for a query of this length. */
size_t location_max(size_t query_length);

/* Writes into `out` and returns the length. `name` is the click id's parameter, already encoded;
 * `click_id` its CLICK_ID_LENGTH characters, or NULL for none: its placeholder leaves nothing
 * then. */
size_t location_write(const struct decision *decision, const struct text *name,
                      const char *click_id, char *out, struct location_mark *mark);

/* Takes the click id out of `bytes`, of which `length` are used, and returns how many are left: what
 * would have been written without it. */
size_t location_strip(const struct location_mark *mark, char *bytes, size_t length) MUST_CHECK;

/* Percent-encodes what may not stand in a query parameter's name; returns the length, at most three
 * times the given one. */
size_t location_encode_name(const char *name, size_t length, char *out);
