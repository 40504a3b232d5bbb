/* The admin plane: `kudos-admin`, one process, one loop.
 *
 * evhttp accepts on the inherited socket and hands over whole requests; a request is checked
 * (intake.c), routed (routes.c), authorised (auth.c) and handled (one file per resource). Handlers
 * never wait: PostgreSQL is asked through pool.c, Redis through totals.c, the replica through
 * live.c, and each calls back. The loop goes round by round, so that what was gathered in a round
 * (a NOTIFY) leaves at its end.
 *
 * What is answered 2xx is committed. What is in flight when the process is killed is committed or
 * not, as PostgreSQL has it; nothing is kept here. On ROLE_STOP it accepts no more, answers what is
 * in flight, and returns within stop_timeout_ms.
 *
 * Bounded: requests by POOL_QUEUE_MAX and LIVE_MAX, bodies by admin_body_bytes_max and admin_bulk_bytes_max, heads by
 * ADMIN_HEAD_MAX, silent connections by ADMIN_IDLE_S. */
#include "server/admin/server.h"

#include <assert.h>
#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/bulk/bulk.h"
#include "server/admin/bulk/roster.h"
#include "server/admin/health.h"
#include "server/admin/hooks/hooks.h"
#include "server/admin/request/auth.h"
#include "server/admin/request/idempotency.h"
#include "server/admin/request/intake.h"
#include "server/admin/routes.h"
#include "server/admin/stores/gather.h"
#include "server/admin/stores/live.h"
#include "server/admin/stores/pool.h"
#include "server/admin/stores/totals.h"
#include "server/links/replica.h"
#include "server/metrics.h"
#include "server/role.h"
#include "shared/clock.h"
#include "shared/log.h"

#define ADMIN_HEAD_MAX     16384
#define ADMIN_IDLE_S       60
#define ADMIN_BODY_SLACK   65536 /* bodies this much too long still get a 413 as problem+json */
#define ADMIN_MAINTAIN_MS  1000
#define ADMIN_FORGET_EVERY 60      /* rounds of maintenance */
#define ADMIN_FORGET_MAX   "10000" /* idempotency keys */
#define ADMIN_PAUSE_MS     100     /* without accepting, when descriptors ran out */
#define ADMIN_FAREWELL_MS  200     /* for the last answers to leave, when stopping */
#define ADMIN_METHODS                                                                         \
    (EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST | EVHTTP_REQ_PUT | EVHTTP_REQ_PATCH | \
     EVHTTP_REQ_DELETE | EVHTTP_REQ_OPTIONS)

/* --- requests --- */

static void on_authorised(struct request *request)
{
    if ((request->route->flags & ROUTE_BODY) && !intake_body(request))
        return;
    if (idempotency_read(request))
        request->route->handle(request);
}

static void on_request(struct evhttp_request *http, void *argument)
{
    struct request *request = request_new(argument, http);
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(http);
    const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
    char allow[64];

    if (!request || !intake_framing(request) || !intake_host(request) || !intake_origin(request))
        return;
    switch (route_find(evhttp_request_get_command(http), path ? path : "", &request->route,
                       &request->id, request->name, allow)) {
    case ROUTE_NO_PATH: request_problem(request, 404, "not-found", "there is nothing here"); return;
    case ROUTE_NO_METHOD:
        request_header(request, "Allow", allow);
        request_problem(request, 405, "method", "this path takes %s", allow);
        return;
    case ROUTE_FOUND: break;
    }
    if (!intake_size(request) || !intake_query(request))
        return;
    if (request->route->flags & ROUTE_OPEN)
        on_authorised(request);
    else
        auth_request(request, on_authorised);
}

/* --- the listening socket --- */

static void on_resume(evutil_socket_t fd, short what, void *argument)
{
    struct admin *admin = argument;

    (void)fd;
    (void)what;
    if (!admin->stopping)
        evconnlistener_enable(evhttp_bound_socket_get_listener(admin->socket));
}

/* The process' one server, for on_accept_error(): evhttp owns the listener's argument. */
static struct admin *accepting;

/* Without descriptors, accepting again at once would only spin. */
static void on_accept_error(struct evconnlistener *listener, void *evhttps)
{
    struct admin *admin = accepting;
    struct timeval pause = {.tv_usec = ADMIN_PAUSE_MS * 1000};

    (void)evhttps;
    log_warn("accept_failed", "error=%s", strerror(errno));
    metrics->admin_accept_paused_total++;
    evconnlistener_disable(listener);
    event_base_once(admin->base, -1, EV_TIMEOUT, on_resume, admin, &pause);
}

static bool listen_on(struct admin *admin, int fd)
{
    const struct timeval idle = {.tv_sec = ADMIN_IDLE_S};
    int64_t longest;

    admin->http = evhttp_new(admin->base);
    if (!admin->http)
        return false;
    evhttp_set_max_headers_size(admin->http, ADMIN_HEAD_MAX);
    longest = admin->settings->admin_body_bytes_max;
    if (longest < admin->settings->admin_bulk_bytes_max)
        longest = admin->settings->admin_bulk_bytes_max;
    evhttp_set_max_body_size(admin->http, (ev_ssize_t)(longest + ADMIN_BODY_SLACK));
    evhttp_set_timeout_tv(admin->http, &idle);
    evhttp_set_allowed_methods(admin->http, ADMIN_METHODS);
    evhttp_set_flags(admin->http, EVHTTP_SERVER_LINGERING_CLOSE);
    evhttp_set_default_content_type(admin->http, NULL);
    evhttp_set_gencb(admin->http, on_request, admin);
    health_register(admin->http, admin->context->board);
    admin->socket = evhttp_accept_socket_with_handle(admin->http, fd);
    if (!admin->socket)
        return false;
    accepting = admin;
    evconnlistener_set_error_cb(evhttp_bound_socket_get_listener(admin->socket), on_accept_error);
    return true;
}

/* --- the loop --- */

static void open_replica(struct admin *admin)
{
    struct error error;

    admin->replica = replica_open(admin->settings->data_dir, &error);
    if (!admin->replica)
        log_warn("replica_unavailable", "error=%s", error.text);
}

static void on_forgotten(const struct pool_answer *answer, void *argument)
{
    (void)answer; /* what could not be deleted is tried again */
    (void)argument;
}

/* Idempotency keys whose time is over, some at a time. */
static void forget_keys(struct admin *admin)
{
    const char *most = ADMIN_FORGET_MAX;

    if (++admin->maintained % ADMIN_FORGET_EVERY == 0 && pool_up(admin->pool))
        pool_query(admin->pool, &idempotency_forget, 1, &most, on_forgotten, NULL);
}

static void on_maintain(evutil_socket_t fd, short what, void *argument)
{
    struct admin *admin = argument;

    (void)fd;
    (void)what;
    forget_keys(admin);
    if (admin->replica)
        replica_maintain(admin->replica, clock_mono_us());
    else
        open_replica(admin);
}

static void on_signal(evutil_socket_t fd, short what, void *argument)
{
    struct admin *admin = argument;

    (void)fd;
    (void)what;
    switch (role_poll()) {
    case ROLE_RELOAD: role_reload(admin->context); break;
    case ROLE_STOP:
        if (!admin->stopping) {
            evhttp_del_accept_socket(admin->http, admin->socket);
            hooks_stop(admin->hooks);
        }
        admin->stopping = true;
        break;
    case ROLE_CONTINUE: break;
    }
}

static bool start(struct admin *admin, struct error *error)
{
    const struct settings *settings = admin->settings;

    if (sodium_init() < 0)
        return error_set(error, "libsodium cannot start");
    if (!routes_prepare(error) || !bulk_prepare(error) || !roster_prepare(error))
        return false;
    admin->base = event_base_new();
    if (!admin->base)
        return error_set(error, "no event loop");
    open_replica(admin);
    admin->auth = auth_new();
    admin->pool = pool_new(admin->base, settings->database_url, "kudos-admin",
                           (unsigned)settings->admin_connections);
    admin->gather = gather_new(admin);
    admin->live = live_new(admin);
    admin->totals = totals_new(admin);
    if (!admin->auth || !admin->pool || !admin->gather || !admin->live || !admin->totals)
        return error_set(error, "out of memory");
    if (!listen_on(admin, admin->context->listen_fd))
        return error_set(error, "cannot listen");
    if (admin->context->hooks_fd >= 0 && !(admin->hooks = hooks_new(admin, error)))
        return false;
    return true;
}

/* True when everything is answered and has had time to leave, or the time to stop is over. */
static bool may_end(const struct admin *admin, int64_t stop_us)
{
    int64_t now_us = clock_mono_us();

    return now_us >= stop_us ||
           (admin->in_flight == 0 && now_us - admin->answered_us >= ADMIN_FAREWELL_MS * US_PER_MS);
}

static void serve(struct admin *admin)
{
    int64_t stop_us = 0;

    while (!admin->stopping || !may_end(admin, stop_us)) {
        event_base_loop(admin->base, EVLOOP_ONCE);
        gather_round(admin->gather);
        live_round(admin->live);
        metrics->postgres_up = pool_up(admin->pool);
        if (pool_tried(admin->pool))
            role_ready();
        if (admin->stopping && !stop_us)
            stop_us = clock_mono_us() + admin->settings->stop_timeout_ms * US_PER_MS;
    }
}

static void finish(struct admin *admin)
{
    pool_free(admin->pool);
    gather_free(admin->gather);
    live_free(admin->live);
    totals_free(admin->totals);
    auth_free(admin->auth);
    if (admin->replica)
        replica_close(admin->replica);
    if (admin->in_flight > 0)
        return; /* evhttp would free requests that somebody still holds; the process ends anyway */
    hooks_free(admin->hooks);
    evhttp_free(admin->http);
    event_free(admin->signals);
    event_free(admin->maintenance);
    event_base_free(admin->base);
}

int admin_run(struct role_context *context)
{
    struct admin admin = {.context = context, .settings = &context->settings};
    struct timeval every = {.tv_usec = 1000 * (ADMIN_MAINTAIN_MS % 1000),
                            .tv_sec = ADMIN_MAINTAIN_MS / 1000};
    struct error error;

    if (!start(&admin, &error)) {
        log_error("start_failed", "error=%s", error.text);
        return 1;
    }
    admin.signals = event_new(admin.base, role_signals(), EV_READ | EV_PERSIST, on_signal, &admin);
    admin.maintenance = event_new(admin.base, -1, EV_PERSIST, on_maintain, &admin);
    assert(admin.signals && admin.maintenance);
    event_add(admin.signals, NULL);
    event_add(admin.maintenance, &every);
    serve(&admin);
    finish(&admin);
    return 0;
}
