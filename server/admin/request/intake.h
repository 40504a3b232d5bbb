#pragma once
/* What a request must be before a handler sees it: unambiguously framed, of the right type and
 * size, and one well-formed JSON object.
 *
 * evhttp decides where a request ends before it shows it, and does so leniently; whatever a proxy
 * in between might have read in another way is answered 400 and the connection closed, so that what
 * follows on it is never taken for a request. */
#include <stdbool.h>

#include "server/admin/bulk/rows.h"
#include "server/admin/request/request.h"
#include "shared/error.h"

#define JSON_DEPTH_MAX 32

/* False after answering 400 (and closing) for an ambiguous head: both or several lengths, a length
 * that is no number, a transfer coding other than "chunked", a body on a method that has none, a
 * header name that is no token, control characters, no Host or several. Ends the request then. */
bool intake_framing(struct request *request);

/* False after answering 421: admin_hosts is set and does not name the request's Host. */
bool intake_host(struct request *request);

/* Cross-origin requests: off unless cors_origins names the Origin. Adds the headers that let a browser
 * read the answer; answers preflight requests itself, and is false then. */
bool intake_origin(struct request *request);

/* Parses the query. False after answering 400. */
bool intake_query(struct request *request);

/* False after answering 413 for a body that is longer than its route takes. */
bool intake_size(struct request *request);

/* Parses the body into request->body. False after answering: 415 (not JSON), 400
 * (empty, malformed, no object, nested too deep), 422 (a name twice, \u0000). */
bool intake_body(struct request *request);

/* True if a Content-Type is `wanted`, with no charset other than UTF-8. `type` may be NULL. */
bool intake_is_type(const char *type, const char *wanted);

/* False if a value is nested deeper than JSON_DEPTH_MAX or holds \u0000. */
bool intake_shape(const json_t *value, struct error *error) MUST_CHECK;

/* The same for a body whose type and size have been checked. */
bool intake_json(struct request *request);

/* Checks a body of many rows (rows.h). False after answering: 415 (none of their types), 400
 * (empty). */
bool intake_rows(struct request *request, enum rows_format *format) MUST_CHECK;
