/* `kudos gap declare`: an operator gives up events that are in no journal any more, so that the
 * origin that waits for them goes on. They become a row of kudos.gaps, by name and with a reason, and
 * take part in the sequence as any other gap. `kudos verify`, ship and the log name the origins.
 *
 * Redis is not touched: the next pass of flush sees that it is behind the watermark and recovers. A
 * crash leaves the gap either declared or not. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/clicks/flush_lock.h"
#include "server/clicks/flush_origins.h"
#include "server/commands.h"
#include "server/stores/postgres.h"

#define NUMBER_MAX    24
#define LOCK_TRIES    10
#define LOCK_WAIT_MS  5000
#define REASON_LENGTH 400

struct declaration {
    uint64_t origin, first, last;
    const char *reason;
    unsigned partition;
    uint64_t watermark; /* 0: the origin is new to PostgreSQL */
};

static const char ADD_GAP[] =
    "insert into kudos.gaps (origin, first_seq, last_seq, kind, count, reason)"
    " values ($1, $2, $3, 'declared', $3::bigint - $2::bigint + 1, $4)";
static const char MOVE[] =
    "update kudos.watermarks set seq = $3, gaps = gaps + $3::bigint - $2::bigint + 1,"
    " updated_at = clock_timestamp() where origin = $1 and seq = $2::bigint - 1 returning 1";
static const char BEGIN_ORIGIN[] =
    "insert into kudos.watermarks (origin, seq, applied, gaps, partition)"
    " select $1, $3, 0, $3, $4 where $2::bigint = 1 returning 1";

static int usage(void)
{
    fprintf(stderr, "usage: kudos gap declare --origin O --first F --last L [--reason TEXT]"
                    " [--partition P]\n");
    return 2;
}

static bool parse(int argc, char **argv, struct declaration *out)
{
    uint64_t number;

    if (argc < 2 || strcmp(argv[1], "declare") != 0 || argc % 2 != 0)
        return false;
    for (int i = 2; i < argc; i += 2) {
        const char *value = argv[i + 1];
        if (strcmp(argv[i], "--reason") == 0) {
            out->reason = value;
            continue;
        }
        if (strcmp(argv[i], "--partition") == 0 && strcmp(value, "0") == 0)
            continue;
        if (!flush_parse_number(value, strlen(value), &number))
            return false;
        if (strcmp(argv[i], "--origin") == 0)
            out->origin = number;
        else if (strcmp(argv[i], "--first") == 0)
            out->first = number;
        else if (strcmp(argv[i], "--last") == 0)
            out->last = number;
        else if (strcmp(argv[i], "--partition") == 0 && number < 64)
            out->partition = (unsigned)number;
        else
            return false;
    }
    return out->origin && out->first && out->last >= out->first &&
           strlen(out->reason) <= REASON_LENGTH;
}

/* What PostgreSQL knows of the origin; its partition wins over the one given. */
static bool find_origin(PGconn *connection, struct declaration *declaration, struct error *error)
{
    char origin[NUMBER_MAX];
    const char *value = origin;
    PGresult *row;

    snprintf(origin, sizeof origin, "%" PRIu64, declaration->origin);
    row =
        postgres_query(connection, "select seq, partition from kudos.watermarks where origin = $1",
                       1, &value, error);
    if (!row)
        return false;
    if (PQntuples(row) > 0) {
        declaration->watermark = strtoull(PQgetvalue(row, 0, 0), NULL, 10);
        declaration->partition = (unsigned)strtoul(PQgetvalue(row, 0, 1), NULL, 10);
    }
    PQclear(row);
    if (declaration->first == declaration->watermark + 1)
        return true;
    return error_set(error,
                     "the next event of origin %" PRIu64 " is %" PRIu64
                     "; a gap must begin there, not at %" PRIu64,
                     declaration->origin, declaration->watermark + 1, declaration->first);
}

static bool take_lock(PGconn *connection, unsigned partition, struct error *error)
{
    for (int i = 0; i < LOCK_TRIES; i++) {
        enum flush_lock lock = flush_lock(connection, partition, LOCK_WAIT_MS, error);
        if (lock != FLUSH_LOCK_BUSY)
            return lock == FLUSH_LOCK_HELD;
    }
    return error_set(error, "partition %u is busy", partition);
}

/* In the open transaction. */
static bool write_gap(PGconn *connection, const struct declaration *declaration,
                      struct error *error)
{
    char origin[NUMBER_MAX], first[NUMBER_MAX], last[NUMBER_MAX], partition[NUMBER_MAX];
    const char *gap[] = {origin, first, last, declaration->reason};
    const char *place[] = {origin, first, last, partition};
    PGresult *moved;
    bool good;

    snprintf(origin, NUMBER_MAX, "%" PRIu64, declaration->origin);
    snprintf(first, NUMBER_MAX, "%" PRIu64, declaration->first);
    snprintf(last, NUMBER_MAX, "%" PRIu64, declaration->last);
    snprintf(partition, NUMBER_MAX, "%u", declaration->partition);
    if (!postgres_execute(connection, ADD_GAP, 4, gap, error))
        return false;
    moved = declaration->watermark ? postgres_query(connection, MOVE, 3, place, error)
                                   : postgres_query(connection, BEGIN_ORIGIN, 4, place, error);
    good = moved != NULL;
    if (good && PQntuples(moved) != 1)
        good = error_set(error, "origin %s has moved meanwhile; look again", origin);
    PQclear(moved);
    return good;
}

static bool declare(PGconn *connection, struct declaration *declaration, struct error *error)
{
    bool good = find_origin(connection, declaration, error) &&
                take_lock(connection, declaration->partition, error) &&
                write_gap(connection, declaration, error) &&
                postgres_execute(connection, "commit", 0, NULL, error);

    if (!good && PQtransactionStatus(connection) != PQTRANS_IDLE)
        PQclear(PQexec(connection, "rollback"));
    return good;
}

int gap_command(int argc, char **argv, const struct settings *settings)
{
    struct declaration declaration = {.reason = "declared by an operator"};
    struct error error = {""};
    PGconn *connection;
    bool good;

    if (!parse(argc, argv, &declaration))
        return usage();
    connection = postgres_connect(settings->database_url, "kudos-gap", &error);
    if (!connection) {
        fprintf(stderr, "kudos gap: cannot connect to PostgreSQL: %s\n", error.text);
        return 2;
    }
    good = declare(connection, &declaration, &error);
    PQfinish(connection);
    if (!good) {
        fprintf(stderr, "kudos gap: %s\n", error.text);
        return 1;
    }
    printf("declared: origin %" PRIu64 ", events %" PRIu64 " to %" PRIu64 " are given up\n",
           declaration.origin, declaration.first, declaration.last);
    return 0;
}
