/* The role `sync`: keeps the link replica equal to PostgreSQL.
 *
 * A session is a connection to PostgreSQL and the opened replica. Any error ends it: both are closed,
 * and after a pause (growing, with jitter) the next one starts from what the replica says about
 * itself. Nothing is remembered across sessions, so a crash is no special case.
 *
 * In a session:
 *   snapshot  if there is no usable replica: all rows into a new one beside, then swapped in.
 *   poll      in one transaction, the rows that the last snapshot did not see; they and the new
 *             snapshot go into the replica in one LMDB transaction. Rows carry state, so seeing one
 *             twice does no harm and order does not matter. It is one round trip with prepared
 *             statements, since every change that is announced waits for it; if there are LOOK_ROWS
 *             or more, what came is forgotten, and they are asked for again in a stream.
 *   compare   if the replica was made from another server, another start of it, other table files,
 *             or rows could be written without a stamp (restored, failed over, rewritten, triggers
 *             switched off), polling alone could miss what changed:
 *             all rows are compared, a chunk at a time in the order of ids, with polls in between,
 *             so that changes go on being served at once. Until the end the replica keeps its old
 *             identity, so that after a crash it is compared again.
 *
 * A poll that finds nothing writes nothing (but once a minute, so that the stored snapshot does not
 * grow old): the stored one is older then than the one in memory, which costs a successor a few rows
 * to read again.
 *
 * Salts of visitor values (salts.h) are exchanged before a snapshot, at the beginning of a session,
 * and every SALTS_EVERY_S. Old ones leave the replica on time even while PostgreSQL is away.
 *
 * The role is ready as soon as there is a complete replica, whether or not PostgreSQL answers. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/links/replica_write.h"
#include "server/links/row.h"
#include "server/links/salts.h"
#include "server/links/source.h"
#include "server/links/sync_queries.h"
#include "server/role.h"
#include "shared/clock.h"
#include "shared/log.h"
#include "shared/retry.h"

#define RETRY_FIRST_MS     100
#define RETRY_MOST_MS      5000
#define RETRY_DAMAGED_MS   60000  /* most between two attempts to build a whole replica */
#define COMPARE_BATCH      100000 /* changes after which a comparison commits */
#define PERSIST_EVERY_US   (60 * US_PER_SECOND)
#define SKIPPED_LOGGED_MAX 10 /* rows named in the log per pass; all are counted */

struct sync {
    struct role_context *context;
    struct replica_writer *writer;
    struct source *source;
    bool rebuild;  /* the replica's file failed: build a new one */
    bool changing; /* an LMDB transaction is open */
    bool comparing;
    uint64_t compared; /* all ids up to this one are done */
    unsigned rows;     /* of this pass */
    unsigned skipped;  /* of this pass */
    int64_t changes;   /* of the open LMDB transaction */
    int64_t written_at_us;
    int64_t salts_due_us;
    char identity[REPLICA_SOURCE_MAX];   /* of the server that is polled */
    char snapshot[REPLICA_SNAPSHOT_MAX]; /* up to which the replica holds all changes */
    struct relations *relations;         /* of a snapshot that is being built; NULL: none */
    struct link_row link;                /* too large for the stack of a callback */
};

/* Changes --------------------------------------------------------------------------------------- */

/* Begins the LMDB transaction at the first row, so that a poll without rows touches nothing. */
static bool begin_change(struct sync *sync, struct error *error)
{
    if (sync->changing)
        return true;
    sync->changes = 0;
    sync->changing = replica_change_begin(sync->writer, error);
    return sync->changing;
}

static bool commit_change(struct sync *sync, struct error *error)
{
    assert(sync->changing);
    sync->changing = false;
    if (!replica_change_commit(sync->writer, error))
        return false;
    metrics->replica_changes_total += sync->changes;
    metrics->replica_links = replica_writer_links(sync->writer);
    return true;
}

static void abort_change(struct sync *sync)
{
    if (sync->changing)
        replica_change_abort(sync->writer);
    sync->changing = false;
}

static void begin_pass(struct sync *sync)
{
    sync->rows = sync->skipped = 0;
}

/* A row that cannot be served. */
static void skip(struct sync *sync, const char *table, uint64_t id, const struct error *problem)
{
    metrics->replica_skipped_total++;
    if (sync->skipped++ < SKIPPED_LOGGED_MAX)
        log_error("replica_row_skipped", "table=%s id=%lld problem=%s", table, (long long)id,
                  problem->text);
}

/* A row that is served without a part of it. */
static void note(struct sync *sync, const char *table, uint64_t id, const struct error *what)
{
    metrics->replica_incomplete_total++;
    if (sync->skipped++ < SKIPPED_LOGGED_MAX)
        log_error("replica_row_incomplete", "table=%s id=%lld problem=%s", table, (long long)id,
                  what->text);
}

static bool store_link(struct sync *sync, struct text tuple, struct error *error)
{
    struct link_row *row = &sync->link;

    if (!row_link(tuple, NULL, row, error) || !begin_change(sync, error))
        return false;
    sync->rows++;
    if (row->has_note)
        note(sync, "links", row->link.id, &row->note);
    if (!row->has_problem)
        return replica_put_link(sync->writer, &row->link, row->slug_key, &sync->changes, error);
    skip(sync, "links", row->link.id, &row->problem);
    return replica_remove_link(sync->writer, row->link.id, &sync->changes, error);
}

static bool store_domain(struct sync *sync, const struct domain_row *row, struct error *error)
{
    sync->rows++;
    if (row->has_note)
        note(sync, "domains", row->domain.id, &row->note);
    if (!row->has_problem)
        return replica_put_domain(sync->writer, &row->domain, &sync->changes, error);
    skip(sync, "domains", row->domain.id, &row->problem);
    return replica_remove_domain(sync->writer, row->domain.id, &sync->changes, error);
}

/* Poll ------------------------------------------------------------------------------------------ */

static bool on_changed_link(struct text tuple, void *argument, struct error *error)
{
    return store_link(argument, tuple, error);
}

static bool on_changed_domain(struct text tuple, void *argument, struct error *error)
{
    struct sync *sync = argument;
    struct domain_row row;

    return row_domain(tuple, &row, error) && begin_change(sync, error) &&
           store_domain(sync, &row, error);
}

static bool remember(struct sync *sync, const struct source_state *state, struct error *error)
{
    if (strlen(state->identity) >= sizeof sync->identity ||
        strlen(state->snapshot) >= sizeof sync->snapshot)
        return error_set(error, "more transactions are open than a snapshot can hold");
    snprintf(sync->identity, sizeof sync->identity, "%s", state->identity);
    snprintf(sync->snapshot, sizeof sync->snapshot, "%s", state->snapshot);
    return true;
}

/* The replica was made from something else: compare it all. What the stored snapshot did not see can
 * be asked for first, if its transaction numbers mean anything to this server. */
static void begin_compare(struct sync *sync, const struct source_state *state)
{
    const char *made_from = replica_writer_source(sync->writer);
    size_t system = strlen(state->system);
    bool same_system = strncmp(made_from, state->system, system) == 0 && made_from[system] == ' ';

    log_info("replica_compare", "was=%s is=%s", made_from, state->identity);
    sync->comparing = true;
    sync->compared = 0;
    snprintf(sync->snapshot, sizeof sync->snapshot, "%s",
             same_system ? replica_writer_snapshot(sync->writer) : state->snapshot);
}

/* Ends a pass whose rows are in the LMDB transaction, if there were any. */
static bool finish_pass(struct sync *sync, const struct source_state *state, struct error *error)
{
    bool stale = clock_mono_us() - sync->written_at_us > PERSIST_EVERY_US;

    if (!remember(sync, state, error))
        return false;
    if (stale && !sync->comparing && !begin_change(sync, error))
        return false;
    if (!sync->changing)
        return true;
    if (!sync->comparing && !replica_put_state(sync->writer, sync->identity, sync->snapshot, error))
        return false;
    sync->written_at_us = clock_mono_us();
    return commit_change(sync, error);
}

static bool poll_in_stream(struct sync *sync, struct error *error)
{
    struct source_state state;

    if (!source_begin(sync->source, &state, error))
        return false;
    if (strcmp(state.identity, sync->identity) != 0) {
        if (sync->comparing || strcmp(state.identity, replica_writer_source(sync->writer)) != 0)
            begin_compare(sync, &state);
        else
            snprintf(sync->snapshot, sizeof sync->snapshot, "%s",
                     replica_writer_snapshot(sync->writer));
    }
    begin_pass(sync);
    return source_set(sync->source, "kudos.since", sync->snapshot, error) &&
           source_copy(sync->source, COPY_CHANGED_DOMAINS, on_changed_domain, sync, error) &&
           source_copy(sync->source, COPY_CHANGED_LINKS, on_changed_link, sync, error) &&
           finish_pass(sync, &state, error) && source_commit(sync->source, error);
}

/* `done` stays false if that is another server than before, or there is more than is read at once. */
static bool poll_at_once(struct sync *sync, bool *done, struct error *error)
{
    struct source_state state;
    int counts[SOURCE_LOOKS];

    if (!source_look(sync->source, sync_looks, sync->snapshot, &state, counts, error))
        return false;
    if (strcmp(state.identity, sync->identity) != 0 || counts[LOOK_DOMAINS] >= LOOK_ROWS ||
        counts[LOOK_LINKS] >= LOOK_ROWS)
        return true;
    *done = true;
    if (strcmp(state.snapshot, sync->snapshot) == 0)
        return true;
    begin_pass(sync);
    return source_looked(sync->source, LOOK_DOMAINS, on_changed_domain, sync, error) &&
           source_looked(sync->source, LOOK_LINKS, on_changed_link, sync, error) &&
           finish_pass(sync, &state, error);
}

static bool poll_changes(struct sync *sync, struct error *error)
{
    bool done = false;

    if (!replica_writer_in_place(sync->writer))
        return error_set(error, "somebody removed the replica");
    if (*sync->identity && !poll_at_once(sync, &done, error))
        return false;
    if (!done && !poll_in_stream(sync, error))
        return false;
    metrics->sync_success_time_seconds = clock_wall_us() / US_PER_SECOND;
    return true;
}

/* Compare --------------------------------------------------------------------------------------- */

/* Commits what has come together, so that no transaction grows without limit. */
static bool bound_change(struct sync *sync, struct error *error)
{
    if (sync->changes < COMPARE_BATCH)
        return true;
    return commit_change(sync, error) && begin_change(sync, error);
}

/* Removes the links between the last one compared and `id`: PostgreSQL has none there. */
static bool remove_vanished(struct sync *sync, uint64_t id, struct error *error)
{
    uint64_t next;

    for (;;) {
        if (!replica_next_link(sync->writer, sync->compared, &next, error))
            return false;
        if (next == 0 || next >= id)
            return true;
        if (!replica_remove_link(sync->writer, next, &sync->changes, error) ||
            !bound_change(sync, error))
            return false;
        sync->compared = next;
    }
}

static bool on_compared_link(struct text tuple, void *argument, struct error *error)
{
    struct sync *sync = argument;

    if (!store_link(sync, tuple, error))
        return false;
    if ((int64_t)sync->link.link.id <= 0) /* skipped, and not in the order of the replica */
        return true;
    if (!remove_vanished(sync, sync->link.link.id, error) || !bound_change(sync, error))
        return false;
    sync->compared = sync->link.link.id;
    return true;
}

struct domain_comparison {
    struct sync *sync;
    uint64_t compared;
};

static bool remove_vanished_domains(struct domain_comparison *comparison, uint64_t id,
                                    struct error *error)
{
    struct sync *sync = comparison->sync;
    uint64_t next;

    for (;;) {
        if (!replica_next_domain(sync->writer, comparison->compared, &next, error))
            return false;
        if (next == 0 || next >= id)
            return true;
        if (!replica_remove_domain(sync->writer, next, &sync->changes, error))
            return false;
    }
}

static bool on_compared_domain(struct text tuple, void *argument, struct error *error)
{
    struct domain_comparison *comparison = argument;
    struct domain_row row;

    if (!row_domain(tuple, &row, error) || !store_domain(comparison->sync, &row, error))
        return false;
    if ((int64_t)row.domain.id <= 0)
        return true;
    if (!remove_vanished_domains(comparison, row.domain.id, error))
        return false;
    comparison->compared = row.domain.id;
    return true;
}

static bool compare_domains(struct sync *sync, struct error *error)
{
    struct domain_comparison comparison = {.sync = sync};

    return source_copy(sync->source, COPY_DOMAINS, on_compared_domain, &comparison, error) &&
           remove_vanished_domains(&comparison, UINT64_MAX, error);
}

static bool finish_compare(struct sync *sync, struct error *error)
{
    if (!remove_vanished(sync, UINT64_MAX, error) ||
        !replica_put_state(sync->writer, sync->identity, sync->snapshot, error))
        return false;
    sync->comparing = false;
    if (!commit_change(sync, error))
        return false;
    metrics->replica_snapshots_total++;
    log_info("replica_compared", "last_id=%" PRIu64, sync->compared);
    return true;
}

/* Compares the next chunk. It is read after the last poll, so that what it writes is never older than
 * what a poll wrote. */
static bool compare_chunk(struct sync *sync, struct error *error)
{
    struct source_state state;
    char after[24];

    begin_pass(sync);
    snprintf(after, sizeof after, "%" PRIu64, sync->compared);
    if (!source_begin(sync->source, &state, error))
        return false;
    if (strcmp(state.identity, sync->identity) != 0) /* the next poll starts over */
        return source_commit(sync->source, error);
    if (!source_set(sync->source, "kudos.after", after, error) || !begin_change(sync, error) ||
        (sync->compared == 0 && !compare_domains(sync, error)))
        return false;
    sync->rows = 0;
    if (!source_copy(sync->source, COPY_CHUNK, on_compared_link, sync, error) ||
        !source_commit(sync->source, error))
        return false;
    if (sync->rows < COMPARE_ROWS)
        return finish_compare(sync, error);
    if (sync->changes > 0)
        return commit_change(sync, error);
    abort_change(sync);
    return true;
}

/* Snapshot -------------------------------------------------------------------------------------- */

static bool on_built_link(struct text tuple, void *argument, struct error *error)
{
    struct sync *sync = argument;
    struct link_row *row = &sync->link;

    if (!row_link(tuple, sync->relations, row, error))
        return false;
    if (row->has_note)
        note(sync, "links", row->link.id, &row->note);
    if (!row->has_problem)
        return replica_build_link(sync->writer, &row->link, row->slug_key, error);
    skip(sync, "links", row->link.id, &row->problem);
    return true;
}

/* The id of a link that was skipped leads nowhere, which is a miss. */
static bool on_built_link_id(struct text tuple, void *argument, struct error *error)
{
    struct sync *sync = argument;
    struct link_id_row row;

    if (!row_link_id(tuple, &row, error))
        return false;
    if ((int64_t)row.id <= 0 || row.slug_key.length == 0 || row.slug_key.length > LINK_SLUG_MAX)
        return true;
    return replica_build_link_id(sync->writer, row.id, row.domain, row.slug_key, error);
}

static bool on_built_domain(struct text tuple, void *argument, struct error *error)
{
    struct sync *sync = argument;
    struct domain_row row;

    if (!row_domain(tuple, &row, error))
        return false;
    if (row.has_note)
        note(sync, "domains", row.domain.id, &row.note);
    if (!row.has_problem)
        return replica_build_domain(sync->writer, &row.domain, error);
    skip(sync, "domains", row.domain.id, &row.problem);
    return true;
}

/* All links in the order of their keys; what they belong to comes first where that fits in memory. */
static bool build_links(struct sync *sync, struct error *error)
{
    struct relations *relations = relations_new();
    bool fits = false, good = relations_load(relations, sync->source, &fits, error);

    sync->relations = fits ? relations : NULL;
    good = good && source_copy(sync->source, fits ? COPY_OWN_LINKS : COPY_LINKS, on_built_link,
                               sync, error);
    sync->relations = NULL;
    relations_free(relations);
    return good;
}

static bool snapshot(struct sync *sync, struct error *error)
{
    int64_t start_us = clock_mono_us();
    struct source_state state;
    struct salts salts;

    begin_pass(sync);
    if (!salts_exchange(sync->source, sync->writer, &salts, error) ||
        !source_begin(sync->source, &state, error) || !remember(sync, &state, error) ||
        !replica_build_begin(sync->writer, error) || !salts_build(sync->writer, &salts, error) ||
        !source_copy(sync->source, COPY_DOMAINS, on_built_domain, sync, error) ||
        !build_links(sync, error) ||
        !source_copy(sync->source, COPY_LINK_IDS, on_built_link_id, sync, error) ||
        !source_commit(sync->source, error) ||
        !replica_build_finish(sync->writer, sync->identity, sync->snapshot, error))
        return false;
    sync->rebuild = false;
    metrics->replica_snapshots_total++;
    metrics->replica_links = replica_writer_links(sync->writer);
    log_info("replica_built", "links=%lld skipped=%u ms=%lld", (long long)metrics->replica_links,
             sync->skipped, (long long)((clock_mono_us() - start_us) / US_PER_MS));
    return true;
}

/* Salts ----------------------------------------------------------------------------------------- */

static bool keep_salts(struct sync *sync, struct error *error)
{
    struct salts salts;

    if (clock_mono_us() < sync->salts_due_us)
        return true;
    sync->salts_due_us = clock_mono_us() + SALTS_EVERY_S * US_PER_SECOND;
    return salts_exchange(sync->source, sync->writer, &salts, error) &&
           salts_store(sync->writer, &salts, error);
}

/* Sessions -------------------------------------------------------------------------------------- */

static bool open_session(struct sync *sync, struct error *error)
{
    static const struct salts none;
    const struct settings *settings = &sync->context->settings;

    sync->salts_due_us = 0;
    sync->comparing = sync->changing = false;
    sync->identity[0] = sync->snapshot[0] = '\0';
    sync->written_at_us = clock_mono_us();
    sync->writer = replica_writer_open(settings->data_dir, settings->replica_map_bytes, error);
    if (!sync->writer)
        return false;
    metrics->replica_links = replica_writer_links(sync->writer);
    if (replica_writer_usable(sync->writer)) {
        role_ready();
        if (!salts_store(sync->writer, &none, error)) /* the old ones go, whoever is away */
            return false;
    }
    sync->source = source_open(sync->context, error);
    if (!sync->source)
        return false;
    metrics->postgres_up = 1;
    metrics->postgres_reconnects_total++;
    log_info("sync_connected", "links=%lld", (long long)metrics->replica_links);
    return true;
}

static void close_session(struct sync *sync)
{
    metrics->postgres_up = 0;
    if (sync->writer) {
        abort_change(sync);
        sync->rebuild = sync->rebuild || replica_writer_damaged(sync->writer);
    }
    source_close(sync->source);
    replica_writer_close(sync->writer);
    sync->source = NULL;
    sync->writer = NULL;
}

/* Works until something fails (true: it had caught up before) or the process is told to stop. */
static bool serve(struct sync *sync, struct error *error)
{
    bool caught_up = false;

    if ((sync->rebuild || !replica_writer_usable(sync->writer)) && !snapshot(sync, error))
        return false;
    role_ready();
    while (keep_salts(sync, error) && poll_changes(sync, error)) {
        caught_up = true;
        if (sync->comparing && !compare_chunk(sync, error))
            break;
        if (!source_wait(sync->source, sync->comparing ? 0 : sync->context->settings.sync_poll_ms,
                         error))
            break;
    }
    return caught_up;
}

static bool sleep_before_retry(struct sync *sync, int64_t ms)
{
    int64_t until_us = clock_mono_us() + ms * US_PER_MS, left_us;

    while ((left_us = until_us - clock_mono_us()) > 0) {
        enum role_order order = role_sleep(left_us / US_PER_MS + 1, -1);

        if (order == ROLE_STOP)
            return false;
        if (order == ROLE_RELOAD)
            role_reload(sync->context);
    }
    return true;
}

int sync_run(struct role_context *context)
{
    struct sync *sync = calloc(1, sizeof *sync);
    unsigned failures = 0;
    int64_t pause_ms;
    bool stopped;

    if (!sync)
        return 1;
    sync->context = context;
    do {
        struct error error = {""};

        if (open_session(sync, &error) && serve(sync, &error))
            failures = 0;
        stopped = sync->source && source_stopped(sync->source);
        close_session(sync);
        if (stopped)
            break;
        pause_ms = retry_wait_ms(++failures, RETRY_FIRST_MS,
                                 sync->rebuild ? RETRY_DAMAGED_MS : RETRY_MOST_MS);
        metrics->sync_errors_total++;
        log_warn("sync_interrupted", "error=%s retry_ms=%lld", error.text, (long long)pause_ms);
    } while (sleep_before_retry(sync, pause_ms));
    free(sync);
    return 0;
}
