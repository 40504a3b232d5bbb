#pragma once
/* The event loop, as far as a redirect process needs one: sockets that become readable or writable,
 * one tick, and a turn that the caller takes itself. The only room that knows libevent (whose
 * `struct event` is not ours). */
#include <stdbool.h>
#include <stdint.h>

struct loop;

enum loop_what { LOOP_READ = 1, LOOP_WRITE = 2 };

/* Called when a socket is ready; level-triggered: called again as long as it is. */
typedef void loop_callback(int fd, short what, void *owner);

/* Room for one watched socket, owned by the caller; must not move while it is watched. */
#define LOOP_WATCH_BYTES 128
struct loop_watch {
    _Alignas(8) unsigned char opaque[LOOP_WATCH_BYTES];
};

/* NULL if there is no memory or descriptor for it. */
struct loop *loop_open(void);
void loop_close(struct loop *loop);

/* Watches `fd`, which must not be watched by `watch` yet. False: out of memory. */
bool loop_watch(struct loop *loop, struct loop_watch *watch, int fd, enum loop_what what,
                loop_callback *on_ready, void *owner) __attribute__((warn_unused_result));

/* Ends it. To be called before `fd` is closed. */
void loop_unwatch(struct loop_watch *watch);

/* Calls `on_tick` every `ms`, until the loop is closed. Once per loop. */
bool loop_tick(struct loop *loop, int64_t ms, loop_callback *on_tick, void *owner)
    __attribute__((warn_unused_result));

/* One turn: waits until something is ready (or not at all, if not `wait`), and calls back. */
void loop_turn(struct loop *loop, bool wait);
