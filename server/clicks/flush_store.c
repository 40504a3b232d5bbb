/* See flush_store.h. The watermark is checked once more where it is moved: an update that does not
 * find the value which this pass began with fails the transaction, as does an origin that is new to
 * this pass but not to the table. The lock makes both impossible; they guard the lock. */
#include "server/clicks/flush_store.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/clicks/copy.h"
#include "server/clicks/flush_array.h"
#include "server/stores/postgres.h"
#include "shared/clock.h"
#include "shared/crash.h"

#define CHUNK_BYTES ((size_t)64 * 1024)
#define NUMBER_MAX  24
#define TABLE_MAX   32
#define DAYS_MAX    2932896 /* 9999-12-31 */

/* Notes of lost clicks are believed about time from here on. */
#define YEAR_2000_US 946684800000000LL

struct store {
    PGconn *connection;
    unsigned partition;
    struct flush_batch *batch;
    size_t refusals;
    char table[TABLE_MAX]; /* where clicks are copied to */
    bool told;             /* conversions are copied, not clicks */
    struct error *error;
};

/* COPY ------------------------------------------------------------------------------------------- */

static bool put(PGconn *connection, const unsigned char *bytes, size_t length, struct error *error)
{
    if (PQputCopyData(connection, (const char *)bytes, (int)length) == 1)
        return true;
    return postgres_failed(connection, NULL, error);
}

/* Encodes what is to be row `index`; its length, 0 if it is refused, or -1. */
static int64_t encode_click(const struct store *store, size_t index, unsigned char *out)
{
    const struct flush_row *row = &store->batch->rows[index];
    uint64_t origin = store->batch->origins.list[row->origin].id;
    struct event event;

    if (row->refused)
        return 0;
    if (!event_decode(row->payload, row->length, &event, store->error))
        return -1;
    assert(event.kind == EVENT_CLICK);
    return (int64_t)copy_row(origin, row->seq, &event.click, store->batch->now_us, out);
}

static int64_t encode_told(const struct store *store, size_t index, unsigned char *out)
{
    const struct flush_told *told = &store->batch->told[index];
    uint64_t origin = store->batch->origins.list[told->origin].id;
    struct event event;

    if (told->refused)
        return 0;
    if (!event_decode(told->payload, told->length, &event, store->error))
        return -1;
    assert(event.kind == EVENT_CONVERSION);
    return (int64_t)copy_told_row(origin, told->seq, &event.conversion, store->batch->now_us, out);
}

/* Sends the rows from … until that are not refused; returns how many, or -1. */
static int64_t send_rows(const struct store *store, size_t from, size_t until)
{
    static unsigned char chunk[CHUNK_BYTES + COPY_TOLD_ROW_MAX];
    size_t used = COPY_HEADER_BYTES;
    int64_t sent = 0;

    static_assert(COPY_TOLD_ROW_MAX >= COPY_ROW_MAX, "either fits");
    copy_header(chunk);
    for (size_t i = from; i < until; i++) {
        int64_t length = store->told ? encode_told(store, i, chunk + used)
                                     : encode_click(store, i, chunk + used);

        if (i == from + (until - from) / 2)
            CRASH_POINT(store->told ? "flush_inside_told" : "flush_inside_copy");
        if (length < 0)
            return -1;
        used += (size_t)length;
        sent += length > 0;
        if (used < CHUNK_BYTES)
            continue;
        if (!put(store->connection, chunk, used, store->error))
            return -1;
        used = 0;
    }
    copy_trailer(chunk + used);
    used += COPY_TRAILER_BYTES;
    return put(store->connection, chunk, used, store->error) ? sent : -1;
}

/* Ends the COPY and takes its result. */
static bool end_copy(const struct store *store, int64_t sent)
{
    PGresult *result;
    bool good;

    if (PQputCopyEnd(store->connection, NULL) != 1)
        return postgres_failed(store->connection, NULL, store->error);
    result = PQgetResult(store->connection);
    good = PQresultStatus(result) == PGRES_COMMAND_OK;
    if (!good)
        postgres_failed(store->connection, result, store->error);
    else if (strtoll(PQcmdTuples(result), NULL, 10) != sent)
        good = error_set(store->error, "COPY took %s rows of %" PRId64, PQcmdTuples(result), sent);
    PQclear(result);
    while ((result = PQgetResult(store->connection)) != NULL)
        PQclear(result);
    return good;
}

static bool copy_rows(const struct store *store, size_t from, size_t until)
{
    char sql[COPY_SQL_MAX];
    int64_t sent;

    if (store->told)
        copy_told_sql(sql);
    else
        copy_sql(store->table, sql);
    if (!postgres_execute(store->connection, sql, 0, NULL, store->error))
        return false;
    sent = send_rows(store, from, until);
    if (sent >= 0)
        return end_copy(store, sent);
    /* Leaves COPY, if the connection still lives; the transaction is given up anyhow. */
    PQputCopyEnd(store->connection, "given up");
    for (PGresult *result; (result = PQgetResult(store->connection)) != NULL;)
        PQclear(result);
    return false;
}

/* The day (since 1970) that all rows are of; -1 if they are of several, or of none that has a date. */
static int64_t day_of(const struct flush_batch *batch)
{
    int64_t first = batch->rows[0].hour;

    if (first < 0 || first / 24 > DAYS_MAX)
        return -1;
    for (size_t i = 1; i < batch->row_count; i++) {
        if (batch->rows[i].hour / 24 != first / 24)
            return -1;
    }
    return first / 24;
}

/* Chooses the table to copy to: that of the day, if all rows are of one day and it has been made,
 * which spares PostgreSQL a quarter of its work (it looks for the partition of each row); else the
 * whole. The lock, which COPY would take anyhow, keeps the day from being detached before COMMIT. */
static bool choose_table(struct store *store)
{
    int64_t day = day_of(store->batch);
    time_t begin = day * 24 * 3600, end = begin + 24 * 3600;
    char sql[512], from[16], until[16], name[16];
    struct tm tm;
    PGresult *rows;

    snprintf(store->table, sizeof store->table, "kudos.clicks");
    if (day < 0)
        return true;
    strftime(from, sizeof from, "%Y-%m-%d", gmtime_r(&begin, &tm));
    strftime(name, sizeof name, "%Y%m%d", &tm);
    strftime(until, sizeof until, "%Y-%m-%d", gmtime_r(&end, &tm));
    snprintf(sql, sizeof sql,
             "lock table kudos.clicks in row exclusive mode;"
             " select from pg_inherits i join pg_class c on c.oid = i.inhrelid"
             " where i.inhparent = 'kudos.clicks'::regclass and not i.inhdetachpending"
             " and c.oid = to_regclass('kudos.clicks_%s') and pg_get_expr(c.relpartbound, c.oid) ="
             " 'FOR VALUES FROM (''%s 00:00:00+00'') TO (''%s 00:00:00+00'')'",
             name, from, until);
    rows = postgres_query(store->connection, sql, 0, NULL, store->error);
    if (PQntuples(rows) == 1)
        snprintf(store->table, sizeof store->table, "kudos.clicks_%s", name);
    PQclear(rows);
    return rows != NULL;
}

/* Whether the last failure is about the data, so that leaving out a row can help: data exceptions,
 * violated constraints, a trigger's own complaint, program limits. Everything else (no space, no
 * permission, no table, shutting down) is about the server. */
static bool is_refusal(PGconn *connection)
{
    static const char classes[][3] = {"22", "23", "44", "P0", "54"};

    if (PQstatus(connection) != CONNECTION_OK)
        return false;
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        if (strncmp(postgres_sqlstate(), classes[i], 2) == 0)
            return true;
    }
    return false;
}

/* Copies rows from … until, each time under a savepoint; what cannot be copied alone is refused. */
static enum flush_stored copy_or_halve(struct store *store, size_t from, size_t until)
{
    size_t middle = from + (until - from) / 2;
    enum flush_stored first;

    if (!postgres_execute(store->connection, "savepoint rows", 0, NULL, store->error))
        return FLUSH_STORE_FAILED;
    if (copy_rows(store, from, until))
        return postgres_execute(store->connection, "release savepoint rows", 0, NULL, store->error)
                   ? FLUSH_STORED
                   : FLUSH_STORE_FAILED;
    if (!is_refusal(store->connection))
        return FLUSH_STORE_FAILED;
    if (until - from == 1) {
        if (++store->refusals > FLUSH_REFUSED_MAX)
            return FLUSH_TOO_MANY_REFUSED;
        if (store->told)
            flush_batch_refuse_told(store->batch, from, store->error->text);
        else
            flush_batch_refuse(store->batch, from, store->error->text);
    }
    if (!postgres_execute(store->connection, "rollback to savepoint rows; release savepoint rows",
                          0, NULL, store->error))
        return FLUSH_STORE_FAILED;
    if (until - from == 1)
        return FLUSH_STORED;
    first = copy_or_halve(store, from, middle);
    return first == FLUSH_STORED ? copy_or_halve(store, middle, until) : first;
}

/* Gaps and quarantine ---------------------------------------------------------------------------- */

static const char *number(char out[NUMBER_MAX], uint64_t value)
{
    snprintf(out, NUMBER_MAX, "%" PRId64, (int64_t)value);
    return out;
}

/* A time as seconds for to_timestamp(); NULL for what cannot be right, since a damaged time must not
 * hold up the pipeline. */
static const char *seconds(char out[NUMBER_MAX], int64_t time_us, int64_t now_us)
{
    if (time_us < YEAR_2000_US || time_us > now_us + COPY_AHEAD_MAX_US)
        return NULL;
    snprintf(out, NUMBER_MAX, "%lld.%06d", time_us / US_PER_SECOND, (int)(time_us % US_PER_SECOND));
    return out;
}

static bool store_gap(const struct store *store, const struct flush_gap *gap)
{
    static const char sql[] =
        "insert into kudos.gaps (origin, first_seq, last_seq, kind, count, from_time, until_time,"
        "                        reason, episode)"
        " values ($1, $2, $3, $4, $5, to_timestamp($6), to_timestamp($7), $8, $9)"
        " on conflict (episode) where kind = 'lost'"
        " do nothing returning 1";
    static const char again[] =
        "insert into kudos.gaps (origin, first_seq, last_seq, kind, count, reason)"
        " values ($1, $2, $3, 'lost', 0, 'told before')";
    char texts[7][NUMBER_MAX], reason[EVENT_REASON_MAX + 1];
    uint64_t count = gap->count <= INT64_MAX ? gap->count : INT64_MAX;
    int64_t now_us = store->batch->now_us;
    const char *values[] = {number(texts[0], store->batch->origins.list[gap->origin].id),
                            number(texts[1], gap->first),
                            number(texts[2], gap->last),
                            gap->lost ? "lost" : "damaged",
                            number(texts[3], count),
                            gap->lost ? seconds(texts[4], gap->from_us, now_us) : NULL,
                            gap->lost ? seconds(texts[5], gap->until_us, now_us) : NULL,
                            gap->reason.length ? reason : NULL,
                            gap->lost ? number(texts[6], gap->episode) : NULL};

    PGresult *result;
    bool good;

    assert(gap->reason.length <= EVENT_REASON_MAX);
    if (gap->reason.length)
        memcpy(reason, gap->reason.bytes, gap->reason.length);
    reason[gap->reason.length] = '\0';
    result = postgres_query(store->connection, sql, 9, values, store->error);
    good = result != NULL;
    /* A loss that was told twice counts once; but every event leaves a row. */
    if (good && PQntuples(result) == 0)
        good = postgres_execute(store->connection, again, 3, values, store->error);
    PQclear(result);
    return good || error_prefix(store->error, "adding to gaps");
}

/* "\x…", malloc()ed. */
static char *hex(const unsigned char *bytes, size_t length)
{
    static const char digits[] = "0123456789abcdef";
    char *text = malloc(2 * length + 3), *at = text;

    assert(text);
    *at++ = '\\';
    *at++ = 'x';
    for (size_t i = 0; i < length; i++) {
        *at++ = digits[bytes[i] >> 4];
        *at++ = digits[bytes[i] & 15];
    }
    *at = '\0';
    return text;
}

static bool store_refused(const struct store *store, const struct flush_refused *refused)
{
    static const char sql[] =
        "insert into kudos.quarantine (origin, seq, partition, link_id, human, payload, error)"
        " values ($1, $2, $3, $4, $5, $6, $7)";
    char texts[4][NUMBER_MAX], *payload = hex(refused->payload, refused->length);
    const char *values[] = {number(texts[0], store->batch->origins.list[refused->origin].id),
                            number(texts[1], refused->seq),
                            number(texts[2], store->partition),
                            refused->decoded ? number(texts[3], refused->link) : NULL,
                            !refused->decoded ? NULL
                            : refused->human  ? "true"
                                              : "false",
                            payload,
                            refused->reason};
    bool good = postgres_execute(store->connection, sql, 7, values, store->error);

    free(payload);
    return good || error_prefix(store->error, "adding to quarantine");
}

/* Watermarks ------------------------------------------------------------------------------------- */

enum { ORIGINS, BEFORE, REACHED, APPLIED, GAPS, ARRAYS };

/* Runs one of the two statements for the origins that are (or are not) new to PostgreSQL. */
static bool move_some(const struct store *store, const char *sql, bool fresh)
{
    const struct flush_origins *origins = &store->batch->origins;
    struct flush_array arrays[ARRAYS] = {{NULL, 0, 0}};
    const char *values[1 + ARRAYS];
    char partition[NUMBER_MAX];
    int64_t count = 0;
    bool good = true;

    for (size_t i = 0; i < origins->count; i++) {
        const struct flush_origin *origin = &origins->list[i];
        if (origin->reached == origin->watermark || (origin->watermark == 0) != fresh)
            continue;
        assert(origin->reached - origin->watermark == (uint64_t)(origin->applied + origin->gaps));
        flush_array_add(&arrays[ORIGINS], (int64_t)origin->id);
        flush_array_add(&arrays[BEFORE], (int64_t)origin->watermark);
        flush_array_add(&arrays[REACHED], (int64_t)origin->reached);
        flush_array_add(&arrays[APPLIED], origin->applied);
        flush_array_add(&arrays[GAPS], origin->gaps);
        count++;
    }
    if (count > 0) {
        PGresult *result;
        values[0] = number(partition, store->partition);
        for (size_t i = 0; i < ARRAYS; i++)
            values[1 + i] = flush_array_text(&arrays[i]);
        result = postgres_query(store->connection, sql, 1 + ARRAYS, values, store->error);
        good = result != NULL;
        if (good && strtoll(PQcmdTuples(result), NULL, 10) != count)
            good = error_set(store->error, "a watermark has moved in spite of the lock");
        PQclear(result);
    }
    for (size_t i = 0; i < ARRAYS; i++)
        flush_array_free(&arrays[i]);
    return good || error_prefix(store->error, "moving watermarks");
}

static bool move_watermarks(const struct store *store)
{
    static const char update[] =
        "update kudos.watermarks w set seq = n.seq, applied = w.applied + n.applied,"
        "   gaps = w.gaps + n.gaps, updated_at = clock_timestamp()"
        " from unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])"
        "   as n (origin, before, seq, applied, gaps)"
        " where w.origin = n.origin and w.seq = n.before and w.partition = $1::smallint";
    static const char insert[] =
        "insert into kudos.watermarks (partition, origin, seq, applied, gaps, updated_at)"
        " select $1::smallint, origin, seq, applied, gaps, clock_timestamp()"
        " from unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])"
        "   as n (origin, before, seq, applied, gaps)"
        " where before = 0";

    return move_some(store, update, false) && move_some(store, insert, true);
}

static bool store_rollup(const struct store *store, struct rollup *rollup)
{
    rollup_clear(rollup);
    for (size_t i = 0; i < store->batch->row_count; i++) {
        const struct flush_row *row = &store->batch->rows[i];
        if (!row->refused)
            rollup_add(rollup, row->link, row->hour, (enum verdict)row->verdict);
    }
    return rollup_store(rollup, store->connection, store->partition, store->error);
}

static bool store_rest(const struct store *store, struct rollup *rollup)
{
    if (!store_rollup(store, rollup))
        return false;
    for (size_t i = 0; i < store->batch->gap_count; i++)
        if (!store_gap(store, &store->batch->gaps[i]))
            return false;
    for (size_t i = 0; i < store->batch->refused_count; i++)
        if (!store_refused(store, &store->batch->refused[i]))
            return false;
    return move_watermarks(store);
}

/* Copies all clicks, then all conversions. */
static enum flush_stored copy_all(struct store *store)
{
    const struct flush_batch *batch = store->batch;
    enum flush_stored copied = FLUSH_STORED;

    if (batch->row_count > 0)
        copied =
            choose_table(store) ? copy_or_halve(store, 0, batch->row_count) : FLUSH_STORE_FAILED;
    store->told = true;
    if (copied == FLUSH_STORED && batch->told_count > 0)
        copied = copy_or_halve(store, 0, batch->told_count);
    return copied;
}

enum flush_stored flush_store(PGconn *connection, unsigned partition, struct flush_batch *batch,
                              struct rollup *rollup, struct error *error)
{
    struct store store = {
        .connection = connection, .partition = partition, .batch = batch, .error = error};
    enum flush_stored copied;

    assert(PQtransactionStatus(connection) == PQTRANS_INTRANS);
    copied = copy_all(&store);
    if (copied != FLUSH_STORED)
        return copied;
    CRASH_POINT("flush_after_copy");
    if (!store_rest(&store, rollup))
        return FLUSH_STORE_FAILED;
    CRASH_POINT("flush_after_watermark");
    return FLUSH_STORED;
}
