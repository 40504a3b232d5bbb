/* See report.h. Two round trips: what the view is (and the workspace, and how fresh the data are),
 * then its rows. A report that takes longer than a statement may is refused, not waited for. */
#include "server/admin/reports/report.h"

#include <assert.h>
#include <event2/buffer.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/bulk/csv.h"
#include "server/admin/reports/report_sql.h"
#include "server/admin/request/stream.h"

/* --- the list of views --- */

static const struct statement list_views = {
    .sql = "select c.relname, coalesce(obj_description(c.oid, 'pg_class'), ''),"
           " json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, null),"
           " 'what', coalesce(col_description(c.oid, a.attnum), '')) order by a.attnum)::text"
           " from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0"
           " and not a.attisdropped where c.relkind = 'v'"
           " and c.relnamespace = 'report'::regnamespace and $1::bigint is not null"
           " group by c.oid, c.relname order by c.relname"};

static void on_views(const struct pool_answer *answer, void *argument)
{
    struct request *request = argument;
    json_t *items;

    if (answer->outcome != POOL_DONE) {
        request_store_problem(request, answer);
        return;
    }
    items = json_array();
    for (int row = 0; row < PQntuples(answer->result); row++)
        json_array_append_new(
            items, json_pack("{s:s, s:s, s:o}", "view", PQgetvalue(answer->result, row, 0), "what",
                             PQgetvalue(answer->result, row, 1), "columns",
                             json_loads(PQgetvalue(answer->result, row, 2), 0, NULL)));
    request_answer(request, 200, json_pack("{s:o, s:n}", "items", items, "next_cursor"));
}

void reports_on_list(struct request *request)
{
    char workspace[24];
    const char *parameters[] = {workspace};

    snprintf(workspace, sizeof workspace, "%" PRId64, request->key.workspace);
    request_query(request, &list_views, 1, parameters, on_views);
}

/* --- one view --- */

/* Owned by the request. */
struct reading {
    struct report report;
    json_t *freshness;
    char *sql;
    struct statement statement;
    char workspace[24];
    bool csv;
};

static void reading_free(void *state)
{
    struct reading *reading = state;

    report_free(&reading->report);
    json_decref(reading->freshness);
    free(reading->sql);
    free(reading);
}

/* $1 workspace, $2 view: the workspace, how fresh its data are, and the view's columns */
static const struct statement describe = {
    .sql = "select w.name, w.time_zone, (select json_build_object('stored_at', f.stored_at,"
           " 'clicks_kept_from', f.clicks_kept_from, 'lost_clicks', f.lost_clicks,"
           " 'missing_events', f.missing_events, 'quarantined', f.quarantined)::text"
           " from report.data_freshness f where f.workspace = w.name),"
           " quote_ident(c.relname), a.attname, quote_ident(a.attname),"
           " format_type(a.atttypid, null), t.typcategory"
           " from kudos.workspaces w, pg_class c join pg_attribute a on a.attrelid = c.oid"
           " and a.attnum > 0 and not a.attisdropped join pg_type t on t.oid = a.atttypid"
           " where w.id = $1::bigint and c.relkind = 'v' and c.relname = $2::text"
           " and c.relnamespace = 'report'::regnamespace order by a.attnum"};

/* Numbers that count something; others name something or are ratios. */
static bool is_summed(const char *name, char category)
{
    static const char *const others[] = {
        "origin",  "seq",       "asn",         "status",        "route",           "variant",
        "visitor", "id",        "percent",     "position",      "redirect_status", "rate_minor",
        "roi",     "sentiment", "times_usual", "posts_of_link", "max_uses"};
    static const char *const endings[] = {"_id",       "_percent", "_rate",    "_share",
                                          "_seq",      "_origin",  "_variant", "_route",
                                          "epc_minor", "cac_minor"};
    size_t length = strlen(name);

    if (category != 'N')
        return false;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (strcmp(name, others[i]) == 0)
            return false;
    }
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        size_t ending = strlen(endings[i]);

        if (length >= ending && strcmp(name + length - ending, endings[i]) == 0)
            return false;
    }
    return true;
}

/* The column that a range of time is of: when it happened, else the first time there is. */
static int find_time(const struct report *report)
{
    static const char *const names[] = {"time", "day", "hour", "occurred_at"};

    for (size_t n = 0; n < sizeof names / sizeof names[0]; n++) {
        for (int i = 0; i < report->count; i++) {
            if (report->columns[i].category == 'D' &&
                strcmp(report->columns[i].name, names[n]) == 0)
                return i;
        }
    }
    for (int i = 0; i < report->count; i++) {
        if (report->columns[i].category == 'D')
            return i;
    }
    return -1;
}

static void read_view(struct reading *reading, const PGresult *rows)
{
    struct report *report = &reading->report;

    report->workspace = strdup(PQgetvalue(rows, 0, 0));
    report->time_zone = strdup(PQgetvalue(rows, 0, 1));
    reading->freshness = json_loads(PQgetvalue(rows, 0, 2), 0, NULL);
    report->view = strdup(PQgetvalue(rows, 0, 3));
    assert(report->workspace && report->time_zone && report->view);
    for (int i = 0; i < PQntuples(rows) && i < REPORT_COLUMNS_MAX; i++) {
        struct report_column *column = &report->columns[report->count++];

        column->name = strdup(PQgetvalue(rows, i, 4));
        column->quoted = strdup(PQgetvalue(rows, i, 5));
        column->type = strdup(PQgetvalue(rows, i, 6));
        column->category = *PQgetvalue(rows, i, 7);
        assert(column->name && column->quoted && column->type);
        column->summed = is_summed(column->name, column->category);
    }
    report->time = find_time(report);
}

/* --- answers --- */

static json_t *show_value(const struct report *report, int shown, const char *text)
{
    int column = report->shown[shown].column;
    char category = column < 0 ? 'N' : report->columns[column].category;
    const char *type = column < 0 ? "bigint" : report->columns[column].type;

    if (category == 'N')
        return strchr(text, '.') ? json_real(strtod(text, NULL))
                                 : json_integer(strtoll(text, NULL, 10));
    if (category == 'B')
        return json_boolean(*text == 't');
    if (strcmp(type, "jsonb") == 0 || strcmp(type, "json") == 0)
        return json_loads(text, JSON_DECODE_ANY, NULL);
    return json_string(text);
}

static void answer_json(struct request *request, const PGresult *rows, int count, char *cursor)
{
    struct reading *reading = request->state;
    json_t *items = json_array();

    for (int row = 0; row < count; row++) {
        json_t *item = json_object();

        for (int i = 0; i < reading->report.shown_count; i++)
            json_object_set_new(item, report_name(&reading->report, i),
                                PQgetisnull(rows, row, i)
                                    ? json_null()
                                    : show_value(&reading->report, i, PQgetvalue(rows, row, i)));
        json_array_append_new(items, item);
    }
    request_answer(
        request, 200,
        json_pack("{s:o, s:o, s:O, s:o}", "items", items, "next_cursor",
                  cursor ? json_string(cursor) : json_null(), "data_freshness", reading->freshness,
                  "newest_days",
                  reading->report.newest ? json_integer(REPORT_NEWEST_DAYS) : json_null()));
}

#define TEXT_OF(number)  #number
#define TEXT_OF_(number) TEXT_OF(number)
#define NEWEST_DAYS_TEXT TEXT_OF_(REPORT_NEWEST_DAYS)

/* One line; what JSON has beside the rows is in header fields. */
static void answer_csv(struct request *request, const PGresult *rows, int count, char *cursor)
{
    struct reading *reading = request->state;
    const struct report *report = &reading->report;
    char *freshness = json_dumps(reading->freshness, JSON_COMPACT | JSON_ENSURE_ASCII);
    struct evbuffer *body = evbuffer_new();

    assert(body);
    for (int i = 0; i < report->shown_count; i++) {
        const char *name = report_name(report, i);

        evbuffer_add(body, ",", i > 0);
        csv_put(body, (struct text){name, strlen(name)});
    }
    evbuffer_add(body, "\r\n", 2);
    for (int row = 0; row < count; row++) {
        for (int i = 0; i < report->shown_count; i++) {
            struct text cell = {PQgetvalue(rows, row, i), (size_t)PQgetlength(rows, row, i)};
            int column = report->shown[i].column;

            evbuffer_add(body, ",", i > 0);
            if (column < 0 || report->columns[column].category == 'N')
                csv_put(body, cell);
            else
                csv_put_text(body, cell);
        }
        evbuffer_add(body, "\r\n", 2);
    }
    if (cursor)
        request_header(request, "Next-Cursor", cursor);
    if (freshness)
        request_header(request, "Data-Freshness", freshness);
    if (reading->report.newest)
        request_header(request, "Newest-Days", NEWEST_DAYS_TEXT);
    free(freshness);
    stream_all(request, 200, "text/csv; charset=utf-8", body);
}

static void on_rows(const struct pool_answer *answer, void *argument)
{
    struct request *request = argument;
    struct reading *reading = request->state;
    char *cursor = NULL;
    int count;

    if (answer->outcome == POOL_REFUSED && strcmp(answer->sqlstate, "57014") == 0) {
        request_problem(request, 422, "too-much",
                        "this takes too long: ask for a shorter range of time");
        return;
    }
    if (answer->outcome == POOL_REFUSED && strncmp(answer->sqlstate, "22", 2) == 0) {
        request_problem(request, 422, "invalid", "a value is none of its column's");
        return;
    }
    if (answer->outcome != POOL_DONE) {
        request_store_problem(request, answer);
        return;
    }
    count = PQntuples(answer->result);
    if ((size_t)count > reading->report.limit) {
        count = (int)reading->report.limit;
        cursor = report_cursor(&reading->report, answer->result, count - 1);
    }
    (reading->csv ? answer_csv : answer_json)(request, answer->result, count, cursor);
    free(cursor);
}

static void on_described(const struct pool_answer *answer, void *argument)
{
    struct request *request = argument;
    struct reading *reading = request->state;
    struct report *report = &reading->report;

    if (answer->outcome != POOL_DONE) {
        request_store_problem(request, answer);
        return;
    }
    if (PQntuples(answer->result) == 0) {
        request_problem(request, 404, "not-found", "there is no such report; see /v1/reports");
        return;
    }
    read_view(reading, answer->result);
    report->parameters[0] = report->workspace;
    report->parameters[1] = report->time_zone;
    report->parameters[2] = reading->workspace;
    report->parameter_count = 3;
    report_read(report, request);
    reading->sql = request_is_bad(request) ? NULL : report_sql(report, request);
    if (request_is_bad(request)) {
        request_bad_answer(request, 422, "invalid", "the report cannot be made in this way");
        return;
    }
    assert(reading->sql);
    reading->statement = (struct statement){.sql = reading->sql, .once = true};
    request_query(request, &reading->statement, report->parameter_count, report->parameters,
                  on_rows);
}

void reports_on_get(struct request *request)
{
    struct reading *reading = calloc(1, sizeof *reading);
    const char *format = query_get(&request->query, "format");
    const char *parameters[] = {reading->workspace, request->name};

    assert(reading);
    request->state = reading;
    request->free_state = reading_free;
    reading->csv = format && strcmp(format, "csv") == 0;
    if (format && !reading->csv && strcmp(format, "json") != 0) {
        request_bad_parameter(request, "format", "must be json or csv");
        request_bad_answer(request, 422, "invalid", "the report cannot be made in this way");
        return;
    }
    snprintf(reading->workspace, sizeof reading->workspace, "%" PRId64, request->key.workspace);
    request_query(request, &describe, 2, parameters, on_described);
}
