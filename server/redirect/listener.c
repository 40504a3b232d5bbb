/* See listener.h.
 *
 * Connections that were accepted are this process' own; those in the queue belong to the socket,
 * which the supervisor keeps: nothing is lost of them when this process dies.
 *
 * When there are as many connections as may be, or descriptors run out, the one that has been idle
 * longest makes place. If none is idle, accepting pauses: the socket is not watched meanwhile, so
 * that the loop does not spin on it. */
#include "server/redirect/listener.h"

#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "server/metrics.h"
#include "server/redirect/connection.h"
#include "shared/log.h"

struct listener {
    struct worker *worker;
    int fd;
    bool watched;
    bool stopped;
    int64_t paused_until_us; /* 0: not paused */
    struct loop_watch watch;
};

static void unwatch(struct listener *listener)
{
    if (listener->watched)
        loop_unwatch(&listener->watch);
    listener->watched = false;
}

static void pause_accepting(struct listener *listener)
{
    if (listener->watched)
        metrics->accept_paused_total++;
    unwatch(listener);
    listener->paused_until_us = listener->worker->round.mono_us + ACCEPT_PAUSE_US;
}

/* Whether somebody waits to be accepted. */
static bool is_waited_for(int fd)
{
    struct pollfd waiting = {.fd = fd, .events = POLLIN};

    return poll(&waiting, 1, 0) == 1;
}

/* After accept4() failed. True if it is worth another try in this round. */
static bool after_failure(struct listener *listener, int failure)
{
    switch (failure) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case EPERM: return true;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        if (!connections_shed(listener->worker))
            pause_accepting(listener);
        return false;
    case EAGAIN: return false;
    default:
        log_warn("accept_failed", "error=%s", strerror(failure));
        pause_accepting(listener);
        return false;
    }
}

static void on_connections(int fd, short what, void *owner)
{
    struct listener *listener = owner;
    struct worker *worker = listener->worker;

    (void)what;
    worker_begin_round(worker);
    for (int i = 0; i < ACCEPT_BATCH_MAX && worker_has_room(worker); i++) {
        union peer_address peer;
        socklen_t length = sizeof peer;
        int accepted;

        if (worker->connection_count >= worker->connections_max) {
            if (!is_waited_for(fd)) /* nobody is shed for nothing */
                return;
            if (!connections_shed(worker)) {
                pause_accepting(listener);
                return;
            }
        }
        memset(&peer, 0, sizeof peer);
        accepted = accept4(fd, &peer.any, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (accepted < 0) {
            if (!after_failure(listener, errno))
                return;
        } else if (!connection_accept(worker, accepted, &peer)) {
            close(accepted);
        }
    }
}

static bool watch(struct listener *listener)
{
    listener->watched = loop_watch(listener->worker->loop, &listener->watch, listener->fd,
                                   LOOP_READ, on_connections, listener);
    return listener->watched;
}

struct listener *listener_open(struct worker *worker, int fd)
{
    struct listener *listener = calloc(1, sizeof *listener);
    int on = 1;

    if (!listener)
        return NULL;
    listener->worker = worker;
    listener->fd = fd;
    /* Inherited by what is accepted: a reply is one send, there is nothing to wait for. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    /* Who has connected is heard of when the first bytes are there, or after a second without: then
     * reading needs no wait, and a connection that is closed after one answer is never watched. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &on, sizeof on);
    if (watch(listener))
        return listener;
    free(listener);
    return NULL;
}

void listener_stop(struct listener *listener)
{
    unwatch(listener);
    listener->stopped = true;
}

void listener_close(struct listener *listener)
{
    if (!listener)
        return;
    unwatch(listener);
    free(listener);
}

void listener_maintain(struct listener *listener)
{
    if (listener->watched || listener->stopped ||
        listener->worker->round.mono_us < listener->paused_until_us)
        return;
    if (!watch(listener))
        listener->paused_until_us = listener->worker->round.mono_us + ACCEPT_PAUSE_US;
}

unsigned listener_connections_max(int64_t wanted)
{
    rlim_t need = (rlim_t)wanted + DESCRIPTORS_RESERVE;
    struct rlimit limit;

    assert(wanted > 0);
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return (unsigned)wanted;
    if (limit.rlim_cur < need) {
        struct rlimit raised = {.rlim_cur = need < limit.rlim_max ? need : limit.rlim_max,
                                .rlim_max = limit.rlim_max};

        if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
            limit = raised;
    }
    if (limit.rlim_cur >= need)
        return (unsigned)wanted;
    log_warn("connections_limited", "wanted=%lld descriptors=%llu", (long long)wanted,
             (unsigned long long)limit.rlim_cur);
    return limit.rlim_cur > 2 * DESCRIPTORS_RESERVE
               ? (unsigned)(limit.rlim_cur - DESCRIPTORS_RESERVE)
               : DESCRIPTORS_RESERVE;
}
