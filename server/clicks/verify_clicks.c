/* verify_clicks(): see verify.h. The ids go into a temporary table and are joined at once; the times
 * in them say which days to look into, and what is not found there (a click whose clock was ahead
 * was stored under another time) is looked for everywhere. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/clicks/verify.h"
#include "server/conversions/click_id.h"
#include "server/stores/postgres.h"
#include "shared/clock.h"

#define LINE_MAX_BYTES 256
#define TIME_TEXT_MAX  40

/* The file's lines, numbered; `wanted` has those that are ids. */
static const char MAKE[] =
    "begin; create temporary table pg_temp.wanted (id text, origin bigint, seq bigint, found bigint"
    " not null default 0) on commit drop";
static const char COPY[] = "copy pg_temp.wanted (id, origin, seq) from stdin";
static const char FIND[] =
    "update pg_temp.wanted w set found = c.n from"
    " (select c.origin, c.seq, count(*) as n from kudos.clicks c"
    "   where (c.origin, c.seq) in (select origin, seq from pg_temp.wanted where found = 0)"
    "   and c.time >= $1::timestamptz and c.time < $2::timestamptz group by c.origin, c.seq) c"
    " where w.origin = c.origin and w.seq = c.seq and w.found = 0";
static const char LIST[] =
    "select case when w.found > 1 then 'twice' when q.seq is not null then 'quarantined'"
    "            else 'missing' end, w.id"
    " from pg_temp.wanted w left join kudos.quarantine q using (origin, seq)"
    " where w.found <> 1 order by w.origin, w.seq";

struct search {
    PGconn *connection;
    const unsigned char *secret;
    json_t *result;
    int64_t ids;
    int64_t first_us, last_us;
    struct error *error;
};

static json_t *list(const struct search *search, const char *name)
{
    return json_object_get(search->result, name);
}

/* One line of the file; `length` without line end. */
static bool send_id(struct search *search, const char *line, size_t length)
{
    struct click_id id;
    char row[CLICK_ID_LENGTH + 64];
    int size;

    search->ids++;
    if (length != CLICK_ID_LENGTH || !click_id_decode(line, length, search->secret, &id)) {
        json_t *text = json_stringn(line, length);
        json_array_append_new(list(search, "invalid"), text ? text : json_string("(not UTF-8)"));
        return true;
    }
    if (search->first_us == 0 || id.time_us < search->first_us)
        search->first_us = id.time_us;
    if (id.time_us > search->last_us)
        search->last_us = id.time_us;
    size = snprintf(row, sizeof row, "%.*s\t%" PRId64 "\t%" PRId64 "\n", CLICK_ID_LENGTH, line,
                    (int64_t)id.origin, (int64_t)id.seq);
    assert(size > 0 && (size_t)size < sizeof row);
    if (PQputCopyData(search->connection, row, size) != 1)
        return postgres_failed(search->connection, NULL, search->error);
    return true;
}

static bool send_file(struct search *search, FILE *file)
{
    char line[LINE_MAX_BYTES];
    bool good = true;

    while (good && fgets(line, sizeof line, file)) {
        size_t length = strcspn(line, "\r\n");
        if (length > 0)
            good = send_id(search, line, length);
    }
    return good && (!ferror(file) || error_set(search->error, "cannot read the file of ids"));
}

static bool copy_ids(struct search *search, FILE *file)
{
    if (!postgres_execute(search->connection, MAKE, 0, NULL, search->error) ||
        !postgres_execute(search->connection, COPY, 0, NULL, search->error))
        return false;
    return postgres_copy_end(search->connection, send_file(search, file), search->error) &&
           postgres_execute(search->connection, "analyze pg_temp.wanted", 0, NULL, search->error);
}

/* A time for PostgreSQL, to the second. */
static void time_text(char out[TIME_TEXT_MAX], int64_t time_us)
{
    time_t seconds = (time_t)(time_us / US_PER_SECOND);
    struct tm tm;

    gmtime_r(&seconds, &tm);
    strftime(out, TIME_TEXT_MAX, "%Y-%m-%d %H:%M:%S+00", &tm);
}

static bool find(struct search *search)
{
    char from[TIME_TEXT_MAX], until[TIME_TEXT_MAX];
    const char *days[] = {from, until};
    const char *always[] = {"-infinity", "infinity"};

    time_text(from, search->first_us - US_PER_SECOND);
    time_text(until, search->last_us + 2 * US_PER_SECOND);
    return postgres_execute(search->connection, "set local work_mem = '64MB'", 0, NULL,
                            search->error) &&
           postgres_execute(search->connection, FIND, 2, days, search->error) &&
           postgres_execute(search->connection, FIND, 2, always, search->error);
}

static bool list_findings(struct search *search)
{
    PGresult *rows = postgres_query(search->connection, LIST, 0, NULL, search->error);
    int64_t found;

    if (!rows)
        return false;
    for (int i = 0; i < PQntuples(rows); i++)
        json_array_append_new(list(search, PQgetvalue(rows, i, 0)),
                              json_string(PQgetvalue(rows, i, 1)));
    found = search->ids - (int64_t)json_array_size(list(search, "invalid")) - PQntuples(rows);
    json_object_set_new(search->result, "ids", json_integer(search->ids));
    json_object_set_new(search->result, "found", json_integer(found));
    PQclear(rows);
    return true;
}

json_t *verify_clicks(PGconn *connection, FILE *file, const unsigned char *secret,
                      struct error *error)
{
    struct search search = {.connection = connection, .secret = secret, .error = error};
    bool good;

    search.result =
        json_pack("{s:[], s:[], s:[], s:[]}", "missing", "twice", "quarantined", "invalid");
    assert(search.result && PQtransactionStatus(connection) == PQTRANS_IDLE);
    good = copy_ids(&search, file) && find(&search) && list_findings(&search);
    if (PQstatus(connection) == CONNECTION_OK)
        PQclear(PQexec(connection, "rollback"));
    if (good)
        return search.result;
    json_decref(search.result);
    return NULL;
}
