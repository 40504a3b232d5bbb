/* See verify_sales.h. The orders go into a temporary table and are joined to kudos.conversions, by
 * workspace since that is how these are indexed. */
#include "loadtest/verify_sales.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/stores/postgres.h"
#include "shared/clock.h"

#define POLL_FIRST_MS 100
#define POLL_MOST_MS  2000

static const char MAKE[] = "create temporary table told (order_id text, amount_minor bigint,"
                           " currency text, taken boolean)";

#define FOUND                                                                          \
    "with found as (select t.order_id, t.amount_minor as told, t.taken, c.id,"         \
    "   c.amount_minor as stored, c.status,"                                           \
    "   (c.amount_minor, c.currency) is distinct from (t.amount_minor, t.currency)"    \
    "   or count(*) over (partition by t.order_id) > 1 as wrong"                       \
    " from pg_temp.told t left join lateral (select c.* from kudos.workspaces w"       \
    "   join kudos.conversions c on c.workspace_id = w.id and c.order_id = t.order_id" \
    "   and c.event = 'sale') c on true)"

static const char MISSING[] = FOUND " select count(*) from found where taken and id is null";

static const char SUMS[] =
    FOUND " select count(*) filter (where taken), coalesce(sum(told) filter (where taken), 0),"
          " count(*) filter (where taken and not wrong),"
          " coalesce(sum(stored) filter (where taken), 0),"
          " count(*) filter (where taken and id is null),"
          " count(*) filter (where id is not null and wrong),"
          " count(*) filter (where id is not null and not taken),"
          " count(*) filter (where status = 'credited'),"
          " count(*) filter (where status = 'unattributed'),"
          " count(*) filter (where status = 'unverified') from found";

static const char FAULTS[] = FOUND
    " select order_id, told, stored from found"
    " where (taken and id is null) or (id is not null and wrong) order by 1 limit $1::integer";

static bool send_sales(PGconn *connection, const struct sales *sales, struct error *error)
{
    for (size_t i = 0; i < sales->told; i++) {
        const struct sale *sale = &sales->list[i];
        char order[SALES_ORDER_MAX], row[SALES_ORDER_MAX + 64];
        int length;

        sales_order_id(sales, i, order);
        length = snprintf(row, sizeof row, "%s\t%" PRIu32 "\t%s\t%c\n", order, sale->amount_minor,
                          sales->plan->currency, sale->state == SALE_TAKEN ? 't' : 'f');
        if (PQputCopyData(connection, row, length) != 1)
            return postgres_failed(connection, NULL, error);
    }
    return true;
}

static bool send_all(PGconn *connection, const struct verify_sales_plan *plan, struct error *error)
{
    bool good = postgres_execute(connection, "copy pg_temp.told from stdin", 0, NULL, error);

    if (!good)
        return false;
    for (unsigned i = 0; i < plan->count && good; i++)
        good = send_sales(connection, plan->sales[i], error);
    return postgres_copy_end(connection, good, error) &&
           postgres_execute(connection, "analyze pg_temp.told", 0, NULL, error);
}

static bool wait_for_sales(PGconn *connection, const struct verify_sales_plan *plan,
                           struct error *error)
{
    int64_t moved_us = clock_mono_us(), before = INT64_MAX, pause_ms = POLL_FIRST_MS;

    for (;;) {
        PGresult *row = postgres_query(connection, MISSING, 0, NULL, error);
        int64_t missing = row ? strtoll(PQgetvalue(row, 0, 0), NULL, 10) : 0;

        PQclear(row);
        if (!row || missing == 0)
            return row != NULL;
        if (missing < before) {
            before = missing;
            moved_us = clock_mono_us();
        }
        if (clock_mono_us() - moved_us >= plan->wait_us)
            return true;
        if (!plan->quiet)
            fprintf(stderr, "verify: %" PRId64 " sales are still on their way\n", missing);
        usleep((useconds_t)(pause_ms * US_PER_MS));
        pause_ms = pause_ms * 2 < POLL_MOST_MS ? pause_ms * 2 : POLL_MOST_MS;
    }
}

static bool add_up(PGconn *connection, struct verify_sales_result *result, struct error *error)
{
    int64_t *const sums[] = {&result->told,         &result->told_minor, &result->stored,
                             &result->stored_minor, &result->missing,    &result->wrong,
                             &result->others,       &result->credited,   &result->unattributed,
                             &result->unverified};
    PGresult *row = postgres_query(connection, SUMS, 0, NULL, error);

    for (int i = 0; row && i < (int)(sizeof sums / sizeof sums[0]); i++)
        *sums[i] = strtoll(PQgetvalue(row, 0, i), NULL, 10);
    PQclear(row);
    return row != NULL;
}

static bool list_faults(PGconn *connection, struct verify_sales_result *result, struct error *error)
{
    char most[16];
    const char *parameters[] = {most};
    PGresult *rows;

    snprintf(most, sizeof most, "%d", VERIFY_SHOWN);
    rows = postgres_query(connection, FAULTS, 1, parameters, error);
    for (int i = 0; rows && i < PQntuples(rows); i++)
        snprintf(result->faults[result->shown++], sizeof result->faults[0],
                 "order %s: %s told, %s stored", PQgetvalue(rows, i, 0), PQgetvalue(rows, i, 1),
                 PQgetisnull(rows, i, 2) ? "nothing" : PQgetvalue(rows, i, 2));
    PQclear(rows);
    return rows != NULL;
}

bool verify_sales(const struct verify_sales_plan *plan, struct verify_sales_result *result,
                  struct error *error)
{
    PGconn *connection = postgres_connect(plan->database, "kudos-loadtest", error);
    bool good;

    memset(result, 0, sizeof *result);
    if (!connection)
        return false;
    good = postgres_execute(connection, MAKE, 0, NULL, error) &&
           send_all(connection, plan, error) && wait_for_sales(connection, plan, error) &&
           add_up(connection, result, error) && list_faults(connection, result, error);
    PQfinish(connection);
    return good;
}

bool verify_sales_passed(const struct verify_sales_result *result)
{
    return result->stored == result->told && result->stored_minor == result->told_minor &&
           result->wrong == 0;
}
