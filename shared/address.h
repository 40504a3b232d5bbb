#pragma once
/* "IP:PORT" or "[IPv6]:PORT" as a socket address. Numbers only: no names are looked up. */
#include <sys/socket.h>

#include "shared/error.h"

struct address {
    struct sockaddr_storage storage;
    socklen_t length;
};

/* Parses; false with the reason. */
bool address_parse(const char *text, struct address *out, struct error *error) MUST_CHECK;

/* Opens a listening TCP socket (non-blocking, close-on-exec, SO_REUSEADDR; `reuse_port` adds
 * SO_REUSEPORT). Returns the descriptor, or -1 with the reason. */
int address_listen(const char *text, bool reuse_port, int backlog, struct error *error) MUST_CHECK;
