/* See explain_request.h. */
#include "server/redirect/explain_request.h"

#include <stdio.h>
#include <string.h>

#include "server/visitor/networks.h"
#include "shared/timestamp.h"

#define NO_HOST "unknown.invalid" /* no domain of anybody's: served as the default domain */

/* What is read while the request is put together. */
struct reading {
    struct explain_request *out;
    struct text known[HTTP_NAME_OTHER];
};

static struct text text_of(const json_t *string)
{
    return (struct text){json_string_value(string), json_string_length(string)};
}

/* Headers ----------------------------------------------------------------------------------------- */

/* A list goes on with ", "; of any other header the first line counts, as in the service. */
static bool add_header(struct reading *reading, struct text name, struct text value,
                       struct error *error)
{
    enum http_name which = http_name_of(name.bytes, name.length);
    struct explain_request *out = reading->out;
    char *at = out->joined + out->joined_used;
    struct text *field;

    if (which == HTTP_NAME_OTHER)
        return true;
    field = &reading->known[which];
    value = text_trim(value);
    if (!field->bytes) {
        *field = value;
        return true;
    }
    if (which != HTTP_NAME_FORWARDED && which != HTTP_NAME_X_FORWARDED_FOR)
        return true;
    if (out->joined_used + field->length + value.length + 2 > EXPLAIN_LISTS_MAX)
        return error_set(error, "headers are too long");
    memcpy(at, field->bytes, field->length);
    memcpy(at + field->length, ", ", 2);
    memcpy(at + field->length + 2, value.bytes, value.length);
    *field = (struct text){at, field->length + 2 + value.length};
    out->joined_used += field->length;
    return true;
}

static bool add_value(struct reading *reading, const char *name, const json_t *value,
                      struct error *error)
{
    if (json_is_null(value))
        return true;
    if (!json_is_string(value))
        return error_set(error, "header \"%.60s\" is no string", name);
    return add_header(reading, (struct text){name, strlen(name)}, text_of(value), error);
}

static bool add_line(struct reading *reading, const json_t *line, struct error *error)
{
    struct text value = text_of(line), name;

    if (!value.bytes)
        return error_set(error, "a header line is no string");
    name = text_cut(&value, ':');
    if (!value.bytes)
        return error_set(error, "a header line has no colon");
    return add_header(reading, name, value, error);
}

static bool add_values(struct reading *reading, const char *name, json_t *value,
                       struct error *error)
{
    if (!json_is_array(value))
        return add_value(reading, name, value, error);
    for (size_t i = 0; i < json_array_size(value); i++)
        if (!add_value(reading, name, json_array_get(value, i), error))
            return false;
    return true;
}

static bool read_headers(struct reading *reading, json_t *headers, struct error *error)
{
    const char *name;
    json_t *value;

    if (!headers || json_is_null(headers))
        return true;
    if (!json_is_array(headers) && !json_is_object(headers))
        return error_set(error, "\"headers\" is neither an object nor an array");
    for (size_t i = 0; i < json_array_size(headers); i++)
        if (!add_line(reading, json_array_get(headers, i), error))
            return false;
    json_object_foreach(headers, name, value)
    {
        if (!add_values(reading, name, value, error))
            return false;
    }
    return true;
}

/* Who, when ------------------------------------------------------------------------------------- */

static bool read_peer(const json_t *json, struct explain_request *out, struct error *error)
{
    const json_t *ip = json_object_get(json, "ip");

    out->peer.ss_family = AF_UNSPEC;
    if (!ip)
        ip = json_object_get(json, "peer");
    if (!ip || json_is_null(ip))
        return true;
    if (!json_is_string(ip) || !network_address(text_of(ip), &out->peer))
        return error_set(error, "\"ip\" is no address");
    return true;
}

static bool read_time(const json_t *json, struct explain_request *out, struct error *error)
{
    const json_t *time = json_object_get(json, "time");

    out->time_us = 0;
    if (!time || json_is_null(time))
        return true;
    if (!json_is_string(time) || !timestamp_parse(text_of(time), &out->time_us))
        return error_set(error, "\"time\" is no time such as 2026-06-01T00:00:00Z");
    return true;
}

/* What -------------------------------------------------------------------------------------------- */

/* Method, target and Host, parsed as if they had been sent. What a parser refuses has no target. */
static bool read_line(const json_t *json, const struct http_limits *limits, struct text host,
                      struct explain_request *out, struct http_head *head, struct error *error)
{
    const json_t *method = json_object_get(json, "method"),
                 *target = json_object_get(json, "target");
    int length, taken;

    *head = (struct http_head){.method = HTTP_OTHER};
    out->status = 0;
    out->has_target = target && !json_is_null(target);
    if (!out->has_target)
        return true;
    if (!json_is_string(target) || (method && !json_is_string(method)))
        return error_set(error, "\"method\" or \"target\" is no string");
    length = snprintf(out->head, sizeof out->head, "%s %s HTTP/1.1\r\nHost: %.*s\r\n\r\n",
                      method ? json_string_value(method) : "GET", json_string_value(target),
                      (int)host.length, host.bytes);
    if ((size_t)length >= sizeof out->head) {
        out->status = 414;
        return true;
    }
    taken = http_head_parse(out->head, (size_t)length, 0, limits, head);
    if (taken != length)
        out->status = taken == HTTP_HEAD_BAD ? head->status : 400;
    if (out->status)
        *head = (struct http_head){.method = HTTP_OTHER};
    return true;
}

bool explain_read(json_t *json, const struct http_limits *limits, struct explain_request *out,
                  struct error *error)
{
    struct reading reading = {.out = out};
    struct http_head head;
    struct text host;

    out->joined_used = 0;
    if (!json_is_object(json))
        return error_set(error, "not an object");
    if (!read_peer(json, out, error) || !read_time(json, out, error) ||
        !read_headers(&reading, json_object_get(json, "headers"), error))
        return false;
    host = reading.known[HTTP_NAME_HOST];
    if (!read_line(json, limits, host.length ? host : TEXT(NO_HOST), out, &head, error))
        return false;
    reading.known[HTTP_NAME_HOST] = head.known[HTTP_NAME_HOST];
    memcpy(head.known, reading.known, sizeof head.known);
    request_read(&head, &out->request);
    return true;
}
