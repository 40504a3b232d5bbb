/* See intake.h. */
#include "server/admin/request/intake.h"

#include <ctype.h>
#include <event2/buffer.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>
#include <string.h>
#include <strings.h>

#include "server/admin/request/input.h"
#include "server/admin/routes.h"
#include "server/admin/server.h"
#include "server/metrics.h"

/* What matters of the head, counted in one pass. */
struct framing {
    int hosts, lengths, codings, types, keys;
    bool bad_name, bad_value, bad_length, bad_coding, has_body;
};

static bool is_token(const char *name)
{
    static const char others[] = "!#$%&'*+-.^_`|~";

    if (!*name)
        return false;
    for (; *name; name++) {
        if (!isalnum((unsigned char)*name) && !strchr(others, *name))
            return false;
    }
    return true;
}

static bool is_digits(const char *value)
{
    size_t length = strlen(value);

    return length > 0 && length <= 18 && strspn(value, "0123456789") == length;
}

static void count_header(struct framing *framing, const char *name, const char *value)
{
    framing->bad_name |= !is_token(name);
    for (const char *c = value; *c; c++)
        framing->bad_value |= ((unsigned char)*c < 0x20 && *c != '\t') || *c == 0x7f;
    if (strcasecmp(name, "Host") == 0) {
        framing->hosts++;
    } else if (strcasecmp(name, "Content-Length") == 0) {
        framing->lengths++;
        framing->bad_length |= !is_digits(value);
        framing->has_body |= strspn(value, "0") != strlen(value);
    } else if (strcasecmp(name, "Transfer-Encoding") == 0) {
        framing->codings++;
        framing->bad_coding |= strcasecmp(value, "chunked") != 0;
        framing->has_body = true;
    } else if (strcasecmp(name, "Content-Type") == 0) {
        framing->types++;
    } else if (strcasecmp(name, "Authorization") == 0) {
        framing->keys++;
    }
}

static const char *framing_fault(const struct framing *framing, enum evhttp_cmd_type method,
                                 bool old)
{
    bool takes_body =
        method == EVHTTP_REQ_POST || method == EVHTTP_REQ_PUT || method == EVHTTP_REQ_PATCH;

    if (framing->bad_name || framing->bad_value)
        return "a header field is malformed";
    if (framing->lengths > 1 || framing->codings > 1 || (framing->lengths && framing->codings))
        return "the length of the body is given more than once";
    if (framing->bad_length)
        return "Content-Length is no number";
    if (framing->bad_coding || (framing->codings && old))
        return "Transfer-Encoding is not supported here, but for \"chunked\"";
    if (framing->has_body && !takes_body)
        return "this method takes no body";
    if (framing->hosts > 1 || (framing->hosts == 0 && !old))
        return "exactly one Host header is needed";
    if (framing->types > 1 || framing->keys > 1)
        return "a header field is given twice";
    return NULL;
}

bool intake_framing(struct request *request)
{
    struct evkeyvalq *headers = evhttp_request_get_input_headers(request->http);
    enum evhttp_cmd_type method = evhttp_request_get_command(request->http);
    struct framing framing = {0};
    const char *fault;
    struct evkeyval *header;

    for (header = headers->tqh_first; header; header = header->next.tqe_next)
        count_header(&framing, header->key, header->value);
    fault = framing_fault(&framing, method, request->http->major < 1 || request->http->minor < 1);
    if (!fault)
        return true;
    metrics->admin_framing_refused_total++;
    request_header(request, "Connection", "close");
    request_problem(request, 400, "bad-request", "%s", fault);
    return false;
}

/* True if `list` (separated by spaces or commas) has `word`, ASCII case ignored. */
static bool has_word(const char *list, const char *word, size_t length)
{
    while (*(list += strspn(list, " ,"))) {
        size_t each = strcspn(list, " ,");

        if (each == length && strncasecmp(list, word, length) == 0)
            return true;
        list += each;
    }
    return false;
}

bool intake_host(struct request *request)
{
    const char *hosts = request->admin->settings->admin_hosts;
    const char *host = evhttp_find_header(evhttp_request_get_input_headers(request->http), "Host");
    size_t length = 0;

    if (!*hosts)
        return true;
    if (host)
        length =
            *host == '[' ? strcspn(host, "]") + (strchr(host, ']') != NULL) : strcspn(host, ":");
    if (host && has_word(hosts, host, length))
        return true;
    request_problem(request, 421, "wrong-host", "this is no name of the admin plane");
    return false;
}

static void answer_preflight(struct request *request)
{
    request_header(request, "Access-Control-Allow-Methods", "GET, HEAD, POST, PATCH, DELETE");
    request_header(request, "Access-Control-Allow-Headers",
                   "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match");
    request_header(request, "Access-Control-Max-Age", "600");
    request_answer(request, 204, NULL);
}

bool intake_origin(struct request *request)
{
    struct evkeyvalq *headers = evhttp_request_get_input_headers(request->http);
    const char *origins = request->admin->settings->cors_origins;
    const char *origin = evhttp_find_header(headers, "Origin");

    if (!*origins)
        return true;
    request_header(request, "Vary", "Origin");
    if (!origin || !has_word(origins, origin, strlen(origin)))
        return true;
    request_header(request, "Access-Control-Allow-Origin", origin);
    request_header(request, "Access-Control-Expose-Headers", "ETag, Location, Retry-After");
    if (evhttp_request_get_command(request->http) != EVHTTP_REQ_OPTIONS ||
        !evhttp_find_header(headers, "Access-Control-Request-Method"))
        return true;
    answer_preflight(request);
    return false;
}

bool intake_query(struct request *request)
{
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request->http);

    if (query_parse(uri ? evhttp_uri_get_query(uri) : NULL, &request->query))
        return true;
    request_problem(request, 400, "bad-query",
                    "the query is malformed: a bad escape, bytes that are not UTF-8, a parameter "
                    "given twice, or too long");
    return false;
}

bool intake_is_type(const char *type, const char *wanted)
{
    const char *charset;

    if (!type || strncasecmp(type, wanted, strlen(wanted)) != 0)
        return false;
    type += strlen(wanted);
    type += strspn(type, " \t");
    if (*type && *type != ';')
        return false;
    charset = strcasestr(type, "charset");
    if (!charset)
        return true;
    charset += strlen("charset");
    charset += strspn(charset, " \t=\"");
    return strncasecmp(charset, "utf-8", 5) == 0 || strncasecmp(charset, "utf8", 4) == 0;
}

enum shape { SHAPE_OK, SHAPE_DEEP, SHAPE_NUL };

static enum shape shape_of(const json_t *value, int depth)
{
    enum shape shape = SHAPE_OK;
    const char *name;
    json_t *member;
    size_t index;

    if (depth > JSON_DEPTH_MAX)
        return SHAPE_DEEP;
    if (json_is_string(value))
        return strlen(json_string_value(value)) == json_string_length(value) ? SHAPE_OK : SHAPE_NUL;
    if (json_is_array(value)) {
        json_array_foreach(value, index, member)
        {
            if ((shape = shape_of(member, depth + 1)) != SHAPE_OK)
                return shape;
        }
    }
    if (json_is_object(value)) {
        json_object_foreach((json_t *)(uintptr_t)value, name, member)
        {
            if ((shape = shape_of(member, depth + 1)) != SHAPE_OK)
                return shape;
        }
    }
    return SHAPE_OK;
}

bool intake_shape(const json_t *value, struct error *error)
{
    switch (shape_of(value, 1)) {
    case SHAPE_DEEP: return error_set(error, "nested deeper than %d levels", JSON_DEPTH_MAX);
    case SHAPE_NUL: return error_set(error, "\\u0000 is not accepted");
    default: return true;
    }
}

static void answer_malformed(struct request *request, const json_error_t *error)
{
    switch (json_error_code(error)) {
    case json_error_duplicate_key:
        request_problem(request, 422, "duplicate-name", "a name stands twice in one object: %s",
                        error->text);
        break;
    case json_error_null_byte_in_key:
        request_problem(request, 422, "nul", "\\u0000 is not accepted");
        break;
    case json_error_stack_overflow:
        request_problem(request, 400, "too-deep", "nested too deep");
        break;
    case json_error_numeric_overflow:
        request_problem(request, 422, "number-range", "a number is too large");
        break;
    default:
        request_problem(request, 400, "invalid-json", "the body is not JSON: %s (byte %d)",
                        input_is_utf8(error->text, strlen(error->text)) ? error->text : "not UTF-8",
                        error->position);
    }
}

static bool check_shape(struct request *request)
{
    switch (shape_of(request->body, 1)) {
    case SHAPE_DEEP:
        request_problem(request, 400, "too-deep", "nested deeper than %d levels", JSON_DEPTH_MAX);
        return false;
    case SHAPE_NUL: request_problem(request, 422, "nul", "\\u0000 is not accepted"); return false;
    case SHAPE_OK: break;
    }
    if (json_is_object(request->body))
        return true;
    request_problem(request, 400, "not-an-object", "the body must be a JSON object");
    return false;
}

bool intake_size(struct request *request)
{
    const struct settings *settings = request->admin->settings;
    size_t length = evbuffer_get_length(evhttp_request_get_input_buffer(request->http));
    int64_t longest = request->route->flags & ROUTE_ROWS ? settings->admin_bulk_bytes_max
                                                         : settings->admin_body_bytes_max;

    if ((int64_t)length <= longest)
        return true;
    request_problem(request, 413, "too-large", "the body is longer than %lld bytes",
                    (long long)longest);
    return false;
}

bool intake_json(struct request *request)
{
    struct evbuffer *buffer = evhttp_request_get_input_buffer(request->http);
    size_t length = evbuffer_get_length(buffer);
    const char *text = (const char *)evbuffer_pullup(buffer, -1);
    json_error_t error;

    if (!text || memchr(text, '\0', length)) { /* libjansson takes a NUL for the end */
        request_problem(request, 400, "invalid-json", "the body is not JSON: a NUL byte");
        return false;
    }
    request->body =
        json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (!request->body) {
        answer_malformed(request, &error);
        return false;
    }
    return check_shape(request);
}

bool intake_body(struct request *request)
{
    struct evkeyvalq *headers = evhttp_request_get_input_headers(request->http);
    size_t length = evbuffer_get_length(evhttp_request_get_input_buffer(request->http));

    if (!intake_is_type(evhttp_find_header(headers, "Content-Type"), "application/json")) {
        request_problem(request, 415, "not-json", "Content-Type must be application/json");
        return false;
    }
    if (length == 0) {
        request_problem(request, 400, "empty", "the body is empty");
        return false;
    }
    return intake_json(request);
}

bool intake_rows(struct request *request, enum rows_format *format)
{
    struct evkeyvalq *headers = evhttp_request_get_input_headers(request->http);
    size_t length = evbuffer_get_length(evhttp_request_get_input_buffer(request->http));

    if (!rows_format_of(evhttp_find_header(headers, "Content-Type"), format))
        request_problem(request, 415, "not-rows",
                        "Content-Type must be application/json, application/x-ndjson or text/csv");
    else if (length == 0)
        request_problem(request, 400, "empty", "the body is empty");
    else
        return true;
    return false;
}
