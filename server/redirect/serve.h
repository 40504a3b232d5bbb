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

/* What the answer to the worker's request says of the connection, which `closing` has decided. */
enum reply_connection serve_said(const struct connection *connection);

/* Appends the answer to the request that has been read to those of this connection, and returns its
 * length: it stands at the end of the round's bytes. `with_body` is false for HEAD. */
size_t serve_answer(struct connection *connection, const struct decision *decision,
                    enum reply_connection said, bool with_body);

/* ---- Also for `kudos explain`, which does the same to requests that nobody sent. In a round. ---- */

/* The domain of the request's Host, or the default domain. */
bool serve_find_domain(struct worker *worker, const struct request *request, struct domain *out);

/* The link that the request's path names on this domain. */
bool serve_find_link(struct worker *worker, const struct request *request,
                     const struct domain *domain, struct link *out);

/* Decides the worker's request on `link` (NULL: there is none), whoever asks. What the click's texts
 * point to is in `scratch`. */
void serve_decide(struct worker *worker, const struct sockaddr *peer, const struct domain *domain,
                  const struct link *link, struct classify_scratch *scratch,
                  struct decision *decision, struct click *click);
