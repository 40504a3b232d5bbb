/* /v1/domains: hosts that short links live on, and what they say for their links. See fields.h for
 * how the table below becomes SQL, README.md for the API.
 *
 * A key sees the domains of its workspace. A host belongs to one workspace for good; the default
 * domain, on which every workspace may make links, is made by `kudos migrate`. A domain is never
 * deleted: the links on it could not be told from others. */
#include "server/admin/domains.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/fields.h"
#include "server/admin/live.h"
#include "server/admin/routing.h"
#include "server/admin/server.h"
#include "server/links/domain.h"
#include "server/links/host.h"

#define LIST_MAX 1000 /* domains of a workspace that are listed */

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
     .flags = FIELD_CREATE | FIELD_REQUIRED,
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
#define DOMAIN_FIELDS (sizeof domain_fields / sizeof domain_fields[0])

static struct resource domains = {
    .table = "kudos.domains",
    .conflict = "host",
    .fields = domain_fields,
    .count = DOMAIN_FIELDS,
};
static struct statement list; /* $1 workspace */

bool domains_prepare(struct error *error)
{
    char *sql = NULL;

    if (!resource_prepare(&domains, error))
        return false;
    if (asprintf(&sql,
                 "select %s from kudos.domains as t where t.workspace_id = $1::bigint"
                 " order by t.host limit %d",
                 domains.shown, LIST_MAX) < 0)
        return error_set(error, "out of memory");
    list.sql = sql;
    return true;
}

/* --- POST, PATCH --- */

struct change {
    struct value values[DOMAIN_FIELDS];
    char id[24], mask[24], workspace[24];
};

static void change_free(void *state)
{
    struct change *change = state;

    values_free(change->values, DOMAIN_FIELDS);
    free(change);
}

static struct change *change_new(struct request *request)
{
    struct change *change = calloc(1, sizeof *change);

    assert(change && !request->state);
    request->state = change;
    request->free_state = change_free;
    snprintf(change->workspace, sizeof change->workspace, "%" PRId64, request->key.workspace);
    snprintf(change->id, sizeof change->id, "%" PRIu64, request->id);
    return change;
}

/* Reads the body. False after answering 422 with everything that is wrong with it. */
static bool read_change(struct request *request, struct change *change, unsigned use)
{
    int64_t mask = 0;

    resource_read(&domains, request, use, change->values);
    for (size_t i = 0; i < DOMAIN_FIELDS; i++) {
        const struct field *field = &domain_fields[i];
        char pointer[64];

        mask |= (int64_t)change->values[i].given << i;
        snprintf(pointer, sizeof pointer, "/%s", field->name);
        if (field->check == routing_check_url && change->values[i].given)
            routing_refuse_loop(request, pointer, &change->values[i]);
    }
    snprintf(change->mask, sizeof change->mask, "%" PRId64, mask);
    if (!request_is_bad(request))
        return true;
    resource_refuse(&domains, request, change->values);
    return false;
}

static void answer_taken(struct request *request)
{
    request_bad_field(request, "/host", "is registered already");
    request_bad_answer(request, 409, "host-taken", "this host is registered already");
}

/* True if it was committed; else answers what was wrong. */
static bool is_committed(struct request *request, const struct pool_answer *answer)
{
    bool refused = answer->outcome == POOL_REFUSED;

    if (refused && strcmp(answer->sqlstate, "55000") == 0) {
        request_bad_field(request, "/case_sensitive", "cannot change while the domain has links");
        request_bad_answer(request, 409, "has-links", "the domain has links");
    } else if (refused && strcmp(answer->sqlstate, "23514") == 0) {
        request_problem(request, 422, "invalid", "the domain breaks the rule %s",
                        answer->constraint);
    } else if (answer->outcome != POOL_DONE) {
        request_store_problem(request, answer);
    } else {
        live_announce(request->admin->live);
        return true;
    }
    return false;
}

static void on_created(const struct pool_answer *answer, void *argument)
{
    struct request *request = argument;
    char location[48];

    if (!is_committed(request, answer))
        return;
    if (PQgetisnull(answer->result, 0, PQfnumber(answer->result, "id"))) {
        answer_taken(request);
        return;
    }
    snprintf(location, sizeof location, "/v1/domains/%s",
             PQgetvalue(answer->result, 0, PQfnumber(answer->result, "id")));
    request_header(request, "Location", location);
    request_answer(request, 201, resource_show(&domains, request->admin, answer->result, 0));
}

void domains_on_create(struct request *request)
{
    struct change *change = change_new(request);
    const char *parameters[POOL_PARAMETERS_MAX] = {change->workspace};
    int count;

    if (!read_change(request, change, FIELD_CREATE))
        return;
    count = resource_bind(&domains, change->values, parameters, 1);
    pool_query(request->admin->pool, &domains.insert, count, parameters, on_created, request);
}

static void answer_missing(struct request *request)
{
    request_problem(request, 404, "not-found", "there is no such domain in this workspace");
}

static void on_updated(const struct pool_answer *answer, void *argument)
{
    struct request *request = argument;

    if (!is_committed(request, answer))
        return;
    if (*PQgetvalue(answer->result, 0, PQfnumber(answer->result, "there")) == 't')
        request_answer(request, 200, resource_show(&domains, request->admin, answer->result, 0));
    else
        answer_missing(request);
}

void domains_on_update(struct request *request)
{
    struct change *change = change_new(request);
    const char *parameters[POOL_PARAMETERS_MAX] = {change->workspace, change->id, change->mask};
    int count;

    if (!read_change(request, change, FIELD_UPDATE))
        return;
    count = resource_bind(&domains, change->values, parameters, 3);
    pool_query(request->admin->pool, &domains.update, count, parameters, on_updated, request);
}

/* --- GET --- */

static void on_got(const struct pool_answer *answer, void *argument)
{
    struct request *request = argument;

    if (answer->outcome != POOL_DONE)
        request_store_problem(request, answer);
    else if (PQntuples(answer->result) == 0)
        answer_missing(request);
    else
        request_answer(request, 200, resource_show(&domains, request->admin, answer->result, 0));
}

void domains_on_get(struct request *request)
{
    char workspace[24], id[24];
    const char *parameters[] = {workspace, id};

    snprintf(workspace, sizeof workspace, "%" PRId64, request->key.workspace);
    snprintf(id, sizeof id, "%" PRIu64, request->id);
    pool_query(request->admin->pool, &domains.get, 2, parameters, on_got, request);
}

static void on_listed(const struct pool_answer *answer, void *argument)
{
    struct request *request = argument;
    json_t *items;

    if (answer->outcome != POOL_DONE) {
        request_store_problem(request, answer);
        return;
    }
    items = json_array();
    for (int row = 0; row < PQntuples(answer->result); row++)
        json_array_append_new(items, resource_show(&domains, request->admin, answer->result, row));
    request_answer(request, 200, json_pack("{s:o, s:n}", "items", items, "next_cursor"));
}

void domains_on_list(struct request *request)
{
    char workspace[24];
    const char *parameters[] = {workspace};

    for (size_t i = 0; i < request->query.count; i++)
        request_bad_parameter(request, request->query.names[i], "there is no such parameter");
    if (request_is_bad(request)) {
        request_bad_answer(request, 422, "invalid", "the list cannot be made as it was asked for");
        return;
    }
    snprintf(workspace, sizeof workspace, "%" PRId64, request->key.workspace);
    pool_query(request->admin->pool, &list, 1, parameters, on_listed, request);
}
