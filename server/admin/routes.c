/* See routes.h. */
#include "server/admin/routes.h"

#include <stdio.h>
#include <string.h>

#include "server/admin/domains.h"
#include "server/admin/input.h"
#include "server/admin/links.h"
#include "server/admin/stats.h"

static const struct route routes[] = {
    {EVHTTP_REQ_POST, "/v1/links", SCOPE_WRITE, ROUTE_BODY, links_on_create, "Make a link"},
    {EVHTTP_REQ_GET, "/v1/links", SCOPE_READ, 0, links_on_list, "List links"},
    {EVHTTP_REQ_GET, "/v1/links/{id}", SCOPE_READ, 0, links_on_get, "Read a link"},
    {EVHTTP_REQ_PATCH, "/v1/links/{id}", SCOPE_WRITE, ROUTE_BODY, links_on_update, "Change a link"},
    {EVHTTP_REQ_DELETE, "/v1/links/{id}", SCOPE_WRITE, 0, links_on_archive,
     "Archive a link; its statistics stay"},
    {EVHTTP_REQ_GET, "/v1/links/{id}/stats", SCOPE_READ, ROUTE_STORE_AWAY, stats_on_link,
     "Clicks of a link, live and stored"},
    {EVHTTP_REQ_POST, "/v1/domains", SCOPE_ADMIN, ROUTE_BODY, domains_on_create,
     "Register a domain"},
    {EVHTTP_REQ_GET, "/v1/domains", SCOPE_READ, 0, domains_on_list, "List domains"},
    {EVHTTP_REQ_GET, "/v1/domains/{id}", SCOPE_READ, 0, domains_on_get, "Read a domain"},
    {EVHTTP_REQ_PATCH, "/v1/domains/{id}", SCOPE_ADMIN, ROUTE_BODY, domains_on_update,
     "Change a domain"},
};
#define ROUTE_COUNT (sizeof routes / sizeof routes[0])

static const char *method_name(enum evhttp_cmd_type method)
{
    switch (method) {
    case EVHTTP_REQ_GET: return "GET, HEAD";
    case EVHTTP_REQ_POST: return "POST";
    case EVHTTP_REQ_PATCH: return "PATCH";
    case EVHTTP_REQ_DELETE: return "DELETE";
    default: return "PUT";
    }
}

/* True if `path` has the shape of `pattern`; reads the number at "{id}". */
static bool path_fits(const char *pattern, const char *path, uint64_t *id)
{
    char number[24];
    size_t length;

    while (*pattern) {
        if (*pattern != '{') {
            if (*pattern++ != *path++)
                return false;
            continue;
        }
        length = strcspn(path, "/");
        if (length >= sizeof number)
            return false;
        snprintf(number, sizeof number, "%.*s", (int)length, path);
        if (!input_to_id(number, id))
            return false;
        path += length;
        pattern = strchr(pattern, '}') + 1;
    }
    return *path == '\0';
}

enum route_match route_find(enum evhttp_cmd_type method, const char *path,
                            const struct route **route, uint64_t *id, char allow[64])
{
    size_t used = 0;

    if (method == EVHTTP_REQ_HEAD)
        method = EVHTTP_REQ_GET;
    allow[0] = '\0';
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        if (!path_fits(routes[i].path, path, id))
            continue;
        if (routes[i].method == method) {
            *route = &routes[i];
            return ROUTE_FOUND;
        }
        used += (size_t)snprintf(allow + used, 64 - used, "%s%s", used ? ", " : "",
                                 method_name(routes[i].method));
    }
    return used ? ROUTE_NO_METHOD : ROUTE_NO_PATH;
}
