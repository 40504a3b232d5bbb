#pragma once
/* The connections of one process of the load: what is out on each, what comes back. The loop that
 * decides what goes out when is client.c. */
#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/queue.h>

#include "loadtest/client.h"
#include "loadtest/response.h"
#include "shared/clock.h"

#define READ_BYTES 65536

enum connection_state {
    CLOSED,     /* no descriptor; the next request opens it */
    CONNECTING, /* requests wait in `out` */
    OPEN,
};

/* A request that is out. */
struct pending {
    int64_t intended_us, sent_us;
    uint32_t number; /* of the link; of a sale: its own */
    enum { CLICK, CLICK_THAT_SELLS, SALE } kind;
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
    struct sales *sales;
    struct event_base *base;
    struct event timer;
    struct connection *connections;
    struct connection **dirty;
    unsigned dirty_count;
    TAILQ_HEAD(, connection) ready;
    int64_t due_us; /* intended time of the next request; -1: there is none */
    int64_t ticked_us;
    size_t param_length;
    char request[TRAFFIC_REQUEST_MAX > SALES_REQUEST_MAX ? TRAFFIC_REQUEST_MAX : SALES_REQUEST_MAX];
    char in[READ_BYTES + RESPONSE_HEAD_MAX];
};

/* Since the run began. */
static inline int64_t now_us(const struct client *client)
{
    return clock_mono_us() - client->plan->begin_us;
}

/* Enters the connection into the queue of those that can take a request, or takes it out. */
void connection_set_ready(struct connection *connection);

/* Closes, and gives up what is out; `*counter` counts it. */
void connection_close(struct connection *connection, int64_t *counter);

/* Puts the next click, or the next sale, on a connection that is ready. */
void connection_send_click(struct connection *connection, int64_t intended_us, int64_t now);
void connection_send_sale(struct connection *connection, int64_t now);

/* Hands to the kernel what was put on connections in this turn. */
void connections_send(struct client *client);
