#pragma once
/* Structured header fields (RFC 9651), as user-agent client hints use them. Strict, zero-copy, no
 * allocation, bounded by the field's length. */
#include <stdbool.h>
#include <stddef.h>

#include "shared/text.h"

enum sf_type {
    SF_INTEGER,
    SF_DECIMAL,
    SF_STRING, /* text: between the quotes, escapes as they stand */
    SF_TOKEN,
    SF_BYTES,   /* text: base64, between the colons */
    SF_BOOLEAN, /* text: "0" or "1" */
    SF_DATE,
    SF_DISPLAY,    /* text: between the quotes, percent-encoded */
    SF_INNER_LIST, /* text: between the brackets */
};

struct sf_item {
    enum sf_type type;
    struct text text; /* as it stands in the field, without what encloses it */
    struct text key;  /* of a dictionary's member */
};

/* An item, with parameters that are checked and skipped. False if the field is anything else. */
bool sf_item(struct text field, struct sf_item *out);

/* Walks a list, or a dictionary. `rest` starts as the field; false at the end (`rest->bytes` is
 * NULL) or at the first fault (`rest->bytes` is not NULL), after which the field must be ignored
 * as a whole. */
bool sf_next_in_list(struct text *rest, struct sf_item *out);
bool sf_next_in_dictionary(struct text *rest, struct sf_item *out);
