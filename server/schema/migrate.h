#pragma once
/* Migrations: the numbered SQL files of server/schema, embedded in the binary, applied in order,
 * each in a transaction of its own, and recorded with a checksum in kudos.schema_migrations.
 *
 * Several processes may migrate at once: they queue on an advisory lock, and the last finds nothing
 * to do. A file that was applied and has since changed is refused, since nobody can say what the
 * database looks like then; so is a database that knows migrations which this binary does not. */
#include <libpq-fe.h>
#include <stdbool.h>

#include "shared/error.h"

/* Called for each migration that has just been applied ("002_pipeline"). */
typedef void migrate_report(const char *name, void *argument);

/* Applies what is missing. False with the reason: everything before the named migration is applied
 * then, nothing of it and after it. `report` may be NULL. */
bool migrate_apply(PGconn *connection, migrate_report *report, void *argument,
                   struct error *error) MUST_CHECK;

/* True if the database is exactly at this binary's version; else false with what is missing,
 * changed or too new. Changes nothing. */
bool migrate_check(PGconn *connection, struct error *error) MUST_CHECK;

/* Name of the newest migration in this binary. */
const char *migrate_newest(void);
