/* See csv.h. A record is looked over first, which finds its end and whatever is wrong with it, and
 * then cut into cells in place; so a record that is not there as a whole is left as it is. */
#include "server/admin/bulk/csv.h"

#include <assert.h>
#include <event2/buffer.h>
#include <string.h>

#include "shared/utf8.h"

#define BYTE_ORDER_MARK "\xef\xbb\xbf"

/* --- where a record ends --- */

struct scan {
    const struct csv *csv;
    const char *text;
    size_t length, at;
    size_t line, column; /* of `at`, from 1 */
    size_t cells;
    bool quoted; /* inside of quotes */
    bool last;
};

static enum csv_result bad(const struct scan *scan, struct error *error, const char *what)
{
    error_set(error, "line %zu, column %zu: %s", scan->line, scan->column, what);
    return CSV_BAD;
}

/* Steps over one character that stands for itself. */
static enum csv_result step(struct scan *scan, struct error *error)
{
    size_t left = scan->length - scan->at, size;
    uint32_t character;

    if (scan->text[scan->at] == '\0')
        return bad(scan, error, "a NUL byte");
    size = utf8_decode(scan->text + scan->at, left, &character);
    if (size == 0 && left < 4 && !scan->last)
        return CSV_MORE;
    if (size == 0)
        return bad(scan, error, "not UTF-8");
    scan->at += size;
    scan->column++;
    if (character == '\n') {
        scan->line++;
        scan->column = 1;
    }
    return CSV_RECORD;
}

/* What follows the quote that ends a cell: a separator, the end of the line, or the end. */
static bool may_follow_quote(const struct scan *scan)
{
    char c = scan->at < scan->length ? scan->text[scan->at] : '\n';

    return c == scan->csv->separator || c == '\n' || c == '\r';
}

/* Inside of quotes. CSV_RECORD: goes on. */
static enum csv_result scan_quoted(struct scan *scan, struct error *error)
{
    if (scan->text[scan->at] != '"')
        return step(scan, error);
    if (scan->at + 1 == scan->length && !scan->last)
        return CSV_MORE;
    scan->at++;
    scan->column++;
    if (scan->at < scan->length && scan->text[scan->at] == '"') {
        scan->at++;
        scan->column++;
        return CSV_RECORD;
    }
    scan->quoted = false;
    return may_follow_quote(scan) ? CSV_RECORD
                                  : bad(scan, error, "text behind the quote that ends a cell");
}

/* The end of the line at `at`, of one or two bytes; 0 if there is none. */
static size_t line_end(const struct scan *scan)
{
    const char *c = scan->text + scan->at;

    if (*c == '\n')
        return 1;
    return *c == '\r' && scan->at + 1 < scan->length && c[1] == '\n' ? 2 : 0;
}

static enum csv_result scan_plain(struct scan *scan, bool cell_begins, struct error *error)
{
    char c = scan->text[scan->at];

    if (c == '"' && cell_begins) {
        scan->quoted = true;
        scan->at++;
        scan->column++;
        return CSV_RECORD;
    }
    if (c == '"')
        return bad(scan, error, "a quote inside of a cell that does not begin with one");
    if (c == '\r' && scan->at + 1 == scan->length && !scan->last)
        return CSV_MORE;
    if (c == '\r')
        return bad(scan, error, "a carriage return without a line feed");
    return step(scan, error);
}

/* Finds the end of the record: `at` then stands behind its last cell, before the end of the line. */
static enum csv_result scan_record(struct scan *scan, struct error *error)
{
    bool cell_begins = true;
    enum csv_result result;

    scan->cells = 1;
    while (scan->at < scan->length) {
        if (!scan->quoted && line_end(scan) > 0)
            return CSV_RECORD;
        if (!scan->quoted && scan->text[scan->at] == scan->csv->separator) {
            if (++scan->cells > CSV_CELLS_MAX)
                return bad(scan, error, "too many cells");
            scan->at++;
            scan->column++;
            cell_begins = true;
            continue;
        }
        result = scan->quoted ? scan_quoted(scan, error) : scan_plain(scan, cell_begins, error);
        if (result != CSV_RECORD)
            return result;
        cell_begins = false;
    }
    if (!scan->last)
        return CSV_MORE;
    return scan->quoted ? bad(scan, error, "the quote of a cell is never closed") : CSV_RECORD;
}

/* --- cells --- */

static bool is_formula(char c)
{
    return c != '\0' && strchr("=+-@\t\r", c) != NULL;
}

/* True for what csv_put_text() puts a "'" before: "=1", and "'=1", so that it can be undone. */
static bool is_guarded(struct text cell)
{
    size_t at = 0;

    while (at < cell.length && cell.bytes[at] == '\'')
        at++;
    return at < cell.length && is_formula(cell.bytes[at]);
}

static struct text unguard(struct text cell)
{
    if (cell.length > 1 && cell.bytes[0] == '\'' && is_guarded(cell))
        return (struct text){cell.bytes + 1, cell.length - 1};
    return cell;
}

/* Takes the cell at `at` out of the record [at, end), undoing quotes in place; the byte behind it. */
static char *cut_cell(char *at, const char *end, char separator, struct text *cell)
{
    char *from = at, *to = at;

    if (from == end || *from != '"') {
        while (at < end && *at != separator)
            at++;
        *cell = (struct text){from, (size_t)(at - from)};
        return at;
    }
    for (from++; !(*from == '"' && (from + 1 == end || from[1] != '"')); from++) {
        assert(from < end);
        from += *from == '"';
        *to++ = *from;
    }
    *cell = (struct text){at, (size_t)(to - at)};
    return from + 1;
}

static void cut_record(struct csv *csv, char *text, size_t length, size_t cells)
{
    const char *end = text + length;

    for (csv->count = 0; csv->count < cells; csv->count++) {
        text = cut_cell(text, end, csv->separator, &csv->cells[csv->count]);
        csv->cells[csv->count] = unguard(csv->cells[csv->count]);
        assert(csv->count + 1 == cells ? text == end : *text == csv->separator);
        text++;
    }
}

/* The first of ",", ";" and TAB that stands in the first line, outside of quotes. */
static char separator_of(const char *text, size_t length)
{
    bool quoted = false;
    char found = ',';

    for (size_t i = 0; i < length && (quoted || text[i] != '\n'); i++) {
        if (text[i] == '"')
            quoted = !quoted;
        else if (!quoted && text[i] == ',')
            return ',';
        else if (!quoted && found == ',' && (text[i] == ';' || text[i] == '\t'))
            found = text[i];
    }
    return found;
}

static size_t skip_mark(const char *text, size_t length)
{
    size_t mark = sizeof BYTE_ORDER_MARK - 1;

    return length >= mark && memcmp(text, BYTE_ORDER_MARK, mark) == 0 ? mark : 0;
}

/* Steps over empty lines. */
static void skip_empty(struct scan *scan)
{
    size_t size;

    while (scan->at < scan->length && (size = line_end(scan)) > 0) {
        scan->at += size;
        scan->line++;
    }
}

enum csv_result csv_read(struct csv *csv, char *text, size_t length, bool last, size_t *used,
                         struct error *error)
{
    struct scan scan = {csv, text, length, 0, csv->lines + 1, 1, 0, false, last};
    enum csv_result result;
    size_t begin;

    *used = 0;
    if (!csv->begun) {
        if (!last && !memchr(text, '\n', length))
            return CSV_MORE;
        scan.at = skip_mark(text, length);
        csv->separator = separator_of(text + scan.at, length - scan.at);
    }
    skip_empty(&scan);
    if (scan.at == length && last)
        return CSV_END;
    begin = scan.at;
    csv->line = scan.line;
    result = scan_record(&scan, error);
    if (result != CSV_RECORD)
        return result;
    if (csv->begun && scan.cells != csv->columns) {
        error_set(error, "line %zu, column %zu: the record has %zu cells, the header has %zu",
                  csv->line, scan.column, scan.cells, csv->columns);
        return CSV_BAD;
    }
    *used = scan.at < length ? scan.at + line_end(&scan) : length;
    csv->lines = scan.line - (scan.at < length ? 0 : 1);
    cut_record(csv, text + begin, scan.at - begin, scan.cells);
    if (!csv->begun)
        csv->columns = csv->count;
    csv->begun = true;
    return CSV_RECORD;
}

/* --- writing --- */

/* What stands inside of quotes. */
static void put_inside(struct evbuffer *out, struct text cell)
{
    const char *quote;

    while ((quote = cell.length ? memchr(cell.bytes, '"', cell.length) : NULL)) {
        size_t before = (size_t)(quote - cell.bytes) + 1;

        evbuffer_add(out, cell.bytes, before);
        evbuffer_add(out, "\"", 1);
        cell.bytes += before;
        cell.length -= before;
    }
    evbuffer_add(out, cell.bytes, cell.length);
}

static bool needs_quotes(struct text cell)
{
    for (size_t i = 0; i < cell.length; i++) {
        if (strchr("\",;\t\r\n", cell.bytes[i]) && cell.bytes[i] != '\0')
            return true;
    }
    return cell.length > 0 && (cell.bytes[0] == ' ' || cell.bytes[cell.length - 1] == ' ');
}

void csv_put(struct evbuffer *out, struct text cell)
{
    if (!needs_quotes(cell)) {
        evbuffer_add(out, cell.bytes, cell.length);
        return;
    }
    evbuffer_add(out, "\"", 1);
    put_inside(out, cell);
    evbuffer_add(out, "\"", 1);
}

void csv_put_text(struct evbuffer *out, struct text cell)
{
    if (!is_guarded(cell)) {
        csv_put(out, cell);
    } else if (!needs_quotes(cell)) {
        evbuffer_add(out, "'", 1);
        evbuffer_add(out, cell.bytes, cell.length);
    } else {
        evbuffer_add(out, "\"'", 2);
        put_inside(out, cell);
        evbuffer_add(out, "\"", 1);
    }
}
