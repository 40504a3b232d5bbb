#pragma once
/* CSV as RFC 4180 has it, read strictly, one record at a time, without copying.
 *
 * Strict: a quote stands only around a whole cell, a CR only before a LF (outside of quotes), every
 * record has as many cells as the header, the bytes are UTF-8 without NUL. What breaks this is told
 * with its line and column (in characters). Taken besides: a byte order mark, LF alone as the end of
 * a line, empty lines (skipped), and ";" or TAB as the separator where the header has no ",".
 *
 * A cell that csv_put_text() guarded against spreadsheets is read as it was before. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "shared/error.h"
#include "shared/text.h"

struct evbuffer;

#define CSV_CELLS_MAX 64

enum csv_result {
    CSV_RECORD, /* `cells` holds one */
    CSV_END,    /* nothing is left */
    CSV_MORE,   /* the record goes on behind the text that was given */
    CSV_BAD,    /* see the error; nothing more can be read */
};

/* Set to zero to begin with. */
struct csv {
    char separator;
    bool begun;
    size_t columns; /* of the header */
    size_t line;    /* physical line on which the record begins, from 1 */
    size_t lines;   /* line ends that were read */
    size_t count;   /* cells of the record */
    struct text cells[CSV_CELLS_MAX];
};

/* Reads the next record from `text`; the header is the first one. `last`: nothing follows the text.
 * `used` is how many bytes of it are done with. The cells point into `text`, which is changed. */
enum csv_result csv_read(struct csv *csv, char *text, size_t length, bool last, size_t *used,
                         struct error *error);

/* --- writing: records end with CR LF --- */

/* Writes a cell as it is, quoted where it must be. */
void csv_put(struct evbuffer *out, struct text cell);

/* Writes a cell that came from people: one that a spreadsheet would take for a formula gets a "'"
 * in front. */
void csv_put_text(struct evbuffer *out, struct text cell);
