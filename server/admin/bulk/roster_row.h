#pragma once
/* One influencer of a roster: read and checked, looked up, and told as an item of the answer. */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/admin/request/request.h"

struct evbuffer;

struct roster_thing {
    int64_t id; /* 0: there is none yet */
    bool made;  /* by this call */
    char *name; /* slug or code; owned */
    char *host; /* of a link, as links_short_url() wants it; owned */
};

struct roster_row {
    size_t number, line;     /* from 0 in the order sent; line in a CSV from 1, or 0 */
    char *handle;            /* owned */
    json_t *sent;            /* the influencer, for set_sql.h; owned */
    json_t *errors;          /* array of {"pointer", "detail"}, or NULL; owned */
    int64_t influencer;      /* 0: not looked up yet */
    bool entered;            /* the influencer is new, and entered by this call */
    struct roster_row *twin; /* an earlier row of the batch that names the same influencer */
    struct roster_thing link, code;
    unsigned tries; /* names of codes, or slugs, that were tried */
};

/* Reads `json` (taken over) into `row`, whose number and line are set. What is wrong becomes its
 * errors. `cells`: its members are texts of a CSV. */
void roster_row_read(struct roster_row *row, struct request *request, bool cells, json_t *json);
void roster_row_clear(struct roster_row *row);
void roster_row_refuse(struct roster_row *row, const char *pointer, const char *detail);

/* Writes it as an item of an array, after a "," unless it is the first; in a dry run without the
 * numbers of what would be made. Returns its status: "created", "existed" or "error". */
const char *roster_row_put(const struct roster_row *row, const struct admin *admin, bool dry_run,
                           struct evbuffer *items);
