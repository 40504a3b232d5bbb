#pragma once
/* The route table: one row per route. Adding a route is a row here and a handler in the file of its
 * resource. */
#include "server/admin/request.h"

enum route_flag {
    ROUTE_BODY = 1u << 0,       /* takes a JSON object */
    ROUTE_STORE_AWAY = 1u << 1, /* is served, to keys seen lately, while PostgreSQL is away */
};

struct route {
    enum evhttp_cmd_type method;
    const char *path; /* "{id}" stands for a number */
    enum scope scope; /* the least that may call it */
    unsigned flags;   /* enum route_flag */
    void (*handle)(struct request *request);
    const char *summary;
};

enum route_match { ROUTE_FOUND, ROUTE_NO_PATH, ROUTE_NO_METHOD };

/* Finds the row for `method` and `path` (undecoded, without query) and reads {id}. HEAD finds GET's
 * row. On ROUTE_NO_METHOD `allow` ("GET, POST") says what the path takes. */
enum route_match route_find(enum evhttp_cmd_type method, const char *path,
                            const struct route **route, uint64_t *id, char allow[64]);
