/* verify_partition(): see verify.h.
 *
 * While the lock is held nothing is committed to the partition, so a REPEATABLE READ snapshot taken
 * then and what Redis says then belong together; shippers may go on appending. One script takes
 * totals and positions at one moment; the stream is read afterwards, window by window, as far as
 * that moment. The lock is given back before PostgreSQL adds up its own totals. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "server/clicks/flush_batch.h"
#include "server/clicks/flush_redis.h"
#include "server/clicks/partition.h"
#include "server/clicks/verify.h"
#include "server/clicks/verify_problem.h"
#include "server/clicks/verify_totals.h"
#include "server/stores/postgres.h"
#include "shared/clock.h"
#include "shared/embed.h"

EMBED(verify_lua, "server/clicks/verify.lua");

#define WINDOW_BYTES  (16LL * 1024 * 1024)
#define WINDOW_EVENTS 100000
#define LOCK_WAIT     "30s"
#define ID_MAX        48
#define TOTALS_PART   6 /* of verify.lua's answer */

/* What is known of the partition. `origins` has PostgreSQL's watermarks, Redis' positions at that
 * moment, and in `reached` how far the stream carries on. */
struct look {
    PGconn *connection;
    struct redis *redis;
    unsigned partition;
    struct flush_keys keys;
    struct flush_origins origins;
    struct verify_totals totals; /* Redis less PostgreSQL less backlog */
    bool ready;
    bool unreadable;
    json_t *result;
    json_t *problems;
    struct error *error;
};

/* PostgreSQL's half -------------------------------------------------------------------------------- */

static bool read_watermarks(struct look *look)
{
    char sql[160];
    PGresult *rows;

    snprintf(sql, sizeof sql,
             "select origin, seq, applied, gaps from kudos.watermarks where partition = %u"
             " order by updated_at desc, origin",
             look->partition);
    rows = postgres_query(look->connection, sql, 0, NULL, look->error);
    for (int i = 0; i < PQntuples(rows); i++) {
        uint64_t id = strtoull(PQgetvalue(rows, i, 0), NULL, 10);
        struct flush_origin *origin = flush_origins_get(&look->origins, id);
        origin->watermark = origin->reached = strtoull(PQgetvalue(rows, i, 1), NULL, 10);
        origin->applied = strtoll(PQgetvalue(rows, i, 2), NULL, 10);
        origin->gaps = strtoll(PQgetvalue(rows, i, 3), NULL, 10);
        if ((int64_t)origin->watermark != origin->applied + origin->gaps)
            verify_problem(look->problems,
                           "origin %" PRIu64 ": watermark %" PRIu64 " is not applied %" PRId64
                           " + gaps %" PRId64,
                           id, origin->watermark, origin->applied, origin->gaps);
    }
    PQclear(rows);
    return rows != NULL;
}

static bool take_off_totals(struct look *look)
{
    char sql[512];
    PGresult *rows;

    snprintf(sql, sizeof sql,
             "select link_id, sum(clicks), sum(clicks - human) from (" PARTITION_COUNTS_SQL
             ") c group by link_id",
             look->partition, look->partition);
    rows = postgres_query(look->connection, sql, 0, NULL, look->error);
    for (int i = 0; i < PQntuples(rows); i++)
        verify_totals_add(&look->totals, (uint64_t)strtoll(PQgetvalue(rows, i, 0), NULL, 10),
                          -strtoll(PQgetvalue(rows, i, 1), NULL, 10),
                          -strtoll(PQgetvalue(rows, i, 2), NULL, 10));
    PQclear(rows);
    return rows != NULL;
}

/* Redis' half -------------------------------------------------------------------------------------- */

static void take_totals(struct look *look, const redisReply *totals)
{
    for (size_t i = 0; i + 1 < totals->elements; i += 2) {
        if (!verify_totals_add_field(&look->totals, totals->element[i]->str,
                                     totals->element[i + 1]->str, 1))
            verify_problem(look->problems, "Redis: total \"%.60s\" is none",
                           totals->element[i]->str);
    }
}

static bool read_positions(struct look *look)
{
    const char *argv[] = {look->keys.ready, look->keys.last_seq, look->keys.flushed,
                          look->keys.bytes, look->keys.totals};
    struct flush_batch batch = {.now_us = 0};
    redisReply *reply = redis_script(look->redis, verify_lua, 5, 5, argv, NULL, look->error);
    bool good = reply && flush_batch_open(&batch, reply, clock_wall_us(), look->error);

    if (good && reply->elements <= TOTALS_PART)
        good = error_set(look->error, "Redis: verify.lua answered in another shape");
    if (good) {
        look->ready = batch.ready;
        look->unreadable = batch.unreadable;
        json_object_set_new(look->result, "stream_bytes", json_integer(batch.stream_bytes));
        for (size_t i = 0; i < batch.origins.count; i++) {
            const struct flush_origin *found = &batch.origins.list[i];
            struct flush_origin *origin = flush_origins_get(&look->origins, found->id);
            origin->last_seq = found->last_seq;
            origin->flushed = found->flushed;
        }
        take_totals(look, reply->element[TOTALS_PART]);
    }
    flush_batch_free(&batch);
    return good;
}

/* Notes what a window holds above what was reached before, up to the moment of read_positions(). */
static void take_window(struct look *look, struct flush_batch *batch)
{
    for (size_t i = 0; i < batch->row_count; i++) {
        const struct flush_row *row = &batch->rows[i];
        uint64_t id = batch->origins.list[row->origin].id;
        if (row->seq <= flush_origins_get(&look->origins, id)->last_seq)
            verify_totals_add(&look->totals, row->link, -1, row->verdict == VERDICT_HUMAN ? 0 : -1);
    }
    for (size_t i = 0; i < batch->origins.count; i++) {
        const struct flush_origin *found = &batch->origins.list[i];
        struct flush_origin *origin = flush_origins_get(&look->origins, found->id);
        if (found->reached > origin->reached)
            origin->reached = found->reached;
        origin->hole = origin->hole || found->hole;
    }
    look->unreadable = look->unreadable || batch->unreadable;
}

/* Plans a window as flush would, from what was reached by the windows before. */
static void plan_window(const struct look *look, struct flush_batch *batch)
{
    for (size_t i = 0; i < look->origins.count; i++) {
        const struct flush_origin *known = &look->origins.list[i];
        struct flush_origin *origin = flush_origins_get(&batch->origins, known->id);
        origin->watermark = known->reached;
        origin->passed_over = known->hole;
    }
    flush_batch_plan(batch);
}

static bool read_stream(struct look *look)
{
    struct flush_batch batch = {.now_us = 0};
    char from[ID_MAX + 1] = "-";
    bool good = true, complete = false;

    while (good && !complete) {
        struct flush_window window = {
            .bytes_max = WINDOW_BYTES, .events_max = WINDOW_EVENTS, .from = from};
        redisReply *reply = flush_read(look->redis, &look->keys, &window, look->error);
        good = reply && flush_batch_open(&batch, reply, clock_wall_us(), look->error);
        if (good) {
            plan_window(look, &batch);
            take_window(look, &batch);
            complete = batch.complete;
            if (flush_batch_last_id(&batch))
                snprintf(from, sizeof from, "(%.*s", ID_MAX - 1, flush_batch_last_id(&batch));
            /* Shows waiting flushers that the holder of the lock is at work. */
            good = postgres_execute(look->connection, "select 1", 0, NULL, look->error);
        }
        flush_batch_clear(&batch);
    }
    flush_batch_free(&batch);
    return good;
}

/* The verdict ---------------------------------------------------------------------------------------- */

/* Why flush would recover, or is to: NULL if all is in order. */
static const char *recovering(const struct look *look, const struct flush_origin *origin)
{
    if (origin->flushed > origin->watermark)
        return "PostgreSQL is behind what Redis was told";
    if (origin->last_seq < origin->watermark)
        return "Redis is behind PostgreSQL";
    if (origin->hole)
        return "the stream has a hole";
    if (origin->reached < origin->last_seq)
        return "the stream lacks its end";
    return look->unreadable ? "the stream cannot be read" : NULL;
}

/* Lists the origins; returns why the partition is recovering, or NULL. */
static const char *list_origins(struct look *look)
{
    json_t *list = json_array();
    const char *why = look->ready ? NULL : "Redis waits to be recovered from PostgreSQL";
    int64_t backlog = 0;

    for (size_t i = 0; i < look->origins.count; i++) {
        const struct flush_origin *origin = &look->origins.list[i];
        const char *reason = recovering(look, origin);
        /* What was appended since the moment of read_positions() is no backlog of then. */
        uint64_t last = origin->last_seq > origin->watermark ? origin->last_seq : origin->watermark;
        int64_t waiting = (int64_t)(last - origin->watermark);
        char id[24];
        snprintf(id, sizeof id, "%" PRIu64, origin->id);
        json_array_append_new(list,
                              json_pack("{s:s, s:I, s:I, s:I, s:I, s:s?}", "origin", id, "last_seq",
                                        (json_int_t)last, "applied", (json_int_t)origin->applied,
                                        "gaps", (json_int_t)origin->gaps, "backlog",
                                        (json_int_t)waiting, "recovering", reason));
        backlog += waiting;
        why = why ? why : reason;
    }
    json_object_set_new(look->result, "origins", list);
    json_object_set_new(look->result, "backlog", json_integer(backlog));
    return why;
}

static void compare_totals(struct look *look)
{
    struct verify_total wrong[VERIFY_PROBLEMS_MAX];
    size_t count = verify_totals_wrong(&look->totals, wrong, VERIFY_PROBLEMS_MAX);

    for (size_t i = 0; i < count; i++) {
        if (i >= VERIFY_PROBLEMS_MAX) {
            verify_problem(look->problems, "%zu further links", count - i);
            return;
        }
        verify_problem(look->problems,
                       "link %" PRIu64 ": Redis counts %+" PRId64 " clicks, %+" PRId64
                       " of them not human, against PostgreSQL and the stream",
                       wrong[i].link, wrong[i].clicks, wrong[i].other);
    }
}

static void judge(struct look *look)
{
    const char *why = list_origins(look);
    const char *state = "consistent";

    if (!why)
        compare_totals(look);
    if (json_array_size(look->problems) > 0)
        state = "inconsistent";
    else if (why)
        state = "recovering";
    json_object_set_new(look->result, "state", json_string(state));
    json_object_set_new(look->result, "recovering", why ? json_string(why) : json_null());
}

/* "pg_advisory_lock" or "pg_advisory_unlock": the session's, not a transaction's. */
static bool change_lock(struct look *look, const char *function)
{
    char sql[160];

    snprintf(sql, sizeof sql, "set lock_timeout = '" LOCK_WAIT "'; select %s(%d, %u)", function,
             POSTGRES_LOCK_CLASS, POSTGRES_LOCK_PARTITION + look->partition);
    return postgres_execute(look->connection, sql, 0, NULL, look->error);
}

static bool look_at(struct look *look)
{
    bool locked = change_lock(look, "pg_advisory_lock");
    bool good =
        locked &&
        postgres_execute(look->connection, "begin isolation level repeatable read read only", 0,
                         NULL, look->error) &&
        read_watermarks(look) && read_positions(look) && read_stream(look);

    if (locked && PQstatus(look->connection) == CONNECTION_OK &&
        PQtransactionStatus(look->connection) != PQTRANS_INERROR)
        good = change_lock(look, "pg_advisory_unlock") && good;
    good = good && take_off_totals(look);
    if (PQtransactionStatus(look->connection) == PQTRANS_INTRANS ||
        PQtransactionStatus(look->connection) == PQTRANS_INERROR)
        PQclear(PQexec(look->connection, "rollback"));
    return good;
}

json_t *verify_partition(PGconn *connection, struct redis *redis, unsigned partition,
                         struct error *error)
{
    struct look look = {.connection = connection,
                        .redis = redis,
                        .partition = partition,
                        .result = json_object(),
                        .problems = json_array(),
                        .error = error};
    bool good;

    assert(PQtransactionStatus(connection) == PQTRANS_IDLE && look.result && look.problems);
    flush_keys_fill(&look.keys, partition);
    json_object_set_new(look.result, "partition", json_integer((json_int_t)partition));
    json_object_set_new(look.result, "problems", look.problems);
    good = look_at(&look);
    if (good)
        judge(&look);
    flush_origins_free(&look.origins);
    verify_totals_free(&look.totals);
    if (good)
        return look.result;
    json_decref(look.result);
    error_prefix(error, "partition %u", partition);
    return NULL;
}
