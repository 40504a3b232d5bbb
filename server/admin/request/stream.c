/* See stream.h. evhttp tells when a piece has left; that the client has gone it tells by closing the
 * connection, and leaves the request to us until evhttp_send_reply_end(). */
#include "server/admin/request/stream.h"

#include <assert.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "server/admin/routes.h"
#include "server/admin/server.h"
#include "shared/log.h"

struct stream {
    struct request *request;
    struct event *soon; /* calls `next` when evhttp will not */
    void (*next)(struct stream *stream, void *argument);
    void *argument;
    int status;
    bool gone;
};

static void call_next(struct stream *stream)
{
    void (*next)(struct stream *, void *) = stream->next;

    if (!next)
        return;
    stream->next = NULL;
    next(stream, stream->argument);
}

static void on_written(struct evhttp_connection *connection, void *argument)
{
    (void)connection;
    call_next(argument);
}

static void on_closed(struct evhttp_connection *connection, void *argument)
{
    struct stream *stream = argument;

    (void)connection;
    stream->gone = true;
    event_active(stream->soon, EV_TIMEOUT, 0);
}

static void on_soon(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    call_next(argument);
}

struct stream *stream_begin(struct request *request, int status, const char *type)
{
    struct evhttp_connection *connection = evhttp_request_get_connection(request->http);
    struct stream *stream = calloc(1, sizeof *stream);

    assert(stream);
    stream->request = request;
    stream->status = status;
    stream->soon = evtimer_new(request->admin->base, on_soon, stream);
    assert(stream->soon);
    stream->gone = !connection || evhttp_request_get_command(request->http) == EVHTTP_REQ_HEAD;
    request_header(request, "Content-Type", type);
    request_common_headers(request);
    if (connection)
        evhttp_connection_set_closecb(connection, on_closed, stream);
    evhttp_send_reply_start(request->http, status, request_reason(status));
    return stream;
}

void stream_put(struct stream *stream, struct evbuffer *piece,
                void (*next)(struct stream *stream, void *argument), void *argument)
{
    assert(!stream->next && evbuffer_get_length(piece) > 0);
    stream->next = next;
    stream->argument = argument;
    if (stream->gone) {
        evbuffer_drain(piece, evbuffer_get_length(piece));
        event_active(stream->soon, EV_TIMEOUT, 0);
    } else {
        evhttp_send_reply_chunk_with_cb(stream->request->http, piece, on_written, stream);
    }
}

bool stream_gone(const struct stream *stream)
{
    return stream->gone;
}

void stream_end(struct stream *stream)
{
    struct evhttp_connection *connection = evhttp_request_get_connection(stream->request->http);
    struct request *request = stream->request;
    int status = stream->status;

    assert(!stream->next);
    if (connection)
        evhttp_connection_set_closecb(connection, NULL, NULL);
    event_free(stream->soon);
    free(stream);
    evhttp_send_reply_end(request->http);
    request_end(request, status);
}

void stream_cut(struct stream *stream)
{
    struct evhttp_connection *connection = evhttp_request_get_connection(stream->request->http);

    log_warn("answer_cut", "path=%s", stream->request->route->path);
    if (connection && !stream->gone)
        shutdown(bufferevent_getfd(evhttp_connection_get_bufferevent(connection)), SHUT_RDWR);
    stream_end(stream);
}

/* --- a body that is there --- */

struct whole {
    struct evbuffer *body, *piece;
};

static void put_piece(struct stream *stream, void *argument)
{
    struct whole *whole = argument;

    if (evbuffer_get_length(whole->body) == 0 || stream->gone) {
        evbuffer_free(whole->body);
        evbuffer_free(whole->piece);
        free(whole);
        stream_end(stream);
        return;
    }
    evbuffer_remove_buffer(whole->body, whole->piece, STREAM_PIECE_BYTES);
    stream_put(stream, whole->piece, put_piece, whole);
}

void stream_all(struct request *request, int status, const char *type, struct evbuffer *body)
{
    struct whole *whole = calloc(1, sizeof *whole);

    assert(whole);
    whole->body = body;
    whole->piece = evbuffer_new();
    assert(whole->piece);
    put_piece(stream_begin(request, status, type), whole);
}
