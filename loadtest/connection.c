/* See connection.h.
 *
 * A connection keeps the requests that it has out in their order. One whose answer does not come in
 * time takes its connection with it, and what else is out there.
 *
 * Failed requests are counted by kind. Those that waited long (timed out, never sent) are also
 * entered into the latencies with the time they waited, or a server that drops what is slow would
 * look fast; refused ones are not.
 *
 * What is of use for one connection only is allocated when needed: an idle one owns the room for
 * its pending requests, and its events. */
#include "loadtest/connection.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A connection's life -------------------------------------------------------------------------- */

void connection_set_ready(struct connection *connection)
{
    struct client *client = connection->client;
    bool ready =
        !connection->closing && !connection->resting && connection->count < client->plan->pipeline;

    if (ready && !connection->ready)
        TAILQ_INSERT_TAIL(&client->ready, connection, in_ready);
    if (!ready && connection->ready)
        TAILQ_REMOVE(&client->ready, connection, in_ready);
    connection->ready = ready;
}

static void watch_write(struct connection *connection, bool wanted)
{
    if (wanted == connection->watches_write)
        return;
    connection->watches_write = wanted;
    if (wanted)
        event_add(&connection->writable, NULL);
    else
        event_del(&connection->writable);
}

/* Takes the request that has been out longest; valid until the next one is put on. */
static const struct pending *take_pending(struct connection *connection)
{
    struct client *client = connection->client;
    const struct pending *pending = &connection->pending[connection->first];

    connection->first = (connection->first + 1) % client->plan->pipeline;
    connection->count--;
    client->figures->busy--;
    return pending;
}

static void give_up(struct connection *connection, int64_t *counter)
{
    struct client *client = connection->client;
    const struct pending *pending = take_pending(connection);
    int64_t now = now_us(client);

    if (pending->kind == SALE) {
        sales_answered(client->sales, pending->number, 0);
        return;
    }
    ++*counter;
    if (counter != &client->figures->not_connected)
        answers_miss(client->answers, pending->number);
    if (counter == &client->figures->timed_out) {
        latency_add(&client->figures->intended, now - pending->intended_us);
        latency_add(&client->figures->sent_at, now - pending->sent_us);
    }
}

void connection_close(struct connection *connection, int64_t *counter)
{
    struct client *client = connection->client;

    while (connection->count > 0) {
        assert(counter);
        give_up(connection, counter);
    }
    connection->resting = client->plan->closed_loop && counter == &client->figures->not_connected;
    if (connection->state != CLOSED) {
        watch_write(connection, false);
        event_del(&connection->readable);
        close(connection->fd);
    }
    free(connection->rest);
    connection->rest = NULL;
    connection->rest_length = connection->out_length = 0;
    connection->skip = 0;
    connection->state = CLOSED;
    connection->closing = false;
    connection_set_ready(connection);
}

/* Reading -------------------------------------------------------------------------------------- */

static void take_click(struct client *client, const struct pending *pending,
                       const struct response *response, int64_t now)
{
    struct text id =
        response_parameter(response->location, client->plan->click_id_param, client->param_length);

    answers_add(client->answers, pending->number, id);
    if (pending->kind == CLICK_THAT_SELLS)
        sales_follow(client->sales, pending->number, id, now);
}

static void take_answer(struct connection *connection, const struct response *response, int64_t now)
{
    struct client *client = connection->client;
    struct figures *figures = client->figures;
    const struct pending *pending = take_pending(connection);

    if (pending->kind == SALE) {
        sales_answered(client->sales, pending->number, response->status);
        return;
    }
    figures->answered++;
    figures->statuses[response->status < FIGURES_STATUSES ? response->status : 0]++;
    latency_add(&figures->intended, now - pending->intended_us);
    latency_add(&figures->sent_at, now - pending->sent_us);
    if (response->status >= 300 && response->status < 400)
        take_click(client, pending, response, now);
}

/* Takes whole answers off the front; what is used, or -1 for something that is no answer. A
 * connection that ended with one is closed, and the caller told by `*ended`. */
static ssize_t take_bytes(struct connection *connection, const char *bytes, size_t length,
                          bool *ended)
{
    int64_t now = now_us(connection->client);
    size_t used = 0;

    while (used < length) {
        size_t left = length - used;
        struct response response;
        int got;

        if (connection->skip > 0) {
            size_t part = connection->skip < left ? (size_t)connection->skip : left;
            connection->skip -= part;
            used += part;
            continue;
        }
        got = response_parse(bytes + used, left, &response);
        if (got == RESPONSE_PARTIAL)
            break;
        if (got == RESPONSE_BAD || connection->count == 0)
            return -1;
        used += (size_t)got;
        if (response.status < 200)
            continue;
        take_answer(connection, &response, now);
        connection->skip = response.body_bytes;
        if (response.closes) {
            *ended = true;
            break;
        }
    }
    return (ssize_t)used;
}

static void keep_rest(struct connection *connection, const char *bytes, size_t length)
{
    char *rest = NULL;

    if (length > 0) {
        rest = malloc(length);
        assert(rest);
        memcpy(rest, bytes, length);
    }
    free(connection->rest);
    connection->rest = rest;
    connection->rest_length = length;
}

static void on_readable(int fd, short what, void *owner)
{
    struct connection *connection = owner;
    struct client *client = connection->client;
    struct figures *figures = client->figures;
    size_t before = connection->rest_length;
    bool ended = false;
    ssize_t got, used;

    (void)what;
    assert(before <= RESPONSE_HEAD_MAX);
    if (before > 0)
        memcpy(client->in, connection->rest, before);
    got = recv(fd, client->in + before, sizeof client->in - before, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        connection_close(connection, &figures->broken);
        return;
    }
    figures->bytes_in += got;
    used = take_bytes(connection, client->in, before + (size_t)got, &ended);
    if (used < 0 || ended || before + (size_t)(got - used) > RESPONSE_HEAD_MAX) {
        connection_close(connection, &figures->broken);
        return;
    }
    if (before > 0 || used != got)
        keep_rest(connection, client->in + used, before + (size_t)(got - used));
    connection_set_ready(connection);
}

/* Sending -------------------------------------------------------------------------------------- */

static void send_out(struct connection *connection)
{
    struct figures *figures = connection->client->figures;
    ssize_t sent;

    if (connection->state != OPEN || connection->out_length == 0)
        return;
    sent = send(connection->fd, connection->out, connection->out_length, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        connection_close(connection, &figures->broken);
        return;
    }
    if (sent > 0) {
        figures->bytes_out += sent;
        connection->out_length -= (size_t)sent;
        memmove(connection->out, connection->out + sent, connection->out_length);
    }
    watch_write(connection, connection->out_length > 0);
}

/* Connected, or not; or there is room again. */
static void on_writable(int fd, short what, void *owner)
{
    struct connection *connection = owner;
    int problem = 0;
    socklen_t size = sizeof problem;

    (void)what;
    if (connection->state == CONNECTING) {
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &size) != 0 || problem != 0) {
            connection_close(connection, &connection->client->figures->not_connected);
            return;
        }
        connection->state = OPEN;
        watch_write(connection, false);
    }
    send_out(connection);
}

static bool open_connection(struct connection *connection)
{
    struct client *client = connection->client;
    const struct address *address = client->plan->address;
    int on = 1, fd;

    fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (const struct sockaddr *)&address->storage, address->length) != 0 &&
        errno != EINPROGRESS) {
        close(fd);
        return false;
    }
    connection->fd = fd;
    connection->state = CONNECTING;
    client->figures->connections++;
    event_assign(&connection->readable, client->base, fd, EV_READ | EV_PERSIST, on_readable,
                 connection);
    event_assign(&connection->writable, client->base, fd, EV_WRITE | EV_PERSIST, on_writable,
                 connection);
    event_add(&connection->readable, NULL);
    watch_write(connection, true);
    return true;
}

static void put_out(struct connection *connection, const char *bytes, size_t length)
{
    if (connection->out_length + length > connection->out_room) {
        connection->out_room = connection->out_length + length + 256;
        connection->out = realloc(connection->out, connection->out_room);
        assert(connection->out);
    }
    memcpy(connection->out + connection->out_length, bytes, length);
    connection->out_length += length;
}

/* Opens the connection unless it is open; false: it cannot be. */
static bool is_open(struct connection *connection)
{
    if (connection->state != CLOSED || open_connection(connection))
        return true;
    connection->resting = connection->client->plan->closed_loop;
    connection_set_ready(connection);
    return false;
}

/* Puts client->request on a connection that is ready. */
static void send_on(struct connection *connection, struct pending pending, size_t length, bool last)
{
    struct client *client = connection->client;
    unsigned at = (connection->first + connection->count) % client->plan->pipeline;

    connection->pending[at] = pending;
    connection->count++;
    client->figures->busy++;
    connection->closing = last;
    put_out(connection, client->request, length);
    if (!connection->dirty)
        client->dirty[client->dirty_count++] = connection;
    connection->dirty = true;
    /* to the end of the queue, if it can take another */
    TAILQ_REMOVE(&client->ready, connection, in_ready);
    connection->ready = false;
    connection_set_ready(connection);
}

void connection_send_click(struct connection *connection, int64_t intended_us, int64_t now)
{
    struct client *client = connection->client;
    struct traffic_request request;

    traffic_next(client->traffic, client->request, &request);
    client->figures->sent++;
    if (request.fresh && connection->state != CLOSED)
        connection_close(connection, NULL); /* nothing is out: no pipelining with new connections */
    if (!is_open(connection)) {
        client->figures->not_connected++;
        return;
    }
    send_on(
        connection,
        (struct pending){intended_us, now, request.link, request.sells ? CLICK_THAT_SELLS : CLICK},
        request.length, request.last);
}

void connection_send_sale(struct connection *connection, int64_t now)
{
    struct client *client = connection->client;
    uint32_t number;
    size_t length;

    if (!is_open(connection))
        return; /* it waits */
    length = sales_next(client->sales, client->request, &number);
    send_on(connection, (struct pending){now, now, number, SALE}, length, false);
}

void connections_send(struct client *client)
{
    for (unsigned i = 0; i < client->dirty_count; i++) {
        struct connection *connection = client->dirty[i];

        assert(connection);
        connection->dirty = false;
        if (!connection->watches_write)
            send_out(connection);
    }
    client->dirty_count = 0;
}
