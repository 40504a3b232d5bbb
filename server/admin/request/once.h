#pragma once
/* Idempotency-Key and audit log for calls that run a transaction of several round trips and answer at length (see
 * idempotency.h for the promise): the answer is kept in pieces, in the transaction of the effect, and
 * read back when the call is repeated. Without a key that part does nothing. The
 * audit log gets one entry for the whole call, with its numbers. */
#include <event2/event.h>

#include "server/admin/request/request.h"
#include "server/admin/stores/transaction.h"

#define ONCE_PIECE_BYTES 262144 /* kept in a row of its own */

struct evbuffer;

/* To be embedded, set to zero. */
struct once {
    struct request *request;
    struct transaction *transaction;
    struct evbuffer *answer; /* that is being kept (not owned), or read back (owned) */
    bool owned;
    size_t at; /* bytes of it that are kept */
    unsigned piece;
    void (*next)(void *argument);
    void *argument;
    char workspace[24], number[24];
};

/* The first thing in a transaction that has begun. Calls `next` if the call is to be carried out; if
 * it was before, answers as then, and if the key was used for another call, or PostgreSQL fails,
 * answers that: the request is ended. */
void once_begin(struct once *once, struct request *request, struct transaction *transaction,
                void (*next)(void *argument), void *argument);

/* The last thing before the commit: notes in the audit log that this call did `action` ("roster")
 * to things of a kind ("campaign", the one of the path if there is one), and keeps `answer`: JSON,
 * whose first line says how many in numbers and ends with "\"items\":[", with line breaks at least
 * every ONCE_PIECE_BYTES. It is left as it is. Calls `next`, or answers as above. */
void once_keep(struct once *once, struct evbuffer *answer, const char *action, const char *resource,
               void (*next)(void *argument), void *argument);

void once_clear(struct once *once);
