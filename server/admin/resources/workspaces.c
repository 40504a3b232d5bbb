/* /v1/workspaces. See workspaces.h. */
#include "server/admin/resources/workspaces.h"

#include "server/admin/fields/resource.h"

static const struct field workspace_fields[] = {
    {.name = "id", .type = FIELD_INTEGER, .column = "id", .what = "Number of the workspace"},
    {.name = "name",
     .flags = FIELD_WRITABLE | FIELD_REQUIRED | FIELD_FILTER,
     .longest = 100,
     .column = "name",
     .what = "Short unique name"},
    {.name = "time_zone",
     .flags = FIELD_WRITABLE,
     .longest = 64,
     .column = "time_zone",
     /* Fails for a name that PostgreSQL does not know. */
     .value = "(select @::text where (now() at time zone @::text) is not null)",
     .missing = "'UTC'",
     .what = "IANA time zone that decides where a day ends in reports"},
    {.name = "created_at", .type = FIELD_TIME, .column = "created_at", .what = "When it was made"},
};

struct resource workspaces_resource = {
    .name = "workspace",
    .path = "/v1/workspaces",
    .table = "kudos.workspaces",
    .fields = workspace_fields,
    .count = sizeof workspace_fields / sizeof workspace_fields[0],
    .tenant = "id",
    .uniques = {{"workspaces_name_key", "/name", "name-taken", "there is a workspace of that name"},
                {"22023", "/time_zone", "invalid", "is no time zone that is known"}},
    .example = "{\"name\": \"acme\", \"time_zone\": \"Europe/Berlin\"}",
    .example_change = "{\"time_zone\": \"Europe/Vienna\"}",
};

void workspaces_on_create(struct request *request)
{
    if (request->key.is_operator)
        resource_on_create(request);
    else
        request_problem(request, 403, "forbidden",
                        "only keys of the service's own workspace make workspaces");
}
