#pragma once
/* Writes a batch to PostgreSQL within the caller's transaction: rows, conversions into their inbox,
 * rollup, gaps, quarantine, watermarks. What PostgreSQL refuses about a single click or conversion
 * is found by halving and goes to quarantine (the batch is changed accordingly); every other failure fails the whole. */
#include <libpq-fe.h>

#include "server/clicks/flush_batch.h"
#include "server/clicks/partition.h"
#include "server/clicks/rollup.h"
#include "shared/error.h"

/* Events of a batch after one in which PostgreSQL refused too many. */
#define FLUSH_CAREFUL_EVENTS 500

/* Most clicks and conversions that PostgreSQL may refuse in one transaction before it is given up, to be tried again
 * with a smaller batch: keeps the halving bounded. A batch of the smaller kind may still consist of
 * nothing else. */
#define FLUSH_REFUSED_MAX (FLUSH_CAREFUL_EVENTS + BATCH_EVENTS_MAX)

enum flush_stored { FLUSH_STORED, FLUSH_STORE_FAILED, FLUSH_TOO_MANY_REFUSED };

/* `rollup` is scratch memory. The caller commits. */
enum flush_stored flush_store(PGconn *connection, unsigned partition, struct flush_batch *batch,
                              struct rollup *rollup, struct error *error) MUST_CHECK;
