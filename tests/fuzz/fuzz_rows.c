/* Bodies of many rows: JSON arrays, NDJSON and CSV. The first byte says which. What CSV holds is
 * read back from what is written of it. */
#include <assert.h>
#include <event2/buffer.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/bulk/csv.h"
#include "server/admin/bulk/rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_cell(const json_t *value)
{
    struct evbuffer *out = evbuffer_new();
    struct text cell = {json_string_value(value), json_string_length(value)};
    struct csv csv = {0};
    struct error error;
    size_t used;

    evbuffer_add_printf(out, "a,b\r\n");
    csv_put_text(out, cell);
    evbuffer_add_printf(out, ",2");
    assert(csv_read(&csv, (char *)evbuffer_pullup(out, -1), evbuffer_get_length(out), true, &used,
                    &error) == CSV_RECORD);
    evbuffer_drain(out, used);
    assert(csv_read(&csv, (char *)evbuffer_pullup(out, -1), evbuffer_get_length(out), true, &used,
                    &error) == CSV_RECORD);
    assert(csv.count == 2 && csv.cells[0].length == cell.length);
    assert(memcmp(csv.cells[0].bytes, cell.bytes, cell.length) == 0);
    evbuffer_free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct evbuffer *body = evbuffer_new();
    enum rows_result result;
    struct error error;
    struct rows *rows;
    const char *name;
    json_t *row, *value;

    if (size > 0)
        evbuffer_add(body, data + 1, size - 1);
    rows = rows_new((enum rows_format)(size > 0 ? data[0] % 3 : 0), body);
    assert(rows);
    while ((result = rows_next(rows, &row, &error)) == ROWS_ROW) {
        assert(json_is_object(row));
        json_object_foreach(row, name, value)
        {
            if (json_is_string(value))
                check_cell(value);
        }
        json_decref(row);
    }
    if (result == ROWS_BAD)
        assert(error.text[0] && strlen(error.text) < sizeof error.text);
    rows_free(rows);
    evbuffer_free(body);
    return 0;
}
