#pragma once
/* Many rows in one body, taken out one at a time: a JSON array of objects, NDJSON (an object a
 * line), or CSV with a header.
 *
 * Bounded: one window of ROWS_WINDOW_BYTES, which a row must fit into, and one row. The body's
 * evbuffer is drained while reading, so memory shrinks as rows are read. What breaks the format is
 * told with its place; then nothing more can be read. */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "shared/error.h"

struct evbuffer;

#define ROWS_WINDOW_BYTES (1u << 18) /* the longest row, in bytes */

enum rows_format { ROWS_JSON, ROWS_NDJSON, ROWS_CSV };

enum rows_result { ROWS_ROW, ROWS_END, ROWS_BAD };

struct rows;

/* The format that a Content-Type names: application/json, application/x-ndjson (also jsonl), or
 * text/csv, in UTF-8. False for others, and for NULL. */
bool rows_format_of(const char *type, enum rows_format *format);

/* Takes over what is in `body`. NULL when memory is out. */
struct rows *rows_new(enum rows_format format, struct evbuffer *body);
void rows_free(struct rows *rows);

/* The next row, an object owned by the caller. The members of a CSV row are texts by the names of
 * the header; empty cells are left out. */
enum rows_result rows_next(struct rows *rows, json_t **row, struct error *error);

/* Of the row that was read last: its line from 1 (NDJSON, CSV), or 0. */
size_t rows_line(const struct rows *rows);
