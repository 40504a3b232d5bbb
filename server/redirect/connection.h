#pragma once
/* One visitor's connection: a state, a socket, and buffers only while there is something to keep.
 *
 * connection_enter() is the only place where the state changes. Nothing is freed inside a callback:
 * a connection is retired (closed at once), and freed when the round is over. Time limits are kept
 * by the order of the state lists, looked at ten times a second; there is no timer per connection. */
#include <netinet/in.h>

#include "server/redirect/worker.h"
#include "shared/clock.h"

#define PIPELINE_MAX      16 /* requests of one connection in one round; the rest waits for the next */
#define LINGER_BYTES_MAX  (1024 * 1024)
#define LINGER_TIMEOUT_US (2 * US_PER_SECOND)
#define STOP_HEAD_US      US_PER_SECOND /* what an unfinished head gets when the worker stops */

union peer_address {
    struct sockaddr any;
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;
};

struct connection {
    struct loop_watch watch;
    struct worker *worker;
    struct connection *previous, *next; /* in the list of its state */
    struct buffer *input, *output;
    int64_t since_us; /* monotonic; when it entered its state */
    int64_t began_us; /* monotonic; first byte of the request that is being answered */
    size_t out_at;    /* this round's replies in round.bytes */
    size_t out_length;
    unsigned drained; /* bytes thrown away */
    unsigned needed;  /* bytes of `input` that a request has with its body; 0: not known */
    int fd;
    uint16_t answers; /* in this round */
    uint8_t state;    /* enum connection_state */
    uint8_t watched;  /* enum loop_what, or 0 */
    bool partial;     /* `input` holds an unfinished head */
    bool closing;     /* the last reply said so */
    bool awaits_proxy_header;
    bool lingering; /* unread input is to be expected: drain before closing */
    union peer_address peer;
};

/* Takes over an accepted socket and reads what is there already. False: out of memory, `fd` stays
 * the caller's. */
bool connection_accept(struct worker *worker, int fd, const union peer_address *peer) MUST_CHECK;

/* Serves what earlier rounds left over. */
void connections_serve_pending(struct worker *worker);

/* Sends the replies that this round gathered for it. */
void connection_send(struct connection *connection);

/* Counts how long the answers that were sent in this round have taken. */
void connection_count_answers(struct connection *connection, int64_t now_us);

/* Ends or answers those that took too long for what they do. */
void connections_expire(struct worker *worker);

/* Closes the idle connection that has been idle longest; false if there is none. */
bool connections_shed(struct worker *worker) MUST_CHECK;

/* Closes what has nothing in flight. */
void connections_stop(struct worker *worker);

/* Frees the retired. */
void connections_free_retired(struct worker *worker);

/* Closes all, whatever they do. */
void connections_close(struct worker *worker);
