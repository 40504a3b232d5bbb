/* A redirect process: opens what it reads and writes, then turns rounds until it is told to stop.
 *
 *     pending requests, then sockets   read, parse, decide, gather
 *     journal                          one write
 *     replies                          one send each
 *     tick (ten times a second)        time limits, paused accepting, replica and journal upkeep
 *
 * On SIGTERM it accepts no more (the queue is the successor's), closes what is idle, answers what
 * has begun with `Connection: close`, and leaves within half of stop_timeout_ms; the other half is
 * for shipping and flushing. After a crash the journal's clicks are shipped by `ship`, the queue of
 * the socket is served by the successor, and the replica's reader slot is cleared by whoever opens
 * it next. */
#include <assert.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "server/redirect/connection.h"
#include "server/redirect/listener.h"
#include "server/redirect/tell.h"
#include "server/redirect/visit.h"
#include "shared/log.h"

#define TICK_MS 100

/* What follows from settings that may change while it serves. Called between rounds only. What
 * cannot be applied stays as it was. */
static bool apply_settings(struct worker *worker, struct error *error)
{
    const struct settings *settings = &worker->context->settings;
    struct networks trusted;
    size_t reply_bytes_max, size;
    char *bytes;

    assert(!worker->round.open);
    reply_bytes_max = reply_max((size_t)settings->target_bytes_max);
    size = ROUND_BYTES_MIN > 4 * reply_bytes_max ? ROUND_BYTES_MIN : 4 * reply_bytes_max;
    if (size > worker->round.size) {
        bytes = realloc(worker->round.bytes, size);
        if (!bytes)
            return error_set(error, "out of memory");
        worker->round.bytes = bytes;
        worker->round.size = size;
    }
    worker->reply_bytes_max = reply_bytes_max;
    worker->limits.target_bytes = (size_t)settings->target_bytes_max;
    worker->limits.fields = (unsigned)settings->header_fields_max;
    if (!networks_parse(settings->trusted_proxies, &trusted, error))
        return error_prefix(error, "trusted_proxies");
    worker->trusted = trusted;
    worker->refuse_prefetch = strcmp(settings->prefetch, "refuse") == 0;
    return true;
}

static void reload(struct worker *worker)
{
    struct error error;

    role_reload(worker->context);
    if (!apply_settings(worker, &error))
        log_error("reload_incomplete", "error=%s", error.text);
    if (!classifier_reload(worker->classifier, &worker->context->settings, &error))
        log_error("classifier_reload_failed", "error=%s", error.text);
}

static void begin_stop(struct worker *worker)
{
    if (worker->stopping)
        return;
    worker->stopping = true;
    worker->stop_by_us =
        clock_mono_us() + worker->context->settings.stop_timeout_ms * US_PER_MS / 2;
    log_info("stopping", "connections=%u", worker->connection_count);
    listener_stop(worker->listener);
    connections_stop(worker);
}

static void on_signal(int fd, short what, void *owner)
{
    struct worker *worker = owner;

    (void)fd;
    (void)what;
    worker->order = role_poll();
}

static void on_tick(int fd, short what, void *owner)
{
    struct worker *worker = owner;

    (void)fd;
    (void)what;
    worker_begin_round(worker);
    visit_read_salt(worker);
    connections_expire(worker);
    listener_maintain(worker->listener);
    worker->ticked = true;
}

/* Between rounds, ten times a second. */
static void maintain(struct worker *worker)
{
    worker->ticked = false;
    replica_maintain(worker->replica, clock_mono_us());
    classifier_maintain(worker->classifier, &worker->context->settings, clock_mono_us());
    (void)journal_commit(worker->journal); /* tries again what a full disk refused */
    if (replica_complete(worker->replica))
        role_ready();
}

static void take_order(struct worker *worker)
{
    if (worker->order == ROLE_RELOAD)
        reload(worker);
    else if (worker->order == ROLE_STOP)
        begin_stop(worker);
    worker->order = ROLE_CONTINUE;
}

static void turn(struct worker *worker)
{
    bool pending = worker->lists[CONNECTION_PENDING].count > 0;

    if (pending) {
        worker_begin_round(worker);
        connections_serve_pending(worker);
    }
    loop_turn(worker->loop, !pending);
    worker_finish_round(worker);
    if (worker->ticked)
        maintain(worker);
    if (worker->order != ROLE_CONTINUE)
        take_order(worker);
}

static bool is_done(const struct worker *worker)
{
    return worker->stopping &&
           (worker->connection_count == 0 || worker->round.mono_us >= worker->stop_by_us);
}

static bool open_stores(struct worker *worker, struct error *error)
{
    const struct role_context *context = worker->context;
    const struct settings *settings = &context->settings;

    worker->replica = replica_open(settings->data_dir, error);
    if (!worker->replica)
        return false;
    worker->classifier = classifier_open(settings, error);
    if (!worker->classifier)
        return false;
    worker->journal = journal_open(settings->data_dir, context->slot,
                                   context->slot % (unsigned)settings->partitions,
                                   (uint64_t)settings->journal_segment_bytes, error);
    return worker->journal != NULL;
}

static bool open_loop(struct worker *worker, struct error *error)
{
    worker->loop = loop_open();
    if (!worker->loop ||
        !loop_watch(worker->loop, &worker->signals, role_signals(), LOOP_READ, on_signal, worker) ||
        !loop_tick(worker->loop, TICK_MS, on_tick, worker))
        return error_set(error, "the event loop cannot start");
    worker->signals_watched = true;
    worker->listener = listener_open(worker, worker->context->listen_fd);
    return worker->listener || error_set(error, "out of memory");
}

static bool worker_open(struct worker *worker, struct role_context *context, struct error *error)
{
    const struct settings *settings = &context->settings;

    worker->context = context;
    worker->connections_max = listener_connections_max(settings->connections_max);
    worker->limits.head_bytes = (size_t)settings->head_bytes_max;
    worker->read_size = (size_t)settings->head_bytes_max;
    worker->read_bytes = malloc(worker->read_size);
    visit_open(worker);
    buffer_pool_open(&worker->buffers, worker->read_size + POSTBACK_BODY_MAX);
    reply_open(&worker->replies, settings->click_id_param);
    tell_open(worker);
    if (!worker->read_bytes)
        return error_set(error, "out of memory");
    return apply_settings(worker, error) && open_stores(worker, error) && open_loop(worker, error);
}

/* Also closes what is half open. */
static void worker_close(struct worker *worker)
{
    connections_close(worker);
    listener_close(worker->listener);
    if (worker->signals_watched)
        loop_unwatch(&worker->signals);
    loop_close(worker->loop);
    if (worker->journal)
        journal_close(worker->journal);
    if (worker->classifier)
        classifier_close(worker->classifier);
    if (worker->replica)
        replica_close(worker->replica);
    buffer_pool_close(&worker->buffers);
    free(worker->round.bytes);
    free(worker->read_bytes);
    free(worker);
}

int redirect_run(struct role_context *context)
{
    struct worker *worker = calloc(1, sizeof *worker);
    struct error error = {"out of memory"};

    if (!worker || !worker_open(worker, context, &error)) {
        log_error("redirect_start_failed", "error=%s", error.text);
        if (worker)
            worker_close(worker);
        return 1;
    }
    malloc_trim(0); /* reading lists has left more free memory behind than serving will take */
    log_info("serving", "connections_max=%u origin=%llu", worker->connections_max,
             (unsigned long long)journal_origin(worker->journal));
    while (!is_done(worker))
        turn(worker);
    log_info("stopped", "connections=%u", worker->connection_count);
    worker_close(worker);
    return 0;
}
