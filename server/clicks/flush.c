/* The role flush: takes what ship put into Redis over into PostgreSQL, one process per partition,
 * pass by pass (flush_pass.h). It can run on several machines: the partition's lock lets one work at
 * a time.
 *
 * It keeps no state that matters. When a store is away it waits, longer each time and not in step
 * with others, says so once, and goes on by itself. */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/clicks/flush_daily.h"
#include "server/clicks/flush_days.h"
#include "server/clicks/flush_inbox.h"
#include "server/clicks/flush_pass.h"
#include "server/metrics.h"
#include "server/role.h"
#include "server/stores/postgres.h"
#include "shared/clock.h"
#include "shared/log.h"
#include "shared/retry.h"

#define RETRY_FIRST_MS  100
#define RETRY_MOST_MS   5000
#define READ_ONLY       "25006"
#define SETTLE_EVERY_US (US_PER_SECOND)
#define COUNT_EVERY_US  (60 * US_PER_SECOND)
#define COUNT_MOST      "2" /* days in one transaction */
#define STOP_TRIES      3   /* failures in a row, once told to stop, before it leaves */

struct loop {
    struct role_context *context;
    struct flusher flusher;
    int64_t days_due_us;
    int64_t settle_due_us;
    bool more_told; /* conversions wait in the inbox */
    int64_t count_due_us;
    struct flush_daily daily;
    unsigned failures; /* in a row */
    struct error told; /* the last failure that was logged */
};

/* Time limits of the session: what ends this process' transaction when it freezes. */
static bool set_limits(struct flusher *flusher, struct error *error)
{
    const struct settings *settings = flusher->settings;
    int64_t idle_ms = settings->flush_takeover_ms;
    char sql[200];

    /* A slow Redis is no freeze. */
    if (idle_ms < 2 * settings->redis_timeout_ms)
        idle_ms = 2 * settings->redis_timeout_ms;
    snprintf(sql, sizeof sql,
             "set idle_in_transaction_session_timeout = %lld; set lock_timeout = %lld;"
             " set statement_timeout = 0",
             (long long)idle_ms, (long long)settings->flush_takeover_ms);
    return postgres_execute(flusher->postgres, sql, 0, NULL, error);
}

static void disconnect_postgres(struct flusher *flusher)
{
    PQfinish(flusher->postgres);
    flusher->postgres = NULL;
    metrics->postgres_up = 0;
}

static bool connect_postgres(struct flusher *flusher, struct error *error)
{
    if (flusher->postgres && PQstatus(flusher->postgres) == CONNECTION_OK)
        return true;
    disconnect_postgres(flusher);
    flusher->postgres = postgres_connect(flusher->settings->database_url, "kudos-flush", error);
    if (!flusher->postgres)
        return error_prefix(error, "PostgreSQL");
    metrics->postgres_up = 1;
    metrics->postgres_reconnects_total++;
    if (set_limits(flusher, error))
        return true;
    disconnect_postgres(flusher);
    return false;
}

/* Makes and drops days when it is time. Failing at it holds up nothing. */
static void keep_days(struct loop *loop)
{
    struct flusher *flusher = &loop->flusher;
    struct error error;

    if (clock_mono_us() < loop->days_due_us)
        return;
    if (flush_days(flusher->postgres, flusher->settings->retention_days, &error)) {
        loop->days_due_us = clock_mono_us() + FLUSH_DAYS_EVERY_S * US_PER_SECOND;
        return;
    }
    log_warn("days_failed", "error=%s", error.text);
    loop->days_due_us = clock_mono_us() + FLUSH_DAYS_EVERY_S * US_PER_SECOND / 10;
}

/* Conversions are recorded, and those that were told before their click was flushed are decided
 * again, in transactions of their own so that no lock there holds back clicks. Failing at it holds
 * up nothing: they wait. */
static void record_conversions(struct loop *loop)
{
    struct flusher *flusher = &loop->flusher;
    struct error error;

    if (!flush_inbox(flusher->postgres, &loop->more_told, &error)) {
        log_warn("conversions_not_recorded", "error=%s", error.text);
        return;
    }
    if (clock_mono_us() < loop->settle_due_us)
        return;
    loop->settle_due_us = clock_mono_us() + SETTLE_EVERY_US;
    if (!flush_settle(flusher->postgres, &error))
        log_warn("conversions_not_settled", "error=%s", error.text);
}

/* Days of clicks that contracts pay for; a backlog (a contract that began long ago) a few in each pass.
 * Failing at it holds up nothing either. */
static void count_days(struct loop *loop)
{
    PGresult *row;
    struct error error;

    if (clock_mono_us() < loop->count_due_us)
        return;
    loop->count_due_us = clock_mono_us() + COUNT_EVERY_US;
    row = postgres_query(loop->flusher.postgres, "select kudos.count_clicks(" COUNT_MOST ")", 0,
                         NULL, &error);
    if (!row)
        log_warn("clicks_not_counted", "error=%s", error.text);
    else if (strcmp(PQgetvalue(row, 0, 0), COUNT_MOST) == 0)
        loop->count_due_us = 0;
    PQclear(row);
}

static enum flush_result one_pass(struct loop *loop, struct error *error)
{
    enum flush_result result = FLUSH_PASS_FAILED;

    if (!connect_postgres(&loop->flusher, error))
        return FLUSH_PASS_FAILED;
    keep_days(loop);
    if (PQstatus(loop->flusher.postgres) == CONNECTION_OK)
        result = flush_pass(&loop->flusher, error);
    else
        error_set(error, "connection to PostgreSQL lost");
    if (result != FLUSH_PASS_FAILED)
        record_conversions(loop);
    if (result != FLUSH_PASS_FAILED && PQstatus(loop->flusher.postgres) == CONNECTION_OK)
        count_days(loop);
    /* A server that only reads (a standby, after a failover) is the wrong one: look again. */
    if (PQstatus(loop->flusher.postgres) != CONNECTION_OK ||
        (result == FLUSH_PASS_FAILED && strcmp(postgres_sqlstate(), READ_ONLY) == 0))
        disconnect_postgres(&loop->flusher);
    return result;
}

/* Takes note of how a pass ended; returns how long to wait before the next. */
static int64_t after_pass(struct loop *loop, enum flush_result result, const struct error *error)
{
    if (result == FLUSH_PASS_FAILED) {
        if (loop->failures++ == 0)
            log_warn("flush_failed", "partition=%u error=%s", loop->flusher.partition, error->text);
        metrics->flush_retries_total++;
        return retry_wait_ms(loop->failures, RETRY_FIRST_MS, RETRY_MOST_MS);
    }
    if (loop->failures > 0)
        log_info("flush_resumed", "partition=%u failures=%u", loop->flusher.partition,
                 loop->failures);
    loop->failures = 0;
    if (result == FLUSH_PASS_AGAIN)
        return 0;
    role_ready();
    return loop->more_told ? 0 : loop->context->settings.flush_interval_ms;
}

/* Sleeps until the next pass. Daily figures go on meanwhile, one piece of work after the other. */
static enum role_order sleep_beside_daily(struct loop *loop, enum flush_result result, int64_t ms)
{
    int64_t until_us = clock_mono_us() + ms * US_PER_MS;
    bool daily = result != FLUSH_PASS_FAILED && loop->flusher.partition == 0;
    enum role_order order;

    do {
        if (daily)
            flush_daily_step(&loop->daily, loop->flusher.settings->database_url);
        order = role_sleep(ms, daily ? flush_daily_socket(&loop->daily) : -1);
        ms = (until_us - clock_mono_us()) / US_PER_MS;
    } while (order == ROLE_CONTINUE && ms > 0);
    return order;
}

/* Waits, and looks after orders; true once told to stop. After that only failures wait. */
static bool rest(struct loop *loop, enum flush_result result, int64_t ms)
{
    struct error error;

    switch (sleep_beside_daily(loop, result, ms)) {
    case ROLE_CONTINUE: break;
    case ROLE_RELOAD:
        role_reload(loop->context);
        if (loop->flusher.postgres && !set_limits(&loop->flusher, &error))
            log_warn("limits_failed", "error=%s", error.text);
        break;
    case ROLE_STOP:
        if (result == FLUSH_PASS_FAILED)
            usleep((useconds_t)(ms * US_PER_MS));
        return true;
    }
    return false;
}

static bool open_flusher(struct loop *loop)
{
    struct flusher *flusher = &loop->flusher;
    const struct settings *settings = &loop->context->settings;
    struct error error;

    flusher->settings = settings;
    flusher->partition = loop->context->slot;
    assert((int64_t)flusher->partition < settings->partitions);
    flush_keys_fill(&flusher->keys, flusher->partition);
    flusher->redis = redis_open(settings->redis_url, settings->redis_timeout_ms, &error);
    if (!flusher->redis)
        log_error("flush_cannot_start", "error=%s", error.text);
    return flusher->redis != NULL;
}

static void close_flusher(struct flusher *flusher)
{
    disconnect_postgres(flusher);
    redis_close(flusher->redis);
    flush_batch_free(&flusher->batch);
    rollup_free(&flusher->rollup);
}

/* Whether a process that was told to stop may leave: the stream was empty in a pass that began after
 * the order, or the stores have failed too often (Redis keeps what is left). */
static bool may_leave(const struct loop *loop, enum flush_result result)
{
    return result == FLUSH_PASS_DONE || loop->failures >= STOP_TRIES;
}

int flush_run(struct role_context *context)
{
    static struct loop loop; /* large, and there is one per process */
    bool stopping = false;

    loop.context = context;
    if (!open_flusher(&loop))
        return 1;
    for (;;) {
        struct error error = {""};
        enum flush_result result = one_pass(&loop, &error);
        int64_t wait_ms = after_pass(&loop, result, &error);
        if (stopping && may_leave(&loop, result))
            break;
        stopping = rest(&loop, result, wait_ms) || stopping;
    }
    flush_daily_close(&loop.daily);
    close_flusher(&loop.flusher);
    return 0;
}
