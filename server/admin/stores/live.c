/* See live.h. A waiter is owned by the list until its callback. */
#include "server/admin/stores/live.h"

#include <assert.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "server/admin/stores/pool.h"
#include "server/links/replica.h"
#include "server/metrics.h"
#include "shared/clock.h"

struct waiter {
    TAILQ_ENTRY(waiter) entry;
    uint64_t id, changed;
    bool gone;
    int64_t deadline_us;
    live_callback *callback;
    void *argument;
};
TAILQ_HEAD(waiter_list, waiter);

struct live {
    struct admin *admin;
    struct pool *notifier;
    struct event *timer;
    struct waiter_list waiters; /* in the order of their deadlines */
    size_t count;
    bool dirty;     /* something was committed since the last NOTIFY was sent */
    bool notifying; /* a NOTIFY is on its way: the next one waits for it */
};

/* Its commit need not wait for the disk: what is lost with the server, sync finds when it polls. */
static const struct statement notify = {
    .sql = "select set_config('synchronous_commit', 'off', true), pg_notify('kudos_links', '')"};

static void on_notified(const struct pool_answer *answer, void *argument)
{
    struct live *live = argument;

    live->notifying = false;
    if (answer->outcome == POOL_DONE)
        live_round(live); /* else sync finds the change when it polls */
}

void live_round(struct live *live)
{
    if (!live->dirty || live->notifying)
        return;
    live->dirty = false;
    live->notifying = true;
    pool_query(live->notifier, &notify, 0, NULL, on_notified, live);
}

static bool has_arrived(struct live *live, const struct waiter *waiter)
{
    struct replica *replica = live->admin->replica;
    struct link link;

    if (!replica || !replica_complete(replica))
        return false;
    if (!replica_find_link_by_id(replica, waiter->id, &link))
        return waiter->gone;
    return link.changed >= waiter->changed;
}

static void waiter_end(struct live *live, struct waiter *waiter, bool arrived)
{
    assert(live->count > 0);
    live->count--;
    if (!arrived)
        metrics->live_unconfirmed_total++;
    waiter->callback(arrived, waiter->argument);
    free(waiter);
}

static void rearm(struct live *live)
{
    struct timeval soon = {.tv_usec = LIVE_POLL_MS * 1000};

    if (!TAILQ_EMPTY(&live->waiters) && !evtimer_pending(live->timer, NULL))
        evtimer_add(live->timer, &soon);
}

/* Looks at all waiters in one read transaction of the replica, then calls back outside of it. */
static void on_timer(evutil_socket_t fd, short what, void *argument)
{
    struct live *live = argument;
    struct waiter_list arrived = TAILQ_HEAD_INITIALIZER(arrived);
    struct waiter_list late = TAILQ_HEAD_INITIALIZER(late);
    struct waiter *waiter, *next;
    int64_t now_us = clock_mono_us();

    (void)fd;
    (void)what;
    if (live->admin->replica)
        replica_begin(live->admin->replica);
    for (waiter = TAILQ_FIRST(&live->waiters); waiter; waiter = next) {
        bool here = has_arrived(live, waiter);

        next = TAILQ_NEXT(waiter, entry);
        if (!here && now_us < waiter->deadline_us)
            continue;
        TAILQ_REMOVE(&live->waiters, waiter, entry);
        if (here)
            TAILQ_INSERT_TAIL(&arrived, waiter, entry);
        else
            TAILQ_INSERT_TAIL(&late, waiter, entry);
    }
    if (live->admin->replica)
        replica_end(live->admin->replica);
    while ((waiter = TAILQ_FIRST(&arrived))) {
        TAILQ_REMOVE(&arrived, waiter, entry);
        waiter_end(live, waiter, true);
    }
    while ((waiter = TAILQ_FIRST(&late))) {
        TAILQ_REMOVE(&late, waiter, entry);
        waiter_end(live, waiter, false);
    }
    rearm(live);
}

void live_wait(struct live *live, uint64_t id, uint64_t changed, bool gone, live_callback *callback,
               void *argument)
{
    struct waiter *waiter = calloc(1, sizeof *waiter);
    struct timeval now = {0};
    int64_t wait_ms = live->admin->settings->live_timeout_ms;

    assert(waiter);
    *waiter = (struct waiter){.id = id, .changed = changed, .gone = gone};
    waiter->callback = callback;
    waiter->argument = argument;
    waiter->deadline_us = clock_mono_us();
    if (live->count < LIVE_MAX)
        waiter->deadline_us += wait_ms * US_PER_MS;
    else
        evtimer_add(live->timer, &now);
    TAILQ_INSERT_TAIL(&live->waiters, waiter, entry);
    live->count++;
    live->dirty = true;
    rearm(live);
}

void live_announce(struct live *live)
{
    live->dirty = true;
}

struct live *live_new(struct admin *admin)
{
    struct live *live = calloc(1, sizeof *live);

    if (!live)
        return NULL;
    live->admin = admin;
    TAILQ_INIT(&live->waiters);
    live->timer = evtimer_new(admin->base, on_timer, live);
    live->notifier = pool_new(admin->base, admin->settings->database_url, "kudos-admin-notify", 1);
    if (live->timer && live->notifier)
        return live;
    live_free(live);
    return NULL;
}

void live_free(struct live *live)
{
    struct waiter *waiter;

    if (!live)
        return;
    pool_free(live->notifier);
    if (live->timer)
        event_free(live->timer);
    while ((waiter = TAILQ_FIRST(&live->waiters))) {
        TAILQ_REMOVE(&live->waiters, waiter, entry);
        free(waiter);
    }
    free(live);
}
