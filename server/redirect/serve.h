#pragma once
/* From bytes to a gathered reply: parse, look up, decide, classify, journal, write. No socket is
 * touched here. */
#include "server/redirect/connection.h"

/* Serves the first request in `bytes`, of which `seen` were looked at before. Returns how many bytes
 * it took, or HTTP_HEAD_PARTIAL. Sets connection->closing if no request may follow, and
 * connection->lingering if unread bytes may. Needs worker_has_room(). */
int serve_request(struct connection *connection, const char *bytes, size_t length,
                  size_t seen) MUST_CHECK;

/* Gathers an answer that is no answer to a whole request; the connection closes after it. */
void serve_refusal(struct connection *connection, enum answer answer);
