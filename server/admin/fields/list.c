/* See list.h. The statement is put together from the constant pieces of the filters that were
 * given, and planned for their values; what was sent travels as parameters. */
#include "server/admin/fields/list.h"

#include <assert.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/request/input.h"
#include "server/admin/routes.h"
#include "server/admin/server.h"

#define CURSOR_START "after:"
#define BASE64       sodium_base64_VARIANT_URLSAFE_NO_PADDING

void cursor_make(uint64_t id, char out[CURSOR_MAX])
{
    char plain[32];

    snprintf(plain, sizeof plain, CURSOR_START "%" PRIu64, id);
    sodium_bin2base64(out, CURSOR_MAX, (const unsigned char *)plain, strlen(plain), BASE64);
}

bool cursor_read(const char *cursor, uint64_t *id)
{
    char plain[33];
    size_t length;

    if (sodium_base642bin((unsigned char *)plain, sizeof plain - 1, cursor, strlen(cursor), NULL,
                          &length, NULL, BASE64) != 0)
        return false;
    plain[length] = '\0';
    return strncmp(plain, CURSOR_START, strlen(CURSOR_START)) == 0 && strlen(plain) == length &&
           input_to_id(plain + strlen(CURSOR_START), id);
}

/* Owned by the request. */
struct list {
    const struct resource *resource;
    struct statement statement;
    char *sql;
    size_t limit;
    char workspace[24], after[24], rows[24];
    const char *parameters[POOL_PARAMETERS_MAX];
    int count;
};

static void list_free(void *state)
{
    struct list *list = state;

    free(list->sql);
    free(list);
}

/* --- filters --- */

/* Writes SQL with @ and # replaced by parameters that are added for them: of a reference @ is the id
 * and # the name, and one of them is null. */
static void put_filter(FILE *out, const char *sql, const char *value, bool reference,
                       const char **parameters, int *count)
{
    uint64_t id;
    bool by_id = reference && input_to_id(value, &id);
    int at = *count + 1;

    assert(at + 1 <= POOL_PARAMETERS_MAX);
    parameters[(*count)++] = reference && !by_id ? NULL : value;
    if (reference)
        parameters[(*count)++] = by_id ? NULL : value;
    for (; *sql; sql++) {
        if (*sql == '@' && sql[1] != '>') /* not the operator @> */
            fprintf(out, "$%d", at);
        else if (*sql == '#')
            fprintf(out, "$%d", at + 1);
        else
            fputc(*sql, out);
    }
}

/* True if the text can be a value of the field. */
static bool fits_field(const struct field *field, const char *text, struct error *error)
{
    uint64_t id;
    int64_t us;

    switch (field->type) {
    case FIELD_INTEGER: return input_to_id(text, &id) || error_set(error, "must be a number");
    case FIELD_BOOL:
        return strcmp(text, "true") == 0 || strcmp(text, "false") == 0 ||
               error_set(error, "must be true or false");
    case FIELD_TIME: return input_to_time(text, &us) || error_set(error, "must be a time");
    case FIELD_DATE: return input_to_date(text) || error_set(error, "must be a date");
    default: return !field->choices || field_is_choice(field, text, error);
    }
}

static const char *const equalities[] = {
    [FIELD_INTEGER] = "@::bigint",   [FIELD_NUMBER] = "@::numeric",   [FIELD_BOOL] = "@::boolean",
    [FIELD_TEXT] = "@::text",        [FIELD_TIME] = "@::timestamptz", [FIELD_DATE] = "@::date",
    [FIELD_JSON] = "@::jsonb",       [FIELD_TAGS] = "array[@::text]", [FIELD_MONEY] = "@::jsonb",
    [FIELD_REFERENCE] = "@::bigint",
};

static void put_field(FILE *out, struct request *request, const struct field *field,
                      const char *value, const char **parameters, int *count)
{
    bool reference = field->type == FIELD_REFERENCE;
    struct error error;

    if (!fits_field(field, value, &error)) {
        request_bad_parameter(request, field->name, "%s", error.text);
        return;
    }
    fputs(" and ", out);
    if (!field->filter)
        fprintf(out, "t.%s %s (", field->column, field->type == FIELD_TAGS ? "@>" : "=");
    put_filter(out,
               field->filter  ? field->filter
               : field->value ? field->value
                              : equalities[field->type],
               value, reference, parameters, count);
    fputs(field->filter ? "" : ")", out);
}

/* Archived rows are shown only when asked for. */
static void put_status(FILE *out, struct request *request, const struct resource *resource,
                       const char **parameters, int *count)
{
    const struct field *field = &resource->fields[resource_field(resource, resource->status)];
    const char *value = query_get(&request->query, resource->status);
    struct error error;

    if (!value)
        fprintf(out, " and t.%s <> 'archived'", field->column);
    else if (strcmp(value, "all") == 0)
        return;
    else if (field_is_choice(field, value, &error))
        put_field(out, request, field, value, parameters, count);
    else
        request_bad_parameter(request, field->name, "%s, or all", error.text);
}

/* True if `words` ("limit cursor") has `name`. */
static bool has_word(const char *words, const char *name)
{
    size_t length = strlen(name);

    for (; *words; words += strcspn(words, " "), words += strspn(words, " ")) {
        if (strcspn(words, " ") == length && strncmp(words, name, length) == 0)
            return true;
    }
    return false;
}

static const struct filter *find_filter(const struct resource *resource, const char *name)
{
    for (size_t i = 0; i < FILTERS_MAX && resource->filters[i].parameter; i++) {
        if (strcmp(resource->filters[i].parameter, name) == 0)
            return &resource->filters[i];
    }
    return NULL;
}

void list_put_where(FILE *out, struct request *request, const struct resource *resource,
                    const char *others, const char **parameters, int *count)
{
    /* A workspace has no other column; who may see all of them passes null. */
    if (resource->tenant)
        fprintf(out, "($1::bigint is null or t.%s = $1::bigint)", resource->tenant);
    else
        fputs("t.workspace_id = $1::bigint", out);
    fputs(" and t.id < $2::bigint", out);
    for (size_t i = 0; i < request->query.count; i++) {
        const char *name = request->query.names[i], *value = request->query.values[i];
        const struct filter *filter = find_filter(resource, name);
        size_t field = resource_field(resource, name);

        if (filter) {
            put_field(out, request,
                      &(struct field){.name = name, .type = filter->type, .filter = filter->sql},
                      value, parameters, count);
        } else if (resource->status && strcmp(name, resource->status) == 0) {
            continue;
        } else if (field < resource->count && (resource->fields[field].flags & FIELD_FILTER)) {
            put_field(out, request, &resource->fields[field], value, parameters, count);
        } else if (!has_word(others, name)) {
            request_bad_parameter(request, name, "there is no such parameter");
        }
    }
    if (resource->status)
        put_status(out, request, resource, parameters, count);
}

/* --- pages --- */

/* Fills limit and cursor; notes what is wrong with them. */
static void check_parameters(struct request *request, struct list *list)
{
    const char *limit = query_get(&request->query, "limit");
    const char *cursor = query_get(&request->query, "cursor");
    uint64_t number = LIST_LIMIT_DEFAULT;

    if (limit && (!input_to_id(limit, &number) || number > LIST_LIMIT_MAX))
        request_bad_parameter(request, "limit", "must be a number from 1 to %d", LIST_LIMIT_MAX);
    list->limit = (size_t)number;
    number = INT64_MAX;
    if (cursor && !cursor_read(cursor, &number))
        request_bad_parameter(request, "cursor", "is none that this service gave out");
    snprintf(list->after, sizeof list->after, "%" PRIu64, number);
}

static void put_list(FILE *out, struct request *request, struct list *list)
{
    const struct resource *resource = list->resource;

    fprintf(out, "select %s from %s as t where ", resource->shown, resource->table);
    list->parameters[list->count++] = list->after;
    list_put_where(out, request, resource, "limit cursor", list->parameters, &list->count);
    list->parameters[list->count++] = list->rows;
    fprintf(out, " order by t.id desc limit $%d::bigint", list->count);
    assert(list->count <= POOL_PARAMETERS_MAX);
}

static void on_listed(const struct pool_answer *answer, void *argument)
{
    struct request *request = argument;
    struct list *list = request->state;
    json_t *items, *next = NULL;
    char cursor[CURSOR_MAX];
    int rows;

    if (answer->outcome != POOL_DONE) {
        request_store_problem(request, answer);
        return;
    }
    items = json_array();
    rows = PQntuples(answer->result);
    if ((size_t)rows > list->limit) {
        rows = (int)list->limit;
        cursor_make(strtoull(PQgetvalue(answer->result, rows - 1, PQfnumber(answer->result, "id")),
                             NULL, 10),
                    cursor);
        next = json_string(cursor);
    }
    for (int row = 0; row < rows; row++)
        json_array_append_new(items,
                              resource_show(list->resource, request->admin, answer->result, row));
    request_answer(
        request, 200,
        json_pack("{s:o, s:o}", "items", items, "next_cursor", next ? next : json_null()));
}

void resource_on_list(struct request *request)
{
    struct list *list = calloc(1, sizeof *list);
    size_t size;
    FILE *out;

    assert(list && !request->state);
    request->state = list;
    request->free_state = list_free;
    list->resource = request->route->resource;
    check_parameters(request, list);
    snprintf(list->workspace, sizeof list->workspace, "%" PRId64, request->key.workspace);
    snprintf(list->rows, sizeof list->rows, "%zu", list->limit + 1);
    list->parameters[list->count++] =
        list->resource->tenant && request->key.is_operator ? NULL : list->workspace;
    out = open_memstream(&list->sql, &size);
    assert(out);
    put_list(out, request, list);
    fclose(out);
    if (request_is_bad(request)) {
        request_bad_answer(request, 422, "invalid", "the list cannot be made as it was asked for");
        return;
    }
    list->statement = (struct statement){.sql = list->sql, .once = true};
    request_query(request, &list->statement, list->count, list->parameters, on_listed);
}
