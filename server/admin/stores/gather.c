/* See gather.h. A create is owned by the queue until it is taken; a flight owns those it took until
 * their callbacks. Its parameters are kept as a JSON array, which is how PostgreSQL gets them. */
#include "server/admin/stores/gather.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "server/admin/request/auth.h"
#include "server/admin/server.h"

struct create {
    TAILQ_ENTRY(create) entry;
    struct request *request;
    const struct resource *resource;
    json_t *parameters; /* array of texts and nulls */
    pool_callback *callback;
};
TAILQ_HEAD(create_list, create);

struct gather {
    struct admin *admin;
    struct create_list queue;
    int flights;
};

struct flight {
    struct gather *gather;
    bool guarded;
    int count;
    struct create *creates[GATHER_MAX];
};

static const struct statement limit_waits = {
    .sql = "select set_config('lock_timeout', '" GATHER_LOCK_MS "', true)"};

struct gather *gather_new(struct admin *admin)
{
    struct gather *gather = calloc(1, sizeof *gather);

    if (!gather)
        return NULL;
    gather->admin = admin;
    TAILQ_INIT(&gather->queue);
    return gather;
}

static void create_free(struct create *create)
{
    json_decref(create->parameters);
    free(create);
}

void gather_free(struct gather *gather)
{
    struct create *create;

    if (!gather)
        return;
    while ((create = TAILQ_FIRST(&gather->queue))) {
        TAILQ_REMOVE(&gather->queue, create, entry);
        create_free(create);
    }
    free(gather);
}

bool gather_takes(const struct resource *resource)
{
    return resource->insert_set.sql != NULL;
}

/* --- one by one --- */

static void insert_alone(struct request *request, const struct resource *resource,
                         const char *const *values, int count, pool_callback *callback)
{
    const char *parameters[POOL_PARAMETERS_MAX];
    char workspace[24], key[24];

    assert(count + 2 <= POOL_PARAMETERS_MAX);
    snprintf(workspace, sizeof workspace, "%" PRId64, request->key.workspace);
    snprintf(key, sizeof key, "%" PRId64, request->key.id);
    parameters[0] = workspace;
    parameters[1] = key;
    memcpy(parameters + 2, values, (size_t)count * sizeof values[0]);
    request_query(request, &resource->insert[INSERT_PLAIN], count + 2, parameters, callback);
}

/* What went together is sent again alone. */
static void send_alone(struct create *create)
{
    const char *values[POOL_PARAMETERS_MAX];
    size_t count = json_array_size(create->parameters);

    assert(count + 2 <= POOL_PARAMETERS_MAX);
    for (size_t i = 0; i < count; i++)
        values[i] = json_string_value(json_array_get(create->parameters, i));
    insert_alone(create->request, create->resource, values, (int)count, create->callback);
}

/* --- together --- */

/* Row `row` as a result of its own. */
static PGresult *single_row(const PGresult *rows, int row)
{
    PGresult *result = PQcopyResult(rows, PG_COPYRES_ATTRS);

    assert(result);
    for (int column = 0; column < PQnfields(rows); column++) {
        bool null = PQgetisnull(rows, row, column);
        int set = PQsetvalue(result, 0, column, null ? NULL : PQgetvalue(rows, row, column),
                             null ? -1 : PQgetlength(rows, row, column));

        assert(set);
    }
    return result;
}

static void answer_one(const struct pool_answer *answer, const struct flight *flight, int i)
{
    struct create *create = flight->creates[i];
    struct request *request = create->request;
    struct pool_answer own = *answer;
    PGresult *row;

    switch (answer->outcome) {
    case POOL_DONE:
        *request->guard = '\0';
        row = single_row(answer->result, i);
        own.result = row;
        create->callback(&own, request);
        PQclear(row);
        break;
    case POOL_REFUSED:
        if (flight->guarded && answer->step == 0 && strcmp(answer->sqlstate, "22012") == 0)
            auth_refuse_guarded(request);
        else
            send_alone(create);
        break;
    default: create->callback(&own, request); break;
    }
    create_free(create);
}

static void on_landed(const struct pool_answer *answer, void *argument)
{
    struct flight *flight = argument;
    struct gather *gather = flight->gather;

    assert(gather->flights > 0);
    assert(answer->outcome != POOL_DONE || PQntuples(answer->result) == flight->count);
    gather->flights--;
    for (int i = 0; i < flight->count; i++)
        answer_one(answer, flight, i);
    free(flight);
}

static bool goes_with(const struct create *a, const struct create *b)
{
    return a->resource == b->resource && a->request->key.id == b->request->key.id &&
           a->request->key.workspace == b->request->key.workspace;
}

/* Takes the first of the queue and those that go with it. */
static struct flight *take(struct gather *gather)
{
    struct create *first = TAILQ_FIRST(&gather->queue), *create, *next;
    struct flight *flight = calloc(1, sizeof *flight);

    assert(flight && first);
    flight->gather = gather;
    for (create = first; create && flight->count < GATHER_MAX; create = next) {
        next = TAILQ_NEXT(create, entry);
        if (!goes_with(first, create))
            continue;
        TAILQ_REMOVE(&gather->queue, create, entry);
        flight->creates[flight->count++] = create;
    }
    return flight;
}

/* The hash that confirms the key, where one of them needs it; all have the same key. */
static const char *guard_of(const struct flight *flight)
{
    const char *guard = NULL;

    for (int i = 0; i < flight->count; i++) {
        if (*flight->creates[i]->request->guard)
            guard = flight->creates[i]->request->guard;
    }
    for (int i = 0; guard && i < flight->count; i++)
        memmove(flight->creates[i]->request->guard, guard, REQUEST_FINGERPRINT_MAX);
    return guard;
}

static char *rows_of(const struct flight *flight)
{
    json_t *rows = json_array();
    char *text;

    for (int i = 0; i < flight->count; i++)
        json_array_append(rows, flight->creates[i]->parameters);
    text = json_dumps(rows, JSON_COMPACT);
    json_decref(rows);
    assert(text);
    return text;
}

static void launch(struct flight *flight)
{
    const struct request *request = flight->creates[0]->request;
    const char *guard = guard_of(flight);
    char workspace[24], key[24], *rows = rows_of(flight);
    const char *parameters[] = {workspace, key, rows};
    struct pool_step steps[] = {{&auth_guard, 1, &guard},
                                {&limit_waits, 0, NULL},
                                {&flight->creates[0]->resource->insert_set, 3, parameters}};
    int skip = guard ? 0 : 1;

    flight->guarded = guard != NULL;
    snprintf(workspace, sizeof workspace, "%" PRId64, request->key.workspace);
    snprintf(key, sizeof key, "%" PRId64, request->key.id);
    pool_run(flight->gather->admin->pool, steps + skip, 3 - skip, on_landed, flight);
    free(rows);
}

void gather_round(struct gather *gather)
{
    while (gather->flights < GATHER_FLIGHTS && !TAILQ_EMPTY(&gather->queue)) {
        gather->flights++;
        launch(take(gather));
    }
}

void gather_insert(struct request *request, const struct resource *resource,
                   const char *const *parameters, int count, pool_callback *callback)
{
    struct create *create;
    size_t bytes = 0;

    for (int i = 0; i < count; i++)
        bytes += parameters[i] ? strlen(parameters[i]) : 0;
    create = bytes <= GATHER_BYTES ? calloc(1, sizeof *create) : NULL;
    if (!create) {
        insert_alone(request, resource, parameters, count, callback);
        return;
    }
    *create = (struct create){.request = request, .resource = resource, .callback = callback};
    create->parameters = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(create->parameters,
                              parameters[i] ? json_string(parameters[i]) : json_null());
    TAILQ_INSERT_TAIL(&request->admin->gather->queue, create, entry);
}
