/* The floor beneath every redirect on libevent: epoll, recv, send, and a fixed 302 for whatever
 * came. Nothing is parsed, decided or recorded; a request is taken to arrive whole, as a benchmark's do.
 * `bench_floor PORT` listens on 127.0.0.1. For tests/bench only. */
#include <assert.h>
#include <event2/event.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shared/address.h"

#define BACKLOG 4096

/* As long as what Kudos answers, click id and all. */
static const char reply[] =
    "HTTP/1.1 302 Found\r\nDate: Sat, 21 Nov 2026 21:34:30 GMT\r\nCache-Control: private, no-store"
    "\r\nReferrer-Policy: strict-origin-when-cross-origin\r\nX-Robots-Tag: noindex\r\n"
    "Content-Length: 0\r\nLocation: https://shop.example.com/p/1?from=kudos&kudos_id="
    "AQABogAIQSZb0J0Su70biAAAAAAAAAABAAAAAAAAAAGRUahKFiC-PcMqq76Vz80G\r\n\r\n";

static void on_readable(int fd, short what, void *event)
{
    static char bytes[16384];

    (void)what;
    if (recv(fd, bytes, sizeof bytes, 0) > 0 &&
        send(fd, reply, sizeof reply - 1, MSG_NOSIGNAL) == (ssize_t)sizeof reply - 1)
        return;
    event_free(event);
    close(fd);
}

static void on_connection(int listener, short what, void *base)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct event *event;

    (void)what;
    if (fd < 0)
        return;
    event = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, event_self_cbarg());
    assert(event && event_add(event, NULL) == 0);
}

int main(int argc, char **argv)
{
    struct event_base *base = event_base_new();
    struct event *accepting;
    struct error error;
    char address[32];
    int fd;

    if (argc != 2) {
        fprintf(stderr, "use: bench_floor PORT\n");
        return 2;
    }
    snprintf(address, sizeof address, "127.0.0.1:%.5s", argv[1]);
    fd = address_listen(address, false, BACKLOG, &error);
    if (fd < 0 || !base) {
        fprintf(stderr, "bench_floor: %s\n", error.text);
        return 1;
    }
    accepting = event_new(base, fd, EV_READ | EV_PERSIST, on_connection, base);
    assert(accepting && event_add(accepting, NULL) == 0);
    return event_base_dispatch(base) != 0;
}
