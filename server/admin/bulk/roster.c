/* See roster.h.
 *
 * One transaction for the whole call. It first locks the campaign's row (as a change of the campaign
 * would), so that two rosters of one campaign come one after the other: a call that is repeated
 * while the first is still at work, its connection or this process having died, waits, and finds
 * what that one has made. Influencers are found by their handles or made; who has no link, or no
 * code, of this campaign gets one. So a repeated call makes nothing twice, with or without an
 * Idempotency-Key.
 *
 * The loop is never held: ROSTER_BATCH_ROWS influencers at a time, with PostgreSQL asked in between:
 *
 *   read ──► make influencers ──► look up ──► make codes ⟲ ──► make links ⟲ ──► items ──► next batch
 *
 * ⟲: again, with other names, for those whose name was taken. */
#include "server/admin/bulk/roster.h"

#include <assert.h>
#include <event2/buffer.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/bulk/code_names.h"
#include "server/admin/bulk/roster_plan.h"
#include "server/admin/bulk/roster_row.h"
#include "server/admin/bulk/rows.h"
#include "server/admin/fields/set_sql.h"
#include "server/admin/request/once.h"
#include "server/admin/request/stream.h"
#include "server/admin/resources/codes.h"
#include "server/admin/resources/influencers.h"
#include "server/admin/resources/links.h"
#include "server/admin/server.h"
#include "server/admin/stores/live.h"
#include "server/admin/stores/transaction.h"
#include "server/links/slug.h"

#define ROSTER_BATCH_ROWS 500
#define SLUG_TRIES_MAX    10

/* Owned by the request. */
struct roster {
    struct request *request;
    struct roster_plan plan;
    struct once once;
    struct transaction *transaction;
    char *slug;    /* the campaign's */
    size_t number; /* of the next row */
    size_t count;  /* of the batch */
    struct roster_row batch[ROSTER_BATCH_ROWS];
    size_t created, existed, errors;
    struct evbuffer *items;
    char workspace[24], campaign[24];
};

static struct statement insert_influencers, insert_codes, insert_links;

/* $1 workspace, $2 campaign */
static const struct statement lock_campaign = {
    .sql = "select slug, destination from kudos.campaigns where workspace_id = $1::bigint"
           " and id = $2::bigint for no key update"};

/* $1 workspace, $2 rows, $3 campaign: who they are, and what they have already. */
static const struct statement look_up = {
    .sql = "select r.i, f.id as influencer, l.id as link, l.slug, l.host, c.id as code_id, c.code"
           " from json_to_recordset($2::json) as r(i int, handle text)"
           " left join kudos.influencers f on f.workspace_id = $1::bigint"
           " and lower(f.handle) = lower(r.handle)"
           " left join lateral (select t.id, t.slug, " SET_LINK_HOST " as host from kudos.links t"
           " where t.campaign_id = $3::bigint and t.influencer_id = f.id and t.state <> 'archived'"
           " order by t.id limit 1) l on true"
           " left join lateral (select t.id, t.code from kudos.codes t"
           " where t.campaign_id = $3::bigint and t.influencer_id = f.id"
           " and t.status <> 'archived' order by t.id limit 1) c on true"
           " order by r.i"};

bool roster_prepare(struct error *error)
{
    return set_sql_insert(&influencers_resource, NULL, &insert_influencers, error) &&
           set_sql_insert(&codes_resource, "t.code as name", &insert_codes, error) &&
           set_sql_insert(&links_resource, "t.slug as name, " SET_LINK_HOST " as host",
                          &insert_links, error);
}

static void clear_batch(struct roster *roster)
{
    for (size_t i = 0; i < roster->count; i++)
        roster_row_clear(&roster->batch[i]);
    roster->count = 0;
}

static void roster_free(void *state)
{
    struct roster *roster = state;

    transaction_end(roster->transaction);
    clear_batch(roster);
    roster_plan_clear(&roster->plan);
    once_clear(&roster->once);
    if (roster->items)
        evbuffer_free(roster->items);
    free(roster->slug);
    free(roster);
}

static bool is_done(struct roster *roster, const struct pool_answer *answer)
{
    if (answer->outcome == POOL_DONE)
        return true;
    if (answer->outcome == POOL_REFUSED &&
        (strncmp(answer->sqlstate, "22", 2) == 0 || strncmp(answer->sqlstate, "23", 2) == 0))
        request_problem(roster->request, 422, "invalid",
                        "nothing was changed: PostgreSQL refused one of the rows from %zu on: %s",
                        roster->number - roster->count, answer->constraint);
    else
        request_store_problem(roster->request, answer);
    return false;
}

/* --- a batch --- */

static void read_batch(struct roster *roster);
static void batch_go_on(struct roster *roster);

/* True for a row that still needs something of PostgreSQL. */
static bool is_open(const struct roster_row *row)
{
    return !row->errors && !row->twin;
}

/* Which rows a statement is for, and what it gets for each (to be freed). */
typedef json_t *parameter_maker(struct roster *roster, struct roster_row *row);

/* True if there is any such row; then the statement was sent. */
static bool ask(struct roster *roster, const struct statement *statement, parameter_maker *make,
                pool_callback *callback)
{
    json_t *array = json_array();
    const char *parameters[] = {roster->workspace, NULL, roster->campaign};
    bool any;
    char *text;

    for (size_t i = 0; i < roster->count; i++) {
        json_t *sent = is_open(&roster->batch[i]) ? make(roster, &roster->batch[i]) : NULL;

        if (sent)
            json_array_append_new(array, sent);
    }
    any = json_array_size(array) > 0;
    if (any) {
        text = json_dumps(array, JSON_COMPACT);
        assert(text);
        parameters[1] = text;
        transaction_query(roster->transaction, statement, statement == &look_up ? 3 : 2, parameters,
                          callback, roster);
        free(text);
    }
    json_decref(array);
    return any;
}

static struct roster_row *row_of(struct roster *roster, const PGresult *result, int at)
{
    size_t number = strtoull(PQgetvalue(result, at, PQfnumber(result, "i")), NULL, 10);
    size_t i = number - roster->batch[0].number;

    assert(i < roster->count && roster->batch[i].number == number);
    return &roster->batch[i];
}

/* Takes over id, name and host of what is there, or was made. */
static void set_thing(struct roster_thing *thing, const PGresult *result, int at, const char *id,
                      const char *name, const char *host, bool made)
{
    int column = PQfnumber(result, id);

    if (PQgetisnull(result, at, column))
        return;
    thing->id = strtoll(PQgetvalue(result, at, column), NULL, 10);
    thing->made = made;
    thing->name = strdup(PQgetvalue(result, at, PQfnumber(result, name)));
    thing->host = host ? strdup(PQgetvalue(result, at, PQfnumber(result, host))) : NULL;
    assert(thing->name && (!host || thing->host));
}

/* Makes an object for the code or link of a row from what all have in common. */
static json_t *thing_of(const struct roster *roster, const struct roster_row *row, json_t *common,
                        const struct resource *resource, const char *field, const char *name)
{
    json_t *sent = json_copy(common);

    json_object_set_new(sent, "i", json_integer((json_int_t)row->number));
    set_sql_put_text(sent, resource, field, name);
    set_sql_put_id(sent, resource, "campaign", (int64_t)roster->request->id);
    set_sql_put_id(sent, resource, "influencer", row->influencer);
    return sent;
}

static json_t *make_link(struct roster *roster, struct roster_row *row)
{
    char slug[SLUG_GENERATED_LENGTH + 1];

    if (row->link.name)
        return NULL;
    slug_generate(slug);
    row->tries++;
    return thing_of(roster, row, roster->plan.link, &links_resource, "slug", slug);
}

static json_t *make_code(struct roster *roster, struct roster_row *row)
{
    struct code_parts parts = {row->handle, roster->plan.percent, roster->slug};
    char name[CODE_NAME_MAX + 1];

    if (row->code.name || !roster->plan.code_template)
        return NULL;
    code_name_make(roster->plan.code_template, &parts, ++row->tries, name);
    return thing_of(roster, row, roster->plan.code, &codes_resource, "code", name);
}

static json_t *make_influencer(struct roster *roster, struct roster_row *row)
{
    (void)roster;
    return row->influencer ? NULL : json_incref(row->sent);
}

static void reset_tries(struct roster *roster)
{
    for (size_t i = 0; i < roster->count; i++)
        roster->batch[i].tries = 0;
}

static void on_links(const struct pool_answer *answer, void *argument)
{
    struct roster *roster = argument;

    if (!is_done(roster, answer))
        return;
    for (int at = 0; at < PQntuples(answer->result); at++)
        set_thing(&row_of(roster, answer->result, at)->link, answer->result, at, "id", "name",
                  "host", true);
    for (size_t i = 0; i < roster->count; i++) {
        struct roster_row *row = &roster->batch[i];

        if (is_open(row) && !row->link.name && row->tries >= SLUG_TRIES_MAX)
            roster_row_refuse(row, "", "no free slug was found");
    }
    if (!ask(roster, &insert_links, make_link, on_links))
        batch_go_on(roster);
}

static void on_codes(const struct pool_answer *answer, void *argument)
{
    struct roster *roster = argument;

    if (!is_done(roster, answer))
        return;
    for (int at = 0; at < PQntuples(answer->result); at++)
        set_thing(&row_of(roster, answer->result, at)->code, answer->result, at, "id", "name", NULL,
                  true);
    for (size_t i = 0; i < roster->count; i++) {
        struct roster_row *row = &roster->batch[i];

        if (is_open(row) && !row->code.name && row->tries >= CODE_TRIES_MAX)
            roster_row_refuse(row, "/handle", "no free name for a code was found");
    }
    if (ask(roster, &insert_codes, make_code, on_codes))
        return;
    reset_tries(roster);
    if (!ask(roster, &insert_links, make_link, on_links))
        batch_go_on(roster);
}

/* What was there before this call, and who is named twice in the batch. */
static void on_looked_up(const struct pool_answer *answer, void *argument)
{
    struct roster *roster = argument;
    const PGresult *result = answer->result;

    if (!is_done(roster, answer))
        return;
    for (int at = 0; at < PQntuples(result); at++) {
        struct roster_row *row = row_of(roster, result, at);

        row->influencer =
            strtoll(PQgetvalue(result, at, PQfnumber(result, "influencer")), NULL, 10);
        if (!row->influencer) {
            roster_row_refuse(row, "/external_id", "another influencer has it");
            continue;
        }
        for (struct roster_row *earlier = roster->batch; earlier < row && !row->twin; earlier++) {
            if (earlier->influencer == row->influencer && is_open(earlier))
                row->twin = earlier;
        }
        set_thing(&row->link, result, at, "link", "slug", "host", false);
        set_thing(&row->code, result, at, "code_id", "code", NULL, false);
    }
    if (ask(roster, &insert_codes, make_code, on_codes))
        return;
    if (!ask(roster, &insert_links, make_link, on_links))
        batch_go_on(roster);
}

static void on_influencers(const struct pool_answer *answer, void *argument)
{
    struct roster *roster = argument;
    const PGresult *result = answer->result;

    if (!is_done(roster, answer))
        return;
    for (int at = 0; at < PQntuples(result); at++)
        row_of(roster, result, at)->entered = !PQgetisnull(result, at, PQfnumber(result, "id"));
    ask(roster, &look_up, make_influencer, on_looked_up);
}

/* A row that names who was named before has what that one got. */
static void copy_twin(struct roster_row *row)
{
    struct roster_thing *things[] = {&row->link, &row->code};
    const struct roster_thing *from[] = {&row->twin->link, &row->twin->code};

    for (int i = 0; i < 2; i++) {
        free(things[i]->name);
        free(things[i]->host);
        things[i]->id = from[i]->id;
        things[i]->name = from[i]->name ? strdup(from[i]->name) : NULL;
        things[i]->host = from[i]->host ? strdup(from[i]->host) : NULL;
    }
    if (row->twin->errors)
        roster_row_refuse(row, "/handle", "an earlier row names the same influencer, and failed");
}

static void put_items(struct roster *roster)
{
    for (size_t i = 0; i < roster->count; i++) {
        struct roster_row *row = &roster->batch[i];
        const char *status;

        if (row->twin)
            copy_twin(row);
        status = roster_row_put(row, roster->request->admin, roster->plan.dry_run, roster->items);
        roster->created += *status == 'c';
        roster->existed += strcmp(status, "existed") == 0;
        roster->errors += strcmp(status, "error") == 0;
    }
    clear_batch(roster);
}

static void batch_go_on(struct roster *roster)
{
    put_items(roster);
    read_batch(roster);
}

/* --- the end --- */

static void answer_all(struct roster *roster)
{
    struct evbuffer *body = roster->items;

    roster->items = NULL;
    stream_all(roster->request, 200, "application/json", body);
}

static void on_committed(const struct pool_answer *answer, void *argument)
{
    struct roster *roster = argument;

    if (!is_done(roster, answer))
        return;
    live_announce(roster->request->admin->live);
    answer_all(roster);
}

static void commit(void *argument)
{
    struct roster *roster = argument;

    transaction_commit(roster->transaction, on_committed, roster);
}

static void finish(struct roster *roster)
{
    struct evbuffer *body = evbuffer_new();

    assert(body);
    evbuffer_add_printf(
        body, "{\"dry_run\":%s,\"created\":%zu,\"existed\":%zu,\"error\":%zu,\"items\":[",
        roster->plan.dry_run ? "true" : "false", roster->created, roster->existed, roster->errors);
    evbuffer_add_buffer(body, roster->items);
    evbuffer_add_printf(body, "\n]}\n");
    evbuffer_free(roster->items);
    roster->items = body;
    if (roster->plan.dry_run)
        answer_all(roster);
    else
        once_keep(&roster->once, body, "roster", "campaign", commit, roster);
}

/* --- reading --- */

/* The next influencer that was sent (owned by the caller); NULL at the end, or after answering. */
static json_t *next_json(struct roster *roster, size_t *line, bool *answered)
{
    struct error error;
    json_t *json = NULL;

    if (!roster->plan.rows) {
        json = json_array_get(json_object_get(roster->plan.body, "influencers"), roster->number);
        return json ? json_incref(json) : NULL;
    }
    switch (rows_next(roster->plan.rows, &json, &error)) {
    case ROWS_ROW: *line = rows_line(roster->plan.rows); return json;
    case ROWS_END: return NULL;
    default:
        request_problem(roster->request, 400, "malformed", "nothing was changed: %s", error.text);
        *answered = true;
        return NULL;
    }
}

static void read_batch(struct roster *roster)
{
    bool answered = false;
    size_t line = 0;
    json_t *json;

    while (roster->count < ROSTER_BATCH_ROWS && (json = next_json(roster, &line, &answered))) {
        struct roster_row *row = &roster->batch[roster->count++];

        if (roster->number == ROSTER_ROWS_MAX) {
            json_decref(json);
            request_problem(roster->request, 413, "too-many-rows",
                            "nothing was changed: there are more than %d influencers",
                            ROSTER_ROWS_MAX);
            return;
        }
        row->number = roster->number++;
        row->line = line;
        roster_row_read(row, roster->request, roster->plan.cells, json);
    }
    if (answered)
        return;
    if (roster->count == 0)
        finish(roster);
    else if (!ask(roster, &insert_influencers, make_influencer, on_influencers))
        batch_go_on(roster); /* all of them are errors */
}

static void on_campaign(const struct pool_answer *answer, void *argument)
{
    struct roster *roster = argument;
    struct request *request = roster->request;

    if (!is_done(roster, answer))
        return;
    if (PQntuples(answer->result) == 0) {
        request_problem(request, 404, "not-found", "there is no such campaign");
        return;
    }
    roster->slug = strdup(PQgetvalue(answer->result, 0, 0));
    assert(roster->slug);
    if (roster_plan_complete(&roster->plan, request,
                             PQgetisnull(answer->result, 0, 1) ? NULL
                                                               : PQgetvalue(answer->result, 0, 1)))
        read_batch(roster);
}

static void lock(void *argument)
{
    struct roster *roster = argument;
    const char *parameters[] = {roster->workspace, roster->campaign};

    transaction_query(roster->transaction, &lock_campaign, 2, parameters, on_campaign, roster);
}

static void on_begun(const struct pool_answer *answer, void *argument)
{
    struct roster *roster = argument;

    if (is_done(roster, answer))
        once_begin(&roster->once, roster->request, roster->transaction, lock, roster);
}

/* --- the request --- */

void roster_on_post(struct request *request)
{
    const struct admin *admin = request->admin;
    struct roster *roster = calloc(1, sizeof *roster);

    assert(roster && !request->state);
    request->state = roster;
    request->free_state = roster_free;
    roster->request = request;
    roster->items = evbuffer_new();
    assert(roster->items);
    if (!roster_plan_read(&roster->plan, request))
        return;
    snprintf(roster->workspace, sizeof roster->workspace, "%" PRId64, request->key.workspace);
    snprintf(roster->campaign, sizeof roster->campaign, "%" PRIu64, request->id);
    roster->transaction =
        transaction_begin(admin->base, admin->settings->database_url, on_begun, roster);
    assert(roster->transaction);
}
