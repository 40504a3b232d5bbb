#pragma once
/* The visitor's address behind proxies. Pure. */
#include <sys/socket.h>

#include "server/visitor/networks.h"
#include "shared/text.h"

/* Most hops that are looked at, from the right; the client writes what it likes on the left. */
#define CLIENT_ADDRESS_HOPS_MAX 32

/* The peer's address unless the peer is trusted. Else the list is read from the right, as long as
 * the hops in it are trusted themselves; the first that is not is the visitor. An element that is
 * no address (a name, "unknown", a zone, an octal number) ends the walk: the hop that wrote it is
 * the last one known, and is taken. Empty elements are passed over. If all hops are trusted, the
 * leftmost is the visitor.
 *
 * `forwarded_for` is X-Forwarded-For, `forwarded` is RFC 7239's Forwarded; lines of the same name
 * are joined with commas by the caller. X-Forwarded-For counts if there is one, since nearly every
 * proxy writes it while it hands on a Forwarded that the visitor made up; who has a proxy that does
 * the reverse hands over only the other. X-Real-IP and its like are never read. */
void client_address(const struct networks *trusted, const struct sockaddr *peer,
                    struct text forwarded, struct text forwarded_for, struct sockaddr_storage *out);
