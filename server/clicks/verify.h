#pragma once
/* The oracle: whether what the stores hold adds up. Run by tests when things have settled, and by
 * operators whenever they like. It changes nothing.
 *
 * Results are one JSON document, which the command prints as it is or as text; problems are texts in
 * its "problems". A false return means that it could not look, with the reason. */
#include <jansson.h>
#include <libpq-fe.h>
#include <stdint.h>
#include <stdio.h>

#include "server/stores/redis.h"
#include "shared/error.h"

/* One partition: watermarks, stream and totals of both stores, read while it holds the partition's
 * lock so that no flusher is between them. A new object:
 * {"partition", "state": "consistent" | "recovering" | "inconsistent", "origins": [{"origin",
 * "last_seq", "applied", "gaps", "backlog"}], "backlog", "problems"}; origins are strings.
 * `connection` is not in a transaction, before and after. */
json_t *verify_partition(PGconn *connection, struct redis *redis, unsigned partition,
                         struct error *error) MUST_CHECK;

/* Rows against watermarks, rollups and daily figures, in one snapshot. A new object: {"kept_from"
 * (null: all rows are kept), "days" (whose daily figures were looked at, verify_daily.h), "rows", "quarantined", "gaps", "lost", "conversions" (that came through a journal),
 * "conversions_waiting" (not recorded yet), "conversions_failed" (waiting since they could not be),
 * "problems"}. */
json_t *verify_database(PGconn *connection, struct error *error) MUST_CHECK;

/* Looks up click ids, one a line. A new object: {"ids", "found", "quarantined": [id], "missing":
 * [id], "twice": [id], "invalid": [line]}. */
json_t *verify_clicks(PGconn *connection, FILE *file, const unsigned char *secret,
                      struct error *error) MUST_CHECK;
