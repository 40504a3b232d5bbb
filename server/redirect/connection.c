/* See connection.h.
 *
 *            accept                  whole request            sent
 *   (new) ──────────► NEW ─────┐   ┌────────────────► reply ─────────► IDLE
 *                              ├───┤ part of a head                     │ ▲
 *                     IDLE ────┘   └────────────────► HEAD ─ rest ──────┘ │
 *                                   more than a round ► PENDING ──────────┘
 *   not all sent ► WRITING      body, error ► DRAINING      end of stream, error, limit ► RETIRED
 *
 * A connection with replies in the round (out_length > 0) is never retired before these were sent:
 * its click is in the journal by then. A peer that closes early changes nothing in that. */
#include "server/redirect/connection.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/metrics.h"
#include "server/redirect/serve.h"
#include "server/visitor/proxy_protocol.h"

static void on_ready(int fd, short what, void *owner);

/* State ---------------------------------------------------------------------------------------- */

static void list_remove(struct worker *worker, struct connection *connection)
{
    struct connection_list *list = &worker->lists[connection->state];

    if (connection->previous)
        connection->previous->next = connection->next;
    else
        list->first = connection->next;
    if (connection->next)
        connection->next->previous = connection->previous;
    else
        list->last = connection->previous;
    list->count--;
}

static void list_append(struct worker *worker, struct connection *connection)
{
    struct connection_list *list = &worker->lists[connection->state];

    connection->previous = list->last;
    connection->next = NULL;
    if (list->last)
        list->last->next = connection;
    else
        list->first = connection;
    list->last = connection;
    list->count++;
}

static void unwatch(struct connection *connection)
{
    if (connection->watched)
        loop_unwatch(&connection->watch);
    connection->watched = 0;
}

static bool watch(struct connection *connection, enum loop_what what)
{
    if (connection->watched == what)
        return true;
    unwatch(connection);
    if (!loop_watch(connection->worker->loop, &connection->watch, connection->fd, what, on_ready,
                    connection))
        return false;
    connection->watched = (uint8_t)what;
    return true;
}

static void leave(struct connection *connection)
{
    struct worker *worker = connection->worker;

    unwatch(connection);
    close(connection->fd);
    connection->fd = -1;
    buffer_give(&worker->buffers, &connection->input);
    buffer_give(&worker->buffers, &connection->output);
    worker->connection_count--;
    metrics->connections_open--;
}

/* Changes the state: the only place. What each state owns is said at enum connection_state. */
static void connection_enter(struct connection *connection, enum connection_state state)
{
    struct worker *worker = connection->worker;
    bool watched = true;

    assert(connection->state != CONNECTION_RETIRED);
    assert(state != CONNECTION_RETIRED || connection->out_length == 0);
    if (state != CONNECTION_RETIRED)
        watched = watch(connection, state == CONNECTION_WRITING ? LOOP_WRITE : LOOP_READ);
    list_remove(worker, connection);
    connection->state = (uint8_t)(watched ? state : CONNECTION_RETIRED);
    connection->since_us = worker->round.mono_us;
    list_append(worker, connection);
    if (connection->state == CONNECTION_RETIRED)
        leave(connection);
    assert((connection->input != NULL) ==
               (state == CONNECTION_HEAD || state == CONNECTION_PENDING) ||
           state == CONNECTION_WRITING || connection->state == CONNECTION_RETIRED);
}

static void retire(struct connection *connection)
{
    connection_enter(connection, CONNECTION_RETIRED);
}

/* Input ---------------------------------------------------------------------------------------- */

/* Keeps the bytes that were not served. False: no memory for it. */
static bool keep_input(struct connection *connection, const char *bytes, size_t length)
{
    struct worker *worker = connection->worker;
    struct buffer *input = connection->input;

    if (input && bytes == input->bytes + input->start) { /* they are there already */
        assert(length == input->end - input->start);
        return true;
    }
    assert(!input && length <= worker->read_size);
    connection->input = input = buffer_take(&worker->buffers, length + 1);
    if (!input)
        return false;
    memcpy(input->bytes, bytes, length);
    input->end = length;
    return true;
}

/* Serves as many whole requests as the round takes; returns the number of bytes done with. */
static size_t serve_whole(struct connection *connection, const char *bytes, size_t length,
                          size_t seen)
{
    size_t done = 0;
    int taken;

    connection->partial = false;
    for (int i = 0; i < PIPELINE_MAX && done < length && !connection->closing; i++) {
        if (!worker_has_room(connection->worker))
            break;
        if (connection->needed > length - done) { /* its head was read; the body comes */
            connection->partial = true;
            break;
        }
        if (connection->needed > 0)
            seen = 0;
        connection->needed = 0;
        taken = serve_request(connection, bytes + done, length - done, i == 0 ? seen : 0);
        if (taken == HTTP_HEAD_PARTIAL) {
            connection->partial = true;
            break;
        }
        done += (size_t)taken;
    }
    return done;
}

/* Goes on where there is nothing to send (any more). */
static void settle(struct connection *connection)
{
    enum connection_state state = CONNECTION_IDLE;

    if (connection->closing && connection->lingering) {
        shutdown(connection->fd, SHUT_WR);
        state = CONNECTION_DRAINING;
    } else if (connection->closing) {
        state = CONNECTION_RETIRED;
    } else if (connection->input) {
        state = connection->partial ? CONNECTION_HEAD : CONNECTION_PENDING;
        metrics->pipeline_deferred_total += state == CONNECTION_PENDING;
    }
    connection_enter(connection, state);
}

/* Takes the PROXY header off the front, where the listener requires one; a trusted proxy sends it
 * before anything else. False if there is nothing to serve: it is not whole yet, or the connection
 * did not begin with one and is gone, without an answer and without a guess. */
static bool take_proxy_header(struct connection *connection, const char **bytes, size_t *length,
                              size_t *seen)
{
    struct sockaddr_storage address;
    int taken = PROXY_PROTOCOL_BAD;

    if (!connection->awaits_proxy_header)
        return true;
    if (networks_contain(&connection->worker->trusted, &connection->peer.any))
        taken = proxy_protocol_parse((const unsigned char *)*bytes, *length, &address);
    if (taken == PROXY_PROTOCOL_BAD) {
        metrics->proxy_header_refused_total++;
        retire(connection);
        return false;
    }
    if (taken == PROXY_PROTOCOL_PARTIAL) {
        connection->partial = true;
        if (!keep_input(connection, *bytes, *length))
            retire(connection);
        else if (connection->state != CONNECTION_HEAD)
            connection_enter(connection, CONNECTION_HEAD);
        return false;
    }
    connection->awaits_proxy_header = false;
    if (address.ss_family != AF_UNSPEC)
        memcpy(&connection->peer, &address, sizeof connection->peer);
    if (connection->input)
        connection->input->start += (size_t)taken;
    *bytes += taken;
    *length -= (size_t)taken;
    *seen = 0;
    return true;
}

/* Serves `bytes`, which are either in `input` or in the worker's read buffer. */
static void serve_bytes(struct connection *connection, const char *bytes, size_t length,
                        size_t seen)
{
    struct worker *worker = connection->worker;
    size_t done;

    if (!take_proxy_header(connection, &bytes, &length, &seen))
        return;
    connection->began_us =
        connection->state == CONNECTION_HEAD || connection->state == CONNECTION_PENDING
            ? connection->since_us
            : worker->round.mono_us;
    done = serve_whole(connection, bytes, length, seen);
    if (connection->input)
        connection->input->start += done;
    if (connection->closing) {
        connection->lingering |= done < length;
        buffer_give(&worker->buffers, &connection->input);
    } else if (done == length) {
        buffer_give(&worker->buffers, &connection->input);
    } else if (!keep_input(connection, bytes + done, length - done)) {
        connection->closing = true;
        connection->lingering = false;
    }
    if (connection->out_length > 0)
        return; /* the round goes on with it in connection_send() */
    if (connection->state != CONNECTION_HEAD || connection->closing || !connection->partial)
        settle(connection);
}

/* Room behind what is in `input`: a larger buffer if need be. */
static bool make_room(struct connection *connection)
{
    struct buffer_pool *pool = &connection->worker->buffers;
    struct buffer *old = connection->input, *new;
    size_t kept = old->end - old->start;

    if (old->end < old->capacity)
        return true;
    if (old->start > 0) {
        memmove(old->bytes, old->bytes + old->start, kept);
        old->start = 0;
        old->end = kept;
        return true;
    }
    assert(old->capacity < pool->large_bytes); /* a full large one is refused by the parser */
    new = buffer_take(pool, pool->large_bytes);
    if (!new)
        return false;
    memcpy(new->bytes, old->bytes, kept);
    new->end = kept;
    buffer_give(pool, &connection->input);
    connection->input = new;
    return true;
}

/* End of stream or error. A head that will never be complete is answered: the peer may have closed
 * only its sending side. */
static void on_end(struct connection *connection, ssize_t result)
{
    if (result < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (result == 0 && connection->state == CONNECTION_HEAD && !connection->awaits_proxy_header) {
        connection->began_us = connection->since_us;
        serve_refusal(connection, ANSWER_BAD);
        connection->lingering = false;
        buffer_give(&connection->worker->buffers, &connection->input);
        return;
    }
    retire(connection);
}

static void read_more_head(struct connection *connection)
{
    struct buffer *input;
    size_t seen;
    ssize_t got;

    if (!make_room(connection)) {
        retire(connection);
        return;
    }
    input = connection->input;
    seen = input->end - input->start;
    got = recv(connection->fd, input->bytes + input->end, input->capacity - input->end, 0);
    if (got <= 0) {
        on_end(connection, got);
        return;
    }
    input->end += (size_t)got;
    serve_bytes(connection, input->bytes + input->start, seen + (size_t)got, seen);
}

static void read_request(struct connection *connection)
{
    struct worker *worker = connection->worker;
    ssize_t got = recv(connection->fd, worker->read_bytes, worker->read_size, 0);

    if (got <= 0)
        on_end(connection, got);
    else
        serve_bytes(connection, worker->read_bytes, (size_t)got, 0);
}

static void drain(struct connection *connection)
{
    struct worker *worker = connection->worker;
    ssize_t got = recv(connection->fd, worker->read_bytes, worker->read_size, 0);

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got > 0)
        connection->drained += (unsigned)got;
    if (got <= 0 || connection->drained > LINGER_BYTES_MAX)
        retire(connection);
}

/* Output --------------------------------------------------------------------------------------- */

void connection_count_answers(struct connection *connection, int64_t now_us)
{
    histogram_add(&metrics->request_seconds, now_us - connection->began_us);
    for (unsigned i = 1; i < connection->answers; i++)
        histogram_add(&metrics->request_seconds, now_us - connection->worker->round.mono_us);
    connection->answers = 0;
}

/* Keeps what the kernel did not take. */
static void keep_output(struct connection *connection, const char *bytes, size_t length)
{
    connection->output = buffer_take(&connection->worker->buffers, length);
    if (!connection->output) {
        retire(connection);
        return;
    }
    memcpy(connection->output->bytes, bytes, length);
    connection->output->end = length;
    connection_enter(connection, CONNECTION_WRITING);
}

void connection_send(struct connection *connection)
{
    const char *bytes = connection->worker->round.bytes + connection->out_at;
    size_t length = connection->out_length;
    ssize_t sent = send(connection->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);

    assert(length > 0 && connection->state != CONNECTION_RETIRED);
    connection->out_length = 0;
    if (sent < 0 && (errno == EAGAIN || errno == EINTR))
        sent = 0;
    if (sent < 0)
        retire(connection);
    else if ((size_t)sent < length)
        keep_output(connection, bytes + sent, length - (size_t)sent);
    else
        settle(connection);
}

static void on_writable(struct connection *connection)
{
    struct buffer *output = connection->output;
    ssize_t sent = send(connection->fd, output->bytes + output->start, output->end - output->start,
                        MSG_NOSIGNAL | MSG_DONTWAIT);

    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        retire(connection);
        return;
    }
    output->start += sent > 0 ? (size_t)sent : 0;
    if (output->start < output->end)
        return;
    buffer_give(&connection->worker->buffers, &connection->output);
    settle(connection);
}

static void on_ready(int fd, short what, void *owner)
{
    struct connection *connection = owner;

    (void)fd;
    (void)what;
    worker_begin_round(connection->worker);
    if (connection->out_length > 0)
        return; /* answered in this round already; what came since waits for the next */
    switch ((enum connection_state)connection->state) {
    case CONNECTION_NEW:
    case CONNECTION_IDLE:
        if (worker_has_room(connection->worker))
            read_request(connection);
        break;
    case CONNECTION_HEAD:
        if (worker_has_room(connection->worker))
            read_more_head(connection);
        break;
    case CONNECTION_WRITING: on_writable(connection); break;
    case CONNECTION_DRAINING: drain(connection); break;
    case CONNECTION_PENDING: /* served at the beginning of the next round */
    case CONNECTION_RETIRED: break;
    }
}

/* All connections ------------------------------------------------------------------------------ */

bool connection_accept(struct worker *worker, int fd, const union peer_address *peer)
{
    struct connection *connection = calloc(1, sizeof *connection);

    if (!connection)
        return false;
    connection->worker = worker;
    connection->fd = fd;
    connection->peer = *peer;
    connection->awaits_proxy_header =
        strcmp(worker->context->settings.proxy_protocol, "required") == 0;
    connection->state = CONNECTION_NEW;
    connection->since_us = worker->round.mono_us;
    list_append(worker, connection);
    worker->connection_count++;
    metrics->connections_total++;
    metrics->connections_open++;
    read_request(connection); /* mostly it is there; a connection that closes is never watched */
    if (connection->state == CONNECTION_NEW && connection->out_length == 0)
        connection_enter(connection, CONNECTION_NEW);
    return true;
}

void connections_serve_pending(struct worker *worker)
{
    unsigned count = worker->lists[CONNECTION_PENDING].count;

    for (; count > 0 && worker_has_room(worker); count--) {
        struct connection *connection = worker->lists[CONNECTION_PENDING].first;
        struct buffer *input = connection->input;

        list_remove(worker, connection); /* to the end: one that is not served must not be first */
        list_append(worker, connection);
        serve_bytes(connection, input->bytes + input->start, input->end - input->start, 0);
    }
}

/* Answers 408 where a part of a head is there, and closes. A part of a PROXY header gets nothing. */
static void expire_head(struct connection *connection)
{
    metrics->timeouts_head_total++;
    if (connection->awaits_proxy_header) {
        retire(connection);
        return;
    }
    connection->began_us = connection->since_us;
    serve_refusal(connection, ANSWER_TIMEOUT);
    connection->lingering = true;
    buffer_give(&connection->worker->buffers, &connection->input);
}

static void expire_list(struct worker *worker, enum connection_state state, int64_t limit_us,
                        int64_t *counter)
{
    int64_t before_us = worker->round.mono_us - limit_us;
    struct connection *connection = worker->lists[state].first, *next;

    for (; connection && connection->since_us <= before_us; connection = next) {
        next = connection->next;
        if (connection->out_length > 0)
            continue;
        if (state == CONNECTION_HEAD) {
            if (!worker_has_room(worker))
                return;
            expire_head(connection);
            continue;
        }
        retire(connection);
        if (counter)
            ++*counter;
    }
}

void connections_expire(struct worker *worker)
{
    const struct settings *settings = &worker->context->settings;
    int64_t idle_us = settings->idle_timeout_ms * US_PER_MS;
    int64_t head_us = settings->head_timeout_ms * US_PER_MS;

    if (worker->stopping) {
        idle_us = STOP_HEAD_US;
        head_us = head_us < STOP_HEAD_US ? head_us : STOP_HEAD_US;
    }
    expire_list(worker, CONNECTION_NEW, idle_us, &metrics->timeouts_idle_total);
    expire_list(worker, CONNECTION_IDLE, idle_us, &metrics->timeouts_idle_total);
    expire_list(worker, CONNECTION_HEAD, head_us, NULL);
    expire_list(worker, CONNECTION_WRITING, settings->write_timeout_ms * US_PER_MS,
                &metrics->timeouts_write_total);
    expire_list(worker, CONNECTION_DRAINING, LINGER_TIMEOUT_US, NULL);
}

static bool shed_from(struct worker *worker, enum connection_state state)
{
    struct connection *connection = worker->lists[state].first;

    while (connection && connection->out_length > 0)
        connection = connection->next;
    if (!connection)
        return false;
    retire(connection);
    metrics->connections_shed_total++;
    return true;
}

bool connections_shed(struct worker *worker)
{
    return shed_from(worker, CONNECTION_IDLE) || shed_from(worker, CONNECTION_DRAINING) ||
           shed_from(worker, CONNECTION_NEW);
}

void connections_stop(struct worker *worker)
{
    struct connection *connection = worker->lists[CONNECTION_IDLE].first, *next;

    for (; connection; connection = next) {
        next = connection->next;
        if (connection->out_length == 0)
            retire(connection);
    }
}

void connections_free_retired(struct worker *worker)
{
    struct connection_list *list = &worker->lists[CONNECTION_RETIRED];
    struct connection *connection = list->first, *next;

    for (; connection; connection = next) {
        next = connection->next;
        free(connection);
    }
    memset(list, 0, sizeof *list);
}

void connections_close(struct worker *worker)
{
    for (int state = 0; state < CONNECTION_RETIRED; state++) {
        while (worker->lists[state].first)
            retire(worker->lists[state].first);
    }
    connections_free_retired(worker);
}
