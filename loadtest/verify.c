/* See verify.h. The ids go into a temporary table and are joined at once. They carry the server's
 * times, which say where in kudos.clicks to look; what is not found there is looked for everywhere
 * at the end (a click whose clock was ahead is stored under another time).
 *
 * Totals are compared over the same span of time: a link must have at least as many rows with a
 * click id as it had answers, and no more than answers and requests that brought no id (no answer,
 * or an answer without one). They are counted apart from the ids, so they hold even where the ids
 * were too many to keep. */
#include "loadtest/verify.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/clicks/event.h"
#include "server/conversions/click_id.h"
#include "server/stores/postgres.h"
#include "shared/clock.h"

#define POLL_FIRST_MS 100
#define POLL_MOST_MS  2000
#define TIME_TEXT_MAX 48
#define FLAG_MAX      16
#define IDS_SHOWN     (VERIFY_SHOWN / 2) /* the rest is for totals */

static const char MAKE[] =
    "create temporary table wanted (id text, origin bigint, seq bigint, link bigint);"
    "create temporary table found (origin bigint, seq bigint, link bigint, n bigint);"
    "create temporary table totals (link bigint, answered bigint, others bigint)";

/* Rows per link in the span, and what was asked of each: $3 is the flag of clicks without an id. */
#define STORED                                                                              \
    "select link_id as link, count(*) as n from kudos.clicks"                               \
    " where time >= $1::timestamptz and time < $2::timestamptz and flags & $3::integer = 0" \
    " and link_id in (select link from pg_temp.totals) group by link_id"
#define ASKED                                                       \
    "select link, sum(answered) as answered, sum(others) as others" \
    " from pg_temp.totals group by link"

/* Rows of the wanted ids that have not been found yet. */
static const char FIND[] =
    "insert into pg_temp.found select c.origin, c.seq, min(c.link_id), count(*)"
    " from kudos.clicks c join (select distinct origin, seq from pg_temp.wanted w where not exists"
    "   (select from pg_temp.found f where f.origin = w.origin and f.seq = w.seq)) w"
    " on w.origin = c.origin and w.seq = c.seq"
    " where c.time >= $1::timestamptz and c.time < $2::timestamptz group by c.origin, c.seq";

/* Ids without a row, and answers beyond the rows of their link: not every id was kept. */
static const char MISSING[] =
    "with stored as (" STORED "), asked as (" ASKED ")"
    " select (select count(*) from (select distinct origin, seq from pg_temp.wanted) w"
    "   where not exists"
    "     (select from pg_temp.found f where f.origin = w.origin and f.seq = w.seq))"
    " + (select coalesce(sum(greatest(answered - coalesce(n, 0), 0)), 0)::bigint"
    "   from asked left join stored using (link))";

/* Found long ago, but doubled since? */
static const char COUNT_AGAIN[] =
    "update pg_temp.found f set n = c.n from (select c.origin, c.seq, count(*) as n"
    "   from kudos.clicks c where c.time >= $1::timestamptz and c.time < $2::timestamptz"
    "   and (c.origin, c.seq) in (select origin, seq from pg_temp.wanted)"
    "   group by c.origin, c.seq) c"
    " where c.origin = f.origin and c.seq = f.seq and c.n > f.n";

static const char FAULTS[] =
    "with given as (select origin, seq, min(id) as id, min(link) as link, count(*) as n"
    "   from pg_temp.wanted group by origin, seq)"
    " select case when f.n is null then case when q.seq is null then 'missing'"
    "           else 'quarantined' end"
    "          when f.n > 1 then 'twice' when f.link <> g.link then 'astray'"
    "          when g.n > 1 then 'given twice' end as fault, g.id, g.link, f.link"
    " from given g left join pg_temp.found f using (origin, seq)"
    "   left join kudos.quarantine q using (origin, seq)"
    " where f.n is distinct from 1 or f.link <> g.link or g.n > 1 order by 1, g.origin, g.seq";

static const char TOTALS[] = "with stored as (" STORED "), asked as (" ASKED ")"
                             " select link, answered, others, coalesce(n, 0)"
                             " from asked left join stored using (link) order by link";

struct search {
    const struct verify_plan *plan;
    struct verify_result *result;
    PGconn *connection;
    char from[TIME_TEXT_MAX], until[TIME_TEXT_MAX];
    struct error *error;
};

static void note(struct verify_result *result, unsigned most, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void note(struct verify_result *result, unsigned most, const char *format, ...)
{
    va_list arguments;

    if (result->shown >= most)
        return;
    va_start(arguments, format);
    vsnprintf(result->faults[result->shown++], sizeof result->faults[0], format, arguments);
    va_end(arguments);
}

/* Sending what we know ------------------------------------------------------------------------- */

static bool send_row(struct search *search, const char *row, int length)
{
    return PQputCopyData(search->connection, row, length) == 1 ||
           postgres_failed(search->connection, NULL, search->error);
}

static bool send_ids(struct search *search, const struct answers *answers)
{
    for (size_t i = 0; i < answers->count; i++) {
        struct click_id id;
        char row[ANSWERS_ID_LENGTH + 80];
        bool read = click_id_read(answers->ids[i], ANSWERS_ID_LENGTH, &id);
        int length;

        assert(read); /* it was when it was kept */
        length = snprintf(row, sizeof row, "%.*s\t%" PRId64 "\t%" PRId64 "\t%" PRId64 "\n",
                          ANSWERS_ID_LENGTH, answers->ids[i], (int64_t)id.origin, (int64_t)id.seq,
                          (int64_t)id.link);
        if (!send_row(search, row, length))
            return false;
    }
    search->result->ids += (int64_t)answers->count;
    return true;
}

/* A link's id as any of the processes has read it; 0: none came. */
static uint64_t id_of(const struct verify_plan *plan, size_t link)
{
    for (unsigned i = 0; i < plan->count; i++)
        if (plan->answers[i]->links[link].id != 0)
            return plan->answers[i]->links[link].id;
    return 0;
}

static bool send_totals(struct search *search, const struct answers *answers)
{
    for (size_t i = 0; i < answers->link_count; i++) {
        const struct answers_link *link = &answers->links[i];
        uint32_t others = link->unanswered + link->without_id;
        uint64_t id = link->answered || others ? id_of(search->plan, i) : 0;
        char row[80];
        int length;

        if (id == 0)
            continue;
        length = snprintf(row, sizeof row, "%" PRIu64 "\t%u\t%u\n", id, link->answered, others);
        if (!send_row(search, row, length))
            return false;
    }
    return true;
}

static bool copy(struct search *search, const char *sql,
                 bool (*send_one)(struct search *, const struct answers *))
{
    bool good = postgres_execute(search->connection, sql, 0, NULL, search->error);

    if (!good)
        return false;
    for (unsigned i = 0; i < search->plan->count && good; i++)
        good = send_one(search, search->plan->answers[i]);
    return postgres_copy_end(search->connection, good, search->error);
}

/* Looking -------------------------------------------------------------------------------------- */

static void time_text(char out[TIME_TEXT_MAX], int64_t time_us)
{
    time_t seconds = (time_t)(time_us / US_PER_SECOND);
    struct tm tm;
    size_t length;

    gmtime_r(&seconds, &tm);
    length = strftime(out, TIME_TEXT_MAX, "%Y-%m-%d %H:%M:%S", &tm);
    snprintf(out + length, TIME_TEXT_MAX - length, ".%06d+00", (int)(time_us % US_PER_SECOND));
}

/* From the first answer's millisecond to the end of the last one's. */
static void set_span(struct search *search)
{
    int64_t first = INT64_MAX, last = 0;

    for (unsigned i = 0; i < search->plan->count; i++) {
        const struct answers *answers = search->plan->answers[i];

        if (answers->first_us > 0 && answers->first_us < first)
            first = answers->first_us;
        if (answers->last_us > last)
            last = answers->last_us;
    }
    time_text(search->from, last ? first : 0);
    time_text(search->until, last + US_PER_MS);
}

static const char *no_id_flag(char out[FLAG_MAX])
{
    snprintf(out, FLAG_MAX, "%u", (unsigned)CLICK_NO_ID);
    return out;
}

static bool count_missing(struct search *search, int64_t *missing)
{
    char flag[FLAG_MAX];
    const char *parameters[] = {search->from, search->until, no_id_flag(flag)};
    PGresult *row = postgres_query(search->connection, MISSING, 3, parameters, search->error);

    *missing = row ? strtoll(PQgetvalue(row, 0, 0), NULL, 10) : 0;
    PQclear(row);
    return row != NULL;
}

static bool wait_for_rows(struct search *search)
{
    const char *span[] = {search->from, search->until};
    const char *always[] = {"-infinity", "infinity"};
    int64_t moved_us = clock_mono_us(), before = INT64_MAX, missing;
    int64_t pause_ms = POLL_FIRST_MS;

    for (;;) {
        if (!postgres_execute(search->connection, FIND, 2, span, search->error) ||
            !count_missing(search, &missing))
            return false;
        if (missing < before) {
            before = missing;
            moved_us = clock_mono_us();
        }
        if (missing == 0)
            break;
        if (clock_mono_us() - moved_us >= search->plan->wait_us)
            return postgres_execute(search->connection, FIND, 2, always, search->error);
        if (!search->plan->quiet)
            fprintf(stderr, "verify: %" PRId64 " clicks are still on their way\n", missing);
        usleep((useconds_t)(pause_ms * US_PER_MS));
        pause_ms = pause_ms * 2 < POLL_MOST_MS ? pause_ms * 2 : POLL_MOST_MS;
    }
    return postgres_execute(search->connection, COUNT_AGAIN, 2, span, search->error);
}

static void take_fault(struct verify_result *result, const PGresult *rows, int at)
{
    const char *fault = PQgetvalue(rows, at, 0), *id = PQgetvalue(rows, at, 1);

    if (strcmp(fault, "twice") == 0)
        result->twice++;
    else if (strcmp(fault, "given twice") == 0)
        result->given_twice++;
    else if (strcmp(fault, "astray") == 0)
        result->astray++;
    else
        result->missing++;
    if (strcmp(fault, "astray") == 0)
        note(result, IDS_SHOWN, "astray %s: stored for link %s instead of %s", id,
             PQgetvalue(rows, at, 3), PQgetvalue(rows, at, 2));
    else
        note(result, IDS_SHOWN, "%s %s", fault, id);
}

static bool list_faults(struct search *search)
{
    struct verify_result *result = search->result;
    PGresult *rows = postgres_query(search->connection, FAULTS, 0, NULL, search->error);

    for (int i = 0; i < PQntuples(rows); i++)
        take_fault(result, rows, i);
    result->stored = result->ids - PQntuples(rows);
    PQclear(rows);
    return rows != NULL;
}

static void compare_total(struct search *search, const PGresult *rows, int at)
{
    struct verify_result *result = search->result;
    int64_t answered = strtoll(PQgetvalue(rows, at, 1), NULL, 10);
    int64_t others = strtoll(PQgetvalue(rows, at, 2), NULL, 10);
    int64_t stored = strtoll(PQgetvalue(rows, at, 3), NULL, 10);

    result->links++;
    if (stored > answered && stored <= answered + others)
        result->others_stored += stored - answered;
    if (stored >= answered && (stored <= answered + others || search->plan->not_alone))
        return;
    result->wrong_totals++;
    note(result, VERIFY_SHOWN,
         "link %s: %" PRId64 " ids, %" PRId64 " requests that brought none, %" PRId64 " rows",
         PQgetvalue(rows, at, 0), answered, others, stored);
}

static bool compare_totals(struct search *search)
{
    char flag[FLAG_MAX];
    const char *parameters[] = {search->from, search->until, no_id_flag(flag)};
    PGresult *rows = postgres_query(search->connection, TOTALS, 3, parameters, search->error);
    for (int i = 0; i < PQntuples(rows); i++)
        compare_total(search, rows, i);
    PQclear(rows);
    return rows != NULL;
}

bool verify_run(const struct verify_plan *plan, struct verify_result *result, struct error *error)
{
    struct search search = {.plan = plan, .result = result, .error = error};
    bool good;

    memset(result, 0, sizeof *result);
    search.connection = postgres_connect(plan->database, "kudos-loadtest", error);
    if (!search.connection)
        return false;
    set_span(&search);
    good = postgres_execute(search.connection, MAKE, 0, NULL, error) &&
           postgres_execute(search.connection, "set work_mem = '128MB'", 0, NULL, error) &&
           copy(&search, "copy pg_temp.wanted from stdin", send_ids) &&
           copy(&search, "copy pg_temp.totals from stdin", send_totals) &&
           postgres_execute(search.connection, "analyze pg_temp.wanted, pg_temp.totals", 0, NULL,
                            error) &&
           wait_for_rows(&search) && list_faults(&search) && compare_totals(&search);
    PQfinish(search.connection);
    return good;
}

bool verify_passed(const struct verify_result *result)
{
    return result->ids > 0 && result->stored == result->ids && result->wrong_totals == 0;
}
