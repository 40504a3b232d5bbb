#pragma once
/* What a bulk call asks for: to make, change, archive or import links, and how its rows are read. */
#include "server/admin/bulk/bulk_row.h"
#include "server/admin/bulk/import_map.h"

/* Set to zero to begin with. */
struct bulk_plan {
    enum bulk_action action;
    const struct resource *resource; /* links, or what can only be made */
    enum rows_format format;
    bool dry_run;
    bool importing;        /* rows are another service's */
    struct import_map map; /* of an import; texts of the request's query */
    json_t *common;        /* of an import: members of all links; owned */
};

/* Reads the query and checks the body's type. False after answering. */
bool bulk_plan_read(struct bulk_plan *plan, struct request *request, enum bulk_action action,
                    const struct resource *resource, bool importing);

/* Reads `json` (taken over) into `row`, whose number and line are set. */
void bulk_plan_row(const struct bulk_plan *plan, struct request *request, struct bulk_row *row,
                   json_t *json);

void bulk_plan_clear(struct bulk_plan *plan);
