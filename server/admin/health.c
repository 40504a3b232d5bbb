/* See health.h. */
#include "server/admin/health.h"

#include <assert.h>
#include <event2/buffer.h>
#include <event2/keyvalq_struct.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/metrics.h"

/* Refuses other methods than GET and HEAD. */
static bool health_accepts(struct evhttp_request *request)
{
    enum evhttp_cmd_type method = evhttp_request_get_command(request);

    if (method == EVHTTP_REQ_GET || method == EVHTTP_REQ_HEAD)
        return true;
    evhttp_add_header(evhttp_request_get_output_headers(request), "Allow", "GET, HEAD");
    evhttp_send_reply(request, 405, "Method Not Allowed", NULL);
    return false;
}

/* Answers with `body`; for HEAD with its length alone. */
static void health_answer(struct evhttp_request *request, int status, const char *reason,
                          const char *type, const char *body, size_t length)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    char digits[32];

    snprintf(digits, sizeof digits, "%zu", length);
    evhttp_add_header(headers, "Content-Type", type);
    evhttp_add_header(headers, "Content-Length", digits);
    evhttp_add_header(headers, "Cache-Control", "no-store");
    if (evhttp_request_get_command(request) != EVHTTP_REQ_HEAD)
        evbuffer_add(evhttp_request_get_output_buffer(request), body, length);
    evhttp_send_reply(request, status, reason, NULL);
}

static void health_on_metrics(struct evhttp_request *request, void *argument)
{
    size_t length = 0;
    char *text;

    if (!health_accepts(request))
        return;
    text = metrics_render(argument, &length);
    if (text)
        health_answer(request, 200, "OK", "text/plain; version=0.0.4; charset=utf-8", text, length);
    else
        health_answer(request, 503, "Service Unavailable", "text/plain", "no memory\n", 10);
    free(text);
}

static void health_on_healthz(struct evhttp_request *request, void *argument)
{
    (void)argument;
    if (health_accepts(request))
        health_answer(request, 200, "OK", "text/plain", "ok\n", 3);
}

static void health_on_readyz(struct evhttp_request *request, void *argument)
{
    if (!health_accepts(request))
        return;
    if (metrics_all_ready(argument))
        health_answer(request, 200, "OK", "text/plain", "ready\n", 6);
    else
        health_answer(request, 503, "Service Unavailable", "text/plain", "not ready\n", 10);
}

void health_register(struct evhttp *http, const struct metrics_board *board)
{
    assert(http && board);
    evhttp_set_cb(http, "/metrics", health_on_metrics, (void *)(uintptr_t)board);
    evhttp_set_cb(http, "/healthz", health_on_healthz, NULL);
    evhttp_set_cb(http, "/readyz", health_on_readyz, (void *)(uintptr_t)board);
}
