/* See fields.h.
 *
 * The statements, for a resource with fields a (plain) and r (a look-up):
 *
 *   insert: with v as (select $2::text as a, (select …) as r, (… found …) as ok_1),
 *                w as (insert into kudos.things as t (workspace_id, a, r_id)
 *                      select $1::bigint, v.a, v.r from v where v.ok_1
 *                      on conflict (…) do nothing returning t.id::text as "id", …)
 *           select v.ok_1, w.* from v left join w on true
 *
 * One round trip thus checks, writes and reads back, and always gives one row: with flags that say
 * which look-up failed, and with the new row, or nulls where a look-up failed or (all flags being
 * true) the unique key was taken. Update is the same around "update". */
#include "server/admin/fields.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/input.h"
#include "server/admin/server.h"

#define POINTER_MAX 160 /* of a field's JSON pointer */

/* --- SQL --- */

static const char *cast_of(enum field_type type)
{
    switch (type) {
    case FIELD_INTEGER: return "@::bigint";
    case FIELD_BOOL: return "@::boolean";
    case FIELD_TIME: return "@::timestamptz";
    case FIELD_JSON: return "@::jsonb";
    default: return "@::text";
    }
}

/* Parameters of a field: none if it is never written, two for a reference. */
static int parameters_of(const struct field *field)
{
    if (!(field->flags & FIELD_WRITABLE))
        return 0;
    return field->type == FIELD_REFERENCE ? 2 : 1;
}

/* Writes SQL with @ and # replaced by the numbers of the parameters. */
static void put_sql(FILE *out, const char *sql, int parameter)
{
    for (; *sql; sql++) {
        if (*sql == '@')
            fprintf(out, "$%d", parameter);
        else if (*sql == '#')
            fprintf(out, "$%d", parameter + 1);
        else
            fputc(*sql, out);
    }
}

static void put_value(FILE *out, const struct field *field, int parameter)
{
    put_sql(out, field->value ? field->value : cast_of(field->type), parameter);
}

/* "with v as (select …)": every value, and whether every look-up found its row. */
static void put_values(FILE *out, const struct resource *resource, int parameter, bool creating)
{
    const char *comma = "";

    fputs("with v as (select ", out);
    for (size_t i = 0; i < resource->count; i++) {
        const struct field *field = &resource->fields[i];
        bool defaulted = creating && field->missing;

        if (parameters_of(field) == 0)
            continue;
        fprintf(out, "%s%s(", comma, defaulted ? "coalesce(" : "");
        put_value(out, field, parameter);
        fprintf(out, ")%s%s%s as v_%zu", defaulted ? ", " : "", defaulted ? field->missing : "",
                defaulted ? ")" : "", i);
        parameter += parameters_of(field);
        comma = ", ";
    }
    fputs("), ", out);
}

/* "o as (select … as ok_3, …)": which look-ups found what they were asked for. */
static void put_found(FILE *out, const struct resource *resource, int parameter, bool creating)
{
    fputs("o as (select true as ok", out);
    for (size_t i = 0; i < resource->count; i++) {
        const struct field *field = &resource->fields[i];

        if (field->flags & FIELD_LOOKUP) {
            fprintf(out, ", (v_%zu is not null", i);
            if (!creating || !(field->flags & FIELD_FOUND))
                put_sql(out,
                        field->type == FIELD_REFERENCE
                            ? " or (@::bigint is null and #::text is null)"
                            : " or @::text is null",
                        parameter);
            fprintf(out, ") as ok_%zu", i);
        }
        parameter += parameters_of(field);
    }
    fputs(" from v), ", out);
}

static void put_all_found(FILE *out, const struct resource *resource)
{
    fputs("o.ok", out);
    for (size_t i = 0; i < resource->count; i++) {
        if (resource->fields[i].flags & FIELD_LOOKUP)
            fprintf(out, " and o.ok_%zu", i);
    }
}

static void put_shown(FILE *out, const struct resource *resource)
{
    for (size_t i = 0; i < resource->count; i++) {
        const struct field *field = &resource->fields[i];

        fputs(i ? ", " : "", out);
        if (field->read)
            fputs(field->read, out);
        else if (field->type == FIELD_TIME)
            fprintf(out, "to_char(t.%s, 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')", field->column);
        else
            fprintf(out, "t.%s::text", field->column);
        fprintf(out, " as \"%s\"", field->name);
    }
}

static void put_insert(FILE *out, const struct resource *resource)
{
    put_values(out, resource, 2, true);
    put_found(out, resource, 2, true);
    fprintf(out, "w as (insert into %s as t (workspace_id", resource->table);
    for (size_t i = 0; i < resource->count; i++) {
        if (parameters_of(&resource->fields[i]) > 0)
            fprintf(out, ", %s", resource->fields[i].column);
    }
    fputs(") select $1::bigint", out);
    for (size_t i = 0; i < resource->count; i++) {
        if (parameters_of(&resource->fields[i]) > 0)
            fprintf(out, ", v.v_%zu", i);
    }
    fputs(" from v, o where ", out);
    put_all_found(out, resource);
    fprintf(out, " on conflict (%s) do nothing returning t.changed::text as changed, ",
            resource->conflict);
    put_shown(out, resource);
    fputs(") select o.*, w.* from o left join w on true", out);
}

static void put_update(FILE *out, const struct resource *resource)
{
    const char *comma = "";

    put_values(out, resource, 4, false);
    put_found(out, resource, 4, false);
    fprintf(out, "w as (update %s as t set ", resource->table);
    for (size_t i = 0; i < resource->count; i++) {
        const struct field *field = &resource->fields[i];

        if (!(field->flags & FIELD_UPDATE))
            continue;
        fprintf(out, "%s%s = case when $3::bigint & %" PRId64 " <> 0 then v.v_%zu else t.%s end",
                comma, field->column, (int64_t)1 << i, i, field->column);
        comma = ", ";
    }
    fputs(" from v, o where t.workspace_id = $1::bigint and t.id = $2::bigint and ", out);
    put_all_found(out, resource);
    fputs(" returning t.changed::text as changed, ", out);
    put_shown(out, resource);
    fprintf(out,
            ") select exists (select from %s where workspace_id = $1::bigint and id = $2::bigint)"
            " as there, o.*, w.* from o left join w on true",
            resource->table);
}

static void put_lookup(FILE *out, const struct resource *resource)
{
    put_values(out, resource, 2, false);
    put_found(out, resource, 2, false);
    fputs("w as (select $1::bigint) select o.* from o", out);
}

static void put_get(FILE *out, const struct resource *resource)
{
    fputs("select ", out);
    put_shown(out, resource);
    fprintf(out, " from %s as t where t.workspace_id = $1::bigint and t.id = $2::bigint",
            resource->table);
}

/* What `put` writes, as a string of its own; NULL when memory is out. */
static char *sql_of(void (*put)(FILE *, const struct resource *), const struct resource *resource)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    if (!out)
        return NULL;
    put(out, resource);
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

bool resource_prepare(struct resource *resource, struct error *error)
{
    assert(resource->count <= FIELDS_MAX);
    resource->insert.sql = sql_of(put_insert, resource);
    resource->update.sql = sql_of(put_update, resource);
    resource->lookup.sql = sql_of(put_lookup, resource);
    resource->get.sql = sql_of(put_get, resource);
    resource->shown = sql_of(put_shown, resource);
    if (resource->insert.sql && resource->update.sql && resource->lookup.sql && resource->get.sql &&
        resource->shown)
        return true;
    return error_set(error, "out of memory");
}

/* --- from JSON --- */

static bool read_text(const struct field *field, const json_t *json, struct value *value,
                      struct error *error)
{
    size_t length = json_string_length(json);

    if (!json_is_string(json))
        return error_set(error, "must be a string");
    if (length == 0)
        return error_set(error, "must not be empty");
    if (field->longest && length > field->longest)
        return error_set(error, "is longer than %zu bytes", field->longest);
    if (field->type != FIELD_TIME && input_has_control(json_string_value(json), length) &&
        !field->check)
        return error_set(error, "must not contain control characters");
    value->text = strdup(json_string_value(json));
    if (!value->text)
        return error_set(error, "cannot be read: out of memory");
    if (field->type == FIELD_TIME && !input_to_time(value->text, &value->us))
        return error_set(error, "must be a time such as \"2026-11-21T20:00:00Z\"");
    return true;
}

static bool read_integer(const json_t *json, struct value *value, struct error *error)
{
    if (!json_is_integer(json))
        return error_set(error, "must be a whole number");
    if (asprintf(&value->text, "%" JSON_INTEGER_FORMAT, json_integer_value(json)) < 0)
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

static bool read_reference(const struct field *field, const json_t *json, struct value *value,
                           struct error *error)
{
    if (json_is_integer(json))
        return read_integer(json, value, error);
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
    case FIELD_INTEGER: good = read_integer(json, value, error); break;
    case FIELD_REFERENCE: good = read_reference(field, json, value, error); break;
    case FIELD_BOOL:
        if (!json_is_boolean(json))
            return error_set(error, "must be true or false");
        good = (value->text = strdup(json_is_true(json) ? "true" : "false")) != NULL;
        break;
    case FIELD_TEXT:
    case FIELD_TIME: good = read_text(field, json, value, error); break;
    case FIELD_JSON: good = read_json(field, json, value, error); break;
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

static size_t find_field(const struct resource *resource, const char *name)
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
    size_t i = find_field(resource, name);
    char pointer[POINTER_MAX];
    struct error error;

    pointer_of(name, pointer, sizeof pointer);
    if (i == resource->count)
        request_bad_field(request, pointer, "there is no such field");
    else if (!(resource->fields[i].flags & FIELD_WRITABLE))
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
        int count = parameters_of(&resource->fields[i]);

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
        request_bad_field(request, pointer, "there is none such in this workspace");
        found = false;
    }
    return found;
}

/* A refusal that waits for its look-ups. */
struct refusal {
    const struct resource *resource;
    struct request *request;
};

static void refuse_now(struct request *request)
{
    request_bad_answer(request, 422, "invalid", "the request cannot be accepted; see errors");
}

static void on_looked_up(const struct pool_answer *answer, void *argument)
{
    struct refusal refusal = *(struct refusal *)argument;

    free(argument);
    if (answer->outcome == POOL_DONE)
        (void)resource_found(refusal.resource, refusal.request, answer->result);
    refuse_now(refusal.request);
}

void resource_refuse(const struct resource *resource, struct request *request,
                     const struct value *values)
{
    char workspace[24];
    const char *parameters[POOL_PARAMETERS_MAX] = {workspace};
    struct refusal *refusal;
    bool any = false;
    int count;

    for (size_t i = 0; i < resource->count; i++)
        any |= values[i].given && (resource->fields[i].flags & FIELD_LOOKUP);
    refusal = any ? malloc(sizeof *refusal) : NULL;
    if (!refusal) {
        refuse_now(request);
        return;
    }
    *refusal = (struct refusal){.resource = resource, .request = request};
    snprintf(workspace, sizeof workspace, "%" PRId64, request->key.workspace);
    count = resource_bind(resource, values, parameters, 1);
    pool_query(request->admin->pool, &resource->lookup, count, parameters, on_looked_up, refusal);
}

static json_t *show_value(const struct field *field, const char *text)
{
    switch (field->type) {
    case FIELD_INTEGER:
    case FIELD_REFERENCE: return json_integer(strtoll(text, NULL, 10));
    case FIELD_BOOL: return json_boolean(*text == 't');
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
