/* The role `ship`: takes every journal under data_dir to Redis.
 *
 * One loop, one thread, nothing in it waits but poll() and fdatasync(). Each round: what the clock
 * asks for (fdatasync every journal_sync_ms, whatever Redis does; the idle question every
 * flush_interval_ms; batches), then Redis' answers.
 *
 * Guarantees: every event that the disk has reaches Redis, in order within its origin, applied once.
 * append.lua applies a batch only directly behind last_seq and always answers last_seq, so ship
 * keeps no state of its own: after a crash, a lost answer, or a Redis that went back or ahead, it
 * goes on behind what Redis says. At most one batch per origin is under way; several origins are
 * pipelined. Only what an fdatasync has covered is sent, so after a power cut the journal still holds
 * all that Redis has.
 *
 * What is not sent stays in the journal: Redis away, full, not ready or refusing only makes the
 * journal grow. Memory: one batch, its command, and what the socket does not take at once. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/clicks/journal_format.h"
#include "server/clicks/ship_command.h"
#include "server/clicks/ship_origins.h"
#include "server/clicks/ship_session.h"
#include "server/metrics.h"
#include "server/role.h"
#include "shared/clock.h"
#include "shared/crash.h"
#include "shared/log.h"

#define PARTITIONS_MAX       64
#define APPENDS_MAX          8 /* batches under way, of as many origins */
#define FULL_WAIT_US         (50 * US_PER_MS)
#define NOT_READY_POLL_US    (100 * US_PER_MS)
#define MEASURE_US           US_PER_SECOND
#define DRAIN_PATIENCE_US    US_PER_SECOND /* when stopping, without progress */
#define EVENT_BYTES_AT_FIRST 128.0

struct partition {
    bool ready;        /* as last heard */
    bool asked;        /* an idle question is under way */
    uint64_t *origins; /* what it asked for */
    size_t count;
    int64_t ask_us; /* monotonic: the next one */
    int64_t full_until_us;
};

struct ship {
    struct role_context *context;
    struct ship_origins origins;
    struct ship_session *session;
    struct ship_command *command;
    struct journal_batch batch;
    struct partition partitions[PARTITIONS_MAX];
    unsigned appends;                     /* under way */
    size_t next;                          /* origin whose turn it is */
    int64_t sync_us, ship_us, measure_us; /* monotonic: when each is due */
    int64_t progress_us;                  /* monotonic: of the last batch applied */
    double bytes_per_event;
    bool stopping;
};

static struct partition *partition_of(struct ship *ship, const struct ship_origin *origin)
{
    int64_t partition = origin->reader->partition;

    return partition >= 0 && partition < PARTITIONS_MAX ? &ship->partitions[partition] : NULL;
}

/* Takes note of where Redis is with an origin, and goes on from there. Returns whether Redis went
 * back. */
static bool move_to(struct ship_origin *origin, uint64_t last_seq)
{
    bool went_back = origin->known && last_seq < origin->last_seq;

    origin->known = true;
    origin->last_seq = last_seq;
    if (origin->reader->wanted != last_seq + 1) {
        journal_reader_seek(origin->reader, last_seq + 1);
        origin->due = true;
    }
    return went_back;
}

/* A decimal below 2^63 as the scripts answer it. */
static bool parse_seq(const redisReply *reply, uint64_t *out)
{
    uint64_t value = 0;

    if (reply->type != REDIS_REPLY_STRING || reply->len == 0 || reply->len > 19)
        return false;
    for (size_t i = 0; i < reply->len; i++) {
        if (reply->str[i] < '0' || reply->str[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(reply->str[i] - '0');
    }
    *out = value;
    return value < INT64_MAX;
}

static void on_applied(struct ship *ship, const struct ship_origin *origin)
{
    metrics->shipped_events_total += origin->sent_count;
    metrics->shipped_batches_total++;
    metrics->gap_events_total += (int64_t)origin->sent_gap_seqs;
    ship->progress_us = clock_mono_us();
}

static bool on_append_reply(struct ship *ship, const struct ship_request *request,
                            const redisReply *reply)
{
    struct ship_origin *origin = ship_origins_find(&ship->origins, request->origin);
    struct partition *partition = &ship->partitions[request->partition];
    uint64_t last_seq, flushed;
    const char *status;

    CRASH_POINT("ship_after_answer");
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3 ||
        reply->element[0]->type != REDIS_REPLY_STRING || !parse_seq(reply->element[1], &last_seq) ||
        !parse_seq(reply->element[2], &flushed))
        return false;
    assert(origin && origin->in_flight);
    status = reply->element[0]->str;
    if (strcmp(status, "applied") == 0) {
        on_applied(ship, origin);
    } else if (strcmp(status, "refused") == 0) {
        metrics->ship_refused_total++;
    } else if (strcmp(status, "full") == 0) {
        metrics->ship_full_total++;
        partition->full_until_us = clock_mono_us() + FULL_WAIT_US;
    } else if (strcmp(status, "not ready") == 0) {
        metrics->ship_not_ready_total++;
        partition->ready = false;
    } else {
        return false;
    }
    origin->in_flight = false;
    ship->appends--;
    if (move_to(origin, last_seq))
        log_warn("redis_went_back", "origins=%d", 1);
    ship_origin_flushed(origin, flushed, clock_mono_us());
    return true;
}

static bool on_idle_reply(struct ship *ship, const struct ship_request *request,
                          const redisReply *reply)
{
    struct partition *partition = &ship->partitions[request->partition];
    int64_t now_us = clock_mono_us();
    uint64_t last_seq, flushed;
    unsigned back = 0;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 1 + 2 * partition->count ||
        reply->element[0]->type != REDIS_REPLY_INTEGER)
        return false;
    for (size_t i = 0; i < partition->count; i++) {
        struct ship_origin *origin = ship_origins_find(&ship->origins, partition->origins[i]);

        if (!parse_seq(reply->element[1 + 2 * i], &last_seq) ||
            !parse_seq(reply->element[2 + 2 * i], &flushed))
            return false;
        if (!origin)
            continue;
        if (!origin->in_flight) /* else its own answer knows better */
            back += move_to(origin, last_seq);
        ship_origin_flushed(origin, flushed, now_us);
    }
    if (back > 0)
        log_warn("redis_went_back", "origins=%u", back);
    partition->asked = false;
    partition->ready = reply->element[0]->integer == 1;
    if (!partition->ready)
        partition->ask_us = now_us + NOT_READY_POLL_US;
    ship_origins_delete(&ship->origins, request->partition, &ship->context->settings, now_us);
    return true;
}

static bool on_reply(void *owner, const struct ship_request *request, const redisReply *reply)
{
    return request->kind == SHIP_APPEND ? on_append_reply(owner, request, reply)
                                        : on_idle_reply(owner, request, reply);
}

/* Whether Redis did it is not known: the next answer tells. */
static void on_dropped(void *owner, const struct ship_request *request)
{
    struct ship *ship = owner;
    struct ship_origin *origin;

    ship->partitions[request->partition].ask_us = 0; /* ask as soon as it is there again */
    if (request->kind == SHIP_IDLE) {
        ship->partitions[request->partition].asked = false;
        return;
    }
    origin = ship_origins_find(&ship->origins, request->origin);
    assert(origin && origin->in_flight);
    origin->in_flight = false;
    origin->due = true;
    ship->appends--;
    journal_reader_seek(origin->reader, origin->sent_first);
}

static int64_t next_ask_us(const struct ship *ship, int64_t now_us)
{
    return now_us + ship->context->settings.flush_interval_ms * US_PER_MS;
}

/* Asks where Redis is with all origins of a partition. */
static void ask(struct ship *ship, unsigned number, int64_t now_us)
{
    struct partition *partition = &ship->partitions[number];
    const char *command;
    uint64_t *origins;
    size_t length;

    origins = realloc(partition->origins, (ship->origins.count + 1) * sizeof *origins);
    if (!origins)
        return;
    partition->origins = origins;
    partition->count = 0;
    for (size_t i = 0; i < ship->origins.count; i++)
        if (partition_of(ship, ship->origins.origins[i]) == partition)
            origins[partition->count++] = ship->origins.origins[i]->reader->origin;
    partition->ask_us = next_ask_us(ship, now_us);
    command = ship_command_idle(ship->command, ship_session_idle_digest(ship->session), number,
                                origins, partition->count, &length);
    if (!command)
        return;
    partition->asked = true;
    ship_session_send(ship->session, (struct ship_request){.kind = SHIP_IDLE, .partition = number},
                      command, length);
}

static void ask_all(struct ship *ship, int64_t now_us)
{
    uint64_t due = 0, used = 0;

    for (unsigned i = 0; i < PARTITIONS_MAX; i++)
        if (!ship->partitions[i].asked && now_us >= ship->partitions[i].ask_us)
            due |= 1ull << i;
    for (size_t i = 0; due && i < ship->origins.count; i++)
        if (partition_of(ship, ship->origins.origins[i]))
            used |= 1ull << ship->origins.origins[i]->reader->partition;
    for (unsigned i = 0; i < PARTITIONS_MAX; i++)
        if (due & used & 1ull << i)
            ask(ship, i, now_us);
        else if (due & 1ull << i)
            ship->partitions[i].ask_us = next_ask_us(ship, now_us);
}

/* Reads and sends one batch of an origin, if there is something. */
static void send_batch(struct ship *ship, struct ship_origin *origin)
{
    const struct settings *settings = &ship->context->settings;
    struct ship_request request = {.kind = SHIP_APPEND,
                                   .partition = (unsigned)origin->reader->partition,
                                   .origin = origin->reader->origin};
    const char *command;
    size_t length;

    journal_batch_reset(&ship->batch, origin->reader->wanted);
    origin->due = journal_reader_fill(origin->reader, &ship->batch);
    if (ship->batch.count == 0) {
        if (!origin->due)
            origin->oldest_us = 0;
        return;
    }
    command = ship_command_append(ship->command, ship_session_append_digest(ship->session),
                                  request.partition, request.origin,
                                  (uint64_t)settings->redis_backlog_bytes, &ship->batch, &length);
    origin->sent_first = ship->batch.first;
    origin->sent_last = ship->batch.last;
    origin->sent_count = ship->batch.count;
    origin->sent_gap_seqs = ship->batch.gap_seqs;
    origin->oldest_us = ship_command_oldest_us(ship->command);
    origin->in_flight = true;
    ship->appends++;
    ship->bytes_per_event =
        ((double)ship->batch.used + 12.0 * ship->batch.count) / (double)ship->batch.count;
    CRASH_POINT("ship_before_send");
    ship_session_send(ship->session, request, command, length);
}

static bool may_send(struct ship *ship, const struct ship_origin *origin, int64_t now_us)
{
    const struct partition *partition = partition_of(ship, origin);

    return origin->due && origin->known && !origin->in_flight && partition && partition->ready &&
           now_us >= partition->full_until_us;
}

/* One turn over the origins, beginning behind the last that had one. Returns whether more could be
 * read at once. */
static bool send_batches(struct ship *ship, int64_t now_us)
{
    size_t count = ship->origins.count;
    bool more = false;

    for (size_t turn = 0; turn < count; turn++) {
        struct ship_origin *origin;

        if (ship->appends >= APPENDS_MAX || !ship_session_usable(ship->session))
            return false;
        ship->next = (ship->next + 1) % count;
        origin = ship->origins.origins[ship->next];
        if (!may_send(ship, origin, now_us))
            continue;
        send_batch(ship, origin);
        more |= origin->due && !origin->in_flight;
    }
    return more;
}

static void sync_journals(struct ship *ship)
{
    if (ship_origins_sync(&ship->origins))
        for (unsigned i = 0; i < PARTITIONS_MAX; i++)
            ship->partitions[i].ask_us = 0; /* where is Redis with the new ones? */
}

/* What the clock asks for. Returns whether the loop must come back at once. */
static bool do_what_is_due(struct ship *ship)
{
    const struct settings *settings = &ship->context->settings;
    int64_t now_us = clock_mono_us();
    bool synced = now_us >= ship->sync_us;

    if (synced) {
        sync_journals(ship);
        ship->sync_us = now_us + settings->journal_sync_ms * US_PER_MS;
    }
    if (now_us >= ship->ship_us ||
        (synced && settings->ship_interval_ms <= settings->journal_sync_ms)) {
        for (size_t i = 0; i < ship->origins.count; i++)
            ship->origins.origins[i]->due |= !ship->origins.origins[i]->reader->drained;
        ship->ship_us = now_us + settings->ship_interval_ms * US_PER_MS;
    }
    if (now_us >= ship->measure_us) {
        ship_origins_measure(&ship->origins, ship->bytes_per_event);
        ship->measure_us = now_us + MEASURE_US;
    }
    if (!ship_session_usable(ship->session))
        return false;
    ask_all(ship, now_us);
    return send_batches(ship, now_us);
}

static int64_t earlier(int64_t a_us, int64_t b_us)
{
    return a_us < b_us ? a_us : b_us;
}

static int64_t next_due_us(const struct ship *ship)
{
    int64_t due_us = earlier(ship->sync_us, ship->ship_us);

    due_us = earlier(due_us, ship_session_wake_us(ship->session));
    for (unsigned i = 0; i < PARTITIONS_MAX && ship_session_usable(ship->session); i++)
        if (!ship->partitions[i].asked)
            due_us = earlier(due_us, ship->partitions[i].ask_us);
    return due_us;
}

/* Waits for an answer, a signal, or the clock; then has the session do its part. */
static void wait_and_answer(struct ship *ship, bool at_once)
{
    struct pollfd fds[2] = {ship_session_poll(ship->session),
                            {.fd = role_signals(), .events = POLLIN}};
    int64_t wait_us = next_due_us(ship) - clock_mono_us();
    int ready;

    if (ship->stopping)
        fds[1].fd = -1; /* stays readable in mind only */
    if (at_once || wait_us < 0)
        wait_us = 0;
    ready = poll(fds, 2, (int)((wait_us + US_PER_MS - 1) / US_PER_MS));
    if (ship->appends > 0 && ready > 0 && (fds[0].revents & POLLIN))
        CRASH_POINT("ship_after_send"); /* answered, but nobody has read it */
    ship_session_run(ship->session, ready > 0 ? fds[0].revents : 0);
}

/* Whether everything that is on the disk is in Redis, as far as that can be. */
static bool is_drained(const struct ship *ship)
{
    if (ship->appends > 0)
        return false;
    for (size_t i = 0; i < ship->origins.count; i++) {
        const struct journal_reader *reader = ship->origins.origins[i]->reader;

        if (!reader->stuck && journal_reader_backlog_bytes(reader) > 0)
            return false;
    }
    return true;
}

/* After SIGTERM: the writers are gone; takes what they left to Redis, as long as that makes
 * progress. The journal keeps the rest. */
static void drain(struct ship *ship)
{
    int64_t now_us = clock_mono_us();
    const int64_t end_us = now_us + ship->context->settings.stop_timeout_ms * US_PER_MS;

    ship->stopping = true;
    ship->progress_us = now_us;
    sync_journals(ship);
    for (size_t i = 0; i < ship->origins.count; i++)
        ship->origins.origins[i]->due = true;
    while (now_us < end_us && now_us < ship->progress_us + DRAIN_PATIENCE_US) {
        bool more = do_what_is_due(ship);

        if (is_drained(ship))
            break;
        wait_and_answer(ship, more);
        now_us = clock_mono_us();
    }
    ship_origins_measure(&ship->origins, ship->bytes_per_event);
    log_info("ship_stopped", "backlog_bytes=%lld", (long long)metrics->journal_backlog_bytes);
}

static bool ship_open(struct ship *ship, struct role_context *context)
{
    const struct settings *settings = &context->settings;
    const struct ship_handlers handlers = {ship, on_reply, on_dropped};
    struct error error = {""};

    memset(ship, 0, sizeof *ship);
    ship->context = context;
    ship->bytes_per_event = EVENT_BYTES_AT_FIRST;
    if (!ship_origins_open(&ship->origins, settings->data_dir, &error)) {
        log_error("ship_failed", "error=%s", error.text);
        return false;
    }
    ship->batch.bytes = malloc(BATCH_BYTES_MAX);
    ship->command = ship_command_new();
    ship->session = ship_session_new(settings->redis_url, settings->redis_timeout_ms, handlers);
    if (!ship->batch.bytes || !ship->command || !ship->session) {
        log_error("ship_failed", "error=%s", "out of memory");
        return false;
    }
    return true;
}

static void ship_close(struct ship *ship)
{
    ship_session_free(ship->session);
    ship_command_free(ship->command);
    free(ship->batch.bytes);
    for (unsigned i = 0; i < PARTITIONS_MAX; i++)
        free(ship->partitions[i].origins);
    ship_origins_close(&ship->origins);
}

int ship_run(struct role_context *context)
{
    struct ship ship;
    enum role_order order;

    if (!ship_open(&ship, context))
        return 1;
    while ((order = role_poll()) != ROLE_STOP) {
        if (order == ROLE_RELOAD) {
            role_reload(context);
            ship_session_set_timeout(ship.session, context->settings.redis_timeout_ms);
        }
        wait_and_answer(&ship, do_what_is_due(&ship));
        if (ship_session_tried(ship.session))
            role_ready();
    }
    drain(&ship);
    ship_close(&ship);
    return 0;
}
