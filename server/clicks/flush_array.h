#pragma once
/* Builds the text form of a PostgreSQL array, "{1,2,3}", to hand many values over in one statement.
 * Only for numbers and for names without quotes. */
#include <stddef.h>
#include <stdint.h>

struct flush_array {
    char *text;
    size_t length, size;
};

/* Zeroed memory is an empty array. */
void flush_array_free(struct flush_array *array);
void flush_array_add(struct flush_array *array, int64_t value);
void flush_array_add_name(struct flush_array *array, const char *name);

/* The text; valid until the array is freed. Nothing may be added after this. */
const char *flush_array_text(struct flush_array *array);
