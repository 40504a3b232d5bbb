/* See rows.h. The window holds what comes next of the body; a reader that needs more than is left
 * in it has it refilled and looks again from where its row begins. */
#include "server/admin/bulk/rows.h"

#include <assert.h>
#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/admin/bulk/csv.h"
#include "server/admin/request/input.h"
#include "server/admin/request/intake.h"

#define NAME_MAX_BYTES 128 /* of a column */

struct rows {
    enum rows_format format;
    struct evbuffer *body;
    char *window;
    size_t at, end; /* what of the window is not read yet */
    size_t count;   /* rows that were read */
    size_t line;    /* of the last row */
    bool opened;    /* the "[" of an array, the header of a CSV */
    bool closed;    /* its "]" */
    struct csv csv;
    char *names[CSV_CELLS_MAX];
};

bool rows_format_of(const char *type, enum rows_format *format)
{
    static const struct {
        const char *type;
        enum rows_format format;
    } known[] = {{"application/json", ROWS_JSON},
                 {"application/x-ndjson", ROWS_NDJSON},
                 {"application/ndjson", ROWS_NDJSON},
                 {"application/jsonl", ROWS_NDJSON},
                 {"text/csv", ROWS_CSV}};

    for (size_t i = 0; type && i < sizeof known / sizeof known[0]; i++) {
        if (intake_is_type(type, known[i].type)) {
            *format = known[i].format;
            return true;
        }
    }
    return false;
}

struct rows *rows_new(enum rows_format format, struct evbuffer *body)
{
    struct rows *rows = calloc(1, sizeof *rows);

    if (!rows)
        return NULL;
    rows->format = format;
    rows->body = evbuffer_new();
    rows->window = malloc(ROWS_WINDOW_BYTES);
    if (!rows->body || !rows->window || evbuffer_add_buffer(rows->body, body) < 0) {
        rows_free(rows);
        return NULL;
    }
    return rows;
}

void rows_free(struct rows *rows)
{
    if (!rows)
        return;
    for (size_t i = 0; i < CSV_CELLS_MAX; i++)
        free(rows->names[i]);
    if (rows->body)
        evbuffer_free(rows->body);
    free(rows->window);
    free(rows);
}

size_t rows_line(const struct rows *rows)
{
    return rows->line;
}

/* --- the window --- */

static bool is_last(const struct rows *rows)
{
    return evbuffer_get_length(rows->body) == 0;
}

/* Brings more of the body into the window. False if nothing more is there, or the window is full. */
static bool refill(struct rows *rows)
{
    int got;

    memmove(rows->window, rows->window + rows->at, rows->end - rows->at);
    rows->end -= rows->at;
    rows->at = 0;
    got = evbuffer_remove(rows->body, rows->window + rows->end, ROWS_WINDOW_BYTES - rows->end);
    if (got <= 0)
        return false;
    rows->end += (size_t)got;
    return true;
}

/* Where in the body something is, for a message; 0 for the first row. */
static enum rows_result bad(const struct rows *rows, struct error *error, const char *what)
{
    if (rows->format == ROWS_JSON)
        error_set(error, "row %zu: %s", rows->count, what);
    else
        error_set(error, "line %zu: %s", rows->line, what);
    return ROWS_BAD;
}

static enum rows_result too_long(const struct rows *rows, struct error *error)
{
    char what[64];

    snprintf(what, sizeof what, "a row is longer than %u bytes", ROWS_WINDOW_BYTES);
    return bad(rows, error, what);
}

/* An object that is not too deep and holds no NUL; takes `row` over. */
static enum rows_result take(struct rows *rows, json_t *row, json_t **out, struct error *error)
{
    struct error problem;

    if (!json_is_object(row)) {
        json_decref(row);
        return bad(rows, error, "must be an object");
    }
    if (!intake_shape(row, &problem)) {
        json_decref(row);
        return bad(rows, error, problem.text);
    }
    rows->count++;
    *out = row;
    return ROWS_ROW;
}

/* --- a JSON array --- */

#define LOAD_FLAGS (JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL)

/* Steps over white space, refilling; the next byte, or -1 at the end. */
static int next_byte(struct rows *rows)
{
    for (;;) {
        while (rows->at < rows->end && memchr(" \t\r\n", rows->window[rows->at], 4))
            rows->at++;
        if (rows->at < rows->end)
            return (unsigned char)rows->window[rows->at];
        if (!refill(rows))
            return -1;
    }
}

/* Reads one element. An element that touches the window's end may go on behind it. */
static json_t *load_element(struct rows *rows, struct error *error)
{
    json_error_t problem;
    json_t *row;

    for (;;) {
        const char *text = rows->window + rows->at;
        size_t length = rows->end - rows->at;

        row = json_loadb(text, length, LOAD_FLAGS | JSON_DISABLE_EOF_CHECK, &problem);
        if (row && ((size_t)problem.position < length || is_last(rows))) {
            rows->at += (size_t)problem.position;
            return row;
        }
        json_decref(row);
        if (!row && json_error_code(&problem) != json_error_premature_end_of_input &&
            (is_last(rows) || length >= ROWS_WINDOW_BYTES / 2))
            break;
        if (!refill(rows))
            break;
    }
    if (rows->end - rows->at == ROWS_WINDOW_BYTES)
        (void)too_long(rows, error);
    else
        (void)bad(rows, error,
                  input_is_utf8(problem.text, strlen(problem.text)) ? problem.text : "not UTF-8");
    return NULL;
}

static enum rows_result next_of_array(struct rows *rows, json_t **row, struct error *error)
{
    int c = next_byte(rows);
    json_t *element;

    if (!rows->opened) {
        if (c != '[')
            return bad(rows, error, "the body must be an array of objects");
        rows->opened = true;
        rows->at++;
        c = next_byte(rows);
    } else if (!rows->closed && c == ',') {
        rows->at++;
        c = next_byte(rows);
        if (c == ']')
            return bad(rows, error, "an element is expected behind the comma");
    } else if (!rows->closed && c != ']') {
        return bad(rows, error, "',' or ']' is expected");
    }
    if (!rows->closed && c == ']') {
        rows->closed = true;
        rows->at++;
        c = next_byte(rows);
    }
    if (rows->closed)
        return c < 0 ? ROWS_END : bad(rows, error, "there is something behind the array");
    element = load_element(rows, error);
    return element ? take(rows, element, row, error) : ROWS_BAD;
}

/* --- NDJSON --- */

static bool is_blank(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (!memchr(" \t\r", text[i], 3))
            return false;
    }
    return true;
}

/* The next line; NULL at the end of the body, or (`full`) if it does not fit. */
static char *next_line(struct rows *rows, size_t *length, bool *full)
{
    char *line, *end;

    *full = false;
    while (!(end = memchr(rows->window + rows->at, '\n', rows->end - rows->at)) && refill(rows))
        ;
    line = rows->window + rows->at;
    *full = !end && !is_last(rows);
    if (*full || (!end && rows->at == rows->end))
        return NULL;
    *length = end ? (size_t)(end - line) : rows->end - rows->at;
    rows->at += *length + (end ? 1 : 0);
    rows->line++;
    return line;
}

static enum rows_result next_of_lines(struct rows *rows, json_t **row, struct error *error)
{
    json_error_t problem;
    json_t *object;
    size_t length = 0;
    char *line;
    bool full;

    do
        line = next_line(rows, &length, &full);
    while (line && is_blank(line, length));
    if (full)
        return too_long(rows, error);
    if (!line)
        return ROWS_END;
    if (memchr(line, '\0', length))
        return bad(rows, error, "a NUL byte");
    object = json_loadb(line, length, LOAD_FLAGS, &problem);
    if (!object)
        return bad(rows, error,
                   input_is_utf8(problem.text, strlen(problem.text)) ? problem.text : "not UTF-8");
    return take(rows, object, row, error);
}

/* --- CSV --- */

static enum csv_result next_record(struct rows *rows, struct error *error)
{
    enum csv_result result;
    size_t used;

    do {
        result = csv_read(&rows->csv, rows->window + rows->at, rows->end - rows->at, is_last(rows),
                          &used, error);
        rows->at += used;
    } while (result == CSV_MORE && refill(rows));
    if (result == CSV_MORE) {
        error_set(error, "line %zu: a row is longer than %u bytes", rows->csv.line,
                  ROWS_WINDOW_BYTES);
        result = CSV_BAD;
    }
    rows->line = rows->csv.line;
    return result;
}

static enum rows_result read_header(struct rows *rows, struct error *error)
{
    enum csv_result result = next_record(rows, error);

    if (result == CSV_END)
        return bad(rows, error, "the header is missing");
    if (result == CSV_BAD)
        return ROWS_BAD;
    rows->opened = true;
    for (size_t i = 0; i < rows->csv.count; i++) {
        struct text cell = text_trim(rows->csv.cells[i]);

        if (cell.length == 0 || cell.length > NAME_MAX_BYTES)
            return bad(rows, error, "a column has no name, or a very long one");
        rows->names[i] = strndup(cell.bytes, cell.length);
        assert(rows->names[i]);
        for (size_t j = 0; j < i; j++) {
            if (strcmp(rows->names[i], rows->names[j]) == 0)
                return bad(rows, error, "two columns have the same name");
        }
    }
    return ROWS_ROW;
}

static enum rows_result next_of_csv(struct rows *rows, json_t **row, struct error *error)
{
    json_t *object;

    if (!rows->opened && read_header(rows, error) != ROWS_ROW)
        return ROWS_BAD;
    switch (next_record(rows, error)) {
    case CSV_END: return ROWS_END;
    case CSV_RECORD: break;
    default: return ROWS_BAD;
    }
    object = json_object();
    for (size_t i = 0; i < rows->csv.count; i++) {
        struct text cell = rows->csv.cells[i];

        if (cell.length > 0)
            json_object_set_new(object, rows->names[i], json_stringn(cell.bytes, cell.length));
    }
    return take(rows, object, row, error);
}

enum rows_result rows_next(struct rows *rows, json_t **row, struct error *error)
{
    switch (rows->format) {
    case ROWS_JSON: return next_of_array(rows, row, error);
    case ROWS_NDJSON: return next_of_lines(rows, row, error);
    default: return next_of_csv(rows, row, error);
    }
}
