/* See recover.h.
 *
 * However many links and origins there are: rows come through a cursor, CHUNK at a time, and go into
 * two hashes of their own, so neither this process nor Redis handles them all in one call; only the
 * last step is one script, which renames. The hashes expire, should this process die. Each step
 * renews their time; a flusher that freezes for longer finds them gone and recover.lua refuses. */
#include "server/clicks/recover.h"

#include <assert.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "server/clicks/flush_redis.h"
#include "server/stores/postgres.h"
#include "shared/crash.h"
#include "shared/embed.h"

EMBED(recover_lua, "server/clicks/recover.lua");

#define CHUNK          2000 /* rows of one FETCH; each is at most two fields */
#define EXPIRE_SECONDS "60"
#define FIELD_MAX      24

/* The state of Redis as rows (hash, field, value): "w" watermarks, "t" totals. */
static const char DECLARE[] =
    "declare recovery no scroll cursor for"
    " select 'w', origin::text, seq::text from kudos.watermarks where partition = %u"
    " union all"
    " (with counts as (" PARTITION_COUNTS_SQL "),"
    "  sums as (select link_id, sum(clicks) as clicks, sum(human) as human"
    "             from counts group by link_id)"
    "  select 't', link_id::text, clicks::text from sums"
    "  union all"
    "  select 't', link_id || ':x', (clicks - human)::text from sums where clicks > human)";

enum { TOTALS, WATERMARKS, HASHES };

struct recovery {
    struct redis *redis;
    char names[HASHES][PARTITION_KEY_MAX];
    int64_t counts[HASHES]; /* fields put in */
    struct error *error;
};

static bool reply_is_good(redisReply *reply, struct error *error)
{
    bool good = reply && reply->type != REDIS_REPLY_ERROR;

    if (reply && !good)
        error_set(error, "Redis: %s", reply->str);
    if (reply)
        freeReplyObject(reply);
    return good;
}

/* Puts the fields of one hash among `rows` into its private name, and renews its time. */
static bool prepare_hash(struct recovery *recovery, const PGresult *rows, int which)
{
    const char *argv[2 + 2 * CHUNK] = {"HSET", recovery->names[which]};
    const char *expire[] = {"EXPIRE", recovery->names[which], EXPIRE_SECONDS};
    int argc = 2;

    assert(PQntuples(rows) <= CHUNK);
    for (int i = 0; i < PQntuples(rows); i++) {
        if ((PQgetvalue(rows, i, 0)[0] == 't') != (which == TOTALS))
            continue;
        argv[argc++] = PQgetvalue(rows, i, 1);
        argv[argc++] = PQgetvalue(rows, i, 2);
        recovery->counts[which]++;
    }
    if (argc > 2 && !reply_is_good(redis_call(recovery->redis, argc, argv, NULL, recovery->error),
                                   recovery->error))
        return false;
    return recovery->counts[which] == 0 ||
           reply_is_good(redis_call(recovery->redis, 3, expire, NULL, recovery->error),
                         recovery->error);
}

static bool prepare(struct recovery *recovery, PGconn *connection, unsigned partition)
{
    char sql[sizeof DECLARE + 64];
    int count = 0;

    snprintf(sql, sizeof sql, DECLARE, partition, partition, partition);
    if (!postgres_execute(connection, sql, 0, NULL, recovery->error))
        return false;
    snprintf(sql, sizeof sql, "fetch %d from recovery", CHUNK);
    do {
        PGresult *rows = postgres_query(connection, sql, 0, NULL, recovery->error);
        bool good = rows && prepare_hash(recovery, rows, TOTALS) &&
                    prepare_hash(recovery, rows, WATERMARKS);
        count = PQntuples(rows);
        PQclear(rows);
        if (!good)
            return false;
        CRASH_POINT("recover_prepared");
    } while (count == CHUNK);
    return postgres_execute(connection, "close recovery", 0, NULL, recovery->error);
}

static bool put_in_place(const struct recovery *recovery, const struct flush_keys *keys)
{
    char counts[HASHES][FIELD_MAX];
    const char *argv[] = {
        keys->ready,    keys->last_seq,    keys->flushed,           keys->totals,
        keys->bytes,    keys->events,      recovery->names[TOTALS], recovery->names[WATERMARKS],
        counts[TOTALS], counts[WATERMARKS]};

    for (int i = 0; i < HASHES; i++)
        snprintf(counts[i], FIELD_MAX, "%" PRId64, recovery->counts[i]);
    return reply_is_good(
        redis_script(recovery->redis, recover_lua, 8, 10, argv, NULL, recovery->error),
        recovery->error);
}

bool recover_partition(PGconn *connection, struct redis *redis, unsigned partition,
                       struct error *error)
{
    struct recovery recovery = {.redis = redis, .error = error};
    struct flush_keys keys;
    unsigned char random[8];
    char hex[2 * sizeof random + 1];

    assert(PQtransactionStatus(connection) == PQTRANS_INTRANS);
    flush_keys_fill(&keys, partition);
    randombytes_buf(random, sizeof random);
    sodium_bin2hex(hex, sizeof hex, random, sizeof random);
    snprintf(recovery.names[TOTALS], PARTITION_KEY_MAX, PARTITION_KEY_RECOVER, partition, hex, "t");
    snprintf(recovery.names[WATERMARKS], PARTITION_KEY_MAX, PARTITION_KEY_RECOVER, partition, hex,
             "w");
    if (!prepare(&recovery, connection, partition))
        return error_prefix(error, "preparing a recovery");
    CRASH_POINT("recover_before");
    if (!put_in_place(&recovery, &keys))
        return error_prefix(error, "recovering");
    CRASH_POINT("recover_after");
    return true;
}
