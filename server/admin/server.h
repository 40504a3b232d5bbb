#pragma once
/* The admin plane: one event loop that serves marketers' HTTP calls. See server/admin/README.md for
 * the API, server.c for the loop. This is what handlers find through request->admin. */
#include <event2/event.h>
#include <event2/http.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/settings.h"

struct auth;
struct gather;
struct hooks;
struct live;
struct pool;
struct replica;
struct role_context;
struct totals;

struct admin {
    struct role_context *context;
    const struct settings *settings; /* context's own; renewed by SIGHUP */
    struct event_base *base;
    struct event *signals, *maintenance;
    struct evhttp *http;
    struct evhttp_bound_socket *socket;
    struct pool *pool;
    struct auth *auth;
    struct gather *gather;
    struct hooks *hooks; /* NULL: no webhooks are taken here */
    struct live *live;
    struct totals *totals;
    struct replica *replica; /* NULL while it cannot be opened */
    uint64_t maintained;     /* rounds of maintenance */
    size_t in_flight;        /* requests not answered yet */
    int64_t answered_us;     /* monotonic; when the last answer was handed to evhttp */
    bool stopping;
};
