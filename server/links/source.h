#pragma once
/* What sync reads from: one PostgreSQL session, asked in such a way that neither a hung server nor a
 * long answer keeps the process from obeying its signals.
 *
 * After any failure (also the order to stop, which source_stopped() tells) the session is good for
 * source_close() only. */
#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/role.h"
#include "shared/error.h"
#include "shared/text.h"

struct source;

/* What an operator is told who started the service before `kudos migrate`. */
#define SOURCE_NOT_MIGRATED "the tables are not there (yet): run kudos migrate"

/* What is the same for all rows of one transaction. Texts are valid until the next begin. */
struct source_state {
    const char *system;   /* which database cluster */
    const char *identity; /* the cluster, its start, the database, the tables' files and triggers */
    const char *snapshot; /* pg_current_snapshot() of the transaction */
};

/* Connects and listens for announcements. Keeps `context` for its settings. */
struct source *source_open(struct role_context *context, struct error *error) MUST_CHECK;
void source_close(struct source *source);

/* True once the process was told to stop. */
bool source_stopped(const struct source *source);

/* A REPEATABLE READ, read-only transaction. */
bool source_begin(struct source *source, struct source_state *state,
                  struct error *error) MUST_CHECK;
bool source_commit(struct source *source, struct error *error) MUST_CHECK;

/* Sets what queries read by current_setting(), since COPY takes no parameters. */
bool source_set(struct source *source, const char *name, const char *value,
                struct error *error) MUST_CHECK;

/* Runs statements outside of source_begin() (a transaction of their own) and hands over the result of
 * the last one, for PQclear(). No parameters: `sql` must be harmless as it is. */
bool source_query(struct source *source, const char *sql, PGresult **rows,
                  struct error *error) MUST_CHECK;

/* Called for each row; false ends the copy with its error. */
typedef bool source_on_row(struct text tuple, void *argument, struct error *error);

/* Asks SOURCE_LOOKS queries at once, in a transaction like that of source_begin() which ends at once: one
 * round trip, and nothing is planned anew. `queries` (the same ones in each call) are prepared when they
 * are first asked; `value` is the one parameter of each. The answers are kept until the next call and
 * stand in memory as a whole, so each query needs a limit. `counts`: rows of each answer. */
#define SOURCE_LOOKS 2
bool source_look(struct source *source, const char *const queries[SOURCE_LOOKS], const char *value,
                 struct source_state *state, int counts[SOURCE_LOOKS],
                 struct error *error) MUST_CHECK;

/* Calls back for each row of answer `look`, in the shape of a row of source_copy(). */
bool source_looked(struct source *source, int look, source_on_row *on_row, void *argument,
                   struct error *error) MUST_CHECK;

/* Runs "copy (…) to stdout (format binary)". */
bool source_copy(struct source *source, const char *sql, source_on_row *on_row, void *argument,
                 struct error *error) MUST_CHECK;

/* Sleeps until something is announced, `ms` are over, or an order comes; obeys a reload. False if
 * the connection was lost or the order is to stop. */
bool source_wait(struct source *source, int64_t ms, struct error *error) MUST_CHECK;
