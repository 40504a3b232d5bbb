#pragma once
/* One request on the admin plane, from evhttp's hand-over to its answer.
 *
 * Life: request_new() when evhttp has the whole request; exactly one of request_answer(),
 * request_problem(), request_bad_answer(), stream_end() ends it and frees it, at once or after answers of the
 * stores. evhttp does not read from a connection while its request waits, so the visitor's leaving
 * cannot pull the request away; an answer nobody waits for is dropped by evhttp.
 *
 * Every error is application/problem+json (RFC 9457): type, title, status, detail, and `errors`
 * with one entry for each bad field ("pointer", a JSON pointer) or query parameter ("parameter"). */
#include <event2/http.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/admin/request/query.h"
#include "server/admin/stores/pool.h"

struct admin;
struct route;

/* What a key may do; the order counts for all but `conversions`. */
enum scope { SCOPE_NONE, SCOPE_CONVERSIONS, SCOPE_READ, SCOPE_WRITE, SCOPE_ADMIN };

struct key {
    int64_t id;
    int64_t workspace;
    enum scope scope;
    bool is_operator; /* an admin of the workspace that owns the default domain: may make others */
    int64_t per_minute; /* requests; 0: no limit */
};

#define REQUEST_NAME_MAX        64
#define REQUEST_FINGERPRINT_MAX 67 /* "\\x", 32 bytes in hex, NUL */

struct request {
    struct admin *admin;
    struct evhttp_request *http; /* owned by evhttp; valid until the answer */
    const struct route *route;
    struct key key;                      /* valid once the handler runs */
    uint64_t id;                         /* the {id} of the path */
    char name[REQUEST_NAME_MAX];         /* the {name} of the path */
    char guard[REQUEST_FINGERPRINT_MAX]; /* hash of a key that is still to be confirmed, or "" */
    const char *idempotency_key;         /* of a POST, or NULL */
    char fingerprint[REQUEST_FINGERPRINT_MAX]; /* of a POST with such a key: what was asked */
    json_t *body;                              /* an object where the route takes one; owned */
    json_t *errors;                            /* an array, or NULL; owned */
    struct query query;
    int64_t begun_us;
    void *state; /* the handler's own; freed with free_state(), or free() if that is NULL */
    void (*free_state)(void *);
    pool_callback *on_answer; /* of request_run() */
};

/* NULL when memory is out; evhttp has answered 500 then. */
struct request *request_new(struct admin *admin, struct evhttp_request *http);

/* Adds a header to the answer. */
void request_header(struct request *request, const char *name, const char *value);

/* For answers that are not JSON (stream.c): the headers that every answer has, the words for a
 * status, and the end of a request whose answer was handed to evhttp: counts and frees it. */
void request_common_headers(struct request *request);
const char *request_reason(int status);
void request_end(struct request *request, int status);

/* Answers `status` with `body` (stolen; NULL: no body). Ends the request. */
void request_answer(struct request *request, int status, json_t *body);

/* Answers with a problem. `kind` becomes its type, "urn:kudos:problem:<kind>". Ends the request. */
void request_problem(struct request *request, int status, const char *kind, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Notes that a member of the body is bad; `pointer` is a JSON pointer such as "/destination". */
void request_bad_field(struct request *request, const char *pointer, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Notes an array of {"pointer", "detail"} (taken over; NULL: nothing). */
void request_take_errors(struct request *request, json_t *errors);

/* Notes that a query parameter is bad. */
void request_bad_parameter(struct request *request, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* True if something was noted by the two above. */
bool request_is_bad(const struct request *request);

/* Answers `status` (422, 409) with all that was noted. Ends the request. */
void request_bad_answer(struct request *request, int status, const char *kind, const char *detail);

/* Asks PostgreSQL in one transaction and one round trip (pool_run), up to POOL_STEPS_MAX - 1
 * statements; `callback` gets the request as its argument. Where the key is only remembered, the
 * same transaction confirms it first: if it has been revoked or has expired meanwhile, nothing is
 * done, the answer is 401, and `callback` is not called. So a request may wait for one such call at a
 * time, and for nothing else. */
void request_run(struct request *request, const struct pool_step *steps, int count,
                 pool_callback *callback);

/* The same for one statement. */
void request_query(struct request *request, const struct statement *statement, int count,
                   const char *const *parameters, pool_callback *callback);

/* Answers for a query that was not POOL_DONE: 503 with Retry-After where trying again may help, else
 * 500. Ends the request. */
void request_store_problem(struct request *request, const struct pool_answer *answer);
