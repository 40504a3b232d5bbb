#pragma once
/* The PROXY protocol, versions 1 (text) and 2 (binary), as a proxy before us sends it ahead of the
 * first request of a connection. Pure. It is required on a listener or off, never guessed: on a
 * listener that requires it, a connection that begins otherwise is closed. */
#include <stddef.h>
#include <sys/socket.h>

#define PROXY_PROTOCOL_V1_MAX 107 /* bytes of a version 1 line with its CRLF */
#define PROXY_PROTOCOL_MAX \
    1000 /* of a version 2 header that we accept, with its TLVs; less
                                    * than any buffer for a request head */

#define PROXY_PROTOCOL_BAD     (-1) /* close the connection */
#define PROXY_PROTOCOL_PARTIAL (-2) /* come again with more bytes */

/* Reads the header at `bytes`. Returns its length (what follows is HTTP), or one of the two above.
 * `out` gets the visitor's address and port, AF_UNSPEC where the header says to use the peer's
 * (LOCAL, UNKNOWN, UNIX sockets). TLVs are skipped unread. Never reads past `length`, and comes to
 * the same end whether the header arrives at once or byte by byte. */
int proxy_protocol_parse(const unsigned char *bytes, size_t length, struct sockaddr_storage *out)
    __attribute__((warn_unused_result));
