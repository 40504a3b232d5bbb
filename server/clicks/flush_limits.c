/* See flush_limits.h. Several partitions may count the same link: each looks after its own commit,
 * so the last one to commit sees all. */
#include "server/clicks/flush_limits.h"

#include <assert.h>
#include <stdlib.h>

#include "server/clicks/flush_array.h"
#include "server/metrics.h"
#include "server/stores/postgres.h"
#include "shared/log.h"

static const char ANY_LIMITED[] =
    "select exists (select from kudos.links where max_clicks is not null and not used_up)";
static const char MARK[] = "select kudos.mark_used_up($1::bigint[])";

/* The links with human clicks, each once: rows are in the order of links. */
static size_t collect(const struct rollup *rollup, struct flush_array *out)
{
    size_t count = 0;
    int64_t last = 0;

    for (size_t i = 0; i < rollup->used; i++) {
        const struct rollup_row *row = &rollup->rows[i];

        assert(row->clicks > 0);
        if (row->verdict != VERDICT_HUMAN || (count > 0 && row->link == last))
            continue;
        flush_array_add(out, row->link);
        last = row->link;
        count++;
    }
    return count;
}

static bool mark(PGconn *connection, const char *links, struct error *error)
{
    PGresult *rows = postgres_query(connection, MARK, 1, &links, error);
    int64_t marked;

    if (!rows)
        return false;
    marked = strtoll(PQgetvalue(rows, 0, 0), NULL, 10);
    PQclear(rows);
    metrics->links_used_up_total += marked;
    if (marked > 0)
        log_info("links_used_up", "links=%lld", (long long)marked);
    return true;
}

bool flush_limits(PGconn *connection, const struct rollup *rollup, struct error *error)
{
    struct flush_array links = {NULL, 0, 0};
    bool any, good = true;
    PGresult *rows;

    assert(PQtransactionStatus(connection) == PQTRANS_IDLE);
    if (rollup->used == 0)
        return true;
    rows = postgres_query(connection, ANY_LIMITED, 0, NULL, error);
    if (!rows)
        return false;
    any = PQgetvalue(rows, 0, 0)[0] == 't';
    PQclear(rows);
    if (any && collect(rollup, &links) > 0)
        good = mark(connection, flush_array_text(&links), error);
    flush_array_free(&links);
    return good;
}
