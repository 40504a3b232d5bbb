/* See resource.h.
 *
 * A change is answered when it is committed. An insert that did nothing has met a unique key; if the
 * resource can be found by an external_id it may have been that one, committed a moment ago by
 * somebody else, so that a second attempt finds it. */
#include "server/admin/fields/resource.h"

#include <assert.h>
#include <ctype.h>
#include <event2/keyvalq_struct.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/request/idempotency.h"
#include "server/admin/routes.h"
#include "server/admin/server.h"
#include "server/admin/stores/gather.h"

#define ETAG_LENGTH   32
#define ETAGS_MAX     32
#define FIND_ATTEMPTS 3

/* --- a change --- */

static void change_free(void *state)
{
    struct change *change = state;

    values_free(change->values, change->resource->count);
    json_decref(change->answer);
    free(change->etags);
    if (change->secret)
        sodium_memzero(change->secret, strlen(change->secret));
    free(change->secret);
    free(change);
}

/* The workspace whose things are meant: the key's, but for an operator who names another one. */
static int64_t workspace_of(const struct request *request)
{
    bool other = request->route->resource->tenant && request->key.is_operator && request->id;

    return other ? (int64_t)request->id : request->key.workspace;
}

static struct change *change_new(struct request *request, int status)
{
    struct change *change = calloc(1, sizeof *change);

    assert(change && !request->state && request->route->resource);
    request->state = change;
    request->free_state = change_free;
    change->resource = request->route->resource;
    change->status = status;
    snprintf(change->workspace, sizeof change->workspace, "%" PRId64, workspace_of(request));
    snprintf(change->key, sizeof change->key, "%" PRId64, request->key.id);
    snprintf(change->id, sizeof change->id, "%" PRIu64, request->id);
    return change;
}

struct value *change_value(struct change *change, const char *name)
{
    size_t i = resource_field(change->resource, name);

    assert(i < change->resource->count);
    return &change->values[i];
}

void change_set(struct change *change, const char *name, char *text)
{
    struct value *value = change_value(change, name);

    assert(text);
    free(value->text);
    value->text = text;
    value->given = true;
}

/* --- refusals --- */

static void refuse_now(struct request *request)
{
    request_bad_answer(request, 422, "invalid", "the request cannot be accepted; see errors");
}

static void on_looked_up(const struct pool_answer *answer, void *argument)
{
    struct request *request = argument;
    struct change *change = request->state;

    if (answer->outcome == POOL_DONE)
        (void)resource_found(change->resource, request, answer->result);
    refuse_now(request);
}

/* Answers 422 with what was noted, after also trying the references, so that everything that is wrong
 * is told at once (and the key is confirmed). */
static void refuse(struct request *request, struct change *change)
{
    const char *parameters[POOL_PARAMETERS_MAX] = {change->workspace};
    int count = resource_bind(change->resource, change->values, parameters, 1);

    request_query(request, &change->resource->lookup, count, parameters, on_looked_up);
}

static void answer_broken(struct request *request, const struct unique *unique, int status)
{
    request_bad_field(request, unique->pointer, "%s", unique->detail);
    request_bad_answer(request, status, unique->kind, unique->detail);
}

static const struct unique *find_unique(const struct resource *resource, const char *constraint)
{
    for (size_t i = 0; i < UNIQUES_MAX && resource->uniques[i].constraint; i++) {
        if (strcmp(resource->uniques[i].constraint, constraint) == 0)
            return &resource->uniques[i];
    }
    return NULL;
}

void resource_refused(struct request *request, const struct resource *resource,
                      const struct pool_answer *answer)
{
    bool taken = strcmp(answer->sqlstate, "23505") == 0 || strcmp(answer->sqlstate, "55000") == 0;
    const struct unique *unique = find_unique(resource, answer->constraint);

    if (!unique)
        unique = find_unique(resource, answer->sqlstate);
    if (answer->outcome != POOL_REFUSED)
        request_store_problem(request, answer);
    else if (unique)
        answer_broken(request, unique, taken ? 409 : 422);
    else if (strncmp(answer->sqlstate, "23", 2) == 0)
        request_problem(request, taken ? 409 : 422, "invalid", "the %s breaks the rule %s",
                        resource->name, answer->constraint);
    else if (strncmp(answer->sqlstate, "22", 2) == 0)
        request_problem(request, 422, "invalid", "a value cannot be stored (SQLSTATE %s)",
                        answer->sqlstate);
    else
        request_store_problem(request, answer);
}

void resource_missing(struct request *request, const struct resource *resource)
{
    request_problem(request, 404, "not-found", "there is no such %s", resource->name);
}

/* Reads the body. False after answering 422 with everything that is wrong with it. */
static bool read_change(struct request *request, struct change *change, unsigned use)
{
    int64_t mask = 0;

    resource_read(change->resource, request, use, change->values);
    if (change->resource->check)
        change->resource->check(request, change, use);
    for (size_t i = 0; i < change->resource->count; i++)
        mask |= (int64_t)change->values[i].given << i;
    snprintf(change->mask, sizeof change->mask, "%" PRId64, mask);
    if (!request_is_bad(request))
        return true;
    refuse(request, change);
    return false;
}

/* --- answers --- */

static const char *column(const PGresult *row, const char *name)
{
    int at = PQfnumber(row, name);

    assert(at >= 0);
    return PQgetvalue(row, 0, at);
}

static void put_etag(struct request *request, const PGresult *row)
{
    char quoted[ETAG_LENGTH + 3];

    snprintf(quoted, sizeof quoted, "\"%s\"", column(row, "etag"));
    request_header(request, "ETag", quoted);
}

void change_prepare_answer(struct request *request, struct change *change, const PGresult *row)
{
    char location[96];

    put_etag(request, row);
    if (change->status == 201) {
        snprintf(location, sizeof location, "%s/%s", change->resource->path, column(row, "id"));
        request_header(request, "Location", location);
    }
    change->answer = resource_show(change->resource, request->admin, row, 0);
    if (change->secret)
        json_object_set_new(change->answer, change->secret_name ? change->secret_name : "key",
                            json_string(change->secret));
}

void change_send_answer(struct request *request, struct change *change)
{
    json_t *answer = change->answer;

    change->answer = NULL;
    request_answer(request, change->status, answer);
}

void change_answer(struct request *request, struct change *change, const PGresult *row)
{
    change_prepare_answer(request, change, row);
    change_send_answer(request, change);
}

static void commit(struct request *request, struct change *change, const PGresult *row)
{
    if (change->resource->committed)
        change->resource->committed(request, change, row);
    else
        change_answer(request, change, row);
}

/* --- POST --- */

static void on_created(const struct pool_answer *answer, void *argument);

static void insert(struct request *request)
{
    struct change *change = request->state;
    const struct resource *resource = change->resource;
    const char *once[] = {change->workspace, request->idempotency_key};
    const char *parameters[POOL_PARAMETERS_MAX] = {change->workspace, change->key};
    struct pool_step steps[2] = {{&idempotency_lock, 2, once}};
    int count = 2, locks = 0, way = INSERT_PLAIN;

    change->attempts++;
    if (resource->external && change_value(change, resource->external)->text)
        way |= INSERT_FIND;
    if (request->idempotency_key) {
        way |= INSERT_ONCE;
        parameters[count++] = request->idempotency_key;
        parameters[count++] = request->fingerprint;
        locks = 1;
    }
    count = resource_bind(resource, change->values, parameters, count);
    if (way == INSERT_PLAIN && gather_takes(resource)) {
        gather_insert(request, resource, parameters + 2, count - 2, on_created);
        return;
    }
    steps[locks] = (struct pool_step){&resource->insert[way], count, parameters};
    request_run(request, steps, locks + 1, on_created);
}

/* Nothing was written, and nothing was found. */
static void on_nothing(struct request *request, struct change *change)
{
    const struct resource *resource = change->resource;
    bool again = resource->external && change_value(change, resource->external)->text &&
                 change->attempts < FIND_ATTEMPTS;

    if (!again && resource->attempt)
        again = resource->attempt(request, change);
    if (again)
        insert(request);
    else if (change->generated)
        request_problem(request, 503, "no-free-name", "no free %s was found; try again",
                        resource->uniques[0].pointer + 1);
    else
        answer_broken(request, &resource->uniques[0], 409);
}

static void on_created(const struct pool_answer *answer, void *argument)
{
    struct request *request = argument;
    struct change *change = request->state;
    const char *outcome;

    if (answer->outcome != POOL_DONE) {
        resource_refused(request, change->resource, answer);
        return;
    }
    if (*column(answer->result, "misused") == 't') {
        idempotency_misused(request);
        return;
    }
    outcome = column(answer->result, "outcome");
    change->replayed = strcmp(outcome, "replayed") == 0;
    if (strcmp(outcome, "found") == 0)
        change->status = 200;
    if (*outcome)
        commit(request, change, answer->result);
    else if (!resource_found(change->resource, request, answer->result))
        refuse_now(request);
    else
        on_nothing(request, change);
}

void resource_on_create(struct request *request)
{
    struct change *change = change_new(request, 201);

    if (!read_change(request, change, FIELD_CREATE))
        return;
    if (change->resource->attempt)
        (void)change->resource->attempt(request, change);
    insert(request);
}

/* --- PATCH, DELETE --- */

/* One entity tag of If-Match, as an element of text[]. Weak ones match nothing. */
static const char *read_etag(const char *text, FILE *out, const char *comma)
{
    bool weak = strncmp(text, "W/", 2) == 0;
    size_t length;

    text += weak ? 2 : 0;
    if (*text != '"')
        return NULL;
    length = strspn(text + 1, "0123456789abcdef");
    if (!weak && length == ETAG_LENGTH && text[1 + length] == '"')
        fprintf(out, "%s%.*s", comma, (int)length, text + 1);
    text = strchr(text + 1, '"');
    return text ? text + 1 : NULL;
}

/* "{…}" of what If-Match names; nothing that was given out fits what cannot be read. */
static char *read_etags(const char *header)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    bool any = false;

    assert(out);
    fputc('{', out);
    for (int i = 0; header && *header && i < ETAGS_MAX; i++) {
        long before = ftell(out);

        header = read_etag(header, out, any ? "," : "");
        any = any || ftell(out) > before;
        header += header ? strspn(header, " \t,") : 0;
    }
    fputc('}', out);
    fclose(out);
    return text;
}

static void on_updated(const struct pool_answer *answer, void *argument)
{
    struct request *request = argument;
    struct change *change = request->state;

    if (answer->outcome != POOL_DONE)
        resource_refused(request, change->resource, answer);
    else if (*column(answer->result, "there") != 't')
        resource_missing(request, change->resource);
    else if (*column(answer->result, "fits") != 't')
        request_problem(request, 412, "changed-meanwhile",
                        "the %s is not what If-Match says: read it again", change->resource->name);
    else if (!resource_found(change->resource, request, answer->result))
        refuse_now(request);
    else
        commit(request, change, answer->result);
}

static void update(struct request *request, struct change *change)
{
    const char *header =
        evhttp_find_header(evhttp_request_get_input_headers(request->http), "If-Match");
    const char *parameters[POOL_PARAMETERS_MAX] = {change->workspace, change->id, change->mask,
                                                   change->key,       NULL,       change->action};
    int count;

    if (header && strcmp(header, "*") != 0)
        parameters[4] = change->etags = read_etags(header);
    count = resource_bind(change->resource, change->values, parameters, 6);
    request_query(request, &change->resource->update, count, parameters, on_updated);
}

void resource_on_update(struct request *request)
{
    struct change *change = change_new(request, 200);

    change->action = "update";
    if (read_change(request, change, FIELD_UPDATE))
        update(request, change);
}

void resource_set(struct request *request, const char *name, char *text, const char *action)
{
    struct change *change = change_new(request, 200);
    struct value *value = change_value(change, name);

    change->action = action;
    value->text = text;
    value->given = true;
    snprintf(change->mask, sizeof change->mask, "%" PRId64, (int64_t)1 << (value - change->values));
    update(request, change);
}

void resource_on_archive(struct request *request)
{
    resource_set(request, request->route->resource->status, strdup("archived"), "archive");
}

/* --- GET --- */

static void on_got(const struct pool_answer *answer, void *argument)
{
    struct request *request = argument;
    const struct resource *resource = request->route->resource;
    const char *known =
        evhttp_find_header(evhttp_request_get_input_headers(request->http), "If-None-Match");

    if (answer->outcome != POOL_DONE) {
        request_store_problem(request, answer);
    } else if (PQntuples(answer->result) == 0) {
        resource_missing(request, resource);
    } else {
        put_etag(request, answer->result);
        if (known && strstr(known, column(answer->result, "etag")))
            request_answer(request, 304, NULL);
        else
            request_answer(request, 200,
                           resource_show(resource, request->admin, answer->result, 0));
    }
}

void resource_on_get(struct request *request)
{
    char workspace[24], id[24];
    const char *parameters[] = {workspace, id};

    snprintf(workspace, sizeof workspace, "%" PRId64, workspace_of(request));
    snprintf(id, sizeof id, "%" PRIu64, request->id);
    request_query(request, &request->route->resource->get, 2, parameters, on_got);
}
