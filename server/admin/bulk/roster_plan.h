#pragma once
/* What a roster call asks for: who, and what their links and codes have in common. */
#include <jansson.h>
#include <stdbool.h>

#include "server/admin/request/request.h"

struct rows;

/* Set to zero to begin with. Everything in it is its own. */
struct roster_plan {
    bool dry_run;
    struct rows *rows;   /* of NDJSON or a CSV; NULL: "influencers" of the body */
    bool cells;          /* of a CSV: all members are texts */
    json_t *body;        /* what was sent as JSON, or made of the query */
    char *code_template; /* NULL: no codes */
    char *percent;       /* of the codes; NULL: none */
    json_t *link, *code; /* what all new ones have in common, for set_sql.h */
};

/* Reads body and query. False after answering. */
bool roster_plan_read(struct roster_plan *plan, struct request *request);

/* Reads what links and codes have in common; links lead to the campaign's `destination` (NULL: it
 * has none) unless the call says otherwise. False after answering 422. */
bool roster_plan_complete(struct roster_plan *plan, struct request *request,
                          const char *destination);

void roster_plan_clear(struct roster_plan *plan);
