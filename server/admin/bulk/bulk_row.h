#pragma once
/* One row of a bulk call: read from its JSON, checked as a single link would be, turned into what
 * set_sql.h wants, and at last told as an item of the answer. */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "server/admin/bulk/rows.h"
#include "server/admin/request/request.h"

struct evbuffer;
struct resource;

enum bulk_action { BULK_CREATE, BULK_UPDATE, BULK_ARCHIVE };

enum bulk_status {
    BULK_PENDING, /* not decided yet */
    BULK_TAKEN,   /* its slug or external_id is: by what? */
    BULK_CREATED,
    BULK_EXISTED,
    BULK_UPDATED,
    BULK_ARCHIVED,
    BULK_ERROR,
    BULK_STATUSES
};

struct bulk_row {
    size_t number, line; /* from 0 in the order sent; line in the body from 1, or 0 */
    enum bulk_status status;
    json_t *sent;   /* for set_sql.h; owned */
    json_t *errors; /* array of {"pointer", "detail"}, or NULL; owned */
    char *link;     /* of its link: ,"id":…,"slug":…,"short_url":… or NULL; owned */
    int64_t id;     /* of its link; 0: not known */
    int64_t clicks; /* that it had elsewhere; -1: not known */
    bool external;  /* it has an external_id, by which it may be found */
    bool make_slug; /* the slug is generated */
    unsigned attempts;
};

/* Reads `json` (taken over) into `row`, whose number and line are set. Bad members become errors
 * and the status BULK_ERROR. */
void bulk_row_read(struct bulk_row *row, struct request *request, const struct resource *resource,
                   enum bulk_action action, enum rows_format format, json_t *json);
void bulk_row_clear(struct bulk_row *row);

/* Draws a slug for a row that has none of its own. */
void bulk_row_make_slug(struct bulk_row *row);

/* Makes it an error; `pointer` is that of the member, "/slug". */
void bulk_row_refuse(struct bulk_row *row, const char *pointer, const char *detail);

/* Notes the id of what is no link; 0: none yet, as in a dry run. */
void bulk_row_set_id(struct bulk_row *row, int64_t id);

/* Notes id, slug and address of its link; id 0: none yet, as in a dry run. */
void bulk_row_set_link(struct bulk_row *row, const struct admin *admin, int64_t id,
                       const char *host, const char *slug);

/* Writes it as an item of an array, after a "," unless it is the first. */
void bulk_row_put(const struct bulk_row *row, struct evbuffer *items);

const char *bulk_status_name(enum bulk_status status);
