/* See ship_session.h.
 *
 * States: AWAY (no connection; the next attempt at `resume_us`), GREETING (connected or connecting;
 * AUTH, SELECT, the policy and the scripts are under way), OPEN. In OPEN, `resume_us` in the future
 * means that an error reply made it pause.
 *
 * The queue holds one entry per answer that is expected, in order; Redis answers in order. */
#include "server/clicks/ship_session.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/clicks/ship_command.h"
#include "server/metrics.h"
#include "server/stores/redis.h"
#include "shared/clock.h"
#include "shared/embed.h"
#include "shared/log.h"
#include "shared/retry.h"

EMBED(append_lua, "server/clicks/append.lua");
EMBED(idle_lua, "server/clicks/idle.lua");

#define RETRY_FIRST_MS 100
#define RETRY_MOST_MS  2000
#define KIND_MAX       32 /* characters of an error's first word */
#define KINDS_MAX      16 /* different ones that are remembered as logged */
#define QUEUE_MAX      (SHIP_REQUESTS_MAX + 8)

enum state { AWAY, GREETING, OPEN };

/* What an answer belongs to; the last one to a request of the owner. */
enum expected { EXPECT_GREETING, EXPECT_POLICY, EXPECT_APPEND_LUA, EXPECT_IDLE_LUA, EXPECT_ANSWER };

struct entry {
    enum expected expected;
    struct ship_request request;
};

struct ship_session {
    const char *url;
    int64_t timeout_us;
    struct ship_handlers handlers;
    enum state state;
    bool tried;
    redisContext *context; /* NULL when AWAY */
    int64_t resume_us;
    unsigned failures;   /* in a row */
    int64_t progress_us; /* of the last answer, or of the first request since there was none */
    char append_digest[SHIP_DIGEST_LENGTH + 1];
    char idle_digest[SHIP_DIGEST_LENGTH + 1];
    bool said_away, said_policy, said_evicts;
    char logged[KINDS_MAX][KIND_MAX]; /* error replies since an append worked */
    unsigned logged_count;
    unsigned first, count; /* of the queue */
    struct entry queue[QUEUE_MAX];
};

struct ship_session *ship_session_new(const char *url, int64_t timeout_ms,
                                      struct ship_handlers handlers)
{
    struct ship_session *session = calloc(1, sizeof *session);

    if (!session)
        return NULL;
    session->url = url;
    session->handlers = handlers;
    ship_session_set_timeout(session, timeout_ms);
    return session;
}

void ship_session_set_timeout(struct ship_session *session, int64_t timeout_ms)
{
    assert(timeout_ms > 0);
    session->timeout_us = timeout_ms * US_PER_MS;
}

static void push(struct ship_session *session, enum expected expected, struct ship_request request)
{
    struct entry *entry = &session->queue[(session->first + session->count) % QUEUE_MAX];

    assert(session->count < QUEUE_MAX);
    if (session->count == 0)
        session->progress_us = clock_mono_us();
    *entry = (struct entry){expected, request};
    session->count++;
}

static struct entry pop(struct ship_session *session)
{
    struct entry entry = session->queue[session->first];

    assert(session->count > 0);
    session->first = (session->first + 1) % QUEUE_MAX;
    session->count--;
    session->progress_us = clock_mono_us();
    return entry;
}

/* Whether this kind of error reply is new since an append worked. */
static bool is_news(struct ship_session *session, const char *reason)
{
    char kind[KIND_MAX];

    snprintf(kind, sizeof kind, "%.*s", (int)strcspn(reason, " "), reason);
    for (unsigned i = 0; i < session->logged_count; i++)
        if (strcmp(session->logged[i], kind) == 0)
            return false;
    if (session->logged_count == KINDS_MAX)
        return false;
    memcpy(session->logged[session->logged_count++], kind, sizeof kind);
    return true;
}

/* Waits twice as long as the last time, anywhere in the upper half of that. */
static void back_off(struct ship_session *session)
{
    int64_t now_us = clock_mono_us();

    if (session->resume_us > now_us)
        return; /* several answers of one pipeline tell the same trouble */
    session->resume_us =
        now_us + retry_wait_ms(++session->failures, RETRY_FIRST_MS, RETRY_MOST_MS) * US_PER_MS;
}

/* Closes the connection and tells the owner what will not be answered. */
static void hang_up(struct ship_session *session)
{
    if (session->context)
        redisFree(session->context);
    session->context = NULL;
    session->state = AWAY;
    metrics->redis_up = 0;
    back_off(session);
    while (session->count > 0) {
        struct entry entry = pop(session);

        if (entry.expected == EXPECT_ANSWER)
            session->handlers.on_dropped(session->handlers.owner, &entry.request);
    }
}

static void disconnect(struct ship_session *session, const char *reason)
{
    if (!session->said_away)
        log_warn("redis_away", "reason=%s", reason);
    session->said_away = true;
    hang_up(session);
}

void ship_session_free(struct ship_session *session)
{
    if (!session)
        return;
    if (session->context)
        redisFree(session->context);
    free(session);
}

/* Sends SCRIPT LOAD for both; answers come behind what is under way. */
static void load_scripts(struct ship_session *session)
{
    const struct ship_request none = {0};

    session->state = GREETING;
    redisAppendCommand(session->context, "SCRIPT LOAD %s", append_lua);
    push(session, EXPECT_APPEND_LUA, none);
    redisAppendCommand(session->context, "SCRIPT LOAD %s", idle_lua);
    push(session, EXPECT_IDLE_LUA, none);
}

static void connect_now(struct ship_session *session)
{
    const struct ship_request none = {0};
    struct error error = {""};
    unsigned greetings = 0;

    session->context = redis_connect_nonblocking(session->url, &greetings, &error);
    if (!session->context) {
        session->tried = true;
        disconnect(session, error.text);
        return;
    }
    for (; greetings > 0; greetings--)
        push(session, EXPECT_GREETING, none);
    redisAppendCommand(session->context, "CONFIG GET maxmemory-policy");
    push(session, EXPECT_POLICY, none);
    load_scripts(session);
}

/* A Redis that may evict keys would lose clicks silently: not with us. */
static bool policy_is_safe(struct ship_session *session, const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_ERROR) {
        if (!session->said_policy)
            log_warn("redis_policy_unknown", "error=%s", reply->str);
        session->said_policy = true;
        return true; /* a managed Redis may forbid the question */
    }
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        reply->element[1]->type != REDIS_REPLY_STRING)
        return true; /* not a question that this server knows */
    if (strcmp(reply->element[1]->str, "noeviction") == 0)
        return true;
    if (!session->said_evicts)
        log_error("redis_evicts_keys", "maxmemory_policy=%s needed=noeviction",
                  reply->element[1]->str);
    return false;
}

static void on_policy(struct ship_session *session, const redisReply *reply)
{
    if (policy_is_safe(session, reply)) {
        metrics->ship_policy_refused = 0;
        session->said_evicts = false;
        return;
    }
    metrics->ship_policy_refused = 1;
    session->said_evicts = true;
    session->tried = false;
    hang_up(session);
}

static void on_loaded(struct ship_session *session, enum expected expected, const redisReply *reply)
{
    char *digest = expected == EXPECT_APPEND_LUA ? session->append_digest : session->idle_digest;

    if (reply->type != REDIS_REPLY_STRING || reply->len != SHIP_DIGEST_LENGTH) {
        disconnect(session, reply->type == REDIS_REPLY_ERROR ? reply->str : "odd answer");
        return;
    }
    memcpy(digest, reply->str, SHIP_DIGEST_LENGTH + 1);
    if (expected == EXPECT_APPEND_LUA)
        return;
    session->state = OPEN;
    session->tried = true;
    if (!metrics->redis_up)
        metrics->redis_reconnects_total++;
    if (session->said_away)
        log_info("redis_back");
    session->said_away = false;
    metrics->redis_up = 1;
}

/* An error reply to a request of the owner. */
static void on_trouble(struct ship_session *session, const struct ship_request *request,
                       const char *reason)
{
    session->handlers.on_dropped(session->handlers.owner, request);
    if (strncmp(reason, "NOSCRIPT", 8) == 0) {
        if (session->state == OPEN) /* else they are being loaded already */
            load_scripts(session);
        return;
    }
    metrics->ship_errors_total++;
    if (is_news(session, reason))
        log_error("redis_refused", "error=%s", reason);
    if (strncmp(reason, "READONLY", 8) == 0)
        hang_up(session); /* the name may lead to another server by now */
    else
        back_off(session);
}

static void on_answer(struct ship_session *session, const struct ship_request *request,
                      const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_ERROR) {
        on_trouble(session, request, reply->str);
        return;
    }
    if (request->kind == SHIP_APPEND)
        session->logged_count = 0;
    if (session->logged_count == 0)
        session->failures = 0;
    if (!session->handlers.on_reply(session->handlers.owner, request, reply)) {
        session->handlers.on_dropped(session->handlers.owner, request);
        disconnect(session, "odd answer");
    }
}

static void on_reply(struct ship_session *session, const redisReply *reply)
{
    struct entry entry;

    if (session->count == 0) {
        disconnect(session, "answer to nothing");
        return;
    }
    entry = pop(session);
    switch (entry.expected) {
    case EXPECT_GREETING:
        if (reply->type == REDIS_REPLY_ERROR)
            disconnect(session, reply->str);
        break;
    case EXPECT_POLICY: on_policy(session, reply); break;
    case EXPECT_APPEND_LUA:
    case EXPECT_IDLE_LUA: on_loaded(session, entry.expected, reply); break;
    case EXPECT_ANSWER: on_answer(session, &entry.request, reply); break;
    }
}

static void read_answers(struct ship_session *session)
{
    redisReply *reply;

    if (redisBufferRead(session->context) != REDIS_OK) {
        session->tried = true;
        disconnect(session, session->context->errstr);
        return;
    }
    while (session->context) {
        reply = NULL;
        if (redisGetReplyFromReader(session->context, (void **)&reply) != REDIS_OK) {
            disconnect(session, session->context->errstr);
            return;
        }
        if (!reply)
            return;
        on_reply(session, reply);
        freeReplyObject(reply);
    }
}

static void write_requests(struct ship_session *session)
{
    int done;

    if (redisBufferWrite(session->context, &done) == REDIS_OK)
        return;
    session->tried = true;
    disconnect(session, session->context->errstr);
}

static bool has_output(const struct ship_session *session)
{
    return session->context->obuf && sdslen(session->context->obuf) > 0;
}

bool ship_session_usable(const struct ship_session *session)
{
    return session->state == OPEN && clock_mono_us() >= session->resume_us;
}

bool ship_session_tried(const struct ship_session *session)
{
    return session->tried;
}

const char *ship_session_append_digest(const struct ship_session *session)
{
    return session->append_digest;
}

const char *ship_session_idle_digest(const struct ship_session *session)
{
    return session->idle_digest;
}

void ship_session_send(struct ship_session *session, struct ship_request request,
                       const char *command, size_t length)
{
    assert(session->state == OPEN && session->count < SHIP_REQUESTS_MAX);
    if (redisAppendFormattedCommand(session->context, command, length) != REDIS_OK)
        abort(); /* out of memory: what was not confirmed is sent again by the successor */
    push(session, EXPECT_ANSWER, request);
}

struct pollfd ship_session_poll(const struct ship_session *session)
{
    struct pollfd poll = {.fd = -1};

    if (!session->context)
        return poll;
    poll.fd = session->context->fd;
    poll.events = POLLIN;
    if (has_output(session))
        poll.events |= POLLOUT;
    return poll;
}

int64_t ship_session_wake_us(const struct ship_session *session)
{
    int64_t wake_us = INT64_MAX;

    if (session->state == AWAY || session->resume_us > clock_mono_us())
        wake_us = session->resume_us;
    if (session->count > 0 && session->progress_us + session->timeout_us < wake_us)
        wake_us = session->progress_us + session->timeout_us;
    return wake_us;
}

void ship_session_run(struct ship_session *session, short revents)
{
    int64_t now_us = clock_mono_us();

    if (session->state == AWAY) {
        if (now_us >= session->resume_us)
            connect_now(session);
        return;
    }
    if (revents & (POLLIN | POLLHUP | POLLERR))
        read_answers(session);
    if (session->context && has_output(session))
        write_requests(session);
    if (session->context && session->count > 0 &&
        clock_mono_us() > session->progress_us + session->timeout_us) {
        session->tried = true;
        disconnect(session, "no answer in time");
    }
}
