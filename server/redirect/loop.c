/* See loop.h. */
#include "server/redirect/loop.h"

#include <assert.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>

static_assert(sizeof(struct event) <= LOOP_WATCH_BYTES, "libevent's event fits");
static_assert(LOOP_READ != LOOP_WRITE, "told apart");

struct loop {
    struct event_base *base;
    struct event tick;
    bool ticking;
};

static struct event *event_of(struct loop_watch *watch)
{
    return (struct event *)(void *)watch->opaque;
}

struct loop *loop_open(void)
{
    struct event_config *config = event_config_new();
    struct loop *loop = calloc(1, sizeof *loop);

    if (loop && config) {
        event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
        loop->base = event_base_new_with_config(config);
    }
    if (config)
        event_config_free(config);
    if (loop && loop->base)
        return loop;
    free(loop);
    return NULL;
}

void loop_close(struct loop *loop)
{
    if (!loop)
        return;
    if (loop->ticking)
        event_del(&loop->tick);
    event_base_free(loop->base);
    free(loop);
}

bool loop_watch(struct loop *loop, struct loop_watch *watch, int fd, enum loop_what what,
                loop_callback *on_ready, void *owner)
{
    short wanted = (short)((what == LOOP_READ ? EV_READ : EV_WRITE) | EV_PERSIST);

    return event_assign(event_of(watch), loop->base, fd, wanted, on_ready, owner) == 0 &&
           event_add(event_of(watch), NULL) == 0;
}

void loop_unwatch(struct loop_watch *watch)
{
    event_del(event_of(watch));
}

bool loop_tick(struct loop *loop, int64_t ms, loop_callback *on_tick, void *owner)
{
    struct timeval every = {ms / 1000, ms % 1000 * 1000};

    assert(!loop->ticking && ms > 0);
    loop->ticking = event_assign(&loop->tick, loop->base, -1, EV_PERSIST, on_tick, owner) == 0 &&
                    event_add(&loop->tick, &every) == 0;
    return loop->ticking;
}

void loop_turn(struct loop *loop, bool wait)
{
    event_base_loop(loop->base, EVLOOP_ONCE | (wait ? 0 : EVLOOP_NONBLOCK));
}
