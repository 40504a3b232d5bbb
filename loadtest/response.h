#pragma once
/* The head of an HTTP/1.x answer, as far as a client that counts answers needs it. Reads within
 * `length` bytes and keeps nothing. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/text.h"

#define RESPONSE_HEAD_MAX 16384

/* Results of response_parse() that are no length. */
#define RESPONSE_BAD     (-1)
#define RESPONSE_PARTIAL (-2)

struct response {
    int status;
    bool closes;         /* the connection ends with it */
    size_t head_length;  /* with the empty line */
    uint64_t body_bytes; /* by Content-Length; 0 for 1xx, 204 and 304 */
    struct text location;
};

/* Parses; the head's length, or one of the two above. An answer that is framed in another way than
 * by Content-Length is bad unless it closes. */
int response_parse(const char *bytes, size_t length, struct response *out);

/* The value of query parameter `name` in a Location; empty: there is none. */
struct text response_parameter(struct text location, const char *name, size_t name_length);
