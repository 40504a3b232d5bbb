/* See bulk.h.
 *
 * One transaction for the whole call: it is committed with all rows that are good, or nothing is
 * changed. Rows that cannot be accepted are errors in the answer and hold up no other; a body that
 * is malformed somewhere, a store that goes away, or the process killed, undo the call. The answer
 * begins when it is committed, so what it says is true.
 *
 * The loop is never held: rows are read and checked BULK_SLICE_ROWS at a time, with a round of the
 * loop in between, while PostgreSQL works on the batch before. Two batches are in memory at a time;
 * the body is drained while it is read; items of the answer are kept as text until they are sent.
 *
 *   filling ──► sent: insert ──► find (those whose slug is taken) ──► insert again (those whose
 *                                generated slug was taken) ──► items ──► next batch … ──► commit
 *
 * Made again, a create is safe: a row whose slug was given finds the link that was made before and
 * is "existed". */
#include "server/admin/bulk/bulk.h"

#include <assert.h>
#include <event2/buffer.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/bulk/bulk_plan.h"
#include "server/admin/bulk/bulk_row.h"
#include "server/admin/bulk/rows.h"
#include "server/admin/fields/set_sql.h"
#include "server/admin/request/once.h"
#include "server/admin/request/stream.h"
#include "server/admin/resources/links.h"
#include "server/admin/resources/posts.h"
#include "server/admin/server.h"
#include "server/admin/stores/live.h"
#include "server/admin/stores/transaction.h"

#define ATTEMPTS_MAX 10 /* generated slugs tried before giving up */

struct batch {
    size_t count;
    struct bulk_row rows[BULK_BATCH_ROWS];
};

/* Owned by the request. */
struct bulk {
    struct request *request;
    struct bulk_plan plan;
    struct rows *rows;
    struct once once;
    struct transaction *transaction;
    struct event *turn;    /* reads and checks the next slice */
    struct batch *filling; /* being read */
    struct batch *sent;    /* being worked on by PostgreSQL, or NULL */
    bool read_all;         /* the body is at its end */
    bool begun;            /* the transaction takes calls */
    size_t number;         /* of the next row */
    size_t counts[BULK_STATUSES];
    struct evbuffer *items;
    char workspace[24];
};

/* What can be made in bulk. */
static struct made {
    const struct resource *resource;
    struct statement insert, find;
} made[] = {{.resource = &links_resource},
            {.resource = &posts_resource},
            {.resource = &post_metrics_resource}};
#define MADE_COUNT (sizeof made / sizeof made[0])

static struct statement update;

static const struct made *made_of(const struct resource *resource)
{
    size_t i = 0;

    while (made[i].resource != resource)
        assert(++i < MADE_COUNT);
    return &made[i];
}

bool bulk_prepare(struct error *error)
{
    const struct resource *links = &links_resource;

    for (size_t i = 0; i < MADE_COUNT; i++) {
        const struct resource *resource = made[i].resource;
        bool link = resource == links;

        if (!set_sql_insert(resource, link ? "t.slug, " SET_LINK_HOST " as host" : NULL,
                            &made[i].insert, error) ||
            !(link ? set_sql_find_links(resource, &made[i].find, error)
                   : set_sql_find_external(resource, &made[i].find, error)))
            return false;
    }
    return set_sql_update_links(links, &update, error);
}

/* --- life --- */

static void batch_free(struct batch *batch)
{
    if (!batch)
        return;
    for (size_t i = 0; i < batch->count; i++)
        bulk_row_clear(&batch->rows[i]);
    free(batch);
}

static struct batch *batch_new(void)
{
    struct batch *batch = calloc(1, sizeof *batch);

    assert(batch);
    return batch;
}

static void bulk_free(void *state)
{
    struct bulk *bulk = state;

    transaction_end(bulk->transaction);
    once_clear(&bulk->once);
    if (bulk->turn)
        event_free(bulk->turn);
    if (bulk->items)
        evbuffer_free(bulk->items);
    bulk_plan_clear(&bulk->plan);
    batch_free(bulk->filling);
    batch_free(bulk->sent);
    rows_free(bulk->rows);
    free(bulk);
}

/* True for an answer that is what was hoped for; else answers, which ends everything. */
static bool is_done(struct bulk *bulk, const struct pool_answer *answer)
{
    if (answer->outcome == POOL_DONE)
        return true;
    if (answer->outcome == POOL_REFUSED &&
        (strncmp(answer->sqlstate, "22", 2) == 0 || strncmp(answer->sqlstate, "23", 2) == 0))
        request_problem(bulk->request, 422, "invalid",
                        "nothing was changed: PostgreSQL refused one of the rows %zu to %zu: %s",
                        bulk->sent ? bulk->sent->rows[0].number : 0,
                        bulk->sent ? bulk->sent->rows[bulk->sent->count - 1].number : bulk->number,
                        answer->constraint);
    else
        request_store_problem(bulk->request, answer);
    return false;
}

/* --- PostgreSQL's part of a batch --- */

static void batch_go_on(struct bulk *bulk);
static void bulk_go_on(struct bulk *bulk);

/* Runs `statement` for the rows of the batch that have this status. */
static void ask(struct bulk *bulk, const struct statement *statement, enum bulk_status status,
                pool_callback *callback)
{
    json_t *array = json_array();
    const char *parameters[] = {bulk->workspace, NULL};
    char *text;

    for (size_t i = 0; i < bulk->sent->count; i++) {
        if (bulk->sent->rows[i].status == status)
            json_array_append(array, bulk->sent->rows[i].sent);
    }
    text = json_dumps(array, JSON_COMPACT);
    assert(text);
    json_decref(array);
    parameters[1] = text;
    transaction_query(bulk->transaction, statement, 2, parameters, callback, bulk);
    free(text);
}

/* The row of the batch that a row of a result belongs to. */
static struct bulk_row *row_of(const struct bulk *bulk, const PGresult *result, int at)
{
    size_t number = strtoull(PQgetvalue(result, at, PQfnumber(result, "i")), NULL, 10);
    size_t i = number - bulk->sent->rows[0].number;

    assert(i < bulk->sent->count && bulk->sent->rows[i].number == number);
    return &bulk->sent->rows[i];
}

static bool is_true(const PGresult *result, int at, const char *column)
{
    return *PQgetvalue(result, at, PQfnumber(result, column)) == 't';
}

static void set_link(const struct bulk *bulk, struct bulk_row *row, const PGresult *result, int at)
{
    int64_t id = strtoll(PQgetvalue(result, at, PQfnumber(result, "id")), NULL, 10);

    if (bulk->plan.dry_run && row->status == BULK_CREATED)
        id = 0;
    if (bulk->plan.resource != &links_resource) {
        bulk_row_set_id(row, id);
        return;
    }
    bulk_row_set_link(row, bulk->request->admin, id,
                      PQgetvalue(result, at, PQfnumber(result, "host")),
                      PQgetvalue(result, at, PQfnumber(result, "slug")));
}

/* False if a look-up of the row found nothing; says which. */
static bool is_found(const struct resource *resource, struct bulk_row *row, const PGresult *result,
                     int at)
{
    bool found = true;

    for (size_t i = 0; i < resource->count; i++) {
        char name[16], pointer[64];

        if (!(resource->fields[i].flags & FIELD_LOOKUP))
            continue;
        snprintf(name, sizeof name, "ok_%zu", i);
        if (is_true(result, at, name))
            continue;
        snprintf(pointer, sizeof pointer, "/%s", resource->fields[i].name);
        bulk_row_refuse(row, pointer, field_absent(&resource->fields[i]));
        found = false;
    }
    return found;
}

/* Its slug, or whatever else is unique, is taken. */
static void refuse_taken(const struct bulk *bulk, struct bulk_row *row)
{
    const struct unique *unique = &bulk->plan.resource->uniques[0];

    bulk_row_refuse(row, unique->pointer, unique->detail);
}

/* Its generated slug is taken. */
static void retry(struct bulk_row *row)
{
    row->status = BULK_PENDING;
    if (row->attempts < ATTEMPTS_MAX)
        bulk_row_make_slug(row);
    else
        bulk_row_refuse(row, "/slug", "no free slug was found; try again");
}

static void on_inserted(const struct pool_answer *answer, void *argument)
{
    struct bulk *bulk = argument;
    const PGresult *result = answer->result;

    if (!is_done(bulk, answer))
        return;
    for (int at = 0; at < PQntuples(result); at++) {
        struct bulk_row *row = row_of(bulk, result, at);

        if (!is_found(bulk->plan.resource, row, result, at))
            continue;
        if (!PQgetisnull(result, at, PQfnumber(result, "id"))) {
            row->status = BULK_CREATED;
            set_link(bulk, row, result, at);
        } else if (row->external || (!row->make_slug && bulk->plan.resource == &links_resource)) {
            row->status = BULK_TAKEN;
        } else if (!row->make_slug) {
            refuse_taken(bulk, row);
        } else {
            retry(row);
        }
    }
    batch_go_on(bulk);
}

static void on_found(const struct pool_answer *answer, void *argument)
{
    struct bulk *bulk = argument;
    const PGresult *result = answer->result;

    if (!is_done(bulk, answer))
        return;
    for (int at = 0; at < PQntuples(result); at++) {
        struct bulk_row *row = row_of(bulk, result, at);

        if (is_true(result, at, "own"))
            set_link(bulk, row, result, at);
        if (is_true(result, at, "own") && is_true(result, at, "same"))
            row->status = BULK_EXISTED;
        else
            bulk_row_refuse(row, "/slug",
                            "is taken on this domain, by a link that is not as this row says");
    }
    for (size_t i = 0; i < bulk->sent->count; i++) {
        struct bulk_row *row = &bulk->sent->rows[i];

        if (row->status == BULK_TAKEN && row->make_slug)
            retry(row);
        else if (row->status == BULK_TAKEN)
            refuse_taken(bulk, row);
    }
    batch_go_on(bulk);
}

static void on_updated(const struct pool_answer *answer, void *argument)
{
    struct bulk *bulk = argument;
    const PGresult *result = answer->result;

    if (!is_done(bulk, answer))
        return;
    for (int at = 0; at < PQntuples(result); at++) {
        struct bulk_row *row = row_of(bulk, result, at);

        if (!is_true(result, at, "there")) {
            bulk_row_refuse(row, "", "there is no such link");
        } else if (is_true(result, at, "again")) {
            bulk_row_refuse(row, "", "an earlier row names the same link");
        } else if (is_found(bulk->plan.resource, row, result, at)) {
            assert(!PQgetisnull(result, at, PQfnumber(result, "id")));
            row->status = bulk->plan.action == BULK_ARCHIVE ? BULK_ARCHIVED : BULK_UPDATED;
            set_link(bulk, row, result, at);
        }
    }
    batch_go_on(bulk);
}

static bool batch_has(const struct batch *batch, enum bulk_status status)
{
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->rows[i].status == status)
            return true;
    }
    return false;
}

static void batch_put(struct bulk *bulk)
{
    for (size_t i = 0; i < bulk->sent->count; i++) {
        bulk->counts[bulk->sent->rows[i].status]++;
        bulk_row_put(&bulk->sent->rows[i], bulk->items);
    }
    batch_free(bulk->sent);
    bulk->sent = NULL;
    bulk_go_on(bulk);
}

/* $1 workspace, $2 rows, $3 source */
static const struct statement note_clicks = {
    .sql = "insert into kudos.imported_totals (link_id, workspace_id, source, clicks)"
           " select distinct on (r.id) r.id, $1::bigint, $3::text, r.clicks"
           " from json_to_recordset($2::json) as r(i int, id bigint, clicks bigint)"
           " order by r.id, r.i on conflict (link_id) do update set source = excluded.source,"
           " clicks = excluded.clicks, imported_at = now()"};

static void on_noted(const struct pool_answer *answer, void *argument)
{
    struct bulk *bulk = argument;

    if (is_done(bulk, answer))
        batch_put(bulk);
}

/* The rows are there; what links had elsewhere is noted. */
static void batch_end(struct bulk *bulk)
{
    const char *parameters[] = {bulk->workspace, NULL, bulk->plan.map.source};
    json_t *array = json_array();
    char *text;

    for (size_t i = 0; bulk->plan.importing && !bulk->plan.dry_run && i < bulk->sent->count; i++) {
        const struct bulk_row *row = &bulk->sent->rows[i];

        if (row->clicks >= 0 && row->status != BULK_ERROR)
            json_array_append_new(array, json_pack("{s:I, s:I, s:I}", "i", (json_int_t)row->number,
                                                   "id", (json_int_t)row->id, "clicks",
                                                   (json_int_t)row->clicks));
    }
    if (json_array_size(array) > 0) {
        text = json_dumps(array, JSON_COMPACT);
        assert(text);
        parameters[1] = text;
        transaction_query(bulk->transaction, &note_clicks, 3, parameters, on_noted, bulk);
        free(text);
    } else {
        batch_put(bulk);
    }
    json_decref(array);
}

static void batch_go_on(struct bulk *bulk)
{
    if (batch_has(bulk->sent, BULK_TAKEN))
        ask(bulk, &made_of(bulk->plan.resource)->find, BULK_TAKEN, on_found);
    else if (!batch_has(bulk->sent, BULK_PENDING))
        batch_end(bulk);
    else if (bulk->plan.action == BULK_CREATE)
        ask(bulk, &made_of(bulk->plan.resource)->insert, BULK_PENDING, on_inserted);
    else
        ask(bulk, &update, BULK_PENDING, on_updated);
}

/* --- the end --- */

static void answer_all(struct bulk *bulk)
{
    struct evbuffer *body = bulk->items;

    bulk->items = NULL;
    stream_all(bulk->request, 200, "application/json", body);
}

static void on_committed(const struct pool_answer *answer, void *argument)
{
    struct bulk *bulk = argument;

    if (!is_done(bulk, answer))
        return;
    live_announce(bulk->request->admin->live);
    answer_all(bulk);
}

static void commit(void *argument)
{
    struct bulk *bulk = argument;

    transaction_commit(bulk->transaction, on_committed, bulk);
}

/* All rows are done: puts the answer together, keeps it, commits. */
static void finish(struct bulk *bulk)
{
    static const char *const actions[] = {"bulk create", "bulk update", "bulk archive"};
    const char *action = bulk->plan.importing ? "import" : actions[bulk->plan.action];
    struct evbuffer *body = evbuffer_new();

    assert(body);
    evbuffer_add_printf(body, "{\"dry_run\":%s", bulk->plan.dry_run ? "true" : "false");
    for (int i = BULK_CREATED; i < BULK_STATUSES; i++)
        evbuffer_add_printf(body, ",\"%s\":%zu", bulk_status_name((enum bulk_status)i),
                            bulk->counts[i]);
    evbuffer_add_printf(body, ",\"items\":[");
    evbuffer_add_buffer(body, bulk->items);
    evbuffer_add_printf(body, "\n]}\n");
    evbuffer_free(bulk->items);
    bulk->items = body;
    if (bulk->plan.dry_run)
        answer_all(bulk);
    else
        once_keep(&bulk->once, body, action, bulk->plan.resource->name, commit, bulk);
}

/* --- reading, and what comes next --- */

/* False after answering: the body is malformed, or too long. */
static bool read_slice(struct bulk *bulk)
{
    struct batch *batch = bulk->filling;
    struct error error;
    json_t *json;

    for (int i = 0; i < BULK_SLICE_ROWS && batch->count < BULK_BATCH_ROWS; i++) {
        struct bulk_row *row = &batch->rows[batch->count];
        enum rows_result result = rows_next(bulk->rows, &json, &error);

        if (result == ROWS_BAD) {
            request_problem(bulk->request, 400, "malformed", "nothing was changed: %s", error.text);
            return false;
        }
        if (result == ROWS_END) {
            bulk->read_all = true;
            return true;
        }
        if (bulk->number == BULK_ROWS_MAX) {
            json_decref(json);
            request_problem(bulk->request, 413, "too-many-rows",
                            "nothing was changed: there are more than %d rows", BULK_ROWS_MAX);
            return false;
        }
        row->number = bulk->number++;
        row->line = rows_line(bulk->rows);
        batch->count++;
        bulk_plan_row(&bulk->plan, bulk->request, row, json);
    }
    return true;
}

/* Sends the batch that is full, or the last one, to a transaction that is free. */
static void bulk_go_on(struct bulk *bulk)
{
    struct timeval now = {0};
    bool full = bulk->filling->count == BULK_BATCH_ROWS;

    if (!full && !bulk->read_all)
        evtimer_add(bulk->turn, &now);
    else if (!bulk->begun || bulk->sent)
        return;
    else if (bulk->filling->count > 0) {
        bulk->sent = bulk->filling;
        bulk->filling = batch_new();
        if (!bulk->read_all)
            evtimer_add(bulk->turn, &now);
        batch_go_on(bulk);
    } else {
        finish(bulk);
    }
}

static void on_turn(evutil_socket_t fd, short what, void *argument)
{
    struct bulk *bulk = argument;

    (void)fd;
    (void)what;
    if (read_slice(bulk))
        bulk_go_on(bulk);
}

static void go(void *argument)
{
    struct bulk *bulk = argument;

    bulk->begun = true;
    bulk_go_on(bulk);
}

static void on_begun(const struct pool_answer *answer, void *argument)
{
    struct bulk *bulk = argument;

    if (is_done(bulk, answer))
        once_begin(&bulk->once, bulk->request, bulk->transaction, go, bulk);
}

/* --- the request --- */

static void run(struct request *request, enum bulk_action action, const struct resource *resource,
                bool importing)
{
    const struct admin *admin = request->admin;
    struct bulk *bulk = calloc(1, sizeof *bulk);

    assert(bulk && !request->state);
    request->state = bulk;
    request->free_state = bulk_free;
    bulk->request = request;
    if (!bulk_plan_read(&bulk->plan, request, action, resource, importing))
        return;
    snprintf(bulk->workspace, sizeof bulk->workspace, "%" PRId64, request->key.workspace);
    bulk->rows = rows_new(bulk->plan.format, evhttp_request_get_input_buffer(request->http));
    bulk->items = evbuffer_new();
    bulk->turn = evtimer_new(admin->base, on_turn, bulk);
    bulk->filling = batch_new();
    assert(bulk->rows && bulk->items && bulk->turn);
    bulk->transaction =
        transaction_begin(admin->base, admin->settings->database_url, on_begun, bulk);
    assert(bulk->transaction);
    bulk_go_on(bulk);
}

void bulk_on_create(struct request *request)
{
    run(request, BULK_CREATE, &links_resource, false);
}

void bulk_on_update(struct request *request)
{
    run(request, BULK_UPDATE, &links_resource, false);
}

void bulk_on_archive(struct request *request)
{
    run(request, BULK_ARCHIVE, &links_resource, false);
}

void bulk_on_import(struct request *request)
{
    run(request, BULK_CREATE, &links_resource, true);
}

void bulk_on_posts(struct request *request)
{
    run(request, BULK_CREATE, &posts_resource, false);
}

void bulk_on_post_metrics(struct request *request)
{
    run(request, BULK_CREATE, &post_metrics_resource, false);
}
