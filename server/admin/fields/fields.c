/* See fields.h: from JSON to parameters, and from rows to JSON. The statements are made in
 * fields_sql.c. */
#include "server/admin/fields/fields.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/fields/money.h"
#include "server/admin/request/input.h"
#include "server/admin/server.h"

#define POINTER_MAX   160 /* of a field's JSON pointer */
#define NUMBER_DIGITS 12
#define TAGS_MAX      50
#define TAG_LONGEST   100

/* --- from JSON --- */

/* True if there are control characters other than line breaks and tabs. */
static bool has_odd_control(const char *text, size_t length)
{
    for (size_t from = 0; from < length;) {
        size_t end = from + strcspn(text + from, "\r\n\t");

        if (input_has_control(text + from, end - from))
            return true;
        from = end + 1;
    }
    return false;
}

bool field_is_choice(const struct field *field, const char *text, struct error *error)
{
    const char *choices = field->choices;
    size_t length = strlen(text);

    while (*choices) {
        size_t word = strcspn(choices, " ");

        if (word == length && memcmp(choices, text, length) == 0)
            return true;
        choices += word + (choices[word] == ' ');
    }
    return error_set(error, "must be one of: %s", field->choices);
}

static bool check_text(const struct field *field, const char *text, size_t length,
                       struct error *error)
{
    if (length == 0)
        return error_set(error, "must not be empty");
    if (field->longest && length > field->longest)
        return error_set(error, "is longer than %zu bytes", field->longest);
    if (field->choices && !field_is_choice(field, text, error))
        return false;
    if (field->flags & FIELD_LINES)
        return !has_odd_control(text, length) ||
               error_set(error, "must not contain control characters but line breaks and tabs");
    return field->check || !input_has_control(text, length) ||
           error_set(error, "must not contain control characters");
}

static bool read_text(const struct field *field, const json_t *json, struct value *value,
                      struct error *error)
{
    size_t length = json_string_length(json);

    if (!json_is_string(json))
        return error_set(error, "must be a string");
    if (!check_text(field, json_string_value(json), length, error))
        return false;
    value->text = strdup(json_string_value(json));
    if (!value->text)
        return error_set(error, "cannot be read: out of memory");
    if (field->type == FIELD_TIME && !input_to_time(value->text, &value->us))
        return error_set(error, "must be a time such as \"2026-11-21T20:00:00Z\"");
    if (field->type == FIELD_DATE && !input_to_date(value->text))
        return error_set(error, "must be a date such as \"2026-11-21\"");
    return true;
}

static bool read_integer(const struct field *field, const json_t *json, struct value *value,
                         struct error *error)
{
    json_int_t number = json_integer_value(json);

    if (!json_is_integer(json))
        return error_set(error, "must be a whole number");
    if ((field->lowest || field->highest) && (number < field->lowest || number > field->highest))
        return field->highest == INT64_MAX
                   ? error_set(error, "must be %" PRId64 " or more", field->lowest)
                   : error_set(error, "must be from %" PRId64 " to %" PRId64, field->lowest,
                               field->highest);
    if (asprintf(&value->text, "%" JSON_INTEGER_FORMAT, number) < 0)
        return error_set(error, "cannot be read: out of memory");
    return true;
}

static bool read_number(const struct field *field, const json_t *json, struct value *value,
                        struct error *error)
{
    double number = json_number_value(json);

    if (!json_is_number(json))
        return error_set(error, "must be a number");
    if ((field->lowest || field->highest) &&
        (number < (double)field->lowest || number > (double)field->highest))
        return error_set(error, "must be from %" PRId64 " to %" PRId64, field->lowest,
                         field->highest);
    if (asprintf(&value->text, "%.*g", NUMBER_DIGITS, number) < 0)
        return error_set(error, "cannot be read: out of memory");
    return true;
}

static bool read_json(const struct field *field, const json_t *json, struct value *value,
                      struct error *error)
{
    if (!json_is_object(json) && !json_is_array(json))
        return error_set(error, "must be an object or an array");
    value->text = json_dumps(json, JSON_COMPACT);
    if (!value->text)
        return error_set(error, "cannot be read: out of memory");
    if (field->longest && strlen(value->text) > field->longest)
        return error_set(error, "is longer than %zu bytes", field->longest);
    return true;
}

static bool check_tag(const json_t *tag, struct error *error)
{
    size_t length = json_string_length(tag);

    if (!json_is_string(tag) || length == 0 || length > TAG_LONGEST)
        return error_set(error, "must hold texts of 1 to %d bytes", TAG_LONGEST);
    return !input_has_control(json_string_value(tag), length) ||
           error_set(error, "must not hold control characters");
}

/* Each tag once, in the order given. */
static bool read_tags(const json_t *json, struct value *value, struct error *error)
{
    json_t *seen, *list, *tag;
    bool good = true;
    size_t i;

    if (!json_is_array(json) || json_array_size(json) > TAGS_MAX)
        return error_set(error, "must be an array of at most %d texts", TAGS_MAX);
    seen = json_object();
    list = json_array();
    json_array_foreach((json_t *)(uintptr_t)json, i, tag)
    {
        good = good && check_tag(tag, error);
        if (!good || json_object_get(seen, json_string_value(tag)))
            continue;
        json_object_set_new(seen, json_string_value(tag), json_true());
        json_array_append(list, tag);
    }
    value->text = good ? json_dumps(list, JSON_COMPACT) : NULL;
    json_decref(seen);
    json_decref(list);
    if (good && !value->text)
        return error_set(error, "cannot be read: out of memory");
    return good;
}

static bool read_reference(const struct field *field, const json_t *json, struct value *value,
                           struct error *error)
{
    if (json_is_integer(json))
        return read_integer(field, json, value, error);
    if (!json_is_string(json))
        return error_set(error, "must be an id (a whole number) or a name (a string)");
    if (!read_text(field, json, value, error))
        return false;
    value->name = value->text;
    value->text = NULL;
    return true;
}

static bool read_value(const struct field *field, const json_t *json, struct value *value,
                       struct error *error)
{
    bool good = false;

    if (json_is_null(json))
        return (field->flags & FIELD_NULLABLE) || error_set(error, "must not be null");
    switch (field->type) {
    case FIELD_INTEGER: good = read_integer(field, json, value, error); break;
    case FIELD_NUMBER: good = read_number(field, json, value, error); break;
    case FIELD_REFERENCE: good = read_reference(field, json, value, error); break;
    case FIELD_BOOL:
        if (!json_is_boolean(json))
            return error_set(error, "must be true or false");
        good = (value->text = strdup(json_is_true(json) ? "true" : "false")) != NULL;
        break;
    case FIELD_TEXT:
    case FIELD_DATE:
    case FIELD_TIME: good = read_text(field, json, value, error); break;
    case FIELD_JSON: good = read_json(field, json, value, error); break;
    case FIELD_TAGS: good = read_tags(json, value, error); break;
    case FIELD_MONEY: good = money_read(json, value, error); break;
    }
    return good && (!field->check || field->check(value, error));
}

/* "/" and the name, escaped as RFC 6901 asks. */
static void pointer_of(const char *name, char *out, size_t size)
{
    size_t used = 0;

    out[used++] = '/';
    for (; *name && used + 3 < size; name++) {
        if (*name == '~' || *name == '/') {
            out[used++] = '~';
            out[used++] = *name == '~' ? '0' : '1';
        } else {
            out[used++] = *name;
        }
    }
    while (*name && used > 1 && !input_is_utf8(out, used))
        used--;
    out[used] = '\0';
}

void value_at(struct value *value, const char *name)
{
    pointer_of(name, value->below, sizeof value->below);
}

size_t resource_field(const struct resource *resource, const char *name)
{
    size_t i = 0;

    while (i < resource->count && strcmp(resource->fields[i].name, name) != 0)
        i++;
    return i;
}

/* What is wrong may lie below the field, as in its rules. */
static void refuse_value(struct request *request, const char *pointer, const struct value *value,
                         const struct error *error)
{
    char below[POINTER_MAX + sizeof value->below];

    snprintf(below, sizeof below, "%s%s", pointer, value->below);
    request_bad_field(request, below, "%s", error->text);
}

static void read_member(const struct resource *resource, struct request *request, unsigned use,
                        struct value *values, const char *name, const json_t *json)
{
    size_t i = resource_field(resource, name);
    char pointer[POINTER_MAX];
    struct error error;

    pointer_of(name, pointer, sizeof pointer);
    if (i == resource->count)
        request_bad_field(request, pointer, "there is no such field");
    else if (!(resource->fields[i].flags & FIELD_WRITABLE) ||
             (resource->fields[i].flags & FIELD_INTERNAL))
        request_bad_field(request, pointer, "is set by the server");
    else if (!(resource->fields[i].flags & use))
        request_bad_field(request, pointer, "cannot be changed");
    else if (!read_value(&resource->fields[i], json, &values[i], &error))
        refuse_value(request, pointer, &values[i], &error);
    else
        values[i].given = true;
}

void resource_read(const struct resource *resource, struct request *request, unsigned use,
                   struct value *values)
{
    const char *name;
    json_t *json;

    json_object_foreach(request->body, name, json)
    {
        read_member(resource, request, use, values, name, json);
    }
    for (size_t i = 0; use == FIELD_CREATE && i < resource->count; i++) {
        const struct field *field = &resource->fields[i];
        char pointer[160];

        pointer_of(field->name, pointer, sizeof pointer);
        if ((field->flags & FIELD_REQUIRED) && !json_object_get(request->body, field->name))
            request_bad_field(request, pointer, "is required");
    }
}

void values_free(struct value *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(values[i].text);
        free(values[i].name);
    }
}

int resource_bind(const struct resource *resource, const struct value *values,
                  const char **parameters, int at)
{
    for (size_t i = 0; i < resource->count; i++) {
        int count = field_parameters(&resource->fields[i]);

        assert(at + count <= POOL_PARAMETERS_MAX);
        if (count > 0)
            parameters[at] = values[i].text;
        if (count > 1)
            parameters[at + 1] = values[i].name;
        at += count;
    }
    return at;
}

/* --- to JSON --- */

const char *field_absent(const struct field *field)
{
    return field->absent ? field->absent : "there is none such in this workspace";
}

bool resource_found(const struct resource *resource, struct request *request,
                    const PGresult *result)
{
    bool found = true;

    for (size_t i = 0; i < resource->count; i++) {
        char pointer[160], name[16];
        int column;

        if (!(resource->fields[i].flags & FIELD_LOOKUP))
            continue;
        snprintf(name, sizeof name, "ok_%zu", i);
        column = PQfnumber(result, name);
        assert(column >= 0);
        if (*PQgetvalue(result, 0, column) == 't')
            continue;
        pointer_of(resource->fields[i].name, pointer, sizeof pointer);
        request_bad_field(request, pointer, "%s", field_absent(&resource->fields[i]));
        found = false;
    }
    return found;
}

/* 12.5, and 20 rather than 20.0. */
static json_t *show_number(const char *text)
{
    double number = strtod(text, NULL);

    return strchr(text, '.') ? json_real(number) : json_integer((json_int_t)number);
}

static json_t *show_value(const struct field *field, const char *text)
{
    switch (field->type) {
    case FIELD_INTEGER:
    case FIELD_REFERENCE: return json_integer(strtoll(text, NULL, 10));
    case FIELD_NUMBER: return show_number(text);
    case FIELD_BOOL: return json_boolean(*text == 't');
    case FIELD_TAGS:
    case FIELD_MONEY:
    case FIELD_JSON: return json_loads(text, JSON_DECODE_ANY, NULL);
    default: return json_string(text);
    }
}

json_t *resource_show(const struct resource *resource, const struct admin *admin,
                      const PGresult *rows, int row)
{
    json_t *object = json_object();
    int first = PQfnumber(rows, resource->fields[0].name); /* put_shown() keeps their order */

    assert(first >= 0 && PQnfields(rows) == first + (int)resource->count);
    for (size_t i = 0; i < resource->count; i++) {
        const struct field *field = &resource->fields[i];
        int column = first + (int)i;
        json_t *value;

        if (field->flags & FIELD_HIDDEN)
            continue;
        if (field->show)
            value = field->show(admin, rows, row, column);
        else if (PQgetisnull(rows, row, column))
            value = json_null();
        else
            value = show_value(field, PQgetvalue(rows, row, column));
        json_object_set_new(object, field->name, value);
    }
    return object;
}
