/* /v1/links. See fields.h for how the table below becomes SQL, README.md for the API.
 *
 * A change is answered when it is committed and, if that takes less than live_timeout_ms, when this
 * machine's replica has it ("live": true): the next request on this node sees it. A link is never
 * deleted: DELETE archives it, its slug stays taken and its statistics stay. */
#include "server/admin/resources/links.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/fields/named.h"
#include "server/admin/fields/resource.h"
#include "server/admin/resources/routing.h"
#include "server/admin/server.h"
#include "server/admin/stores/live.h"
#include "server/links/slug.h"
#include "shared/percent.h"

#define NO_DESTINATION    "is required, unless the campaign has one"
#define SLUG_ATTEMPTS_MAX 10 /* generated slugs tried before giving up */

/* --- checks of single fields --- */

static bool check_slug(struct value *value, struct error *error)
{
    return slug_check(value->text, strlen(value->text), error);
}

/* --- what is computed --- */

/* Writes a slug as it stands in a URL; `out` has room for PERCENT_MAX bytes for each of its bytes. */
static void put_slug(const char *slug, char *out)
{
    for (; *slug; slug++)
        out = percent_put(out, *slug, percent_unreserved);
    *out = '\0';
}

/* The default domain is reached by base_url; others by their host, with base_url's scheme. */
void links_short_url(const struct admin *admin, const char *host, const char *slug,
                     char url[LINKS_URL_MAX])
{
    const char *base = admin->settings->base_url;
    int used;

    assert(strlen(slug) <= LINK_SLUG_MAX);
    if (*host)
        used = snprintf(url, LINKS_URL_MAX, "%.*s://%s/", (int)strcspn(base, ":"), base, host);
    else
        used = snprintf(url, LINKS_URL_MAX, "%s/", base);
    assert(used > 0 && (size_t)used + 3 * LINK_SLUG_MAX < LINKS_URL_MAX);
    put_slug(slug, url + used);
}

static json_t *show_short_url(const struct admin *admin, const PGresult *rows, int row, int column)
{
    char url[LINKS_URL_MAX];

    assert(strcmp(PQfname(rows, column - 1), "slug") == 0);
    links_short_url(admin, PQgetvalue(rows, row, column), PQgetvalue(rows, row, column - 1), url);
    return json_string(url);
}

static const struct field link_fields[] = {
    {.name = "id", .type = FIELD_INTEGER, .column = "id", .what = "Number of the link"},
    {.name = "slug",
     .type = FIELD_TEXT,
     .flags = FIELD_WRITABLE | FIELD_FILTER,
     .check = check_slug,
     .column = "slug",
     .filter = "(t.domain_id, t.slug_key) in (select d.id, case when d.case_sensitive then @::text"
               " else lower(@::text collate \"C\") end from kudos.domains d)",
     .what = "What stands behind the slash; generated if absent"},
    {.name = "short_url",
     .type = FIELD_TEXT,
     .read = "(select case when d.is_default then '' else d.host end from kudos.domains d"
             " where d.id = t.domain_id)",
     .show = show_short_url,
     .what = "The link to give out"},
    {.name = "destination",
     .type = FIELD_TEXT,
     .flags = FIELD_WRITABLE | FIELD_LOOKUP | FIELD_FOUND,
     .check = routing_check_destination,
     .column = "destination",
     .heir_of = "campaign",
     .inherited = "select c.destination from kudos.campaigns c where c.id = @",
     .absent = NO_DESTINATION,
     .what = "Where visitors go: an absolute http or https URL; that of the campaign if absent"},
    {.name = "domain",
     .type = FIELD_TEXT,
     .flags = FIELD_CREATE | FIELD_LOOKUP | FIELD_FOUND | FIELD_FILTER,
     .longest = LINK_HOST_MAX,
     .column = "domain_id",
     .value = "(select id from kudos.domains where case when @::text is null then is_default"
              " else host = lower(@::text) and (workspace_id = $1::bigint or is_default) end)",
     .read = "(select d.host from kudos.domains d where d.id = t.domain_id)",
     .filter = "t.domain_id = kudos.domain_named(@::text)",
     .what = "Host that the link lives on; the default domain if absent"},
    {.name = "campaign",
     .type = FIELD_REFERENCE,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE | FIELD_LOOKUP | FIELD_FILTER,
     .longest = NAMED_LONGEST,
     .column = "campaign_id",
     .value = NAMED_CAMPAIGN,
     .filter = "t.campaign_id = kudos.campaign_named($1::bigint, @::bigint, #::text)",
     .what = "Campaign that the link counts for: its id or slug"},
    {.name = "influencer",
     .type = FIELD_REFERENCE,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE | FIELD_LOOKUP | FIELD_FILTER,
     .longest = NAMED_LONGEST,
     .column = "influencer_id",
     .value = NAMED_INFLUENCER,
     .filter = "t.influencer_id = kudos.influencer_named($1::bigint, @::bigint, #::text)",
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
     .choices = "active disabled archived",
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
     .lowest = 1,
     .highest = INT64_MAX,
     .column = "max_clicks",
     .what = "Human clicks after which it is used up: 410, or the fallback"},
    {.name = "used_up",
     .type = FIELD_BOOL,
     .column = "used_up",
     .what = "Whether max_clicks is reached"},
    {.name = "rules",
     .type = FIELD_JSON,
     .schema = "{\"type\": [\"array\", \"null\"], \"items\": {\"type\": \"object\"}}",
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
    EXTERNAL_ID("link"),
    TAGS,
    NOTES,
    CREATED_AND_UPDATED,
};

/* --- a change --- */

static void check(struct request *request, struct change *change, unsigned use)
{
    const struct value *from = change_value(change, "starts_at");
    const struct value *until = change_value(change, "expires_at");

    if (use == FIELD_CREATE && !json_object_get(request->body, "destination") &&
        !json_object_get(request->body, "campaign"))
        request_bad_field(request, "/destination", NO_DESTINATION);
    if (from->text && until->text && until->us <= from->us)
        request_bad_field(request, "/expires_at", "must be later than starts_at");
    routing_check_rules(request, "/rules", change_value(change, "rules"));
    routing_refuse_loop(request, "/destination", change_value(change, "destination"));
    routing_refuse_loop(request, "/fallback", change_value(change, "fallback"));
    change->generated = use == FIELD_CREATE && !json_object_get(request->body, "slug");
}

/* Generates a slug, if none was given; false when enough have been tried. */
static bool attempt(struct request *request, struct change *change)
{
    char made[SLUG_GENERATED_LENGTH + 1];

    (void)request;
    if (!change->generated || change->attempts >= SLUG_ATTEMPTS_MAX)
        return false;
    slug_generate(made);
    change_set(change, "slug", strdup(made));
    return true;
}

static void on_live(bool live, void *argument)
{
    struct request *request = argument;
    struct change *change = request->state;

    json_object_set_new(change->answer, "live", json_boolean(live));
    change_send_answer(request, change);
}

/* The row is committed: waits for the replica, then answers. What an earlier call was answered may
 * have been archived since. */
static void committed(struct request *request, struct change *change, const PGresult *row)
{
    uint64_t id = strtoull(PQgetvalue(row, 0, PQfnumber(row, "id")), NULL, 10);
    uint64_t changed = strtoull(PQgetvalue(row, 0, PQfnumber(row, "changed")), NULL, 10);
    bool gone = strcmp(PQgetvalue(row, 0, PQfnumber(row, "state")), "archived") == 0;

    change_prepare_answer(request, change, row);
    live_wait(request->admin->live, id, changed, gone || change->replayed, on_live, request);
}

struct resource links_resource = {
    .name = "link",
    .path = "/v1/links",
    .table = "kudos.links",
    .fields = link_fields,
    .count = sizeof link_fields / sizeof link_fields[0],
    .status = "state",
    .external = "external_id",
    .gathered = true,
    .replicated = true,
    .filters = {{"tag",
                 "t.id in (select x.link_id from kudos.link_tags x"
                 " where x.workspace_id = $1::bigint and x.tag = @::text"
                 " and x.link_id < $2::bigint)",
                 "Only those that have this tag", FIELD_TEXT}},
    .uniques = {{"links_domain_id_slug_key_key", "/slug", "slug-taken",
                 "is taken on this domain (archived links keep their slugs)"},
                {"links_external", "/external_id", "external-id-taken", "another link has it"}},
    .example = "{\"destination\": \"https://example.com/spring\", \"campaign\": \"spring-launch\","
               " \"influencer\": \"anna\"}",
    .example_change = "{\"title\": \"Spring, Anna\", \"tags\": [\"paid\"]}",
    .check = check,
    .attempt = attempt,
    .committed = committed,
};
