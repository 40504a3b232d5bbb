/* Applies the embedded migrations; `kudos migrate`. See migrate.h for what is promised.
 *
 * To add one: put NNN_name.sql beside this file and add its two lines here. Never edit one that has
 * been released. A migration is plain SQL with qualified names (search_path is empty) and without
 * BEGIN or COMMIT. A crash leaves each migration either applied and recorded, or neither. */
#include "server/schema/migrate.h"

#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "server/stores/postgres.h"
#include "shared/embed.h"

EMBED(schema_001, "server/schema/001_core.sql");
EMBED(schema_002, "server/schema/002_pipeline.sql");
EMBED(schema_003, "server/schema/003_report.sql");
EMBED(schema_004, "server/schema/004_routing.sql");
EMBED(schema_005, "server/schema/005_resources.sql");
EMBED(schema_006, "server/schema/006_reclassify.sql");
EMBED(schema_007, "server/schema/007_bulk.sql");
EMBED(schema_008, "server/schema/008_conversions.sql");
EMBED(schema_009, "server/schema/009_partners.sql");
EMBED(schema_010, "server/schema/010_performance.sql");
EMBED(schema_011, "server/schema/011_erasures.sql");
EMBED(schema_012, "server/schema/012_imports.sql");
EMBED(schema_013, "server/schema/013_handles.sql");
EMBED(schema_014, "server/schema/014_link_pages.sql");
EMBED(schema_015, "server/schema/015_conversion_inbox.sql");
EMBED(schema_016, "server/schema/016_sources.sql");
EMBED(schema_017, "server/schema/017_earnings.sql");
EMBED(schema_018, "server/schema/018_statements.sql");
EMBED(schema_019, "server/schema/019_daily.sql");
EMBED(schema_020, "server/schema/020_reports.sql");
EMBED(schema_021, "server/schema/021_touches.sql");
EMBED(schema_022, "server/schema/022_refunds.sql");
EMBED(schema_023, "server/schema/023_performance.sql");
EMBED(schema_024, "server/schema/024_content.sql");
EMBED(schema_025, "server/schema/025_earned.sql");
EMBED(schema_026, "server/schema/026_models.sql");
EMBED(schema_027, "server/schema/027_content.sql");
EMBED(schema_028, "server/schema/028_recording.sql");
EMBED(schema_029, "server/schema/029_told.sql");
EMBED(schema_030, "server/schema/030_code_limits.sql");
EMBED(schema_031, "server/schema/031_second_names.sql");
EMBED(schema_032, "server/schema/032_link_lists.sql");

static const struct migration {
    const char *name;
    const char *sql;
} MIGRATIONS[] = {
    /* clang-format off */
    {"001_core", schema_001},
    {"002_pipeline", schema_002},
    {"003_report", schema_003},
    {"004_routing", schema_004},
    {"005_resources", schema_005},
    {"006_reclassify", schema_006},
    {"007_bulk", schema_007},
    {"008_conversions", schema_008},
    {"009_partners", schema_009},
    {"010_performance", schema_010},
    {"011_erasures", schema_011},
    {"012_imports", schema_012},
    {"013_handles", schema_013},
    {"014_link_pages", schema_014},
    {"015_conversion_inbox", schema_015},
    {"016_sources", schema_016},
    {"017_earnings", schema_017},
    {"018_statements", schema_018},
    {"019_daily", schema_019},
    {"020_reports", schema_020},
    {"021_touches", schema_021},
    {"022_refunds", schema_022},
    {"023_performance", schema_023},
    {"024_content", schema_024},
    {"025_earned", schema_025},
    {"026_models", schema_026},
    {"027_content", schema_027},
    {"028_recording", schema_028},
    {"029_told", schema_029},
    {"030_code_limits", schema_030},
    {"031_second_names", schema_031},
    {"032_link_lists", schema_032},
    /* clang-format on */
};

#define MIGRATION_COUNT (sizeof MIGRATIONS / sizeof MIGRATIONS[0])
#define CHECKSUM_LENGTH (2 * crypto_hash_sha256_BYTES)

static const char LEDGER[] =
    "create schema if not exists kudos;"
    "create table if not exists kudos.schema_migrations ("
    "  name text primary key,"
    "  checksum text not null,"
    "  applied_at timestamptz not null default now());"
    "comment on table kudos.schema_migrations is"
    "  'Migrations that have been applied to this database, by kudos migrate.';"
    "comment on column kudos.schema_migrations.name is 'File name without .sql.';"
    "comment on column kudos.schema_migrations.checksum is 'SHA-256 of the file, as hex.';"
    "comment on column kudos.schema_migrations.applied_at is 'When it was applied.'";

const char *migrate_newest(void)
{
    return MIGRATIONS[MIGRATION_COUNT - 1].name;
}

static void checksum(const char *sql, char out[CHECKSUM_LENGTH + 1])
{
    unsigned char hash[crypto_hash_sha256_BYTES];

    crypto_hash_sha256(hash, (const unsigned char *)sql, strlen(sql));
    sodium_bin2hex(out, CHECKSUM_LENGTH + 1, hash, sizeof hash);
}

static int find_migration(const char *name)
{
    for (size_t i = 0; i < MIGRATION_COUNT; i++) {
        if (strcmp(MIGRATIONS[i].name, name) == 0)
            return (int)i;
    }
    return -1;
}

/* Compares one row of the ledger with the binary and marks it as applied. */
static bool check_applied(const char *name, const char *recorded, bool applied[],
                          struct error *error)
{
    char expected[CHECKSUM_LENGTH + 1];
    int i = find_migration(name);

    if (i < 0)
        return error_set(error,
                         "the database is newer than this binary: it has migration %s, while this "
                         "is kudos %s with %s; use the newer binary",
                         name, KUDOS_VERSION, migrate_newest());
    checksum(MIGRATIONS[i].sql, expected);
    if (strcmp(recorded, expected) != 0)
        return error_set(error,
                         "migration %s was applied with checksum %.12s…, but this binary's has "
                         "%.12s…: an applied migration must never change",
                         name, recorded, expected);
    applied[i] = true;
    return true;
}

static bool read_ledger(PGconn *connection, bool applied[], struct error *error)
{
    PGresult *rows = postgres_query(
        connection, "select name, checksum from kudos.schema_migrations order by name", 0, NULL,
        error);
    bool good = rows != NULL;

    for (int i = 0; good && i < PQntuples(rows); i++)
        good = check_applied(PQgetvalue(rows, i, 0), PQgetvalue(rows, i, 1), applied, error);
    PQclear(rows);
    return good;
}

/* Runs one migration and its ledger row in one transaction. */
static bool apply_one(PGconn *connection, const struct migration *migration, struct error *error)
{
    char sum[CHECKSUM_LENGTH + 1];
    const char *values[] = {migration->name, sum};
    int line = 0;
    bool good;

    checksum(migration->sql, sum);
    good = postgres_execute(connection, "begin", 0, NULL, error);
    if (good) {
        good = postgres_execute(connection, migration->sql, 0, NULL, error);
        line = good ? 0 : postgres_error_line(migration->sql);
    }
    good = good &&
           postgres_execute(connection,
                            "insert into kudos.schema_migrations (name, checksum) values ($1, $2)",
                            2, values, error) &&
           postgres_execute(connection, "commit", 0, NULL, error);
    if (good)
        return true;
    if (PQstatus(connection) == CONNECTION_OK)
        PQclear(PQexec(connection, "rollback"));
    if (line > 0)
        return error_prefix(error, "migration %s, line %d", migration->name, line);
    return error_prefix(error, "migration %s", migration->name);
}

static bool apply_missing(PGconn *connection, migrate_report *report, void *argument,
                          struct error *error)
{
    bool applied[MIGRATION_COUNT] = {false};

    if (!postgres_execute(connection, LEDGER, 0, NULL, error) ||
        !read_ledger(connection, applied, error))
        return false;
    for (size_t i = 0; i < MIGRATION_COUNT; i++) {
        if (applied[i])
            continue;
        if (!apply_one(connection, &MIGRATIONS[i], error))
            return false;
        if (report)
            report(MIGRATIONS[i].name, argument);
    }
    return true;
}

/* Takes (or gives back) the lock under which one process migrates at a time. */
static bool lock(PGconn *connection, const char *function, struct error *error)
{
    char sql[128];

    snprintf(sql, sizeof sql, "select %s(%d, %d)", function, POSTGRES_LOCK_CLASS,
             POSTGRES_LOCK_MIGRATE);
    return postgres_execute(connection, sql, 0, NULL, error);
}

bool migrate_apply(PGconn *connection, migrate_report *report, void *argument, struct error *error)
{
    bool good;

    assert(PQtransactionStatus(connection) == PQTRANS_IDLE);
    if (!lock(connection, "pg_advisory_lock", error))
        return false;
    good = apply_missing(connection, report, argument, error);
    /* A lost connection has given the lock back already. */
    if (PQstatus(connection) == CONNECTION_OK && !lock(connection, "pg_advisory_unlock", NULL))
        good = good && error_set(error, "cannot give back the migration lock");
    return good;
}

bool migrate_check(PGconn *connection, struct error *error)
{
    bool applied[MIGRATION_COUNT] = {false};
    PGresult *found = postgres_query(
        connection, "select 1 where to_regclass('kudos.schema_migrations') is not null", 0, NULL,
        error);
    bool exists = PQntuples(found) == 1;

    if (!found)
        return false;
    PQclear(found);
    if (!exists)
        return error_set(error, "the database has no kudos schema; run kudos migrate");
    if (!read_ledger(connection, applied, error))
        return false;
    for (size_t i = 0; i < MIGRATION_COUNT; i++) {
        if (!applied[i])
            return error_set(error, "migration %s is missing; run kudos migrate",
                             MIGRATIONS[i].name);
    }
    return true;
}
