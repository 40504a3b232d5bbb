#pragma once
/* The salts of visitor values: random, one for each UTC day, the same on all machines.
 *
 * Whoever runs sync makes them two days ahead in kudos.visitor_salts, copies them into its replica,
 * and deletes them from both 48 hours after the end of their day. A salt that PostgreSQL lost (the
 * table is unlogged: a crash empties it) is put back from the replica, so that a visitor stays one
 * visitor for the day. */
#include <stdbool.h>
#include <stdint.h>

#include "server/links/replica_write.h"
#include "server/links/source.h"
#include "shared/error.h"

#define SALTS_AHEAD   2 /* days after today for which there are salts */
#define SALTS_KEPT    2 /* whole days after the end of its own that a salt is kept */
#define SALTS_MAX     8 /* more are not copied */
#define SALTS_EVERY_S 600

struct salts {
    unsigned count;
    struct salt {
        int64_t day; /* UTC days since 1970 */
        unsigned char bytes[REPLICA_SALT_BYTES];
    } list[SALTS_MAX];
};

/* Offers PostgreSQL a salt for today and the next days, from the replica where it has one; deletes
 * old ones there; reads back what holds. A transaction of its own, outside of source_begin(). */
bool salts_exchange(struct source *source, struct replica_writer *writer, struct salts *out,
                    struct error *error) MUST_CHECK;

/* Puts them into the replica that is served, and deletes its old ones. Needs no PostgreSQL: with
 * `salts` empty it only deletes. No change may be open. */
bool salts_store(struct replica_writer *writer, const struct salts *salts,
                 struct error *error) MUST_CHECK;

/* Puts them into the replica that is being built. */
bool salts_build(struct replica_writer *writer, const struct salts *salts,
                 struct error *error) MUST_CHECK;
