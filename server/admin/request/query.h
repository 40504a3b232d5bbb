#pragma once
/* The query of a request target: "a=1&b=two+words" as decoded names and values. */
#include <stdbool.h>
#include <stddef.h>

#define QUERY_PARAMETERS_MAX 24
#define QUERY_BYTES_MAX      4096

struct query {
    size_t count;
    const char *names[QUERY_PARAMETERS_MAX];
    const char *values[QUERY_PARAMETERS_MAX];
    char texts[QUERY_BYTES_MAX + 1]; /* what the pointers point into */
};

/* Decodes `text` (NULL: none). False if it is too long, has too many parameters, a bad escape, an
 * escaped NUL, bytes that are not UTF-8, or a name twice. */
bool query_parse(const char *text, struct query *out);

/* The value of `name`, or NULL. */
const char *query_get(const struct query *query, const char *name);
