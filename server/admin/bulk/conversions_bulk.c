/* See conversions_bulk.h.
 *
 * As with links in bulk the loop is never held: rows are read and checked a slice at a time, and sent
 * a batch at a time; nothing is taken until all is, and the answer begins when it is committed.
 * Whatever dies before that undoes the call; sending it again does no harm, with or without an
 * Idempotency-Key, since a conversion that is known is only told again. */
#include "server/admin/bulk/conversions_bulk.h"

#include <assert.h>
#include <event2/buffer.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/bulk/rows.h"
#include "server/admin/request/intake.h"
#include "server/admin/request/once.h"
#include "server/admin/request/stream.h"
#include "server/admin/server.h"
#include "server/admin/stores/transaction.h"
#include "server/conversions/report.h"
#include "server/role.h"
#include "shared/clock.h"

enum outcome { CREATED, ENRICHED, REPEATED, CONFLICT, REFUSED, OUTCOMES };

static const char *const outcome_names[OUTCOMES] = {"created", "enriched", "repeated", "conflict",
                                                    "error"};

/* Owned by the request. */
struct load {
    struct request *request;
    struct report_source source;
    enum rows_format format;
    struct rows *rows;
    struct once once;
    struct transaction *transaction;
    struct event *turn;
    bool begun, read_all;
    size_t number;    /* of the next row */
    json_t *sent;     /* reports of the batch, each with its place in it as "i" */
    json_t *items;    /* results of the batch; null where PostgreSQL has to say */
    json_t *problems; /* of the row that is being read */
    size_t counts[OUTCOMES];
    struct evbuffer *body;
    char workspace[24];
};

static const struct statement record_all = {
    .sql = "select e.value ->> 'i', r.outcome, r.id, r.status, r.influencer, r.campaign, r.via,"
           " r.reason from jsonb_array_elements($2::jsonb) e,"
           " lateral kudos.record_conversion($1::bigint, e.value - 'i') r"};

static void load_free(void *state)
{
    struct load *load = state;

    transaction_end(load->transaction);
    once_clear(&load->once);
    if (load->turn)
        event_free(load->turn);
    if (load->body)
        evbuffer_free(load->body);
    rows_free(load->rows);
    json_decref(load->sent);
    json_decref(load->items);
    json_decref(load->problems);
    free(load);
}

static bool is_done(struct load *load, const struct pool_answer *answer)
{
    if (answer->outcome == POOL_DONE)
        return true;
    request_store_problem(load->request, answer);
    return false;
}

static void new_batch(struct load *load)
{
    json_decref(load->sent);
    json_decref(load->items);
    load->sent = json_array();
    load->items = json_array();
    assert(load->sent && load->items);
}

/* --- rows --- */

static void note_problem(void *owner, const char *pointer, const char *text)
{
    struct load *load = owner;

    json_array_append_new(load->problems,
                          json_pack("{s:s, s:s}", "pointer", pointer, "detail", text));
}

/* Click ids between spaces, as an array. */
static void split_clicks(json_t *row)
{
    const char *text = json_string_value(json_object_get(row, "click_ids"));
    json_t *list = text ? json_array() : NULL;

    for (size_t length; text && *text; text += length) {
        text += strspn(text, " ");
        length = strcspn(text, " ");
        if (length > 0)
            json_array_append_new(list, json_stringn(text, length));
    }
    if (list)
        json_object_set_new(row, "click_ids", list);
}

/* CSV knows texts alone. */
static void read_numbers(json_t *row)
{
    const char *text = json_string_value(json_object_get(row, "amount_minor"));
    size_t length = text ? strlen(text) : 0;

    if (length > 0 && length <= 18 && strspn(text, "0123456789") == length)
        json_object_set_new(row, "amount_minor", json_integer(strtoll(text, NULL, 10)));
}

/* Takes a row over: into the batch to be sent, or as an error into the answer. */
static void take_row(struct load *load, json_t *row)
{
    json_t *report;
    size_t line = rows_line(load->rows);

    if (load->format == ROWS_CSV) {
        read_numbers(row);
        split_clicks(row);
    }
    load->problems = json_array();
    report = report_make(row, &load->source, note_problem, load);
    if (report) {
        json_object_set_new(report, "i", json_integer((json_int_t)json_array_size(load->items)));
        json_array_append_new(load->sent, report);
        json_array_append_new(load->items, json_null());
    } else {
        json_t *item = json_pack("{s:s, s:I, s:O}", "outcome", outcome_names[REFUSED], "row",
                                 (json_int_t)load->number, "errors", load->problems);
        if (line > 0)
            json_object_set_new(item, "line", json_integer((json_int_t)line));
        json_array_append_new(load->items, item);
        load->counts[REFUSED]++;
    }
    load->number++;
    json_decref(load->problems);
    load->problems = NULL;
    json_decref(row);
}

/* False after answering: the body is malformed, or too long. */
static bool read_slice(struct load *load)
{
    struct error error;
    json_t *row;

    for (int i = 0; i < CONVERSIONS_SLICE_ROWS; i++) {
        if (json_array_size(load->items) == CONVERSIONS_BATCH_ROWS)
            return true;
        switch (rows_next(load->rows, &row, &error)) {
        case ROWS_BAD:
            request_problem(load->request, 400, "malformed", "nothing was taken: %s", error.text);
            return false;
        case ROWS_END: load->read_all = true; return true;
        case ROWS_ROW: break;
        }
        if (load->number == CONVERSIONS_BULK_MAX) {
            json_decref(row);
            request_problem(load->request, 413, "too-many-rows",
                            "nothing was taken: there are more than %d rows", CONVERSIONS_BULK_MAX);
            return false;
        }
        take_row(load, row);
    }
    return true;
}

/* --- a batch --- */

static void load_go_on(struct load *load);

static void batch_end(struct load *load)
{
    json_t *item;
    size_t i;

    json_array_foreach(load->items, i, item)
    {
        char *text = json_dumps(item, JSON_COMPACT);

        assert(text && json_is_object(item));
        evbuffer_add_printf(load->body, "%s\n%s", evbuffer_get_length(load->body) ? "," : "", text);
        free(text);
    }
    new_batch(load);
    load_go_on(load);
}

static json_t *column(const PGresult *result, int row, int at)
{
    return PQgetisnull(result, row, at) ? json_null() : json_string(PQgetvalue(result, row, at));
}

static void take_result(struct load *load, const PGresult *result, int row)
{
    const char *outcome = PQgetvalue(result, row, 1);
    size_t i = strtoull(PQgetvalue(result, row, 0), NULL, 10);
    int which = CREATED;

    while (which < REFUSED && strcmp(outcome_names[which], outcome) != 0)
        which++;
    assert(which < REFUSED && i < json_array_size(load->items));
    load->counts[which]++;
    json_array_set_new(load->items, i,
                       json_pack("{s:s, s:I, s:o, s:o, s:o, s:o, s:o}", "outcome", outcome, "id",
                                 (json_int_t)strtoll(PQgetvalue(result, row, 2), NULL, 10),
                                 "status", column(result, row, 3), "influencer",
                                 column(result, row, 4), "campaign", column(result, row, 5), "via",
                                 column(result, row, 6), "reason", column(result, row, 7)));
}

static void on_recorded(const struct pool_answer *answer, void *argument)
{
    struct load *load = argument;

    if (!is_done(load, answer))
        return;
    for (int row = 0; row < PQntuples(answer->result); row++)
        take_result(load, answer->result, row);
    batch_end(load);
}

static void send_batch(struct load *load)
{
    char *text = json_dumps(load->sent, JSON_COMPACT);
    const char *parameters[] = {load->workspace, text};

    assert(text);
    if (json_array_size(load->sent) == 0)
        batch_end(load);
    else
        transaction_query(load->transaction, &record_all, 2, parameters, on_recorded, load);
    free(text);
}

/* --- the end --- */

static void on_committed(const struct pool_answer *answer, void *argument)
{
    struct load *load = argument;
    struct evbuffer *body = load->body;

    if (!is_done(load, answer))
        return;
    load->body = NULL;
    stream_all(load->request, 200, "application/json", body);
}

static void commit(void *argument)
{
    struct load *load = argument;

    transaction_commit(load->transaction, on_committed, load);
}

static void finish(struct load *load)
{
    struct evbuffer *body = evbuffer_new();

    assert(body);
    for (int i = 0; i < OUTCOMES; i++)
        evbuffer_add_printf(body, "%s\"%s\":%zu", i ? "," : "{", outcome_names[i], load->counts[i]);
    evbuffer_add_printf(body, ",\"items\":[");
    evbuffer_add_buffer(body, load->body);
    evbuffer_add_printf(body, "\n]}\n");
    evbuffer_free(load->body);
    load->body = body;
    once_keep(&load->once, body, "bulk report", "conversion", commit, load);
}

static void load_go_on(struct load *load)
{
    struct timeval now = {0};
    bool full = json_array_size(load->items) == CONVERSIONS_BATCH_ROWS;

    if (!full && !load->read_all)
        evtimer_add(load->turn, &now);
    else if (!load->begun)
        return;
    else if (json_array_size(load->items) > 0)
        send_batch(load);
    else
        finish(load);
}

static void on_turn(evutil_socket_t fd, short what, void *argument)
{
    struct load *load = argument;

    (void)fd;
    (void)what;
    if (read_slice(load))
        load_go_on(load);
}

static void go(void *argument)
{
    struct load *load = argument;

    load->begun = true;
    load_go_on(load);
}

static void on_begun(const struct pool_answer *answer, void *argument)
{
    struct load *load = argument;

    if (is_done(load, answer))
        once_begin(&load->once, load->request, load->transaction, go, load);
}

void conversions_on_bulk(struct request *request)
{
    const struct admin *admin = request->admin;
    struct load *load = calloc(1, sizeof *load);

    assert(load && !request->state);
    request->state = load;
    request->free_state = load_free;
    load->request = request;
    if (!intake_rows(request, &load->format))
        return;
    load->source = (struct report_source){.path = "api",
                                          .verified = true,
                                          .secret = admin->context->secret,
                                          .now_us = clock_wall_us()};
    snprintf(load->workspace, sizeof load->workspace, "%" PRId64, request->key.workspace);
    load->rows = rows_new(load->format, evhttp_request_get_input_buffer(request->http));
    load->body = evbuffer_new();
    load->turn = evtimer_new(admin->base, on_turn, load);
    assert(load->rows && load->body && load->turn);
    new_batch(load);
    load->transaction =
        transaction_begin(admin->base, admin->settings->database_url, on_begun, load);
    assert(load->transaction);
    load_go_on(load);
}
