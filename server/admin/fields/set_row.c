/* See set_row.h. */
#include "server/admin/fields/set_row.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "shared/text.h"

json_t *set_row_read(struct request *request, const struct resource *resource, unsigned use,
                     json_t *json, struct change *change)
{
    json_t *body = request->body, *errors = request->errors, *found;

    memset(change, 0, sizeof *change);
    change->resource = resource;
    request->body = json;
    request->errors = NULL;
    resource_read(resource, request, use, change->values);
    if (resource->check)
        resource->check(request, change, use);
    found = request->errors;
    request->body = body;
    request->errors = errors;
    return found;
}

void set_row_refuse(json_t **errors, const char *pointer, const char *detail)
{
    if (!*errors)
        *errors = json_array();
    json_array_append_new(*errors, json_pack("{s:s, s:s}", "pointer", pointer, "detail", detail));
}

void set_row_prefix(json_t *errors, const char *prefix)
{
    json_t *error;
    size_t index;

    json_array_foreach(errors, index, error)
    {
        const char *pointer = json_string_value(json_object_get(error, "pointer"));

        json_object_set_new(error, "pointer", json_sprintf("%s%s", prefix, pointer));
    }
}

/* --- CSV --- */

static json_t *whole_number(const char *text)
{
    size_t sign = *text == '-', digits = strspn(text + sign, "0123456789");

    return digits > 0 && digits <= 18 && strlen(text) == sign + digits
               ? json_integer(strtoll(text, NULL, 10))
               : NULL;
}

static json_t *truth(const char *text)
{
    if (strcasecmp(text, "true") != 0 && strcasecmp(text, "false") != 0)
        return NULL;
    return json_boolean(strcasecmp(text, "true") == 0);
}

/* Words with commas in between. */
static json_t *words(const char *text)
{
    json_t *array = json_array();

    while (*text) {
        size_t length = strcspn(text, ",");
        struct text word = text_trim((struct text){text, length});

        if (word.length > 0)
            json_array_append_new(array, json_stringn(word.bytes, word.length));
        text += length + (text[length] == ',');
    }
    return array;
}

/* NULL: stays a text, which the field then takes, or refuses. */
static json_t *typed(const struct field *field, const char *text)
{
    switch (field->type) {
    case FIELD_INTEGER:
    case FIELD_REFERENCE: return whole_number(text);
    case FIELD_NUMBER: return json_loads(text, JSON_DECODE_ANY, NULL);
    case FIELD_BOOL: return truth(text);
    case FIELD_JSON:
    case FIELD_MONEY: return json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    case FIELD_TAGS: return words(text);
    default: return NULL;
    }
}

void set_row_type(const struct resource *resource, json_t *row)
{
    for (size_t i = 0; i < resource->count; i++) {
        const struct field *field = &resource->fields[i];
        const json_t *text = json_object_get(row, field->name);
        json_t *value = json_is_string(text) ? typed(field, json_string_value(text)) : NULL;

        if (value)
            json_object_set_new(row, field->name, value);
    }
}
