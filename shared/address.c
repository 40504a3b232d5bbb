/* See address.h. */
#include "shared/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool parse_port(const char *text, in_port_t *out)
{
    char *end;
    long port = strtol(text, &end, 10);

    if (end == text || *end != '\0' || port < 0 || port > 65535 || text[0] < '0' || text[0] > '9')
        return false;
    *out = htons((uint16_t)port);
    return true;
}

bool address_parse(const char *text, struct address *out, struct error *error)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)&out->storage;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&out->storage;
    const char *colon = strrchr(text, ':');
    char host[INET6_ADDRSTRLEN + 2];
    size_t length = colon ? (size_t)(colon - text) : 0;

    memset(out, 0, sizeof *out);
    if (!colon || length == 0 || length >= sizeof host)
        goto bad;
    memcpy(host, text, length);
    host[length] = '\0';
    if (host[0] == '[' && host[length - 1] == ']') {
        host[length - 1] = '\0';
        v6->sin6_family = AF_INET6;
        out->length = sizeof *v6;
        if (inet_pton(AF_INET6, host + 1, &v6->sin6_addr) == 1 &&
            parse_port(colon + 1, &v6->sin6_port))
            return true;
    } else {
        v4->sin_family = AF_INET;
        out->length = sizeof *v4;
        if (inet_pton(AF_INET, host, &v4->sin_addr) == 1 && parse_port(colon + 1, &v4->sin_port))
            return true;
    }
bad:
    return error_set(error, "\"%.100s\" is no address: IP:PORT or [IPv6]:PORT", text);
}

int address_listen(const char *text, bool reuse_port, int backlog, struct error *error)
{
    struct address address;
    int fd, on = 1;

    if (!address_parse(text, &address, error))
        return -1;
    fd = socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        error_set(error, "socket: %s", strerror(errno));
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (reuse_port)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* accepted sockets inherit it */
    if (bind(fd, (struct sockaddr *)&address.storage, address.length) < 0 ||
        listen(fd, backlog) < 0) {
        error_set(error, "cannot listen on %.100s: %s", text, strerror(errno));
        close(fd);
        return -1;
    }
    return fd;
}
