/* /v1/links. See fields.h for how the table below becomes SQL, README.md for the API.
 *
 * A change is answered when it is committed and, if that takes less than live_timeout_ms, when this
 * machine's replica has it ("live": true): the next request on this node sees it. A link is never
 * deleted: DELETE archives it, its slug stays taken and its statistics stay. */
#include "server/admin/links.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/fields.h"
#include "server/admin/link_list.h"
#include "server/admin/live.h"
#include "server/admin/routing.h"
#include "server/links/slug.h"

#define SLUG_ATTEMPTS_MAX 10 /* generated slugs tried before giving up */

/* --- checks of single fields --- */

static bool check_slug(struct value *value, struct error *error)
{
    return slug_check(value->text, strlen(value->text), error);
}

static bool check_count(struct value *value, struct error *error)
{
    return *value->text != '-' && strcmp(value->text, "0") != 0
               ? true
               : error_set(error, "must be 1 or more");
}

static bool check_state(struct value *value, struct error *error)
{
    if (strcmp(value->text, "active") == 0 || strcmp(value->text, "disabled") == 0 ||
        strcmp(value->text, "archived") == 0)
        return true;
    return error_set(error, "must be active, disabled or archived");
}

/* --- what is computed --- */

#define SHORT_URL_MAX (SETTING_TEXT_MAX + LINK_HOST_MAX + 3 * LINK_SLUG_MAX + 8)

/* Writes a slug as it stands in a URL; `out` has room for three bytes for each of its bytes. */
static void put_slug(const char *slug, char *out)
{
    static const char hex[] = "0123456789ABCDEF";

    for (; *slug; slug++) {
        unsigned char c = (unsigned char)*slug;

        if (isalnum(c) || c == '-' || c == '_' || c == '.' || c == '~') {
            *out++ = *slug;
        } else {
            *out++ = '%';
            *out++ = hex[c >> 4];
            *out++ = hex[c & 15];
        }
    }
    *out = '\0';
}

/* The default domain is reached by base_url; others by their host, with base_url's scheme. */
static json_t *show_short_url(const struct admin *admin, const PGresult *rows, int row, int column)
{
    const char *base = admin->settings->base_url, *host = PQgetvalue(rows, row, column);
    const char *slug = PQgetvalue(rows, row, column - 1);
    char url[SHORT_URL_MAX];
    int used;

    assert(strcmp(PQfname(rows, column - 1), "slug") == 0 && strlen(slug) <= LINK_SLUG_MAX);
    if (*host)
        used = snprintf(url, sizeof url, "%.*s://%s/", (int)strcspn(base, ":"), base, host);
    else
        used = snprintf(url, sizeof url, "%s/", base);
    assert(used > 0 && (size_t)used + 3 * LINK_SLUG_MAX < sizeof url);
    put_slug(slug, url + used);
    return json_string(url);
}

#define NAMED(table, name)                                                                   \
    "(select id from " table " where workspace_id = $1::bigint and id = coalesce(@::bigint," \
    " (select id from " table " where workspace_id = $1::bigint and " name ")))"

static const struct field link_fields[] = {
    {.name = "id", .type = FIELD_INTEGER, .column = "id", .what = "Number of the link"},
    {.name = "slug",
     .type = FIELD_TEXT,
     .flags = FIELD_WRITABLE,
     .check = check_slug,
     .column = "slug",
     .what = "What stands behind the slash; generated if absent"},
    {.name = "short_url",
     .type = FIELD_TEXT,
     .read = "(select case when d.is_default then '' else d.host end from kudos.domains d"
             " where d.id = t.domain_id)",
     .show = show_short_url,
     .what = "The link to give out"},
    {.name = "destination",
     .type = FIELD_TEXT,
     .flags = FIELD_WRITABLE | FIELD_REQUIRED,
     .check = routing_check_destination,
     .column = "destination",
     .what = "Where visitors go: an absolute http or https URL"},
    {.name = "domain",
     .type = FIELD_TEXT,
     .flags = FIELD_CREATE | FIELD_LOOKUP | FIELD_FOUND,
     .longest = LINK_HOST_MAX,
     .column = "domain_id",
     .value = "(select id from kudos.domains where case when @::text is null then is_default"
              " else host = lower(@::text) and (workspace_id = $1::bigint or is_default) end)",
     .read = "(select d.host from kudos.domains d where d.id = t.domain_id)",
     .what = "Host that the link lives on; the default domain if absent"},
    {.name = "campaign",
     .type = FIELD_REFERENCE,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE | FIELD_LOOKUP,
     .longest = 64,
     .column = "campaign_id",
     .value = NAMED("kudos.campaigns", "slug = #::text"),
     .what = "Campaign that the link counts for: its id or slug"},
    {.name = "influencer",
     .type = FIELD_REFERENCE,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE | FIELD_LOOKUP,
     .longest = 200,
     .column = "influencer_id",
     .value = NAMED("kudos.influencers", "lower(handle) = lower(#::text)"),
     .what = "Influencer that the link was made for: their id or handle"},
    {.name = "title",
     .type = FIELD_TEXT,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE,
     .longest = 400,
     .column = "title",
     .what = "Name for people"},
    {.name = "redirect_status",
     .type = FIELD_INTEGER,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE,
     .check = routing_check_status,
     .column = "redirect_status",
     .read = "coalesce(t.redirect_status,"
             " (select d.redirect_status from kudos.domains d where d.id = t.domain_id))::text",
     .what = "301, 302, 307 or 308; null: as the domain says"},
    {.name = "pass_query",
     .type = FIELD_BOOL,
     .flags = FIELD_WRITABLE,
     .column = "pass_query",
     .missing = "false",
     .what = "Whether query parameters of the request go on to the destination"},
    {.name = "click_id",
     .type = FIELD_BOOL,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE,
     .column = "click_id",
     .read = "coalesce(t.click_id,"
             " (select d.click_id from kudos.domains d where d.id = t.domain_id))::text",
     .what = "Whether the click id is added to the destination; null: as the domain says"},
    {.name = "state",
     .type = FIELD_TEXT,
     .flags = FIELD_WRITABLE,
     .check = check_state,
     .column = "state",
     .value = "@::kudos.link_state",
     .missing = "'active'",
     .what = "active, disabled or archived"},
    {.name = "starts_at",
     .type = FIELD_TIME,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE,
     .column = "starts_at",
     .what = "Before this it answers 404"},
    {.name = "expires_at",
     .type = FIELD_TIME,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE,
     .column = "expires_at",
     .what = "From then on it answers 410, or leads to the fallback"},
    {.name = "fallback",
     .type = FIELD_TEXT,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE,
     .check = routing_check_destination,
     .column = "fallback",
     .what = "Where visitors of an expired or used up link go"},
    {.name = "max_clicks",
     .type = FIELD_INTEGER,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE,
     .check = check_count,
     .column = "max_clicks",
     .what = "Human clicks after which it is used up: 410, or the fallback"},
    {.name = "used_up",
     .type = FIELD_BOOL,
     .column = "used_up",
     .what = "Whether max_clicks is reached"},
    {.name = "rules",
     .type = FIELD_JSON,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE,
     .longest = 32768,
     .column = "rules",
     .what = "Routing rules; the first that matches wins"},
    {.name = "utm",
     .type = FIELD_JSON,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE,
     .longest = 4096,
     .check = routing_check_utm,
     .column = "utm",
     .what =
         "UTM parameters that override the campaign's: source, medium, campaign, content, term"},
    {.name = "created_at", .type = FIELD_TIME, .column = "created_at", .what = "When it was made"},
    {.name = "updated_at",
     .type = FIELD_TIME,
     .column = "updated_at",
     .what = "When it last changed"},
};
#define LINK_FIELDS (sizeof link_fields / sizeof link_fields[0])

static struct resource links = {
    .table = "kudos.links",
    .conflict = "domain_id, slug_key",
    .fields = link_fields,
    .count = LINK_FIELDS,
};

bool links_prepare(struct error *error)
{
    return resource_prepare(&links, error);
}

/* --- one change, from its checks to its answer --- */

struct change {
    struct value values[LINK_FIELDS];
    int status;     /* of the answer */
    bool make_slug; /* the slug is generated: another one is tried when it is taken */
    int attempts;   /* of generated slugs */
    json_t *answer; /* the link, while it waits to be live */
    char id[24], mask[24], workspace[24];
};

static void change_free(void *state)
{
    struct change *change = state;

    values_free(change->values, LINK_FIELDS);
    json_decref(change->answer);
    free(change);
}

static struct change *change_new(struct request *request, int status)
{
    struct change *change = calloc(1, sizeof *change);

    assert(change && !request->state);
    request->state = change;
    request->free_state = change_free;
    change->status = status;
    snprintf(change->workspace, sizeof change->workspace, "%" PRId64, request->key.workspace);
    snprintf(change->id, sizeof change->id, "%" PRIu64, request->id);
    return change;
}

static struct value *value_of(struct change *change, const char *name)
{
    size_t i = 0;

    while (strcmp(link_fields[i].name, name) != 0)
        assert(++i < LINK_FIELDS);
    return &change->values[i];
}

static void set_mask(struct change *change)
{
    int64_t mask = 0;

    for (size_t i = 0; i < LINK_FIELDS; i++)
        mask |= (int64_t)change->values[i].given << i;
    snprintf(change->mask, sizeof change->mask, "%" PRId64, mask);
}

/* Reads the body. False after answering 422 with everything that is wrong with it. */
static bool read_change(struct request *request, struct change *change, unsigned use)
{
    const struct value *from, *until;

    resource_read(&links, request, use, change->values);
    from = value_of(change, "starts_at");
    until = value_of(change, "expires_at");
    if (from->text && until->text && until->us <= from->us)
        request_bad_field(request, "/expires_at", "must be later than starts_at");
    routing_check_rules(request, "/rules", value_of(change, "rules"));
    routing_refuse_loop(request, "/destination", value_of(change, "destination"));
    routing_refuse_loop(request, "/fallback", value_of(change, "fallback"));
    if (!request_is_bad(request))
        return true;
    resource_refuse(&links, request, change->values);
    return false;
}

static void on_live(bool live, void *argument)
{
    struct request *request = argument;
    struct change *change = request->state;
    json_t *answer = change->answer;

    change->answer = NULL;
    json_object_set_new(answer, "live", json_boolean(live));
    request_answer(request, change->status, answer);
}

/* The row is committed: waits for the replica, then answers. */
static void answer_live(struct request *request, const PGresult *row)
{
    struct change *change = request->state;
    uint64_t id = strtoull(PQgetvalue(row, 0, PQfnumber(row, "id")), NULL, 10);
    uint64_t changed = strtoull(PQgetvalue(row, 0, PQfnumber(row, "changed")), NULL, 10);
    bool gone = strcmp(PQgetvalue(row, 0, PQfnumber(row, "state")), "archived") == 0;
    char location[48];

    change->answer = resource_show(&links, request->admin, row, 0);
    if (change->status == 201) {
        snprintf(location, sizeof location, "/v1/links/%" PRIu64, id);
        request_header(request, "Location", location);
    }
    live_wait(request->admin->live, id, changed, gone, on_live, request);
}

static void answer_taken(struct request *request)
{
    request_bad_field(request, "/slug",
                      "is taken on this domain (archived links keep their slugs)");
    request_bad_answer(request, 409, "slug-taken", "another link has this slug");
}

/* True if the row was written; else answers what was wrong with it. */
static bool is_written(struct request *request, const struct pool_answer *answer)
{
    if (answer->outcome == POOL_REFUSED && strcmp(answer->sqlstate, "23505") == 0) {
        answer_taken(request);
    } else if (answer->outcome == POOL_REFUSED && strcmp(answer->sqlstate, "23514") == 0) {
        request_problem(request, 422, "invalid", "the link breaks the rule %s", answer->constraint);
    } else if (answer->outcome != POOL_DONE) {
        request_store_problem(request, answer);
    } else if (!resource_found(&links, request, answer->result)) {
        request_bad_answer(request, 422, "invalid", "the request cannot be accepted; see errors");
    } else {
        return true;
    }
    return false;
}

/* --- POST --- */

static void on_created(const struct pool_answer *answer, void *argument);

static void insert(struct request *request)
{
    struct change *change = request->state;
    struct value *slug = value_of(change, "slug");
    const char *parameters[POOL_PARAMETERS_MAX] = {change->workspace};
    char made[SLUG_GENERATED_LENGTH + 1];
    int count;

    if (change->make_slug) {
        slug_generate(made);
        free(slug->text);
        slug->text = strdup(made);
        assert(slug->text);
    }
    change->attempts++;
    count = resource_bind(&links, change->values, parameters, 1);
    pool_query(request->admin->pool, &links.insert, count, parameters, on_created, request);
}

static void on_created(const struct pool_answer *answer, void *argument)
{
    struct request *request = argument;
    struct change *change = request->state;

    if (!is_written(request, answer))
        return;
    if (!PQgetisnull(answer->result, 0, PQfnumber(answer->result, "id")))
        answer_live(request, answer->result);
    else if (!change->make_slug)
        answer_taken(request);
    else if (change->attempts < SLUG_ATTEMPTS_MAX)
        insert(request);
    else
        request_problem(request, 503, "no-slug", "no free slug was found; try again");
}

void links_on_create(struct request *request)
{
    struct change *change = change_new(request, 201);

    if (!read_change(request, change, FIELD_CREATE))
        return;
    change->make_slug = !value_of(change, "slug")->given;
    insert(request);
}

/* --- PATCH, DELETE --- */

static void on_updated(const struct pool_answer *answer, void *argument)
{
    struct request *request = argument;

    if (answer->outcome == POOL_DONE &&
        *PQgetvalue(answer->result, 0, PQfnumber(answer->result, "there")) != 't') {
        request_problem(request, 404, "not-found", "there is no such link");
        return;
    }
    if (is_written(request, answer))
        answer_live(request, answer->result);
}

static void update(struct request *request)
{
    struct change *change = request->state;
    const char *parameters[POOL_PARAMETERS_MAX] = {change->workspace, change->id, change->mask};
    int count;

    set_mask(change);
    count = resource_bind(&links, change->values, parameters, 3);
    pool_query(request->admin->pool, &links.update, count, parameters, on_updated, request);
}

void links_on_update(struct request *request)
{
    struct change *change = change_new(request, 200);

    if (read_change(request, change, FIELD_UPDATE))
        update(request);
}

void links_on_archive(struct request *request)
{
    struct change *change = change_new(request, 200);
    struct value *state = value_of(change, "state");

    state->given = true;
    state->text = strdup("archived");
    assert(state->text);
    update(request);
}

/* --- GET --- */

static void on_got(const struct pool_answer *answer, void *argument)
{
    struct request *request = argument;

    if (answer->outcome != POOL_DONE)
        request_store_problem(request, answer);
    else if (PQntuples(answer->result) == 0)
        request_problem(request, 404, "not-found", "there is no such link");
    else
        request_answer(request, 200, resource_show(&links, request->admin, answer->result, 0));
}

void links_on_get(struct request *request)
{
    char workspace[24], id[24];
    const char *parameters[] = {workspace, id};

    snprintf(workspace, sizeof workspace, "%" PRId64, request->key.workspace);
    snprintf(id, sizeof id, "%" PRIu64, request->id);
    pool_query(request->admin->pool, &links.get, 2, parameters, on_got, request);
}

void links_on_list(struct request *request)
{
    link_list(request, &links);
}
