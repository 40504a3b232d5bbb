/* See roster_plan.h. */
#include "server/admin/bulk/roster_plan.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/bulk/code_names.h"
#include "server/admin/bulk/rows.h"
#include "server/admin/fields/set_row.h"
#include "server/admin/fields/set_sql.h"
#include "server/admin/request/intake.h"
#include "server/admin/resources/codes.h"
#include "server/admin/resources/links.h"

/* --- body and query --- */

/* What rows cannot say stands in the query; it becomes what a JSON body would be. */
static bool read_query(struct roster_plan *plan, struct request *request)
{
    static const struct {
        const char *parameter, *object, *member;
    } known[] = {{"template", "code", "template"},
                 {"percent", "code", "percent"},
                 {"destination", "link", "destination"},
                 {"domain", "link", "domain"}};
    const struct query *query = &request->query;
    json_t *object;

    for (size_t i = 0; i < query->count; i++) {
        size_t k = 0;

        if (strcmp(query->names[i], "dry_run") == 0) {
            plan->dry_run = strcmp(query->values[i], "true") == 0;
            if (!plan->dry_run && strcmp(query->values[i], "false") != 0)
                request_bad_parameter(request, "dry_run", "must be true or false");
            continue;
        }
        while (k < 4 && strcmp(known[k].parameter, query->names[i]) != 0)
            k++;
        if (k == 4 || !plan->rows) {
            request_bad_parameter(request, query->names[i], "there is no such parameter");
            continue;
        }
        object = json_object_get(plan->body, known[k].object);
        if (!object)
            json_object_set_new(plan->body, known[k].object, object = json_object());
        json_object_set_new(object, known[k].member, json_string(query->values[i]));
    }
    set_row_type(&codes_resource, json_object_get(plan->body, "code"));
    if (!request_is_bad(request))
        return true;
    request_bad_answer(request, 422, "invalid", "the call cannot be made like this");
    return false;
}

static bool check_members(struct roster_plan *plan, struct request *request)
{
    const json_t *list = json_object_get(plan->body, "influencers");
    const char *name;
    json_t *member;

    json_object_foreach(plan->body, name, member)
    {
        char pointer[64];

        snprintf(pointer, sizeof pointer, "/%.60s", name);
        if (strcmp(name, "influencers") != 0 && strcmp(name, "code") != 0 &&
            strcmp(name, "link") != 0)
            request_bad_field(request, pointer, "there is no such field");
        else if (strcmp(name, "code") == 0 && !json_is_object(member))
            request_bad_field(request, pointer, "must be an object");
    }
    if (!plan->rows && !json_is_array(list))
        request_bad_field(request, "/influencers", "must be an array");
    if (!request_is_bad(request))
        return true;
    request_bad_answer(request, 422, "invalid", "nothing was changed; see errors");
    return false;
}

/* Takes the body over: as a whole, or row by row. */
static bool read_body(struct roster_plan *plan, struct request *request)
{
    enum rows_format format;

    if (!intake_rows(request, &format))
        return false;
    if (format != ROWS_JSON) {
        plan->cells = format == ROWS_CSV;
        plan->rows = rows_new(format, evhttp_request_get_input_buffer(request->http));
        plan->body = json_object();
        assert(plan->rows && plan->body);
        return true;
    }
    if (!intake_json(request))
        return false;
    plan->body = request->body;
    request->body = NULL;
    return true;
}

bool roster_plan_read(struct roster_plan *plan, struct request *request)
{
    return read_body(plan, request) && read_query(plan, request) && check_members(plan, request);
}

/* --- what all links and codes have in common --- */

/* Reads an object through the table of a resource, with a name that each will have of its own. */
static json_t *read_common(struct request *request, const struct resource *resource,
                           const char *member, json_t *json, struct change *change)
{
    json_t *common = json_object(), *errors = NULL;
    static const char *const own[] = {"slug", "campaign", "influencer", "external_id"};
    char pointer[48];

    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        if (!json_object_get(json, own[i]))
            continue;
        snprintf(pointer, sizeof pointer, "/%s/%s", member, own[i]);
        request_bad_field(request, pointer, "differs from influencer to influencer");
    }
    errors = set_row_read(request, resource, FIELD_CREATE, json, change);
    snprintf(pointer, sizeof pointer, "/%s", member);
    set_row_prefix(errors, pointer);
    request_take_errors(request, errors);
    set_sql_put(common, resource, change->values);
    return common;
}

static void read_link(struct roster_plan *plan, struct request *request, const char *destination)
{
    static struct change change; /* large; one thread */
    json_t *json = json_object_get(plan->body, "link");

    json = json ? json_incref(json) : json_object();
    if (!json_is_object(json)) {
        request_bad_field(request, "/link", "must be an object");
    } else {
        if (!json_object_get(json, "destination") && destination)
            json_object_set_new(json, "destination", json_string(destination));
        plan->link = read_common(request, &links_resource, "link", json, &change);
        values_free(change.values, links_resource.count);
    }
    json_decref(json);
}

/* The template is taken out; the name that the table asks for stands for those that it makes. */
static void read_code(struct roster_plan *plan, struct request *request)
{
    static struct change change; /* large; one thread */
    json_t *json = json_object_get(plan->body, "code"), *code_template;
    struct error error;

    if (!json)
        return;
    code_template = json_object_get(json, "template");
    if (!json_is_string(code_template)) {
        request_bad_field(request, "/code/template", "must be a string");
        return;
    }
    if (json_object_get(json, "code"))
        request_bad_field(request, "/code/code", "is made from the template");
    plan->code_template = strdup(json_string_value(code_template));
    json_object_del(json, "template");
    json_object_set_new(json, "code", json_string("NAME"));
    plan->code = read_common(request, &codes_resource, "code", json, &change);
    if (change_value(&change, "percent")->text)
        plan->percent = strdup(change_value(&change, "percent")->text);
    if (!code_template_check(plan->code_template, plan->percent, &error))
        request_bad_field(request, "/code/template", "%s", error.text);
    values_free(change.values, codes_resource.count);
}

bool roster_plan_complete(struct roster_plan *plan, struct request *request,
                          const char *destination)
{
    read_link(plan, request, destination);
    read_code(plan, request);
    if (!request_is_bad(request))
        return true;
    request_bad_answer(request, 422, "invalid", "nothing was changed; see errors");
    return false;
}

void roster_plan_clear(struct roster_plan *plan)
{
    rows_free(plan->rows);
    json_decref(plan->body);
    json_decref(plan->link);
    json_decref(plan->code);
    free(plan->code_template);
    free(plan->percent);
    *plan = (struct roster_plan){0};
}
