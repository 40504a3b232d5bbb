/* See bulk_plan.h. */
#include "server/admin/bulk/bulk_plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "server/admin/fields/set_row.h"
#include "server/admin/request/intake.h"
#include "server/admin/resources/links.h"

/* --- the query --- */

static bool is_of_import(const char *name)
{
    bool known =
        strcmp(name, "source") == 0 || strcmp(name, "domain") == 0 || strcmp(name, "campaign") == 0;

    for (int part = 0; part < IMPORT_PARTS; part++)
        known = known || strcmp(name, import_part_name((enum import_part)part)) == 0;
    return known;
}

static void read_query(struct bulk_plan *plan, struct request *request)
{
    for (size_t i = 0; i < request->query.count; i++) {
        const char *name = request->query.names[i], *value = request->query.values[i];

        if (plan->importing && is_of_import(name))
            continue;
        if (strcmp(name, "dry_run") != 0)
            request_bad_parameter(request, name, "there is no such parameter");
        else if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
            request_bad_parameter(request, name, "must be true or false");
        else
            plan->dry_run = strcmp(value, "true") == 0;
    }
}

/* What an import says: where from, the names of columns, where to. */
static void read_import(struct bulk_plan *plan, struct request *request)
{
    const char *source = query_get(&request->query, "source");
    const char *domain = query_get(&request->query, "domain");
    const char *campaign = query_get(&request->query, "campaign");
    const struct import_map *map = import_map_find(source ? source : "columns");

    if (map)
        plan->map = *map;
    else
        request_bad_parameter(request, "source",
                              "must be bitly, yourls, kutt, shlink, dub or columns");
    for (int part = 0; part < IMPORT_PARTS; part++) {
        const char *column = query_get(&request->query, import_part_name((enum import_part)part));

        if (!column)
            continue;
        plan->map.columns[part][0] = column;
        plan->map.columns[part][1] = NULL;
    }
    plan->common = json_object();
    if (domain)
        json_object_set_new(plan->common, "domain", json_string(domain));
    if (campaign)
        json_object_set_new(plan->common, "campaign", json_string(campaign));
    set_row_type(&links_resource, plan->common);
}

bool bulk_plan_read(struct bulk_plan *plan, struct request *request, enum bulk_action action,
                    const struct resource *resource, bool importing)
{
    plan->action = action;
    plan->resource = resource;
    plan->importing = importing;
    read_query(plan, request);
    if (importing)
        read_import(plan, request);
    if (!request_is_bad(request))
        return intake_rows(request, &plan->format);
    request_bad_answer(request, 422, "invalid", "the call cannot be made as it was asked for");
    return false;
}

void bulk_plan_clear(struct bulk_plan *plan)
{
    json_decref(plan->common);
    *plan = (struct bulk_plan){0};
}

/* --- rows --- */

static void put_made(struct bulk_row *row, int64_t us)
{
    time_t seconds = (time_t)(us / 1000000);
    char text[64];
    struct tm parts;

    if (us <= 0 || !gmtime_r(&seconds, &parts))
        return;
    snprintf(text, sizeof text, "%04d-%02d-%02d %02d:%02d:%02d.%06d+00", parts.tm_year + 1900,
             parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
             (int)(us % 1000000));
    json_object_set_new(row->sent, "made", json_string(text));
}

static void import_row(const struct bulk_plan *plan, struct request *request, struct bulk_row *row,
                       json_t *json)
{
    struct import_row read;
    enum import_part part;
    struct error error;
    char pointer[32];
    bool good = import_map_row(&plan->map, json, &read, &part, &error);

    json_decref(json);
    json_object_update(read.link, plan->common);
    bulk_row_read(row, request, plan->resource, BULK_CREATE, ROWS_JSON, read.link);
    row->clicks = read.clicks;
    put_made(row, read.created_us);
    if (good)
        return;
    snprintf(pointer, sizeof pointer, "/%s", import_part_name(part));
    bulk_row_refuse(row, pointer, error.text);
}

void bulk_plan_row(const struct bulk_plan *plan, struct request *request, struct bulk_row *row,
                   json_t *json)
{
    if (plan->importing)
        import_row(plan, request, row, json);
    else
        bulk_row_read(row, request, plan->resource, plan->action, plan->format, json);
}
