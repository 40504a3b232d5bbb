/* /v1/campaigns. See fields.h for how the table below becomes SQL, README.md for the API. Who changed
 * what and when is in the audit log, which every change goes through. */
#include "server/admin/resources/campaigns.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/fields/list.h"
#include "server/admin/fields/money.h"
#include "server/admin/fields/named.h"
#include "server/admin/fields/resource.h"
#include "server/admin/resources/routing.h"
#include "shared/text.h"

#define SLUG_LONGEST   64
#define WINDOW_MAX     366 /* days */
#define WINDOW_DEFAULT 30

/* --- slug --- */

static bool check_slug(struct value *value, struct error *error)
{
    size_t length = strlen(value->text);

    if (length > SLUG_LONGEST)
        return error_set(error, "is longer than %d bytes", SLUG_LONGEST);
    for (size_t i = 0; i < length; i++) {
        char c = value->text[i];
        bool inside = i > 0 && i + 1 < length;

        if (!(c >= 'a' && c <= 'z') && !ascii_is_digit(c) && !(c == '-' && inside))
            return error_set(error, "must have letters a to z, digits and, inside, hyphens");
    }
    return true;
}

/* "Spring launch 2027!" to "spring-launch-2027"; NULL if nothing is left. */
static char *slug_of(const char *name)
{
    char *slug = calloc(1, SLUG_LONGEST + 1);
    size_t length = 0;

    for (; slug && *name && length < SLUG_LONGEST; name++) {
        if (ascii_is_alnum(*name))
            slug[length++] = ascii_lower(*name);
        else if (length > 0 && slug[length - 1] != '-')
            slug[length++] = '-';
    }
    while (length > 0 && slug[length - 1] == '-')
        slug[--length] = '\0';
    if (length > 0)
        return slug;
    free(slug);
    return NULL;
}

/* --- attribution, targets --- */

/* Replaces the value by `json`, which is taken over. */
static bool replace(struct value *value, json_t *json, struct error *error)
{
    char *text = json_dumps(json, JSON_COMPACT);

    json_decref(json);
    if (!text)
        return error_set(error, "cannot be read: out of memory");
    free(value->text);
    value->text = text;
    return true;
}

static bool is_precedence(const char *name)
{
    static const char *const known[] = {"code_first", "link_first", "last_touch", "first_touch",
                                        "split"};

    for (size_t i = 0; name && i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(known[i], name) == 0)
            return true;
    }
    return false;
}

/* {"window_days", "precedence"}; either may be absent. */
static bool check_attribution(struct value *value, struct error *error)
{
    json_t *given = json_loads(value->text, 0, NULL), *member;
    json_int_t days = WINDOW_DEFAULT;
    const char *precedence = "code_first", *name;
    bool good = json_is_object(given) || error_set(error, "must be an object");

    json_object_foreach(given, name, member)
    {
        bool window = strcmp(name, "window_days") == 0;

        if (!good)
            break;
        if (window) {
            days = json_integer_value(member);
            good = (json_is_integer(member) && days >= 0 && days <= WINDOW_MAX) ||
                   error_set(error, "must be a whole number of days, at most %d", WINDOW_MAX);
        } else if (strcmp(name, "precedence") == 0) {
            precedence = json_string_value(member);
            good = is_precedence(precedence) ||
                   error_set(error, "must be code_first, link_first, last_touch, first_touch or "
                                    "split");
        } else {
            good = error_set(error, "there is none such; there are window_days and precedence");
        }
        if (!good)
            value_at(value, name);
    }
    good = good &&
           replace(value, json_pack("{s:I, s:s}", "window_days", days, "precedence", precedence),
                   error);
    json_decref(given);
    return good;
}

/* A count, but for revenue (money) and those that are ratios. */
static bool check_target(const char *name, json_t *target, json_t *to, struct error *error)
{
    static const char *const counts[] = {"reach", "impressions", "engagements", "clicks", "visits",
                                         "leads", "conversions", "sales",       "posts"};
    static const char *const ratios[] = {"roi", "engagement_rate", "conversion_rate", "sentiment"};
    struct value money = {0};

    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        if (strcmp(counts[i], name) == 0)
            return (json_is_integer(target) && json_integer_value(target) >= 0 &&
                    json_object_set(to, name, target) == 0) ||
                   error_set(error, "must be a whole number, 0 or more");
    }
    for (size_t i = 0; i < sizeof ratios / sizeof ratios[0]; i++) {
        if (strcmp(ratios[i], name) == 0)
            return (json_is_number(target) && json_object_set(to, name, target) == 0) ||
                   error_set(error, "must be a number");
    }
    if (strcmp(name, "revenue") != 0)
        return error_set(error, "there is no such target");
    if (!money_read(target, &money, error))
        return false;
    json_object_set_new(to, name, json_loads(money.text, 0, NULL));
    free(money.text);
    return true;
}

static bool check_targets(struct value *value, struct error *error)
{
    json_t *given = json_loads(value->text, 0, NULL), *to = json_object(), *member;
    bool good = json_is_object(given) || error_set(error, "must be an object");
    const char *name;

    json_object_foreach(given, name, member)
    {
        good = good && check_target(name, member, to, error);
        if (!good) {
            value_at(value, name);
            break;
        }
    }
    json_decref(given);
    if (good)
        return replace(value, to, error);
    json_decref(to);
    return false;
}

/* --- the table --- */

static const struct field campaign_fields[] = {
    {.name = "id", .type = FIELD_INTEGER, .column = "id", .what = "Number of the campaign"},
    {.name = "name",
     .type = FIELD_TEXT,
     .flags = FIELD_WRITABLE | FIELD_REQUIRED,
     .longest = 400,
     .column = "name",
     .what = "Name for people"},
    {.name = "slug",
     .type = FIELD_TEXT,
     .flags = FIELD_WRITABLE | FIELD_FILTER,
     .check = check_slug,
     .column = "slug",
     .what = "Short name in lower case, unique in the workspace; made from the name if absent"},
    {.name = "objective",
     .type = FIELD_TEXT,
     .flags = FIELD_WRITABLE | FIELD_REQUIRED | FIELD_FILTER,
     .choices = "launch event contest discount awareness conversion traffic",
     .column = "objective",
     .value = "@::kudos.objective",
     .what = "What it is for"},
    {.name = "brief",
     .type = FIELD_TEXT,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE | FIELD_LINES,
     .longest = 65536,
     .column = "brief",
     .what = "What influencers are asked to do"},
    {.name = "hashtag",
     .type = FIELD_TEXT,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE | FIELD_FILTER,
     .longest = 200,
     .column = "hashtag",
     .what = "Hashtag that posts should carry"},
    {.name = "destination",
     .type = FIELD_TEXT,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE,
     .check = routing_check_destination,
     .column = "destination",
     .what = "Where its links lead unless they say otherwise"},
    {.name = "starts_at",
     .type = FIELD_TIME,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE,
     .column = "starts_at",
     .what = "When it starts"},
    {.name = "ends_at",
     .type = FIELD_TIME,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE,
     .column = "ends_at",
     .what = "When it ends"},
    {.name = "budget",
     .type = FIELD_MONEY,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE,
     .column = "budget",
     .what = "What may be spent"},
    {.name = "utm",
     .type = FIELD_JSON,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE,
     .longest = 4096,
     .check = routing_check_utm,
     .column = "utm",
     .what = "UTM parameters of its links: source, medium, campaign, content, term"},
    {.name = "attribution",
     .type = FIELD_JSON,
     .flags = FIELD_WRITABLE,
     .longest = 4096,
     .check = check_attribution,
     .column = "attribution",
     .missing = "'{\"window_days\": 30, \"precedence\": \"code_first\"}'",
     .what = "Who earns a sale: window_days (30), precedence (code_first, link_first, last_touch,"
             " first_touch, split)"},
    {.name = "targets",
     .type = FIELD_JSON,
     .flags = FIELD_WRITABLE,
     .longest = 4096,
     .check = check_targets,
     .column = "targets",
     .missing = "'{}'",
     .what = "What it should reach, by KPI: reach, impressions, engagements, clicks, visits, leads,"
             " conversions, sales, posts, revenue (money), roi, engagement_rate, conversion_rate,"
             " sentiment"},
    {.name = "status",
     .type = FIELD_TEXT,
     .flags = FIELD_WRITABLE,
     .choices = "draft active paused ended archived",
     .column = "status",
     .value = "@::kudos.campaign_status",
     .missing = "'active'",
     .what = "Where it stands, for people"},
    EXTERNAL_ID("campaign"),
    TAGS,
    NOTES,
    CREATED_AND_UPDATED,
};

static void check(struct request *request, struct change *change, unsigned use)
{
    const struct value *from = change_value(change, "starts_at");
    const struct value *until = change_value(change, "ends_at");
    const struct value *name = change_value(change, "name");
    char *slug;

    if (from->text && until->text && until->us <= from->us)
        request_bad_field(request, "/ends_at", "must be later than starts_at");
    routing_refuse_loop(request, "/destination", change_value(change, "destination"));
    if (use != FIELD_CREATE || json_object_get(request->body, "slug") || !name->text)
        return;
    slug = slug_of(name->text);
    if (slug)
        change_set(change, "slug", slug);
    else
        request_bad_field(request, "/slug", "is required, since none can be made from the name");
}

struct resource campaigns_resource = {
    .name = "campaign",
    .path = "/v1/campaigns",
    .table = "kudos.campaigns",
    .fields = campaign_fields,
    .count = sizeof campaign_fields / sizeof campaign_fields[0],
    .status = "status",
    .external = "external_id",
    .filters = {FILTER_TAG},
    .uniques = {{"campaigns_workspace_id_slug_key", "/slug", "slug-taken",
                 "is taken in this workspace (archived campaigns keep their slugs)"},
                {"campaigns_external", "/external_id", "external-id-taken",
                 "another campaign has it"}},
    .example =
        "{\"name\": \"Spring launch\", \"slug\": \"spring-launch\", \"objective\": \"launch\","
        " \"destination\": \"https://example.com/spring\", \"hashtag\": \"#springlaunch\","
        " \"starts_at\": \"2027-03-01T00:00:00Z\", \"ends_at\": \"2027-05-01T00:00:00Z\","
        " \"budget\": {\"amount_minor\": 500000, \"currency\": \"EUR\"}}",
    .example_change = "{\"targets\": {\"clicks\": 20000, \"sales\": 400}}",
    .check = check,
};

/* --- what was changed --- */

/* The audit log, narrowed to the campaign. */
static void on_found(const struct pool_answer *answer, void *argument)
{
    struct request *request = argument;
    struct query *query = &request->query;

    if (answer->outcome != POOL_DONE) {
        request_store_problem(request, answer);
    } else if (PQntuples(answer->result) == 0) {
        resource_missing(request, &campaigns_resource);
    } else if (query->count + 2 > QUERY_PARAMETERS_MAX) {
        request_problem(request, 400, "bad-query", "there are too many parameters");
    } else {
        query->names[query->count] = "resource";
        query->values[query->count++] = campaigns_resource.name;
        query->names[query->count] = "resource_id";
        query->values[query->count++] = request->name;
        resource_on_list(request);
    }
}

void campaigns_on_changes(struct request *request)
{
    char workspace[24], id[24];
    const char *parameters[] = {workspace, id};

    snprintf(workspace, sizeof workspace, "%" PRId64, request->key.workspace);
    snprintf(id, sizeof id, "%" PRIu64, request->id);
    request_query(request, &campaigns_resource.get, 2, parameters, on_found);
}
