/* See rollup.h. A hash table by open addressing; it holds at most as many rows as the batch has
 * clicks, which flush bounds. */
#include "server/clicks/rollup.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/clicks/flush_array.h"
#include "server/stores/postgres.h"
#include "shared/clock.h"

#define ROLLUP_SIZE_MIN 1024

enum { LINKS, HOURS, VERDICTS, CLICKS, ARRAYS };

#define ROWS                                                                              \
    " from (select link, to_timestamp(hour * 3600) as hour, verdict, clicks,"             \
    "              case when verdict = 'human' then clicks else 0 end as human"           \
    "         from unnest($2::bigint[], $3::bigint[], $4::kudos.verdict[], $5::bigint[])" \
    "           as n (link, hour, verdict, clicks)) n"

/* Adding to what is there and then making the rest costs a third less than `on conflict do update`,
 * which locks each row before it changes it. Rows of a partition are written by the holder of its
 * lock alone, so a row that the second statement meets is one that the first has changed. */
static const char ADD[] =
    "update kudos.clicks_hourly h set clicks = h.clicks + n.clicks, human = h.human + n.human" ROWS
    " where h.link_id = n.link and h.hour = n.hour and h.verdict = n.verdict"
    "   and h.partition = $1::smallint";
static const char MAKE[] =
    "insert into kudos.clicks_hourly (partition, link_id, hour, verdict, clicks, human)"
    " select $1::smallint, link, hour, verdict, clicks, human" ROWS
    " on conflict (link_id, hour, verdict, partition) do nothing";

void rollup_free(struct rollup *rollup)
{
    free(rollup->rows);
    *rollup = (struct rollup){NULL, 0, 0};
}

void rollup_clear(struct rollup *rollup)
{
    if (rollup->size)
        memset(rollup->rows, 0, rollup->size * sizeof *rollup->rows);
    rollup->used = 0;
}

int64_t rollup_hour(int64_t time_us)
{
    int64_t hour = time_us / US_PER_HOUR;

    return hour * US_PER_HOUR > time_us ? hour - 1 : hour;
}

static size_t hash(int64_t link, int64_t hour, uint8_t verdict)
{
    uint64_t mixed = (uint64_t)link * 0x9e3779b97f4a7c15u;

    mixed = (mixed ^ (mixed >> 29) ^ (uint64_t)hour) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 32) ^ verdict) * 0x94d049bb133111ebu;
    return (size_t)(mixed ^ (mixed >> 31));
}

/* The row of this key, or the free one where it belongs. */
static struct rollup_row *find(const struct rollup *rollup, int64_t link, int64_t hour,
                               uint8_t verdict)
{
    size_t mask = rollup->size - 1;

    assert(rollup->used < rollup->size);
    for (size_t i = hash(link, hour, verdict) & mask;; i = (i + 1) & mask) {
        struct rollup_row *row = &rollup->rows[i];
        if (row->clicks == 0 || (row->link == link && row->hour == hour && row->verdict == verdict))
            return row;
    }
}

static void grow(struct rollup *rollup)
{
    struct rollup larger = {.size = rollup->size ? 2 * rollup->size : ROLLUP_SIZE_MIN};

    larger.rows = calloc(larger.size, sizeof *larger.rows);
    assert(larger.rows);
    for (size_t i = 0; i < rollup->size; i++) {
        const struct rollup_row *row = &rollup->rows[i];
        if (row->clicks == 0)
            continue;
        *find(&larger, row->link, row->hour, row->verdict) = *row;
        larger.used++;
    }
    free(rollup->rows);
    *rollup = larger;
}

void rollup_add(struct rollup *rollup, uint64_t link, int64_t hour, enum verdict verdict)
{
    struct rollup_row *row;

    if (2 * (rollup->used + 1) > rollup->size)
        grow(rollup);
    row = find(rollup, (int64_t)link, hour, (uint8_t)verdict);
    if (row->clicks == 0) {
        *row = (struct rollup_row){(int64_t)link, hour, 0, (uint8_t)verdict};
        rollup->used++;
    }
    row->clicks++;
}

static int compare(const void *left, const void *right)
{
    const struct rollup_row *a = left, *b = right;

    if (a->link != b->link)
        return a->link < b->link ? -1 : 1;
    if (a->hour != b->hour)
        return a->hour < b->hour ? -1 : 1;
    return (int)a->verdict - (int)b->verdict;
}

size_t rollup_sort(struct rollup *rollup)
{
    size_t count = 0;

    for (size_t i = 0; i < rollup->size; i++) {
        if (rollup->rows[i].clicks > 0)
            rollup->rows[count++] = rollup->rows[i];
    }
    assert(count == rollup->used);
    if (count)
        qsort(rollup->rows, count, sizeof *rollup->rows, compare);
    return count;
}

static bool add_or_make(PGconn *connection, const char *const *values, size_t count,
                        struct error *error)
{
    PGresult *result = postgres_query(connection, ADD, 1 + ARRAYS, values, error);
    bool all = result && strtoull(PQcmdTuples(result), NULL, 10) == count;

    PQclear(result);
    return result && (all || postgres_execute(connection, MAKE, 1 + ARRAYS, values, error));
}

bool rollup_store(struct rollup *rollup, PGconn *connection, unsigned partition,
                  struct error *error)
{
    struct flush_array arrays[ARRAYS] = {{NULL, 0, 0}};
    const char *values[1 + ARRAYS];
    char number[16];
    size_t count = rollup_sort(rollup);
    bool good;

    if (count == 0)
        return true;
    for (size_t i = 0; i < count; i++) {
        const struct rollup_row *row = &rollup->rows[i];
        flush_array_add(&arrays[LINKS], row->link);
        flush_array_add(&arrays[HOURS], row->hour);
        flush_array_add_name(&arrays[VERDICTS], verdict_name((enum verdict)row->verdict));
        flush_array_add(&arrays[CLICKS], row->clicks);
    }
    snprintf(number, sizeof number, "%u", partition);
    values[0] = number;
    for (size_t i = 0; i < ARRAYS; i++)
        values[1 + i] = flush_array_text(&arrays[i]);
    good = add_or_make(connection, values, count, error);
    for (size_t i = 0; i < ARRAYS; i++)
        flush_array_free(&arrays[i]);
    return good || error_prefix(error, "adding to clicks_hourly");
}
