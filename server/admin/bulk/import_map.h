#pragma once
/* Rows of other services' exports as links: which column is what. Pure: no request, no store.
 *
 * Columns are recognised whatever their case and what stands between the words ("Destination URL",
 * "destination_url"). The first column of a list that is not empty counts; others are left alone. */
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "shared/error.h"

#define IMPORT_COLUMNS_MAX 8 /* that may hold the same thing */

enum import_part {
    IMPORT_SLUG, /* also out of a short URL: its path */
    IMPORT_DESTINATION,
    IMPORT_TITLE,
    IMPORT_TAGS,    /* words with "," or "|" in between */
    IMPORT_CREATED, /* RFC 3339, without a zone (UTC), a day, or seconds since 1970 */
    IMPORT_CLICKS,
    IMPORT_PARTS
};

struct import_map {
    const char *source; /* "bitly", … or "columns" */
    const char *columns[IMPORT_PARTS][IMPORT_COLUMNS_MAX];
};

/* The ready map of a service: bitly, yourls, kutt, shlink, dub; "columns": what things are called
 * here; NULL for others. */
const struct import_map *import_map_find(const char *source);

/* The parameter that names the column of a part: "slug", "destination", … */
const char *import_part_name(enum import_part part);

struct import_row {
    json_t *link;       /* members of a link, owned by the caller */
    int64_t created_us; /* 0: not known */
    int64_t clicks;     /* -1: not known */
};

/* Reads a row (an object of texts and numbers). False with the part that cannot be read. */
bool import_map_row(const struct import_map *map, const json_t *row, struct import_row *out,
                    enum import_part *part, struct error *error) MUST_CHECK;
