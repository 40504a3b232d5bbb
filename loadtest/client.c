/* See client.h.
 *
 * Open loop: the schedule says when each request is due. One that is due goes out on the connection
 * that has been ready longest; while none is ready it waits, and its intended time stays what it
 * was, so a stall of the server shows for every request that was due during it. How many wait needs
 * no queue: the schedule itself is what is left to send.
 *
 * A turn: what is due is written into connections' buffers, one send for each connection, then
 * events. A connection keeps the requests that it has out in their order. One whose answer does not
 * come in time takes its connection with it, and what else is out there.
 *
 * Failed requests are counted by kind. Those that waited long (timed out, never sent) are also
 * entered into the latencies with the time they waited, or a server that drops what is slow would
 * look fast; refused ones are not.
 *
 * What is of use for one connection only is allocated when needed: an idle one owns the room for
 * its pending requests, and its events. */
#include "loadtest/client.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loadtest/response.h"
#include "shared/clock.h"

#define READ_BYTES 65536
#define TICK_US    (50 * US_PER_MS)
#define TURN_MAX   1024 /* requests before events are looked at again */

enum connection_state {
    CLOSED,     /* no descriptor; the next request opens it */
    CONNECTING, /* requests wait in `out` */
    OPEN,
};

/* A request that is out. */
struct pending {
    int64_t intended_us, sent_us;
    uint32_t link;
};

struct connection {
    enum connection_state state;
    int fd;
    bool ready;   /* in the client's queue */
    bool dirty;   /* in the client's list of those that have to send */
    bool closing; /* the last request asked to close: nothing more goes out */
    bool resting; /* closed loop: could not connect, tries again at the next tick */
    bool watches_write;
    unsigned first, count; /* of pending, a ring */
    struct pending *pending;
    char *out;
    size_t out_length, out_room;
    char *rest; /* the beginning of an answer */
    size_t rest_length;
    uint64_t skip; /* bytes of a body still to come */
    struct client *client;
    struct event readable, writable;
    TAILQ_ENTRY(connection) in_ready;
};

struct client {
    const struct client_plan *plan;
    struct schedule *schedule;
    struct traffic *traffic;
    struct figures *figures;
    struct answers *answers;
    struct event_base *base;
    struct event timer;
    struct connection *connections;
    struct connection **dirty;
    unsigned dirty_count;
    TAILQ_HEAD(, connection) ready;
    int64_t due_us; /* intended time of the next request; -1: there is none */
    int64_t ticked_us;
    size_t param_length;
    char request[TRAFFIC_REQUEST_MAX];
    char in[READ_BYTES + RESPONSE_HEAD_MAX];
};

static int64_t now_us(const struct client *client)
{
    return clock_mono_us() - client->plan->begin_us;
}

/* A connection's life -------------------------------------------------------------------------- */

static void set_ready(struct connection *connection)
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

static void give_up(struct connection *connection, int64_t *counter)
{
    struct client *client = connection->client;
    struct pending *pending = &connection->pending[connection->first];
    int64_t now = now_us(client);

    connection->first = (connection->first + 1) % client->plan->pipeline;
    connection->count--;
    client->figures->busy--;
    ++*counter;
    if (counter != &client->figures->not_connected)
        answers_miss(client->answers, pending->link);
    if (counter == &client->figures->timed_out) {
        latency_add(&client->figures->intended, now - pending->intended_us);
        latency_add(&client->figures->sent_at, now - pending->sent_us);
    }
}

/* Closes, and gives up what is out; `*counter` counts it. */
static void close_connection(struct connection *connection, int64_t *counter)
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
    set_ready(connection);
}

/* Reading -------------------------------------------------------------------------------------- */

static void take_answer(struct connection *connection, const struct response *response, int64_t now)
{
    struct client *client = connection->client;
    struct figures *figures = client->figures;
    struct pending *pending = &connection->pending[connection->first];

    connection->first = (connection->first + 1) % client->plan->pipeline;
    connection->count--;
    figures->busy--;
    figures->answered++;
    figures->statuses[response->status < FIGURES_STATUSES ? response->status : 0]++;
    latency_add(&figures->intended, now - pending->intended_us);
    latency_add(&figures->sent_at, now - pending->sent_us);
    if (response->status >= 300 && response->status < 400)
        answers_add(client->answers, pending->link,
                    response_parameter(response->location, client->plan->click_id_param,
                                       client->param_length));
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
        close_connection(connection, &figures->broken);
        return;
    }
    figures->bytes_in += got;
    used = take_bytes(connection, client->in, before + (size_t)got, &ended);
    if (used < 0 || ended || before + (size_t)(got - used) > RESPONSE_HEAD_MAX) {
        close_connection(connection, &figures->broken);
        return;
    }
    if (before > 0 || used != got)
        keep_rest(connection, client->in + used, before + (size_t)(got - used));
    set_ready(connection);
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
        close_connection(connection, &figures->broken);
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
            close_connection(connection, &connection->client->figures->not_connected);
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

/* Puts the next request on a connection that is ready. */
static void send_request(struct connection *connection, int64_t intended_us, int64_t now)
{
    struct client *client = connection->client;
    unsigned at = (connection->first + connection->count) % client->plan->pipeline;
    struct traffic_request request;

    traffic_next(client->traffic, client->request, &request);
    client->figures->sent++;
    if (request.fresh && connection->state != CLOSED)
        close_connection(connection, NULL); /* nothing is out: no pipelining with new connections */
    if (connection->state == CLOSED && !open_connection(connection)) {
        client->figures->not_connected++;
        connection->resting = client->plan->closed_loop;
        set_ready(connection);
        return;
    }
    connection->pending[at] = (struct pending){intended_us, now, request.link};
    connection->count++;
    client->figures->busy++;
    connection->closing = request.last;
    put_out(connection, client->request, request.length);
    if (!connection->dirty)
        client->dirty[client->dirty_count++] = connection;
    connection->dirty = true;
    /* to the end of the queue, if it can take another */
    TAILQ_REMOVE(&client->ready, connection, in_ready);
    connection->ready = false;
    set_ready(connection);
}

static void flush_dirty(struct client *client)
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

/* The loop ------------------------------------------------------------------------------------- */

static bool is_over(const struct client *client, int64_t now)
{
    return now >= client->plan->length_us || *client->plan->stop;
}

/* Sends what is due, as far as connections are ready. */
static void send_due(struct client *client)
{
    int64_t now = now_us(client);

    for (int i = 0; i < TURN_MAX && !TAILQ_EMPTY(&client->ready); i++) {
        if (client->plan->closed_loop && now >= 0)
            client->due_us = is_over(client, now) ? -1 : now;
        if (client->due_us < 0 || client->due_us > now)
            break;
        send_request(TAILQ_FIRST(&client->ready), client->due_us, now);
        if (!client->plan->closed_loop)
            client->due_us = schedule_next(client->schedule);
    }
    flush_dirty(client);
}

/* Requests that are due and wait; a copy of the schedule says it. */
static int64_t count_waiting(const struct client *client, int64_t now, struct latency *into)
{
    struct schedule rest = *client->schedule;
    int64_t count = 0;

    if (client->plan->closed_loop)
        return 0;
    for (int64_t due = client->due_us; due >= 0 && due <= now; due = schedule_next(&rest)) {
        count++;
        if (into)
            latency_add(into, now - due);
    }
    return count;
}

static void look_after_connections(struct client *client, int64_t now)
{
    for (unsigned i = 0; i < client->plan->connections; i++) {
        struct connection *connection = &client->connections[i];

        if (connection->count > 0 &&
            now - connection->pending[connection->first].sent_us > client->plan->timeout_us)
            close_connection(connection, &client->figures->timed_out);
        if (connection->resting) {
            connection->resting = false;
            set_ready(connection);
        }
    }
}

/* Upkeep, some times a second. */
static void tick(struct client *client)
{
    int64_t now = now_us(client);

    if (now - client->ticked_us < TICK_US)
        return;
    client->ticked_us = now;
    look_after_connections(client, now);
    client->figures->backlog = count_waiting(client, now, NULL);
    if (*client->plan->stop && client->due_us > now)
        client->due_us = -1;
}

static void on_timer(int fd, short what, void *owner)
{
    (void)fd;
    (void)what;
    (void)owner; /* it only ends the wait */
}

/* Waits for events: until the next request is due if it could be sent, at most for a tick. */
static void wait_for_events(struct client *client)
{
    int64_t wait = TICK_US, due = client->due_us;
    struct timeval time;

    if (client->plan->closed_loop)
        due = TAILQ_EMPTY(&client->ready) ? -1 : client->due_us;
    if (due >= 0 && !TAILQ_EMPTY(&client->ready) && due - now_us(client) < wait)
        wait = due - now_us(client);
    if (wait > 0) {
        time = (struct timeval){0, wait};
        event_add(&client->timer, &time);
    }
    event_base_loop(client->base, EVLOOP_ONCE | (wait > 0 ? 0 : EVLOOP_NONBLOCK));
}

static void turn_until_done(struct client *client)
{
    const struct client_plan *plan = client->plan;
    int64_t end = plan->length_us + plan->timeout_us, now;

    for (;;) {
        send_due(client);
        wait_for_events(client);
        tick(client);
        now = now_us(client);
        if (*plan->stop && now + plan->timeout_us < end)
            end = now + plan->timeout_us;
        if (client->figures->busy == 0 && client->due_us < 0 && (now > 0 || *plan->stop))
            break;
        if (now > end)
            break;
    }
    client->figures->not_sent = count_waiting(client, now, &client->figures->intended);
    client->figures->backlog = 0;
}

static bool open_client(struct client *client, struct error *error)
{
    const struct client_plan *plan = client->plan;
    struct event_config *config = event_config_new();

    assert(config && plan->connections > 0 && plan->pipeline > 0);
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_PRECISE_TIMER);
    client->base = event_base_new_with_config(config);
    event_config_free(config);
    if (!client->base)
        return error_set(error, "no event loop");
    event_assign(&client->timer, client->base, -1, 0, on_timer, NULL);
    client->connections = calloc(plan->connections, sizeof *client->connections);
    client->dirty = calloc(plan->connections, sizeof(struct connection *));
    assert(client->connections && client->dirty);
    TAILQ_INIT(&client->ready);
    for (unsigned i = 0; i < plan->connections; i++) {
        struct connection *connection = &client->connections[i];
        connection->client = client;
        connection->pending = calloc(plan->pipeline, sizeof *connection->pending);
        assert(connection->pending);
        set_ready(connection);
    }
    return true;
}

static void close_client(struct client *client)
{
    for (unsigned i = 0; client->connections && i < client->plan->connections; i++) {
        struct connection *connection = &client->connections[i];
        close_connection(connection, &client->figures->timed_out);
        free(connection->pending);
        free(connection->out);
    }
    free(client->connections);
    free(client->dirty);
    if (client->base)
        event_base_free(client->base);
    free(client);
}

bool client_run(const struct client_plan *plan, struct schedule *schedule, struct traffic *traffic,
                struct figures *figures, struct answers *answers, struct error *error)
{
    struct client *client = calloc(1, sizeof *client);
    bool good;

    assert(client);
    client->plan = plan;
    client->schedule = schedule;
    client->traffic = traffic;
    client->figures = figures;
    client->answers = answers;
    client->param_length = strlen(plan->click_id_param);
    good = open_client(client, error);
    if (good) {
        client->due_us = plan->closed_loop ? 0 : schedule_next(schedule);
        turn_until_done(client);
    }
    close_client(client);
    return good;
}
