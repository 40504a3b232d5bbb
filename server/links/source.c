/* The PostgreSQL session of sync; see source.h. Statements are sent and their answers awaited in
 * poll(), together with the role's signals. A server that sends nothing for SILENCE_MAX_US counts as
 * gone; connecting has postgres_connect()'s own time limit.
 *
 * source_look() works in libpq's pipeline mode, which knows no COPY: its rows come as results, and are
 * put together again as COPY would have sent them. */
#include "server/links/source.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/links/row.h"
#include "server/stores/postgres.h"
#include "shared/clock.h"
#include "shared/log.h"

#define SILENCE_MAX_US (30 * US_PER_SECOND)
#define STEP_MS        1000
#define ROWS_PER_LOOK  4096 /* rows between two looks at the signals while rows keep coming */

struct source {
    struct role_context *context;
    PGconn *connection;
    PGresult *state; /* the row that source_state points into */
    PGresult *looked[SOURCE_LOOKS];
    char *tuple; /* of source_looked() */
    size_t tuple_size;
    bool prepared;
    bool stopped;
};

/* The identity changes with whatever could have written rows past the stamps: another server or an
 * older state of it, a dropped and restored database, rewritten tables, and triggers that were
 * switched off and on or have only just been made (pg_restore makes them after the data; until then
 * the tables count as not there). */
#define BEGIN "begin transaction isolation level repeatable read read only"
#define STATE                                                                              \
    "select s.system_identifier::text,"                                                    \
    " concat_ws(' ', s.system_identifier, extract(epoch from pg_postmaster_start_time())," \
    "  (select oid from pg_database where datname = current_database()),"                  \
    "  pg_relation_filenode(to_regclass('kudos.links')),"                                  \
    "  pg_relation_filenode(to_regclass('kudos.domains')), t.stamped),"                    \
    " pg_current_snapshot()::text,"                                                        \
    " t.tables = 2"
#define STATE_FROM                                                                                 \
    " from pg_control_system() s,"                                                                 \
    " (select count(*) filter (where tgname = 'before_write') as tables,"                          \
    "  md5(string_agg(concat_ws('/', oid, xmin, tgenabled), ' ' order by oid)) as stamped"         \
    "  from pg_trigger where tgname in ('before_write', 'touch_links') and tgrelid in"             \
    "  (to_regclass('kudos.links'), to_regclass('kudos.domains'), to_regclass('kudos.campaigns')," \
    "  to_regclass('kudos.influencers'), to_regclass('kudos.influencer_profiles'),"                \
    "  to_regclass('kudos.codes'))) t"

/* Plans that are kept were made when the tables may have been empty: without sequential scans they look
 * at what changed and no more, however the tables have grown since. */
static const char LOOK_STATE[] = STATE ", set_config('enable_seqscan', 'off', true)" STATE_FROM;

/* Waiting -------------------------------------------------------------------------------------- */

static bool obey(struct source *source, enum role_order order, struct error *error)
{
    if (order == ROLE_RELOAD)
        role_reload(source->context);
    if (order != ROLE_STOP)
        return true;
    source->stopped = true;
    return error_set(error, "told to stop");
}

/* Waits for bytes from the server and takes them in. */
static bool await_input(struct source *source, struct error *error)
{
    int64_t since_us = clock_mono_us();
    PGconn *connection = source->connection;

    for (;;) {
        if (!obey(source, role_sleep(STEP_MS, PQsocket(connection)), error))
            return false;
        if (!PQconsumeInput(connection))
            return postgres_failed(connection, NULL, error);
        if (!PQisBusy(connection))
            return true;
        if (clock_mono_us() - since_us > SILENCE_MAX_US)
            return error_set(error, "PostgreSQL does not answer");
    }
}

/* The next result of what was sent; NULL in `out` when there is none left. */
static bool next_result(struct source *source, PGresult **out, struct error *error)
{
    *out = NULL;
    while (PQisBusy(source->connection))
        if (!await_input(source, error))
            return false;
    *out = PQgetResult(source->connection);
    return true;
}

/* Reads all results of what was sent; the last one goes to `last` if that is not NULL. */
static bool finish_query(struct source *source, PGresult **last, struct error *error)
{
    PGresult *result, *kept = NULL;
    bool good = true;

    for (;;) {
        struct error ignored;

        if (!next_result(source, &result, good ? error : &ignored)) {
            PQclear(kept);
            return false;
        }
        if (!result)
            break;
        if (PQresultStatus(result) != PGRES_COMMAND_OK &&
            PQresultStatus(result) != PGRES_TUPLES_OK && good)
            good = postgres_failed(source->connection, result, error);
        PQclear(kept);
        kept = result;
    }
    if (good && last)
        *last = kept;
    else
        PQclear(kept);
    return good;
}

static bool run(struct source *source, const char *sql, PGresult **last, struct error *error)
{
    if (!PQsendQuery(source->connection, sql))
        return postgres_failed(source->connection, NULL, error);
    return finish_query(source, last, error);
}

/* Session -------------------------------------------------------------------------------------- */

struct source *source_open(struct role_context *context, struct error *error)
{
    struct source *source = calloc(1, sizeof *source);

    if (!source) {
        error_set(error, "out of memory");
        return NULL;
    }
    source->context = context;
    source->connection = postgres_connect(context->settings.database_url, "kudos-sync", error);
    if (!source->connection ||
        !run(source, "listen kudos_links; set plan_cache_mode to force_generic_plan", NULL,
             error)) {
        source_close(source);
        return NULL;
    }
    return source;
}

void source_close(struct source *source)
{
    if (!source)
        return;
    PQclear(source->state);
    for (int i = 0; i < SOURCE_LOOKS; i++)
        PQclear(source->looked[i]);
    free(source->tuple);
    PQfinish(source->connection);
    free(source);
}

bool source_stopped(const struct source *source)
{
    return source->stopped;
}

static bool take_state(struct source *source, PGresult *row, struct source_state *state,
                       struct error *error)
{
    PQclear(source->state);
    source->state = row;
    if (PQntuples(row) != 1 || PQnfields(row) < 4)
        return error_set(error, "PostgreSQL did not say which server it is");
    if (strcmp(PQgetvalue(row, 0, 3), "t") != 0)
        return error_set(error, SOURCE_NOT_MIGRATED);
    state->system = PQgetvalue(row, 0, 0);
    state->identity = PQgetvalue(row, 0, 1);
    state->snapshot = PQgetvalue(row, 0, 2);
    return true;
}

bool source_begin(struct source *source, struct source_state *state, struct error *error)
{
    PGresult *row = NULL;

    return run(source, BEGIN "; " STATE STATE_FROM, &row, error) &&
           take_state(source, row, state, error);
}

bool source_commit(struct source *source, struct error *error)
{
    return run(source, "commit", NULL, error);
}

bool source_set(struct source *source, const char *name, const char *value, struct error *error)
{
    const char *values[] = {name, value};

    if (!PQsendQueryParams(source->connection, "select set_config($1, $2, true)", 2, NULL, values,
                           NULL, NULL, 0))
        return postgres_failed(source->connection, NULL, error);
    return finish_query(source, NULL, error);
}

bool source_query(struct source *source, const char *sql, PGresult **rows, struct error *error)
{
    assert(PQtransactionStatus(source->connection) == PQTRANS_IDLE);
    return run(source, sql, rows, error);
}

/* Looking -------------------------------------------------------------------------------------- */

static const char *const look_names[SOURCE_LOOKS] = {"look_0", "look_1"};

static bool prepare(struct source *source, const char *name, const char *sql, struct error *error)
{
    if (!PQsendPrepare(source->connection, name, sql, 0, NULL))
        return postgres_failed(source->connection, NULL, error);
    return finish_query(source, NULL, error);
}

static bool prepare_looks(struct source *source, const char *const queries[SOURCE_LOOKS],
                          struct error *error)
{
    if (source->prepared)
        return true;
    for (int i = 0; i < SOURCE_LOOKS; i++) {
        if (!prepare(source, look_names[i], queries[i], error))
            return false;
    }
    source->prepared = prepare(source, "look_state", LOOK_STATE, error);
    return source->prepared;
}

static bool send_looks(struct source *source, const char *value, struct error *error)
{
    PGconn *connection = source->connection;
    bool sent = PQenterPipelineMode(connection) &&
                PQsendQueryParams(connection, BEGIN, 0, NULL, NULL, NULL, NULL, 0) &&
                PQsendQueryPrepared(connection, "look_state", 0, NULL, NULL, NULL, 0);

    for (int i = 0; i < SOURCE_LOOKS && sent; i++)
        sent = PQsendQueryPrepared(connection, look_names[i], 1, &value, NULL, NULL, 1) != 0;
    sent = sent && PQsendQueryParams(connection, "commit", 0, NULL, NULL, NULL, NULL, 0) &&
           PQpipelineSync(connection);
    return sent || postgres_failed(connection, NULL, error);
}

/* The answer to one statement of the pipeline; NULL in `out` if that is no row. */
static bool next_answer(struct source *source, PGresult **out, struct error *error)
{
    PGresult *end = NULL;

    if (!next_result(source, out, error))
        return false;
    if (PQresultStatus(*out) != PGRES_TUPLES_OK && PQresultStatus(*out) != PGRES_COMMAND_OK) {
        postgres_failed(source->connection, *out, error);
        PQclear(*out);
        return false;
    }
    if (!next_result(source, &end, error) || end) {
        PQclear(*out);
        PQclear(end);
        return end ? error_set(error, "PostgreSQL answered more than it was asked") : false;
    }
    return true;
}

static bool end_pipeline(struct source *source, struct error *error)
{
    PGresult *end;
    bool good;

    if (!next_result(source, &end, error))
        return false;
    good = PQresultStatus(end) == PGRES_PIPELINE_SYNC;
    PQclear(end);
    return (good && PQexitPipelineMode(source->connection)) ||
           postgres_failed(source->connection, NULL, error);
}

bool source_look(struct source *source, const char *const queries[SOURCE_LOOKS], const char *value,
                 struct source_state *state, int counts[SOURCE_LOOKS], struct error *error)
{
    PGresult *answer;

    if (!prepare_looks(source, queries, error) || !send_looks(source, value, error) ||
        !next_answer(source, &answer, error)) /* to begin */
        return false;
    PQclear(answer);
    if (!next_answer(source, &answer, error) || !take_state(source, answer, state, error))
        return false;
    for (int i = 0; i < SOURCE_LOOKS; i++) {
        if (!next_answer(source, &answer, error))
            return false;
        PQclear(source->looked[i]);
        source->looked[i] = answer;
        counts[i] = PQntuples(answer);
    }
    if (!next_answer(source, &answer, error)) /* to commit */
        return false;
    PQclear(answer);
    return end_pipeline(source, error);
}

static bool make_room(struct source *source, size_t size, struct error *error)
{
    char *larger = size <= source->tuple_size ? source->tuple : realloc(source->tuple, size);

    if (!larger)
        return error_set(error, "out of memory");
    source->tuple = larger;
    source->tuple_size = size > source->tuple_size ? size : source->tuple_size;
    return true;
}

static char *put_number(char *out, uint32_t value, size_t size)
{
    for (size_t i = size; i-- > 0; value >>= 8)
        out[i] = (char)value;
    return out + size;
}

/* A count of fields, and for each its length (-1: null) and bytes. */
static bool put_tuple(struct source *source, const PGresult *rows, int row, struct text *tuple,
                      struct error *error)
{
    int fields = PQnfields(rows);
    size_t size = 2 + 4 * (size_t)fields;
    char *out;

    for (int i = 0; i < fields; i++)
        size += (size_t)PQgetlength(rows, row, i);
    if (!make_room(source, size, error))
        return false;
    out = put_number(source->tuple, (uint32_t)fields, 2);
    for (int i = 0; i < fields; i++) {
        int length = PQgetlength(rows, row, i);

        out = put_number(out, PQgetisnull(rows, row, i) ? UINT32_MAX : (uint32_t)length, 4);
        memcpy(out, PQgetvalue(rows, row, i), (size_t)length);
        out += length;
    }
    assert(out == source->tuple + size);
    *tuple = (struct text){source->tuple, size};
    return true;
}

bool source_looked(struct source *source, int look, source_on_row *on_row, void *argument,
                   struct error *error)
{
    const PGresult *rows = source->looked[look];
    struct text tuple;

    assert(look >= 0 && look < SOURCE_LOOKS);
    for (int row = 0; row < PQntuples(rows); row++) {
        if (!put_tuple(source, rows, row, &tuple, error) || !on_row(tuple, argument, error))
            return false;
    }
    return true;
}

/* Copying -------------------------------------------------------------------------------------- */

/* One row, or what there is instead of it: `length` as PQgetCopyData() returns it. */
static bool next_row(struct source *source, char **message, int *length, struct error *error)
{
    int64_t since_us = 0; /* the clock is read only when there is something to wait for */

    while ((*length = PQgetCopyData(source->connection, message, 1)) == 0) {
        since_us = since_us ? since_us : clock_mono_us();
        if (!obey(source, role_sleep(STEP_MS, PQsocket(source->connection)), error))
            return false;
        if (!PQconsumeInput(source->connection))
            return postgres_failed(source->connection, NULL, error);
        if (clock_mono_us() - since_us > SILENCE_MAX_US)
            return error_set(error, "PostgreSQL does not answer");
    }
    if (*length == -2)
        return postgres_failed(source->connection, NULL, error);
    return true;
}

static bool copy_rows(struct source *source, source_on_row *on_row, void *argument,
                      struct error *error)
{
    char *message;
    int length;

    for (int rows = 1;; rows++) {
        struct text tuple;
        bool good;

        if (rows % ROWS_PER_LOOK == 0 && !obey(source, role_poll(), error))
            return false;
        if (!next_row(source, &message, &length, error))
            return false;
        if (length < 0)
            return true;
        good = row_tuple(message, (size_t)length, &tuple, error) &&
               (!tuple.bytes || on_row(tuple, argument, error));
        PQfreemem(message);
        if (!good)
            return false;
    }
}

bool source_copy(struct source *source, const char *sql, source_on_row *on_row, void *argument,
                 struct error *error)
{
    PGresult *result;
    bool copying;

    if (!PQsendQuery(source->connection, sql))
        return postgres_failed(source->connection, NULL, error);
    if (!next_result(source, &result, error))
        return false;
    copying = PQresultStatus(result) == PGRES_COPY_OUT;
    if (!copying)
        postgres_failed(source->connection, result, error);
    PQclear(result);
    return copying && copy_rows(source, on_row, argument, error) &&
           finish_query(source, NULL, error);
}

/* Takes in what was announced; true if there was something. */
static bool take_announcements(struct source *source)
{
    PGnotify *notification;
    bool any = false;

    while ((notification = PQnotifies(source->connection))) {
        PQfreemem(notification);
        any = true;
    }
    return any;
}

bool source_wait(struct source *source, int64_t ms, struct error *error)
{
    PGconn *connection = source->connection;

    /* What was announced during the last poll came in with its answers: poll() would not tell, and
     * the poll may have been too early to see it. */
    if (take_announcements(source))
        ms = 0;
    if (!obey(source, role_sleep(ms, PQsocket(connection)), error))
        return false;
    if (!PQconsumeInput(connection) || PQstatus(connection) != CONNECTION_OK)
        return postgres_failed(connection, NULL, error);
    (void)take_announcements(source);
    return true;
}
