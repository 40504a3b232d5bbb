/* See link_list.h. The statement is put together from the constant pieces of the filters that were
 * given, and planned for their values; what was sent travels as parameters. */
#include "server/admin/link_list.h"

#include <assert.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/input.h"
#include "server/admin/server.h"
#include "server/links/link.h"

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

/* A filter: the piece of SQL, in which @ is the parameter. A campaign or influencer is named by its
 * id when it is a number, else by its name. */
static const struct filter {
    const char *parameter;
    const char *by_text;
    const char *by_id; /* NULL: a number is a text like any other */
} filters[] = {
    {"domain", " and t.domain_id = (select id from kudos.domains where host = lower(@::text))",
     NULL},
    {"campaign",
     " and t.campaign_id = (select id from kudos.campaigns"
     " where workspace_id = $1::bigint and slug = @::text)",
     " and t.campaign_id = @::bigint"},
    {"influencer",
     " and t.influencer_id = (select id from kudos.influencers"
     " where workspace_id = $1::bigint and lower(handle) = lower(@::text))",
     " and t.influencer_id = @::bigint"},
    {"slug", " and lower(t.slug collate \"C\") = lower(@::text collate \"C\")", NULL},
};
#define FILTER_COUNT (sizeof filters / sizeof filters[0])

/* Owned by the request. */
struct list {
    const struct resource *links;
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

static bool is_known(const char *name)
{
    static const char *const others[] = {"limit", "cursor", "state"};

    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (strcmp(others[i], name) == 0)
            return true;
    }
    for (size_t i = 0; i < FILTER_COUNT; i++) {
        if (strcmp(filters[i].parameter, name) == 0)
            return true;
    }
    return false;
}

/* Notes every bad parameter; fills limit and cursor. */
static void check_parameters(struct request *request, struct list *list)
{
    const char *limit = query_get(&request->query, "limit");
    const char *cursor = query_get(&request->query, "cursor");
    uint64_t number = LIST_LIMIT_DEFAULT;

    for (size_t i = 0; i < request->query.count; i++) {
        if (!is_known(request->query.names[i]))
            request_bad_parameter(request, request->query.names[i], "there is no such parameter");
    }
    if (limit && (!input_to_id(limit, &number) || number > LIST_LIMIT_MAX))
        request_bad_parameter(request, "limit", "must be a number from 1 to %d", LIST_LIMIT_MAX);
    list->limit = (size_t)number;
    number = INT64_MAX;
    if (cursor && !cursor_read(cursor, &number))
        request_bad_parameter(request, "cursor", "is none that this service gave out");
    snprintf(list->after, sizeof list->after, "%" PRIu64, number);
}

static void put_filter(FILE *out, const char *sql, int parameter)
{
    for (; *sql; sql++) {
        if (*sql == '@')
            fprintf(out, "$%d", parameter);
        else
            fputc(*sql, out);
    }
}

/* Archived links are shown only when asked for. */
static void put_state(FILE *out, struct request *request, struct list *list)
{
    const char *state = query_get(&request->query, "state");

    if (!state) {
        fputs(" and t.state <> 'archived'", out);
        return;
    }
    if (strcmp(state, "all") == 0)
        return;
    if (strcmp(state, "active") != 0 && strcmp(state, "disabled") != 0 &&
        strcmp(state, "archived") != 0) {
        request_bad_parameter(request, "state", "must be active, disabled, archived or all");
        return;
    }
    list->parameters[list->count++] = state;
    fprintf(out, " and t.state = $%d::kudos.link_state", list->count);
}

static void put_list(FILE *out, struct request *request, struct list *list)
{
    fprintf(out, "select %s from kudos.links as t where t.workspace_id = $1::bigint",
            list->links->shown);
    fputs(" and t.id < $2::bigint", out);
    for (size_t i = 0; i < FILTER_COUNT; i++) {
        const char *value = query_get(&request->query, filters[i].parameter);
        uint64_t id;

        if (!value)
            continue;
        list->parameters[list->count++] = value;
        put_filter(out,
                   filters[i].by_id && input_to_id(value, &id) ? filters[i].by_id
                                                               : filters[i].by_text,
                   list->count);
    }
    put_state(out, request, list);
    list->parameters[list->count++] = list->rows;
    fprintf(out, " order by t.id desc limit $%d::bigint", list->count);
    assert(list->count <= POOL_PARAMETERS_MAX);
}

static void on_listed(const struct pool_answer *answer, void *argument)
{
    struct request *request = argument;
    struct list *list = request->state;
    json_t *items, *next = json_null();
    char cursor[CURSOR_MAX];
    int rows;

    if (answer->outcome != POOL_DONE) {
        json_decref(next);
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
                              resource_show(list->links, request->admin, answer->result, row));
    request_answer(request, 200, json_pack("{s:o, s:o}", "items", items, "next_cursor", next));
}

void link_list(struct request *request, const struct resource *links)
{
    struct list *list = calloc(1, sizeof *list);
    size_t size;
    FILE *out;

    assert(list && !request->state);
    request->state = list;
    request->free_state = list_free;
    list->links = links;
    check_parameters(request, list);
    snprintf(list->workspace, sizeof list->workspace, "%" PRId64, request->key.workspace);
    snprintf(list->rows, sizeof list->rows, "%zu", list->limit + 1);
    list->parameters[list->count++] = list->workspace;
    list->parameters[list->count++] = list->after;
    out = open_memstream(&list->sql, &size);
    assert(out);
    put_list(out, request, list);
    fclose(out);
    if (request_is_bad(request)) {
        request_bad_answer(request, 422, "invalid", "the list cannot be made as it was asked for");
        return;
    }
    list->statement = (struct statement){.sql = list->sql, .once = true};
    pool_query(request->admin->pool, &list->statement, list->count, list->parameters, on_listed,
               request);
}
