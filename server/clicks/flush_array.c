/* See flush_array.h. Memory grows by doubling and is given back as a whole; running out of it ends
 * the process, which loses nothing: the batch is still in Redis. */
#include "server/clicks/flush_array.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_MAX 40

static char *reserve(struct flush_array *array, size_t bytes)
{
    if (array->length + bytes > array->size) {
        array->size = 2 * array->size + bytes + 256;
        array->text = realloc(array->text, array->size);
        assert(array->text);
    }
    return array->text + array->length;
}

void flush_array_free(struct flush_array *array)
{
    free(array->text);
    *array = (struct flush_array){NULL, 0, 0};
}

void flush_array_add_name(struct flush_array *array, const char *name)
{
    size_t length = strlen(name);
    char *at = reserve(array, length + 1);

    assert(length > 0 && length < VALUE_MAX);
    *at = array->length == 0 ? '{' : ',';
    array->length += length + 1;
    while (length-- > 0)
        at[1 + length] = name[length];
}

void flush_array_add(struct flush_array *array, int64_t value)
{
    char text[VALUE_MAX];

    snprintf(text, sizeof text, "%" PRId64, value);
    flush_array_add_name(array, text);
}

const char *flush_array_text(struct flush_array *array)
{
    char *at = reserve(array, 3);

    if (array->length == 0)
        *at++ = '{';
    *at++ = '}';
    *at = '\0';
    return array->text;
}
