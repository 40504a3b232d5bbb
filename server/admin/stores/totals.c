/* See totals.h.
 *
 * Reads are answered in the order in which they were asked, each by two replies per partition (is it
 * ready; the two counts of the link), so a list of waiting reads is all the state there is. */
#include "server/admin/stores/totals.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "server/clicks/partition.h"
#include "server/metrics.h"
#include "server/stores/redis.h"
#include "shared/clock.h"
#include "shared/log.h"

#define TOTALS_TICK_MS 20

struct question {
    STAILQ_ENTRY(question) entry;
    totals_callback *callback;
    void *argument;
    int64_t deadline_us;
    int64_t left; /* replies still to come */
    bool not_ready, refused;
    struct total total;
};
STAILQ_HEAD(question_list, question);

struct totals {
    struct admin *admin;
    redisContext *redis; /* NULL: not connected */
    struct event *event, *tick;
    bool writing;       /* the event also waits for the socket to take more */
    unsigned greetings; /* replies to AUTH and SELECT still to come */
    bool failing;       /* said so in the log */
    int64_t retry_us;
    struct question_list questions;
    size_t count;
};

/* Takes the read that was asked first off the list and answers it. */
static void answer_first(struct totals *totals, const char *reason)
{
    struct question *question = STAILQ_FIRST(&totals->questions);

    assert(question && totals->count > 0);
    STAILQ_REMOVE_HEAD(&totals->questions, entry);
    totals->count--;
    question->total.available = reason == NULL;
    question->total.reason = reason;
    question->callback(&question->total, question->argument);
    free(question);
}

/* Closes the connection; whatever waits for it is answered. */
static void disconnect(struct totals *totals, const char *why)
{
    if (!totals->failing)
        log_warn("redis_away", "error=%s", why);
    totals->failing = true;
    if (totals->event)
        event_free(totals->event);
    totals->event = NULL;
    redisFree(totals->redis);
    totals->redis = NULL;
    metrics->redis_up = 0;
    totals->retry_us = clock_mono_us() + TOTALS_RETRY_MS * US_PER_MS;
    evtimer_del(totals->tick);
    while (totals->count > 0) /* until retry_us nothing is added */
        answer_first(totals, "Redis is not reachable");
}

/* The error reply of a server that cannot say now (LOADING, MASTERDOWN, NOAUTH …). */
static void take_reply(struct totals *totals, const redisReply *reply)
{
    struct question *question = STAILQ_FIRST(&totals->questions);
    int64_t all = 0, others = 0;

    assert(question && question->left > 0);
    if (reply->type == REDIS_REPLY_ERROR) {
        question->refused = true;
    } else if (question->left % 2 == 0) { /* of EXISTS …:ready */
        question->not_ready |= reply->type != REDIS_REPLY_INTEGER || reply->integer != 1;
    } else if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2) {
        if (reply->element[0]->type == REDIS_REPLY_STRING)
            all = strtoll(reply->element[0]->str, NULL, 10);
        if (reply->element[1]->type == REDIS_REPLY_STRING)
            others = strtoll(reply->element[1]->str, NULL, 10);
        question->total.clicks += all;
        question->total.human += all - others;
    }
    if (--question->left > 0)
        return;
    answer_first(totals, question->refused     ? "Redis refused to answer"
                         : question->not_ready ? "Redis is being recovered from PostgreSQL"
                                               : NULL);
}

static bool take_greeting(struct totals *totals, const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_ERROR)
        return false;
    totals->greetings--;
    return true;
}

static void read_replies(struct totals *totals)
{
    redisContext *redis = totals->redis;
    void *reply = NULL;

    if (redisBufferRead(redis) != REDIS_OK) {
        disconnect(totals, redis->errstr);
        return;
    }
    while (totals->redis == redis && redisGetReplyFromReader(redis, &reply) == REDIS_OK && reply) {
        bool good = true;

        if (totals->greetings > 0)
            good = take_greeting(totals, reply);
        else if (!STAILQ_EMPTY(&totals->questions))
            take_reply(totals, reply);
        else
            good = false;
        freeReplyObject(reply);
        reply = NULL;
        if (!good) {
            disconnect(totals, "unexpected reply");
            return;
        }
        if (totals->failing)
            log_info("redis_back");
        totals->failing = false;
        metrics->redis_up = 1;
    }
    if (totals->redis == redis && redis->err)
        disconnect(totals, redis->errstr);
}

static void on_socket(evutil_socket_t fd, short what, void *argument);

static void watch(struct totals *totals, bool writing)
{
    if (totals->event && totals->writing == writing)
        return;
    if (totals->event)
        event_free(totals->event);
    totals->writing = writing;
    totals->event =
        event_new(totals->admin->base, totals->redis->fd,
                  (short)(EV_READ | EV_PERSIST | (writing ? EV_WRITE : 0)), on_socket, totals);
    assert(totals->event);
    event_add(totals->event, NULL);
}

static void on_socket(evutil_socket_t fd, short what, void *argument)
{
    struct totals *totals = argument;
    int done = 0;

    (void)fd;
    if (what & EV_WRITE) {
        if (redisBufferWrite(totals->redis, &done) != REDIS_OK) {
            disconnect(totals, totals->redis->errstr);
            return;
        }
        watch(totals, !done);
    }
    if (what & EV_READ)
        read_replies(totals);
}

static void on_tick(evutil_socket_t fd, short what, void *argument)
{
    struct totals *totals = argument;
    struct question *first = STAILQ_FIRST(&totals->questions);

    (void)fd;
    (void)what;
    if (!first)
        evtimer_del(totals->tick);
    else if (clock_mono_us() >= first->deadline_us)
        disconnect(totals, "no answer in time");
}

static bool connect_redis(struct totals *totals)
{
    struct error error;

    if (totals->redis)
        return true;
    if (clock_mono_us() < totals->retry_us)
        return false;
    totals->redis =
        redis_connect_nonblocking(totals->admin->settings->redis_url, &totals->greetings, &error);
    if (!totals->redis) {
        disconnect(totals, error.text);
        return false;
    }
    metrics->redis_reconnects_total++;
    watch(totals, true);
    return true;
}

static void ask(struct totals *totals, uint64_t link, int64_t partitions)
{
    for (int64_t p = 0; p < partitions; p++) {
        redisAppendCommand(totals->redis, "EXISTS " PARTITION_KEY_READY, (unsigned)p);
        redisAppendCommand(totals->redis, "HMGET " PARTITION_KEY_TOTALS " %llu %llu:x", (unsigned)p,
                           (unsigned long long)link, (unsigned long long)link);
    }
    watch(totals, true);
}

void totals_read(struct totals *totals, uint64_t link, totals_callback *callback, void *argument)
{
    const struct settings *settings = totals->admin->settings;
    struct timeval every = {.tv_usec = TOTALS_TICK_MS * 1000};
    struct total refused = {.reason = "Redis is not reachable"};
    struct question *question;

    if (totals->count >= TOTALS_PENDING_MAX || !connect_redis(totals) ||
        !(question = calloc(1, sizeof *question))) {
        callback(&refused, argument);
        return;
    }
    question->callback = callback;
    question->argument = argument;
    question->deadline_us = clock_mono_us() + settings->redis_timeout_ms * US_PER_MS;
    question->left = 2 * settings->partitions;
    STAILQ_INSERT_TAIL(&totals->questions, question, entry);
    totals->count++;
    ask(totals, link, settings->partitions);
    if (!evtimer_pending(totals->tick, NULL))
        evtimer_add(totals->tick, &every);
}

struct totals *totals_new(struct admin *admin)
{
    struct totals *totals = calloc(1, sizeof *totals);

    if (!totals)
        return NULL;
    totals->admin = admin;
    STAILQ_INIT(&totals->questions);
    totals->tick = event_new(admin->base, -1, EV_PERSIST, on_tick, totals);
    if (!totals->tick) {
        free(totals);
        return NULL;
    }
    return totals;
}

void totals_free(struct totals *totals)
{
    struct question *question;

    if (!totals)
        return;
    if (totals->event)
        event_free(totals->event);
    if (totals->redis)
        redisFree(totals->redis);
    while ((question = STAILQ_FIRST(&totals->questions))) {
        STAILQ_REMOVE_HEAD(&totals->questions, entry);
        free(question);
    }
    event_free(totals->tick);
    free(totals);
}
