#pragma once
/* The route table: one row per route. Adding a route is a row here and a handler in the file of its
 * resource; /v1/openapi.json is made from the same rows. */
#include "server/admin/request/request.h"
#include "shared/error.h"

struct resource;

enum route_flag {
    ROUTE_BODY = 1u << 0,       /* takes a JSON object */
    ROUTE_STORE_AWAY = 1u << 1, /* is served, to keys seen lately, while PostgreSQL is away */
    ROUTE_GUARDED = 1u << 2,    /* its handler asks PostgreSQL by request_run() alone, before all */
    ROUTE_LIST = 1u << 3,       /* answers {"items", "next_cursor"} */
    ROUTE_OPEN = 1u << 4,       /* needs no key */
    ROUTE_CREATED = 1u << 5,    /* answers 201 */
    ROUTE_ROWS = 1u << 6,       /* takes many rows: JSON, NDJSON or CSV; the handler reads them */
};

struct route {
    enum evhttp_cmd_type method;
    const char *path; /* "{id}" stands for a number, any other name for a word */
    enum scope scope; /* the least that may call it */
    unsigned flags;   /* enum route_flag */
    void (*handle)(struct request *request);
    const char *summary;
    struct resource *resource; /* what it makes, reads, changes or lists; NULL: its own thing */
    const char *parameters;    /* of its own: "name: what it is\n…"; NULL: none */
    const char *example;       /* body (NULL: the resource's), or query ("?q=x") */
};

enum route_match { ROUTE_FOUND, ROUTE_NO_PATH, ROUTE_NO_METHOD };

/* Finds the row for `method` and `path` (undecoded, without query) and reads what stands in its
 * braces. HEAD finds GET's row. On ROUTE_NO_METHOD `allow` ("GET, POST") says what the path takes. */
enum route_match route_find(enum evhttp_cmd_type method, const char *path,
                            const struct route **route, uint64_t *id, char name[REQUEST_NAME_MAX],
                            char allow[64]);

/* Makes the statements of all resources in the table; once, at start. */
bool routes_prepare(struct error *error) MUST_CHECK;

/* The table, for those who describe it. */
const struct route *routes_all(size_t *count);
