#pragma once
/* The parts of a redirect process, and the round that they work in.
 *
 * A round is one turn of the loop: what is readable is read, whole requests are decided and their
 * clicks gathered in the journal, replies are gathered in `round.bytes`; then the journal is written
 * once; then the replies are sent. Nothing is sent between rounds. */
#include <stdbool.h>
#include <stdint.h>

#include "server/clicks/journal.h"
#include "server/links/replica.h"
#include "server/redirect/buffer.h"
#include "server/redirect/loop.h"
#include "server/redirect/preview.h"
#include "server/redirect/reply.h"
#include "server/redirect/request.h"
#include "server/role.h"
#include "server/visitor/classify.h"
#include "server/visitor/networks.h"
#include "shared/http_head.h"

struct connection;
struct listener;

#define ROUND_CONNECTIONS_MAX 1024          /* that are answered in one round */
#define ROUND_BYTES_MIN       (1024 * 1024) /* of replies gathered in one round */

/* A click of the round, and where its id stands; or a conversion, and where its whole answer does. */
struct round_click {
    uint64_t seq;
    struct connection *connection;
    struct location_mark mark; /* in round.bytes; length 0: the reply carries none */
    bool told;                 /* it is a conversion: not stored, it must be told again */
    uint8_t said;              /* enum reply_connection, of a conversion */
    uint8_t answer;            /* enum answer, of a conversion */
};

struct round {
    bool open;
    int64_t mono_us, wall_us; /* when it began */
    uint64_t lost;            /* clicks that the journal did not take */
    size_t size, used;
    char *bytes; /* replies, those of one connection together */
    unsigned connection_count, click_count;
    struct connection *connections[ROUND_CONNECTIONS_MAX];
    struct round_click clicks[JOURNAL_ROUND_MAX];
};

/* What visitor values of one day (UTC) are made with. */
struct day_salt {
    int64_t from_us, until_us; /* wall time of the day; both 0: none was looked for yet */
    bool is_known;
    unsigned char bytes[REPLICA_SALT_BYTES];
};

/* Connections in one state, the one that has been in it longest first. */
struct connection_list {
    struct connection *first, *last;
    unsigned count;
};

enum connection_state {
    CONNECTION_NEW,      /* accepted, nothing read yet; owns nothing but its socket */
    CONNECTION_IDLE,     /* between requests; owns nothing but its socket */
    CONNECTION_HEAD,     /* part of a head is there; owns `input` */
    CONNECTION_PENDING,  /* requests wait for the next round; owns `input` */
    CONNECTION_WRITING,  /* the kernel did not take all; owns `output`, perhaps `input` */
    CONNECTION_DRAINING, /* answered and half closed; what still comes is thrown away */
    CONNECTION_RETIRED,  /* closed, owns nothing; its memory goes at the end of the round */
};
#define CONNECTION_STATES (CONNECTION_RETIRED + 1)

struct worker {
    struct role_context *context;
    struct loop *loop;
    struct replica *replica;
    struct journal *journal;
    struct classifier *classifier;
    struct networks trusted; /* proxies */
    bool refuse_prefetch;
    struct day_salt salt;
    uint64_t random; /* state of what chances are drawn from */
    struct listener *listener;
    struct buffer_pool buffers;
    struct reply_writer replies;
    struct http_limits limits;
    struct http_head head;
    struct request request;
    size_t reply_bytes_max;
    struct connection_list lists[CONNECTION_STATES];
    unsigned connection_count; /* all but the retired */
    unsigned connections_max;
    struct loop_watch signals;
    bool signals_watched;
    bool ticked;           /* the round that has just ended began with a tick */
    enum role_order order; /* that came in this round */
    bool stopping;
    int64_t stop_by_us;
    size_t read_size;
    char *read_bytes;       /* what one connection sent, while it is being served */
    char page[PREVIEW_MAX]; /* of a preview, until it is copied into the round */
    struct round round;
};

/* Begins the round if it has not begun: reads the clocks, opens the replica's transaction. */
void worker_begin_round(struct worker *worker);

/* True while the round can take one more reply of any size and one more click. */
bool worker_has_room(const struct worker *worker);

/* Ends the round: writes the journal, then sends what was gathered. */
void worker_finish_round(struct worker *worker);
