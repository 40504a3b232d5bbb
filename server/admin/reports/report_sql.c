/* See report_sql.h.
 *
 * The statement is
 *
 *   with q as (select … from report.VIEW as t where t.workspace = $1 and … [group by …])
 *   select …::text, tie from q where (behind the cursor) order by … nulls last, tie limit n
 *
 * where the tie makes the order total: a hash of the row, or for single clicks their identity. A page
 * begins behind the values that the page before ended with, so rows that are added move nothing. */
#include "server/admin/reports/report_sql.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/request/input.h"

#define BASE64       sodium_base64_VARIANT_URLSAFE_NO_PADDING
#define CURSOR_BYTES 8192

void report_free(struct report *report)
{
    for (int i = 0; i < report->count; i++) {
        free(report->columns[i].name);
        free(report->columns[i].quoted);
        free(report->columns[i].type);
    }
    free(report->view);
    free(report->workspace);
    free(report->time_zone);
    json_decref(report->after);
}

const char *report_name(const struct report *report, int shown)
{
    int column = report->shown[shown].column;

    return column < 0 ? "rows" : report->columns[column].name;
}

/* --- what is asked for --- */

static int find_column(const struct report *report, const char *name, size_t length)
{
    for (int i = 0; i < report->count; i++) {
        if (strlen(report->columns[i].name) == length &&
            strncmp(report->columns[i].name, name, length) == 0)
            return i;
    }
    return -1;
}

static const char *find_unit(const char *text, size_t length)
{
    static const char *const units[] = {"hour", "day", "week", "month", "year"};

    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strlen(units[i]) == length && strncmp(units[i], text, length) == 0)
            return units[i];
    }
    return NULL;
}

static void show(struct report *report, int column, const char *unit)
{
    assert(report->shown_count <= REPORT_COLUMNS_MAX);
    report->shown[report->shown_count].column = column;
    report->shown[report->shown_count++].unit = unit;
}

static bool is_shown(const struct report *report, int column)
{
    for (int i = 0; i < report->shown_count; i++) {
        if (report->shown[i].column == column)
            return true;
    }
    return false;
}

/* "campaign" or "time:day". */
static void read_group(struct report *report, struct request *request, const char *word,
                       size_t length)
{
    const char *colon = memchr(word, ':', length);
    size_t name = colon ? (size_t)(colon - word) : length;
    int column = find_column(report, word, name);
    const char *unit = colon ? find_unit(colon + 1, length - name - 1) : NULL;

    if (column < 0)
        request_bad_parameter(request, "group", "there is no column %.*s", (int)name, word);
    else if (is_shown(report, column))
        request_bad_parameter(request, "group", "%.*s is there twice", (int)name, word);
    else if (colon && (!unit || report->columns[column].category != 'D'))
        request_bad_parameter(request, "group",
                              "only times have :hour, :day, :week, :month or :year");
    else
        show(report, column, unit);
}

/* Amounts of several currencies are never added up. */
static void add_currency(struct report *report)
{
    int currency = find_column(report, "currency", strlen("currency"));

    for (int i = 0; currency >= 0 && i < report->count; i++) {
        if (strstr(report->columns[i].name, "_minor") && !is_shown(report, currency))
            show(report, currency, NULL);
    }
}

static void read_groups(struct report *report, struct request *request)
{
    const char *text = query_get(&request->query, "group");

    if (!text) {
        for (int i = 0; i < report->count; i++)
            show(report, i, NULL);
        return;
    }
    report->grouped = true;
    while (*text) {
        size_t length = strcspn(text, ",");

        read_group(report, request, text, length);
        text += length + (text[length] == ',');
    }
    add_currency(report);
    for (int i = 0; i < report->count; i++) {
        if (report->columns[i].summed && !is_shown(report, i))
            show(report, i, NULL);
    }
    show(report, -1, NULL);
}

static void read_sort(struct report *report, struct request *request, const char *word,
                      size_t length)
{
    bool down = length > 0 && *word == '-';

    word += down;
    length -= down;
    for (int i = 0; i < report->shown_count; i++) {
        const char *name = report_name(report, i);

        if (strlen(name) != length || strncmp(name, word, length) != 0)
            continue;
        if (report->sort_count == REPORT_SORTS_MAX)
            request_bad_parameter(request, "sort", "takes at most %d columns", REPORT_SORTS_MAX);
        else
            report->sorts[report->sort_count++] = (struct report_sort){i, down};
        return;
    }
    request_bad_parameter(request, "sort", "there is no column %.*s here", (int)length, word);
}

/* Newest first where there are times and no groups; else by what is shown first. */
static void read_sorts(struct report *report, struct request *request)
{
    const char *text = query_get(&request->query, "sort");

    for (int i = 0; !text && !report->grouped && i < report->shown_count; i++) {
        if (report->shown[i].column == report->time)
            report->sorts[report->sort_count++] = (struct report_sort){i, true};
    }
    while (text && *text) {
        size_t length = strcspn(text, ",");

        read_sort(report, request, text, length);
        text += length + (text[length] == ',');
    }
    if (report->sort_count == 0)
        report->sorts[report->sort_count++] = (struct report_sort){0, false};
}

static void read_cursor(struct report *report, struct request *request)
{
    const char *text = query_get(&request->query, "cursor");
    unsigned char plain[CURSOR_BYTES];
    size_t length;

    if (!text)
        return;
    if (sodium_base642bin(plain, sizeof plain, text, strlen(text), NULL, &length, NULL, BASE64) ==
        0)
        report->after = json_loadb((char *)plain, length, 0, NULL);
    if (!json_is_array(report->after) ||
        json_array_size(report->after) != (size_t)report->sort_count + 1)
        request_bad_parameter(request, "cursor", "is none that this report gave out");
}

void report_read(struct report *report, struct request *request)
{
    const char *limit = query_get(&request->query, "limit");
    uint64_t number = REPORT_LIMIT;

    if (limit && (!input_to_id(limit, &number) || number > REPORT_LIMIT_MAX))
        request_bad_parameter(request, "limit", "must be a number from 1 to %d", REPORT_LIMIT_MAX);
    report->limit = (size_t)number;
    snprintf(report->rows, sizeof report->rows, "%zu", report->limit + 1);
    read_groups(report, request);
    read_sorts(report, request);
    read_cursor(report, request);
}

/* --- the statement --- */

static int add_parameter(struct report *report, const char *value)
{
    assert(report->parameter_count < POOL_PARAMETERS_MAX);
    report->parameters[report->parameter_count++] = value;
    return report->parameter_count;
}

static void put_filter(FILE *out, struct report *report, struct request *request, const char *name,
                       const char *value)
{
    static const char *const others[] = {"limit", "cursor", "group", "sort", "format"};
    int column = find_column(report, name, strlen(name));

    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (strcmp(others[i], name) == 0)
            return;
    }
    if (strcmp(name, "from") == 0 || strcmp(name, "until") == 0) {
        int64_t us;

        if (report->time < 0)
            request_bad_parameter(request, name, "this report has no times");
        else if (!input_to_time(value, &us) && !input_to_date(value))
            request_bad_parameter(request, name, "must be a time or a date");
        else
            fprintf(out, " and t.%s %s $%d::%s", report->columns[report->time].quoted,
                    *name == 'f' ? ">=" : "<", add_parameter(report, value),
                    report->columns[report->time].type);
    } else if (column < 0) {
        request_bad_parameter(request, name, "there is no such parameter or column");
    } else if (!*value) {
        fprintf(out, " and t.%s is null", report->columns[column].quoted);
    } else {
        fprintf(out, " and t.%s = $%d::%s", report->columns[column].quoted,
                add_parameter(report, value), report->columns[column].type);
    }
}

/* Single clicks and hours are too many to read them all: where no time is asked for, the newest week
 * before the end of the range, or before now. */
static void put_newest(FILE *out, struct report *report, struct request *request)
{
    const char *until = query_get(&request->query, "until");
    const struct report_column *time = report->time < 0 ? NULL : &report->columns[report->time];

    if (!time || (strcmp(time->name, "time") != 0 && strcmp(time->name, "hour") != 0) ||
        query_get(&request->query, "from"))
        return;
    report->newest = true;
    fprintf(out, " and t.%s >= least(now()", time->quoted);
    if (until)
        fprintf(out, ", $%d::timestamptz", add_parameter(report, until));
    fprintf(out, ") - interval '%d days'", REPORT_NEWEST_DAYS);
}

/* A shown column, from the view. */
static void put_value(FILE *out, const struct report *report, int shown)
{
    int column = report->shown[shown].column;
    const char *unit = report->shown[shown].unit;
    const struct report_column *each = &report->columns[column < 0 ? 0 : column];

    if (column < 0)
        fputs("count(*)", out);
    else if (unit && strcmp(each->type, "timestamp with time zone") == 0)
        fprintf(out, "date_trunc('%s', t.%s, $2::text)", unit, each->quoted);
    else if (unit)
        fprintf(out, "date_trunc('%s', t.%s::timestamp)::%s", unit, each->quoted, each->type);
    else if (report->grouped && each->summed)
        fprintf(out, "sum(t.%s)", each->quoted);
    else
        fprintf(out, "t.%s", each->quoted);
}

static void put_query(FILE *out, struct report *report, struct request *request)
{
    bool workspace_id = find_column(report, "workspace_id", strlen("workspace_id")) >= 0;
    const char *comma = "";

    fputs("with q as (select ", out);
    for (int i = 0; i < report->shown_count; i++) {
        put_value(out, report, i);
        fprintf(out, " as c%d, ", i);
    }
    /* All three parameters are there, used or not. */
    fprintf(out, "$2::text is null as z from report.%s as t where t.workspace = $1::text and %s",
            report->view, workspace_id ? "t.workspace_id = $3::bigint" : "$3::bigint is not null");
    for (size_t i = 0; i < request->query.count; i++)
        put_filter(out, report, request, request->query.names[i], request->query.values[i]);
    put_newest(out, report, request);
    for (int i = 0; report->grouped && i < report->shown_count; i++) {
        int column = report->shown[i].column;

        if (column < 0 || report->columns[column].summed)
            continue;
        fprintf(out, "%s%d", *comma ? comma : " group by ", i + 1);
        comma = ", ";
    }
    fputs(")", out);
}

static void put_tie(FILE *out, const struct report *report)
{
    int origin = find_column(report, "origin", 6), seq = find_column(report, "seq", 3);

    if (!report->grouped && origin >= 0 && seq >= 0)
        fprintf(out, "(q.c%d::text || ':' || q.c%d::text)", origin, seq);
    else
        fputs("md5(q::text)", out);
}

static const char *type_of(const struct report *report, int shown)
{
    int column = report->shown[shown].column;

    if (column < 0)
        return "bigint";
    return report->grouped && report->columns[column].summed ? "numeric"
                                                             : report->columns[column].type;
}

/* " or (equal so far and this one is behind)", for each sort and then the tie. Nulls are last. */
static void put_behind(FILE *out, struct report *report)
{
    FILE *equal;
    char *so_far = NULL;
    size_t size;

    if (!report->after)
        return;
    equal = open_memstream(&so_far, &size);
    assert(equal);
    fputs("true", equal);
    fputs(" where (false", out);
    for (int i = 0; i < report->sort_count; i++) {
        const struct report_sort *sort = &report->sorts[i];
        const char *value = json_string_value(json_array_get(report->after, (size_t)i));
        int at = add_parameter(report, value);
        const char *type = type_of(report, sort->shown);

        fflush(equal);
        fprintf(out, " or (%s and $%d::%s is not null and (q.c%d %s $%d::%s or q.c%d is null))",
                so_far, at, type, sort->shown, sort->down ? "<" : ">", at, type, sort->shown);
        fprintf(equal, " and q.c%d is not distinct from $%d::%s", sort->shown, at, type);
    }
    fflush(equal);
    fprintf(out, " or (%s and ", so_far);
    put_tie(out, report);
    fprintf(out, " > $%d::text))",
            add_parameter(report, json_string_value(json_array_get(
                                      report->after, json_array_size(report->after) - 1))));
    fclose(equal);
    free(so_far);
}

static void put_shown(FILE *out, const struct report *report)
{
    for (int i = 0; i < report->shown_count; i++) {
        const char *type = type_of(report, i);

        if (strcmp(type, "timestamp with time zone") == 0)
            fprintf(out, "to_char(q.c%d, 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), ", i);
        else
            fprintf(out, "q.c%d::text, ", i);
    }
    put_tie(out, report);
}

char *report_sql(struct report *report, struct request *request)
{
    char *sql = NULL;
    size_t size;
    FILE *out = open_memstream(&sql, &size);

    if (!out)
        return NULL;
    put_query(out, report, request);
    fputs(" select ", out);
    put_shown(out, report);
    fputs(" from q", out);
    put_behind(out, report);
    fputs(" order by ", out);
    for (int i = 0; i < report->sort_count; i++)
        fprintf(out, "q.c%d%s nulls last, ", report->sorts[i].shown,
                report->sorts[i].down ? " desc" : "");
    put_tie(out, report);
    fprintf(out, " limit $%d::bigint", add_parameter(report, report->rows));
    fclose(out);
    return sql;
}

char *report_cursor(const struct report *report, const PGresult *rows, int row)
{
    json_t *values = json_array();
    char *plain, *text;
    size_t length;

    for (int i = 0; i < report->sort_count; i++) {
        int column = report->sorts[i].shown;

        json_array_append_new(values, PQgetisnull(rows, row, column)
                                          ? json_null()
                                          : json_string(PQgetvalue(rows, row, column)));
    }
    json_array_append_new(values, json_string(PQgetvalue(rows, row, report->shown_count)));
    plain = json_dumps(values, JSON_COMPACT);
    json_decref(values);
    if (!plain || strlen(plain) > CURSOR_BYTES) {
        free(plain);
        return NULL;
    }
    length = sodium_base64_ENCODED_LEN(strlen(plain), BASE64);
    text = malloc(length);
    if (text)
        sodium_bin2base64(text, length, (unsigned char *)plain, strlen(plain), BASE64);
    free(plain);
    return text;
}
