/* See request.h. */
#include "server/admin/request/request.h"

#include <assert.h>
#include <event2/buffer.h>
#include <event2/keyvalq_struct.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/request/auth.h"
#include "server/admin/server.h"
#include "server/metrics.h"
#include "shared/clock.h"
#include "shared/error.h"

#define PROBLEM_ERRORS_MAX 64 /* bad fields told in one answer */
#define RETRY_AFTER_S      "1"

static const struct reason {
    int status;
    const char *text;
} reasons[] = {
    {200, "OK"},
    {201, "Created"},
    {204, "No Content"},
    {304, "Not Modified"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {409, "Conflict"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {415, "Unsupported Media Type"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {429, "Too Many Requests"},
    {500, "Internal Server Error"},
    {503, "Service Unavailable"},
};

const char *request_reason(int status)
{
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        if (reasons[i].status == status)
            return reasons[i].text;
    }
    return "Error";
}

struct request *request_new(struct admin *admin, struct evhttp_request *http)
{
    struct request *request = calloc(1, sizeof *request);

    if (!request) {
        evhttp_send_error(http, 500, NULL);
        return NULL;
    }
    request->admin = admin;
    request->http = http;
    request->begun_us = clock_mono_us();
    admin->in_flight++;
    return request;
}

static void request_free(struct request *request)
{
    assert(request->admin->in_flight > 0);
    request->admin->in_flight--;
    if (request->free_state)
        request->free_state(request->state);
    else
        free(request->state);
    json_decref(request->body);
    json_decref(request->errors);
    free(request);
}

void request_header(struct request *request, const char *name, const char *value)
{
    evhttp_add_header(evhttp_request_get_output_headers(request->http), name, value);
}

/* Puts the body in, with its length also for HEAD, which does not get it. */
static void put_body(struct request *request, json_t *body)
{
    char *text = json_dumps(body, JSON_COMPACT);
    size_t length = text ? strlen(text) : 0;
    char digits[32];

    snprintf(digits, sizeof digits, "%zu", length + 1);
    request_header(request, "Content-Length", digits);
    if (evhttp_request_get_command(request->http) != EVHTTP_REQ_HEAD) {
        evbuffer_add(evhttp_request_get_output_buffer(request->http), text ? text : "", length);
        evbuffer_add(evhttp_request_get_output_buffer(request->http), "\n", 1);
    }
    free(text);
}

void request_common_headers(struct request *request)
{
    request_header(request, "Cache-Control", "no-store");
    request_header(request, "X-Content-Type-Options", "nosniff");
    if (request->admin->stopping)
        request_header(request, "Connection", "close");
}

void request_end(struct request *request, int status)
{
    request->admin->answered_us = clock_mono_us();
    metrics->admin_requests_total[metrics_status_index(status)]++;
    histogram_add(&metrics->admin_request_seconds, request->admin->answered_us - request->begun_us);
    request_free(request);
}

static void send_answer(struct request *request, int status, const char *type, json_t *body)
{
    assert(status >= 200 && status <= 599);
    request_common_headers(request);
    if (body) {
        request_header(request, "Content-Type", type);
        put_body(request, body);
        json_decref(body);
    }
    evhttp_send_reply(request->http, status, request_reason(status), NULL);
    request_end(request, status);
}

void request_answer(struct request *request, int status, json_t *body)
{
    send_answer(request, status, "application/json", body);
}

/* A reason that quotes what was sent may have been cut inside a character. */
static json_t *safe_string(const char *text)
{
    json_t *string = json_string(text);

    return string ? string : json_string("is not acceptable");
}

static void send_problem(struct request *request, int status, const char *kind, const char *detail)
{
    json_t *problem =
        json_pack("{s:o, s:s, s:i, s:o}", "type", json_sprintf("urn:kudos:problem:%s", kind),
                  "title", request_reason(status), "status", status, "detail", safe_string(detail));

    if (request->errors)
        json_object_set(problem, "errors", request->errors);
    send_answer(request, status, "application/problem+json", problem);
}

void request_problem(struct request *request, int status, const char *kind, const char *format, ...)
{
    char detail[ERROR_TEXT_MAX];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(detail, sizeof detail, format, arguments);
    va_end(arguments);
    send_problem(request, status, kind, detail);
}

__attribute__((format(printf, 4, 0))) static void note(struct request *request, const char *member,
                                                       const char *name, const char *format,
                                                       va_list arguments)
{
    char detail[ERROR_TEXT_MAX];

    vsnprintf(detail, sizeof detail, format, arguments);
    if (!request->errors)
        request->errors = json_array();
    if (json_array_size(request->errors) < PROBLEM_ERRORS_MAX)
        json_array_append_new(request->errors, json_pack("{s:o, s:o}", member, safe_string(name),
                                                         "detail", safe_string(detail)));
}

void request_bad_field(struct request *request, const char *pointer, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    note(request, "pointer", pointer, format, arguments);
    va_end(arguments);
}

void request_take_errors(struct request *request, json_t *errors)
{
    if (request->errors && errors)
        json_array_extend(request->errors, errors);
    else if (errors)
        request->errors = json_incref(errors);
    json_decref(errors);
}

void request_bad_parameter(struct request *request, const char *name, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    note(request, "parameter", name, format, arguments);
    va_end(arguments);
}

bool request_is_bad(const struct request *request)
{
    return request->errors != NULL;
}

void request_bad_answer(struct request *request, int status, const char *kind, const char *detail)
{
    assert(request_is_bad(request));
    send_problem(request, status, kind, detail);
}

static void on_answer(const struct pool_answer *answer, void *argument)
{
    struct request *request = argument;

    if (*request->guard && answer->outcome == POOL_REFUSED && answer->step == 0 &&
        strcmp(answer->sqlstate, "22012") == 0) {
        auth_refuse_guarded(request);
        return;
    }
    if (answer->outcome == POOL_DONE)
        *request->guard = '\0';
    request->on_answer(answer, request);
}

void request_run(struct request *request, const struct pool_step *steps, int count,
                 pool_callback *callback)
{
    const char *hash = request->guard;
    struct pool_step all[POOL_STEPS_MAX] = {{&auth_guard, 1, &hash}};
    int guards = *request->guard != '\0';

    assert(count >= 1 && count < POOL_STEPS_MAX);
    memcpy(all + guards, steps, (size_t)count * sizeof steps[0]);
    request->on_answer = callback;
    pool_run(request->admin->pool, all, guards + count, on_answer, request);
}

void request_query(struct request *request, const struct statement *statement, int count,
                   const char *const *parameters, pool_callback *callback)
{
    const struct pool_step step = {statement, count, parameters};

    request_run(request, &step, 1, callback);
}

/* SQLSTATE classes after which the same call may succeed: the server stops or lacks resources, a
 * deadlock or serialization failure, a statement that took too long. */
static bool may_pass_later(const char *sqlstate)
{
    return strncmp(sqlstate, "57", 2) == 0 || strncmp(sqlstate, "53", 2) == 0 ||
           strncmp(sqlstate, "40", 2) == 0 || strncmp(sqlstate, "08", 2) == 0 ||
           strcmp(sqlstate, "25006") == 0 || strcmp(sqlstate, "0A000") == 0 ||
           strcmp(sqlstate, "26000") == 0;
}

void request_store_problem(struct request *request, const struct pool_answer *answer)
{
    const char *kind = "store-away", *detail = "PostgreSQL is not reachable; nothing was changed";

    assert(answer->outcome != POOL_DONE);
    if (answer->outcome == POOL_REFUSED && !may_pass_later(answer->sqlstate)) {
        request_problem(request, 500, "internal", "PostgreSQL refused the statement (SQLSTATE %s)",
                        answer->sqlstate);
        return;
    }
    if (answer->outcome == POOL_FULL) {
        kind = "overloaded";
        detail = "too many requests are waiting; nothing was changed";
    } else if (answer->outcome == POOL_REFUSED) {
        kind = "store-busy";
        detail = "PostgreSQL cannot do it now; nothing was changed";
    } else if (answer->outcome == POOL_LOST) {
        kind = "outcome-unknown";
        detail = "PostgreSQL did not answer in time; a change may or may not have been made";
    }
    request_header(request, "Retry-After", RETRY_AFTER_S);
    send_problem(request, 503, kind, detail);
}
