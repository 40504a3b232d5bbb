#pragma once
/* The partition's lock: who holds it, in PostgreSQL, is the partition's one active flusher. It is a
 * transaction's advisory lock, so it goes with the transaction and with the connection. */
#include <libpq-fe.h>
#include <stdint.h>

#include "shared/error.h"

enum flush_lock {
    FLUSH_LOCK_HELD,  /* a transaction is open, and the lock is in it */
    FLUSH_LOCK_BUSY,  /* somebody else works, or was just ended: come again; no transaction */
    FLUSH_LOCK_FAILED /* PostgreSQL failed; see the error */
};

/* Begins a READ COMMITTED transaction and waits at most `takeover_ms` for the lock, in a statement of
 * its own: what is read after it sees all that the holder before committed. If the holder did not
 * move in all that time, neither its watermarks nor its COPY nor its session, and waits for its
 * client, that client is frozen: its session is ended, which is logged and counted. */
enum flush_lock flush_lock(PGconn *connection, unsigned partition, int64_t takeover_ms,
                           struct error *error) MUST_CHECK;
