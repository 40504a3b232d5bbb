/* See openapi.h. The document is made at the first request and kept. */
#include "server/admin/openapi.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "server/admin/fields/fields.h"
#include "server/admin/fields/list.h"
#include "server/admin/routes.h"

#define NAME_MAX_BYTES 128

/* --- schemas of fields --- */

static json_t *reference(const char *name)
{
    return json_pack("{s:o}", "$ref", json_sprintf("#/components/schemas/%s", name));
}

/* A type, or that and null. */
static json_t *type_of(const char *name, bool null)
{
    return null ? json_pack("[s, s]", name, "null") : json_string(name);
}

static json_t *typed(const char *name, bool null)
{
    return json_pack("{s:o}", "type", type_of(name, null));
}

static json_t *or_null(json_t *schema, bool null)
{
    return null ? json_pack("{s:[o, {s:s}]}", "oneOf", schema, "type", "null") : schema;
}

static json_t *choices_schema(const struct field *field, bool null)
{
    json_t *schema = typed("string", null), *list = json_array();
    const char *at = field->choices;

    while (*at) {
        size_t length = strcspn(at, " ");

        json_array_append_new(list, json_stringn(at, length));
        at += length + (at[length] == ' ');
    }
    if (null)
        json_array_append_new(list, json_null());
    json_object_set_new(schema, "enum", list);
    return schema;
}

static json_t *text_schema(const struct field *field, bool null)
{
    json_t *schema;

    if (field->choices)
        return choices_schema(field, null);
    schema = typed("string", null);
    if (field->longest)
        json_object_set_new(schema, "maxLength", json_integer((json_int_t)field->longest));
    return schema;
}

static json_t *number_schema(const struct field *field, const char *type, bool null)
{
    json_t *schema = typed(type, null);

    if (field->lowest || field->highest) {
        json_object_set_new(schema, "minimum", json_integer(field->lowest));
        if (field->highest != INT64_MAX)
            json_object_set_new(schema, "maximum", json_integer(field->highest));
    }
    return schema;
}

static json_t *json_schema(const struct field *field, bool null)
{
    json_t *schema = field->schema ? json_loads(field->schema, 0, NULL) : NULL;

    assert(schema || !field->schema);
    if (!schema)
        return typed("object", null);
    return or_null(schema, null && !json_is_array(json_object_get(schema, "type")));
}

static json_t *formatted(const char *format, bool null)
{
    json_t *schema = typed("string", null);

    json_object_set_new(schema, "format", json_string(format));
    return schema;
}

/* `given`: as it is sent; else as it is shown. */
static json_t *field_schema(const struct field *field, bool given)
{
    bool null = given ? (field->flags & FIELD_NULLABLE) != 0
                      : (field->flags & (FIELD_NULLABLE | FIELD_INTERNAL)) ||
                            !(field->flags & FIELD_WRITABLE);

    switch (field->type) {
    case FIELD_INTEGER: return number_schema(field, "integer", null);
    case FIELD_NUMBER: return number_schema(field, "number", null);
    case FIELD_BOOL: return typed("boolean", null);
    case FIELD_TEXT: return text_schema(field, null);
    case FIELD_TIME: return formatted("date-time", null);
    case FIELD_DATE: return formatted("date", null);
    case FIELD_JSON: return json_schema(field, null);
    case FIELD_TAGS: return json_pack("{s:s, s:{s:s}}", "type", "array", "items", "type", "string");
    case FIELD_MONEY: return or_null(reference(given ? "MoneyGiven" : "Money"), null);
    case FIELD_REFERENCE:
        if (!given)
            return typed("integer", null);
        return null ? json_pack("{s:[s, s, s]}", "type", "integer", "string", "null")
                    : json_pack("{s:[s, s]}", "type", "integer", "string");
    }
    return typed("string", null);
}

/* --- schemas of resources --- */

/* "post metric" to "PostMetric". */
static void class_of(const struct resource *resource, char out[NAME_MAX_BYTES])
{
    size_t length = 0;
    bool start = true;

    for (const char *c = resource->name; *c && length + 1 < NAME_MAX_BYTES; c++) {
        if (*c == ' ' || *c == '_')
            start = true;
        else
            out[length++] = start ? (char)toupper((unsigned char)*c) : *c;
        start = start && (*c == ' ' || *c == '_');
    }
    out[length] = '\0';
}

/* `use`: FIELD_CREATE, FIELD_UPDATE, or 0 for what is shown. */
static json_t *resource_schema(const struct resource *resource, unsigned use)
{
    json_t *properties = json_object(), *required = json_array(), *schema;

    for (size_t i = 0; i < resource->count; i++) {
        const struct field *field = &resource->fields[i];
        json_t *property;

        if ((use && !(field->flags & use)) || (use && (field->flags & FIELD_INTERNAL)) ||
            (!use && (field->flags & FIELD_HIDDEN)))
            continue;
        property = field_schema(field, use != 0);
        if (field->what)
            json_object_set_new(property, "description", json_string(field->what));
        json_object_set_new(properties, field->name, property);
        if (!use || (use == FIELD_CREATE && (field->flags & FIELD_REQUIRED)))
            json_array_append_new(required, json_string(field->name));
    }
    schema = json_pack("{s:s, s:o}", "type", "object", "properties", properties);
    if (use)
        json_object_set_new(schema, "additionalProperties", json_false());
    if (json_array_size(required) > 0)
        json_object_set(schema, "required", required);
    json_decref(required);
    return schema;
}

static void add_resource(json_t *schemas, const struct resource *resource)
{
    char name[NAME_MAX_BYTES], given[NAME_MAX_BYTES + 8];

    class_of(resource, name);
    if (json_object_get(schemas, name))
        return;
    json_object_set_new(schemas, name, resource_schema(resource, 0));
    snprintf(given, sizeof given, "%sCreate", name);
    json_object_set_new(schemas, given, resource_schema(resource, FIELD_CREATE));
    snprintf(given, sizeof given, "%sUpdate", name);
    json_object_set_new(schemas, given, resource_schema(resource, FIELD_UPDATE));
}

static const char common_schemas[] =
    "{\"Problem\": {\"type\": \"object\", \"description\": \"RFC 9457\","
    "  \"required\": [\"type\", \"title\", \"status\", \"detail\"], \"properties\": {"
    "  \"type\": {\"type\": \"string\"}, \"title\": {\"type\": \"string\"},"
    "  \"status\": {\"type\": \"integer\"}, \"detail\": {\"type\": \"string\"},"
    "  \"errors\": {\"type\": \"array\", \"items\": {\"type\": \"object\", \"required\": "
    "[\"detail\"],"
    "   \"properties\": {\"pointer\": {\"type\": \"string\", \"description\": \"JSON pointer\"},"
    "   \"parameter\": {\"type\": \"string\"}, \"detail\": {\"type\": \"string\"}}}}}},"
    " \"Money\": {\"type\": \"object\", \"required\": [\"amount_minor\", \"currency\"],"
    "  \"properties\": {\"amount_minor\": {\"type\": \"integer\", \"description\":"
    "  \"in minor units (cents)\"}, \"currency\": {\"type\": \"string\", \"description\":"
    "  \"ISO 4217\"}}},"
    " \"MoneyGiven\": {\"type\": \"object\", \"description\":"
    "  \"exactly one of amount_minor and amount\", \"required\": [\"currency\"],"
    "  \"additionalProperties\": false, \"properties\": {\"amount_minor\": {\"type\": \"integer\"},"
    "  \"amount\": {\"type\": \"string\", \"description\": \"in major units, such as 12.50\"},"
    "  \"currency\": {\"type\": \"string\"}}},"
    " \"Profile\": {\"type\": \"object\", \"required\": [\"platform\", \"url\"],"
    "  \"additionalProperties\": false, \"properties\": {\"platform\": {\"type\": \"string\"},"
    "  \"url\": {\"type\": \"string\"}, \"handle\": {\"type\": [\"string\", \"null\"]},"
    "  \"followers\": {\"type\": [\"integer\", \"null\"]},"
    "  \"external_id\": {\"type\": [\"string\", \"null\"]}}}}";

static json_t *make_schemas(void)
{
    json_t *schemas = json_loads(common_schemas, 0, NULL);
    size_t count;
    const struct route *routes = routes_all(&count);

    assert(schemas);
    for (size_t i = 0; i < count; i++) {
        if (routes[i].resource)
            add_resource(schemas, routes[i].resource);
    }
    return schemas;
}

/* --- operations --- */

static void add_parameter(json_t *list, const char *name, const char *in, const char *what,
                          json_t *schema)
{
    json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:s, s:o}", "name", name, "in", in,
                                          "required", strcmp(in, "path") == 0, "description", what,
                                          "schema", schema));
}

static void add_path_parameter(json_t *list, const char *path)
{
    const char *at = strchr(path, '{');
    char name[NAME_MAX_BYTES];
    bool number = at && strncmp(at, "{id}", 4) == 0;

    if (!at)
        return;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(at + 1, "}"), at + 1);
    add_parameter(list, name, "path", number ? "Its number" : "Its name",
                  typed(number ? "integer" : "string", false));
}

/* "name: what\n…" of the route itself. */
static void add_own_parameters(json_t *list, const char *text)
{
    char name[NAME_MAX_BYTES], what[256];

    while (text && *text) {
        size_t line = strcspn(text, "\n"), colon = strcspn(text, ":");

        assert(colon + 2 < line);
        snprintf(name, sizeof name, "%.*s", (int)colon, text);
        snprintf(what, sizeof what, "%.*s", (int)(line - colon - 2), text + colon + 2);
        add_parameter(list, name, "query", what, typed("string", false));
        text += line + (text[line] == '\n');
    }
}

/* What a path that ends like a file's name answers; NULL: JSON. */
static const char *answer_type(const char *path)
{
    static const struct {
        const char *end, *type;
    } known[] = {{".csv", "text/csv"},
                 {".ndjson", "application/x-ndjson"},
                 {".svg", "image/svg+xml"},
                 {".png", "image/png"}};
    const char *end = strrchr(path, '.');

    for (size_t i = 0; end && i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(known[i].end, end) == 0)
            return known[i].type;
    }
    return NULL;
}

static void add_page_parameters(json_t *list)
{
    json_t *limit = typed("integer", false);

    json_object_update_new(limit, json_pack("{s:i, s:i, s:i}", "minimum", 1, "maximum",
                                            LIST_LIMIT_MAX, "default", LIST_LIMIT_DEFAULT));
    add_parameter(list, "limit", "query", "How many at most", limit);
    add_parameter(list, "cursor", "query", "next_cursor of the page before",
                  typed("string", false));
}

static void add_filters(json_t *list, const struct resource *resource)
{
    for (size_t i = 0; i < resource->count; i++) {
        const struct field *field = &resource->fields[i];
        bool status = resource->status && strcmp(resource->status, field->name) == 0;
        json_t *schema;

        if (!status && !(field->flags & FIELD_FILTER))
            continue;
        schema =
            field->type == FIELD_REFERENCE ? typed("string", false) : field_schema(field, true);
        if (field->flags & FIELD_NULLABLE) {
            json_decref(schema);
            schema = typed("string", false);
        }
        if (status)
            json_array_append_new(json_object_get(schema, "enum"), json_string("all"));
        add_parameter(list, field->name, "query", field->what, schema);
    }
    for (size_t i = 0; i < FILTERS_MAX && resource->filters[i].parameter; i++)
        add_parameter(list, resource->filters[i].parameter, "query", resource->filters[i].what,
                      typed("string", false));
}

static json_t *make_parameters(const struct route *route)
{
    json_t *list = json_array();

    add_path_parameter(list, route->path);
    if (route->resource && (route->flags & ROUTE_LIST))
        add_page_parameters(list);
    if (route->resource && ((route->flags & ROUTE_LIST) || answer_type(route->path)))
        add_filters(list, route->resource);
    add_own_parameters(list, route->parameters);
    if (route->method == EVHTTP_REQ_POST)
        add_parameter(list, "Idempotency-Key", "header",
                      "Sent again within 24 hours with the same body: the first answer again",
                      typed("string", false));
    if (route->resource &&
        (route->method == EVHTTP_REQ_PATCH || route->method == EVHTTP_REQ_DELETE))
        add_parameter(list, "If-Match", "header", "ETag that it must still have; else 412",
                      typed("string", false));
    return list;
}

static json_t *make_body(const struct route *route)
{
    bool creating = route->method == EVHTTP_REQ_POST;
    const char *example = route->example;
    json_t *schema = NULL, *content;
    char name[NAME_MAX_BYTES], given[NAME_MAX_BYTES + 8];

    if (route->resource && !example) {
        class_of(route->resource, name);
        snprintf(given, sizeof given, "%s%s", name, creating ? "Create" : "Update");
        schema = reference(given);
        example = creating ? route->resource->example : route->resource->example_change;
    }
    content = json_pack("{s:o}", "schema", schema ? schema : typed("object", false));
    if (example) {
        json_t *value = json_loads(example, 0, NULL);

        assert(value);
        json_object_set_new(content, "example", value);
    }
    return json_pack("{s:b, s:{s:o}}", "required", 1, "content", "application/json", content);
}

/* Many rows, in any of their formats; what the example of JSON is made of says its shape. */
static json_t *make_rows(const struct route *route)
{
    json_t *example = json_loads(route->example, 0, NULL);
    const char *type = json_is_array(example) ? "array" : "object";

    assert(example);
    return json_pack("{s:b, s:{s:{s:o, s:o}, s:{s:o}, s:{s:o}}}", "required", 1, "content",
                     "application/json", "schema", typed(type, false), "example", example,
                     "application/x-ndjson", "schema", typed("string", false), "text/csv", "schema",
                     typed("string", false));
}

static json_t *answer_schema(const struct route *route)
{
    char name[NAME_MAX_BYTES];

    if (!route->resource)
        return typed("object", false);
    class_of(route->resource, name);
    if (!(route->flags & ROUTE_LIST))
        return reference(name);
    return json_pack("{s:s, s:[s, s], s:{s:{s:s, s:o}, s:o}}", "type", "object", "required",
                     "items", "next_cursor", "properties", "items", "type", "array", "items",
                     reference(name), "next_cursor", typed("string", true));
}

static json_t *make_responses(const struct route *route)
{
    const char *type = answer_type(route->path);
    json_t *responses = json_object();
    json_t *good = json_pack("{s:s, s:{s:{s:o}}}", "description", route->summary, "content",
                             type ? type : "application/json", "schema",
                             type ? typed("string", false) : answer_schema(route));

    if ((route->flags & ROUTE_CREATED) && route->resource && route->resource->external)
        json_object_set(responses, "200", good); /* it was there already */
    json_object_set_new(responses, route->flags & ROUTE_CREATED ? "201" : "200", good);
    json_object_set_new(responses, "default",
                        json_pack("{s:s, s:{s:{s:o}}}", "description", "A problem", "content",
                                  "application/problem+json", "schema", reference("Problem")));
    return responses;
}

static const char *method_of(const struct route *route)
{
    switch (route->method) {
    case EVHTTP_REQ_GET: return "get";
    case EVHTTP_REQ_POST: return "post";
    case EVHTTP_REQ_PATCH: return "patch";
    case EVHTTP_REQ_DELETE: return "delete";
    default: return "put";
    }
}

/* "get" and "/v1/links/{id}/stats" to "getLinksIdStats". */
static void operation_of(const struct route *route, char out[NAME_MAX_BYTES])
{
    size_t length = (size_t)snprintf(out, NAME_MAX_BYTES, "%s", method_of(route));
    bool start = true;

    for (const char *c = route->path + strlen("/v1"); *c && length + 1 < NAME_MAX_BYTES; c++) {
        if (isalnum((unsigned char)*c))
            out[length++] = start ? (char)toupper((unsigned char)*c) : *c;
        start = !isalnum((unsigned char)*c);
    }
    out[length] = '\0';
}

static json_t *make_operation(const struct route *route)
{
    static const char *const scopes[] = {"none", "conversions", "read", "write", "admin"};
    char name[NAME_MAX_BYTES];
    json_t *operation;

    operation_of(route, name);
    operation = json_pack("{s:s, s:s, s:s, s:o, s:o}", "operationId", name, "summary",
                          route->summary, "x-scope", scopes[route->scope], "parameters",
                          make_parameters(route), "responses", make_responses(route));
    if (route->flags & ROUTE_BODY)
        json_object_set_new(operation, "requestBody", make_body(route));
    if (route->flags & ROUTE_ROWS) {
        json_object_set_new(operation, "requestBody", make_rows(route));
        json_object_set_new(operation, "x-streams", json_true());
    } else if (!(route->flags & ROUTE_BODY) && route->example) {
        json_object_set_new(operation, "x-example-query", json_string(route->example));
    }
    if (route->flags & ROUTE_OPEN)
        json_object_set_new(operation, "security", json_array());
    return operation;
}

static json_t *make_paths(void)
{
    json_t *paths = json_object();
    size_t count;
    const struct route *routes = routes_all(&count);

    for (size_t i = 0; i < count; i++) {
        json_t *path = json_object_get(paths, routes[i].path);

        if (!path) {
            path = json_object();
            json_object_set_new(paths, routes[i].path, path);
        }
        json_object_set_new(path, method_of(&routes[i]), make_operation(&routes[i]));
    }
    return paths;
}

static json_t *make_document(void)
{
    return json_pack(
        "{s:s, s:{s:s, s:s, s:s}, s:[{s:s}], s:[{s:[]}], s:o, s:{s:o, s:{s:{s:s, s:s}}}}",
        "openapi", "3.1.0", "info", "title", "Kudos", "version", KUDOS_VERSION, "description",
        "Short links and codes for influencers. See server/admin/README.md.", "servers", "url", "/",
        "security", "key", "paths", make_paths(), "components", "schemas", make_schemas(),
        "securitySchemes", "key", "type", "http", "scheme", "bearer");
}

void openapi_on_get(struct request *request)
{
    static json_t *document; /* kept for the life of the process */

    if (!document)
        document = make_document();
    assert(document);
    request_answer(request, 200, json_incref(document));
}
