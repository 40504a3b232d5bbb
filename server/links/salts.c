/* See salts.h. What is deleted from LMDB or PostgreSQL is no longer to be had by any query; the disk
 * blocks are used again in their time (LMDB: within minutes, as sync goes on writing; PostgreSQL:
 * after its next vacuum of the table). */
#include "server/links/salts.h"

#include <assert.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/stores/postgres.h"
#include "shared/clock.h"

#define OFFERED (SALTS_AHEAD + 1)

static int64_t today(void)
{
    return clock_wall_us() / US_PER_DAY;
}

/* The salts to offer: random where the replica knows none. */
static bool prepare_offer(struct replica_writer *writer, struct salt offer[OFFERED],
                          struct error *error)
{
    bool usable = replica_writer_usable(writer);

    if (usable && !replica_change_begin(writer, error))
        return false;
    for (int i = 0; i < OFFERED; i++) {
        offer[i].day = today() + i;
        if (!usable || !replica_get_salt(writer, offer[i].day, offer[i].bytes))
            randombytes_buf(offer[i].bytes, sizeof offer[i].bytes);
    }
    if (usable)
        replica_change_abort(writer);
    return true;
}

/* Days are named by this machine's clock, and deleted by PostgreSQL's. Naming the column makes it an
 * error where there is no key yet: in a database that is just being restored, whose own salts are
 * still to come. */
static void make_sql(const struct salt offer[OFFERED], char *out, size_t size)
{
    size_t used =
        (size_t)snprintf(out, size, "insert into kudos.visitor_salts (day, salt) values ");

    for (int i = 0; i < OFFERED; i++) {
        char hex[2 * REPLICA_SALT_BYTES + 1];

        sodium_bin2hex(hex, sizeof hex, offer[i].bytes, sizeof offer[i].bytes);
        used += (size_t)snprintf(out + used, size - used,
                                 "%s(date '1970-01-01' + %" PRId64 ", '\\x%s')", i ? ", " : "",
                                 offer[i].day, hex);
        sodium_memzero(hex, sizeof hex);
    }
    used += (size_t)snprintf(
        out + used, size - used,
        " on conflict (day) do nothing;"
        " delete from kudos.visitor_salts"
        " where day < (now() at time zone 'UTC')::date - %d;"
        " select day - date '1970-01-01', encode(salt, 'hex') from kudos.visitor_salts"
        " where day <= (now() at time zone 'UTC')::date + %d order by day limit %d",
        SALTS_KEPT, SALTS_AHEAD + 1, SALTS_MAX);
    assert(used < size);
}

static bool read_salts(const PGresult *rows, struct salts *out, struct error *error)
{
    out->count = 0;
    for (int row = 0; row < PQntuples(rows) && out->count < SALTS_MAX; row++) {
        struct salt *salt = &out->list[out->count++];
        const char *hex = PQgetvalue(rows, row, 1);
        size_t length;

        salt->day = strtoll(PQgetvalue(rows, row, 0), NULL, 10);
        if (sodium_hex2bin(salt->bytes, sizeof salt->bytes, hex, strlen(hex), NULL, &length,
                           NULL) != 0 ||
            length != sizeof salt->bytes)
            return error_set(error, "a salt in kudos.visitor_salts has another length");
    }
    return true;
}

/* Undefined table, or schema: nobody has migrated yet. */
static bool is_not_migrated(void)
{
    return strcmp(postgres_sqlstate(), "42P01") == 0 || strcmp(postgres_sqlstate(), "3F000") == 0;
}

bool salts_exchange(struct source *source, struct replica_writer *writer, struct salts *out,
                    struct error *error)
{
    struct salt offer[OFFERED];
    char sql[1024];
    PGresult *rows = NULL;
    bool good;

    if (!prepare_offer(writer, offer, error))
        return false;
    make_sql(offer, sql, sizeof sql);
    good = source_query(source, sql, &rows, error) && read_salts(rows, out, error);
    PQclear(rows);
    sodium_memzero(sql, sizeof sql);
    sodium_memzero(offer, sizeof offer);
    if (!good && is_not_migrated())
        return error_set(error, SOURCE_NOT_MIGRATED);
    return good || error_prefix(error, "salts");
}

static bool is_kept(const struct salt *salt)
{
    return salt->day >= today() - SALTS_KEPT;
}

bool salts_store(struct replica_writer *writer, const struct salts *salts, struct error *error)
{
    int64_t changes = 0;

    if (!replica_change_begin(writer, error))
        return false;
    for (unsigned i = 0; i < salts->count; i++) {
        const struct salt *salt = &salts->list[i];

        if (is_kept(salt) && !replica_put_salt(writer, salt->day, salt->bytes, &changes, error))
            return false;
    }
    if (!replica_remove_salts(writer, today() - SALTS_KEPT, &changes, error))
        return false;
    if (changes > 0)
        return replica_change_commit(writer, error);
    replica_change_abort(writer);
    return true;
}

bool salts_build(struct replica_writer *writer, const struct salts *salts, struct error *error)
{
    for (unsigned i = 0; i < salts->count; i++) {
        const struct salt *salt = &salts->list[i];

        if (is_kept(salt) && !replica_build_salt(writer, salt->day, salt->bytes, error))
            return false;
    }
    return true;
}
