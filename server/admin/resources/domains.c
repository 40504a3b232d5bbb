/* /v1/domains: hosts that short links live on, and what they say for their links. See fields.h for
 * how the table below becomes SQL, README.md for the API.
 *
 * A key sees the domains of its workspace. A host belongs to one workspace for good; the default
 * domain, on which every workspace may make links, is made by `kudos migrate`. A domain is never
 * deleted: the links on it could not be told from others. */
#include "server/admin/resources/domains.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/fields/resource.h"
#include "server/admin/resources/routing.h"
#include "server/admin/server.h"
#include "server/admin/stores/live.h"
#include "server/links/domain.h"
#include "server/links/host.h"

/* Names only: a short domain is looked up by what the Host header says, without a port. */
static bool check_host(struct value *value, struct error *error)
{
    char host[DOMAIN_HOST_MAX + 1];
    size_t length = strlen(value->text);
    char *copy;

    while (length > 0 && value->text[length - 1] == '.')
        length--;
    if (!host_parse(value->text, length, host, error))
        return false;
    copy = strdup(host);
    if (!copy)
        return error_set(error, "cannot be read: out of memory");
    free(value->text);
    value->text = copy;
    return true;
}

#define DESTINATION(field, text)                                                     \
    {                                                                                \
        .name = field, .type = FIELD_TEXT, .flags = FIELD_WRITABLE | FIELD_NULLABLE, \
        .check = routing_check_url, .column = field, .what = text                    \
    }

static const struct field domain_fields[] = {
    {.name = "id", .type = FIELD_INTEGER, .column = "id", .what = "Number of the domain"},
    {.name = "host",
     .type = FIELD_TEXT,
     .flags = FIELD_CREATE | FIELD_REQUIRED | FIELD_FILTER,
     .check = check_host,
     .column = "host",
     .what = "Host name, without a port"},
    {.name = "is_default",
     .type = FIELD_BOOL,
     .column = "is_default",
     .what = "Whether it serves hosts that are not registered"},
    {.name = "case_sensitive",
     .type = FIELD_BOOL,
     .flags = FIELD_WRITABLE,
     .column = "case_sensitive",
     .missing = "false",
     .what = "Whether /Abc and /abc are two links; can change only while there are none"},
    {.name = "redirect_status",
     .type = FIELD_INTEGER,
     .flags = FIELD_WRITABLE,
     .check = routing_check_status,
     .column = "redirect_status",
     .missing = "302",
     .what = "301, 302, 307 or 308, for links that do not say"},
    {.name = "click_id",
     .type = FIELD_BOOL,
     .flags = FIELD_WRITABLE,
     .column = "click_id",
     .missing = "true",
     .what = "Whether the click id is added to destinations, for links that do not say"},
    DESTINATION("root_destination", "Where \"/\" leads; null: 404"),
    DESTINATION("not_found_destination", "Where unknown slugs lead; null: 404"),
    DESTINATION("fallback", "Where expired and used up links without a fallback lead; null: 410"),
    {.name = "app_site_association",
     .type = FIELD_JSON,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE,
     .longest = DOMAIN_JSON_MAX / 2, /* PostgreSQL writes it with spaces */
     .column = "app_site_association",
     .what = "Served as /.well-known/apple-app-site-association"},
    {.name = "assetlinks",
     .type = FIELD_JSON,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE,
     .longest = DOMAIN_JSON_MAX / 2,
     .column = "assetlinks",
     .what = "Served as /.well-known/assetlinks.json"},
    {.name = "created_at",
     .type = FIELD_TIME,
     .column = "created_at",
     .what = "When it was registered"},
};
static void check(struct request *request, struct change *change, unsigned use)
{
    (void)use;
    for (size_t i = 0; i < change->resource->count; i++) {
        const struct field *field = &change->resource->fields[i];
        char pointer[64];

        snprintf(pointer, sizeof pointer, "/%s", field->name);
        if (field->check == routing_check_url && change->values[i].given)
            routing_refuse_loop(request, pointer, &change->values[i]);
    }
}

static void committed(struct request *request, struct change *change, const PGresult *row)
{
    live_announce(request->admin->live);
    change_answer(request, change, row);
}

struct resource domains_resource = {
    .name = "domain",
    .path = "/v1/domains",
    .table = "kudos.domains",
    .fields = domain_fields,
    .count = sizeof domain_fields / sizeof domain_fields[0],
    .replicated = true,
    .uniques = {{"domains_host_key", "/host", "host-taken", "is registered already"},
                {"55000", "/case_sensitive", "has-links",
                 "cannot change while the domain has links"}},
    .example = "{\"host\": \"go.example.com\"}",
    .example_change = "{\"root_destination\": \"https://example.com/\"}",
    .check = check,
    .committed = committed,
};
