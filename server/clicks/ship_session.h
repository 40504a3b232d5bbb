#pragma once
/* Ship's conversation with Redis: one connection, never blocking. It connects and reconnects with
 * growing, jittered delays, authenticates, checks that Redis never evicts, loads the two scripts,
 * pipelines requests and hands each its answer, or says that it was dropped.
 *
 * A request that has no answer within the time limit closes the connection, so that a late answer is
 * never taken for another's. An error reply drops its request and makes everything wait a while;
 * nothing is lost by that, since what was not confirmed is sent again. Each kind of error is logged
 * once until something works again. */
#include <hiredis/hiredis.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHIP_REQUESTS_MAX 128

enum ship_request_kind { SHIP_APPEND, SHIP_IDLE };

struct ship_request {
    enum ship_request_kind kind;
    unsigned partition;
    uint64_t origin; /* SHIP_APPEND */
};

/* What the owner is told. A handler may send further requests. */
struct ship_handlers {
    void *owner;
    /* An answer that is no error. False: it is not what the script answers; the connection is
     * closed then. */
    bool (*on_reply)(void *owner, const struct ship_request *request, const redisReply *reply);
    /* There will be no answer; whether Redis did it is not known. */
    void (*on_dropped)(void *owner, const struct ship_request *request);
};

struct ship_session;

/* `url` is used at each connect, and must live as long. NULL: no memory. */
struct ship_session *ship_session_new(const char *url, int64_t timeout_ms,
                                      struct ship_handlers handlers);
void ship_session_free(struct ship_session *session);
void ship_session_set_timeout(struct ship_session *session, int64_t timeout_ms);

/* Whether requests may be sent now. */
bool ship_session_usable(const struct ship_session *session);

/* Whether an attempt to reach Redis has come to an end, well or not, other than by finding it
 * configured to evict keys. */
bool ship_session_tried(const struct ship_session *session);

/* Digests of the scripts, of SHIP_DIGEST_LENGTH; valid while usable. */
const char *ship_session_append_digest(const struct ship_session *session);
const char *ship_session_idle_digest(const struct ship_session *session);

/* Sends a formatted command; only while usable and with fewer than SHIP_REQUESTS_MAX under way. */
void ship_session_send(struct ship_session *session, struct ship_request request,
                       const char *command, size_t length);

/* What to poll (fd -1: nothing) and until when (monotonic) at most. */
struct pollfd ship_session_poll(const struct ship_session *session);
int64_t ship_session_wake_us(const struct ship_session *session);

/* Does what is due: connects, writes, reads, gives up on late answers. Never waits. */
void ship_session_run(struct ship_session *session, short revents);
