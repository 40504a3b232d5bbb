#pragma once
/* An answer whose body comes in pieces, so that memory stays bounded however long it is and however
 * slowly it is read.
 *
 * stream_begin(), then stream_put() again and again, each time from the callback of the one before,
 * then stream_end(), which ends the request. If the client leaves, the callback comes all the same,
 * and stream_gone() says so: there is nothing left to do but stream_end(). */
#include <stdbool.h>

#include "server/admin/request/request.h"

struct evbuffer;
struct stream;

#define STREAM_PIECE_BYTES 65536 /* a good size */

/* Sends the head. HEAD gets no more; its stream is gone from the beginning. */
struct stream *stream_begin(struct request *request, int status, const char *type);

/* Sends what is in `piece`, which must not be empty, and calls back once it has left. */
void stream_put(struct stream *stream, struct evbuffer *piece,
                void (*next)(struct stream *stream, void *argument), void *argument);

/* True if nobody reads any more. */
bool stream_gone(const struct stream *stream);

/* Cuts the connection, so that nobody takes a part of the answer for the whole, and ends as below. */
void stream_cut(struct stream *stream);

/* Ends the answer, the request and the stream. */
void stream_end(struct stream *stream);

/* The same for a body that is there already: sends all that is in `body` (emptied bit by bit, freed),
 * and ends the request. */
void stream_all(struct request *request, int status, const char *type, struct evbuffer *body);
