/* See metrics.h. The board is anonymous shared memory: it lives as long as any of the processes and
 * nothing of it is on disk; after a restart of the whole service counters begin at 0, as Prometheus
 * expects. A reader may see one counter a moment older than another, never a torn one. */
#include "server/metrics.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

const char *const metrics_status_names[METRICS_STATUS_COUNT] = {
    "200", "201", "204", "301", "302", "303", "304", "307", "308", "400", "401", "403",  "404",
    "405", "408", "409", "410", "412", "413", "414", "415", "422", "429", "431", "other"};
static const short status_numbers[METRICS_STATUS_COUNT - 1] = {
    200, 201, 204, 301, 302, 303, 304, 307, 308, 400, 401, 403,
    404, 405, 408, 409, 410, 412, 413, 414, 415, 422, 429, 431};

static struct metrics_slot private_slot;
struct metrics_slot *metrics_slot = &private_slot;
struct metrics *metrics = &private_slot.metrics;

int metrics_status_index(int status)
{
    if (status == 302)
        return 4; /* nearly all of them */
    for (int i = 0; i < METRICS_STATUS_COUNT - 1; i++)
        if (status_numbers[i] == status)
            return i;
    return METRICS_STATUS_COUNT - 1;
}

struct metrics_board *metrics_board_new(size_t slot_count)
{
    size_t size = sizeof(struct metrics_board) + slot_count * sizeof(struct metrics_slot);
    struct metrics_board *board =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (board == MAP_FAILED)
        return NULL;
    board->slot_count = slot_count;
    return board;
}

void metrics_use(struct metrics_slot *slot)
{
    metrics_slot = slot;
    metrics = &slot->metrics;
}

bool metrics_all_ready(const struct metrics_board *board)
{
    for (size_t i = 0; i < board->slot_count; i++)
        if (!__atomic_load_n(&board->slots[i].ready, __ATOMIC_ACQUIRE))
            return false;
    return true;
}

enum metric_kind { COUNTER, GAUGE, GAUGE_MAX };

struct metric {
    const char *name;
    enum metric_kind kind;
    const char *doc;
    size_t offset;
    int count;         /* of values; 0: a histogram */
    const char *label; /* NULL: one value */
    const char *const *values;
};

static const struct metric table[] = {
#define METRIC(kind, name, doc) {#name, kind, doc, offsetof(struct metrics, name), 1, NULL, NULL},
#define METRIC_BY(kind, name, label, values, count, doc) \
    {#name, kind, doc, offsetof(struct metrics, name), count, label, values},
#define METRIC_HISTOGRAM(name, doc) \
    {#name, COUNTER, doc, offsetof(struct metrics, name), 0, NULL, NULL},
#include "server/metrics_table.h"
#undef METRIC
#undef METRIC_BY
#undef METRIC_HISTOGRAM
};

static const void *value_in(const struct metrics_slot *slot, const struct metric *metric)
{
    return (const char *)&slot->metrics + metric->offset;
}

static int64_t sum_of(const struct metrics_board *board, const struct metric *metric, int index)
{
    int64_t sum = 0;

    for (size_t i = 0; i < board->slot_count; i++) {
        int64_t value = ((const int64_t *)value_in(&board->slots[i], metric))[index];

        if (metric->kind == GAUGE_MAX)
            sum = value > sum ? value : sum;
        else
            sum += value;
    }
    return sum;
}

static void render_values(const struct metrics_board *board, const struct metric *metric, FILE *out)
{
    fprintf(out, "# HELP kudos_%s %s\n# TYPE kudos_%s %s\n", metric->name, metric->doc,
            metric->name, metric->kind == COUNTER ? "counter" : "gauge");
    for (int i = 0; i < metric->count; i++) {
        int64_t value = sum_of(board, metric, i);

        if (!metric->label)
            fprintf(out, "kudos_%s %lld\n", metric->name, (long long)value);
        else if (value != 0)
            fprintf(out, "kudos_%s{%s=\"%s\"} %lld\n", metric->name, metric->label,
                    metric->values[i], (long long)value);
    }
}

/* Only every second power of two becomes a bucket: enough for a quantile, cheap to scrape. */
static void render_histogram(const struct metrics_board *board, const struct metric *metric,
                             FILE *out)
{
    struct histogram total = {.count = 0};
    int64_t below = 0;

    for (size_t i = 0; i < board->slot_count; i++)
        histogram_merge(&total, value_in(&board->slots[i], metric));
    fprintf(out, "# HELP kudos_%s %s\n# TYPE kudos_%s histogram\n", metric->name, metric->doc,
            metric->name);
    for (int i = 0; i < HISTOGRAM_BUCKETS - 1; i++) {
        below += total.counts[i];
        if (i % (2 * HISTOGRAM_STEPS) == HISTOGRAM_STEPS - 1)
            fprintf(out, "kudos_%s_bucket{le=\"%.6f\"} %lld\n", metric->name,
                    (double)histogram_bucket_limit_us(i) / 1e6, (long long)below);
    }
    fprintf(out, "kudos_%s_bucket{le=\"+Inf\"} %lld\nkudos_%s_sum %.6f\nkudos_%s_count %lld\n",
            metric->name, (long long)total.count, metric->name, (double)total.sum_us / 1e6,
            metric->name, (long long)total.count);
}

/* What the supervisor knows about its children, by role. */
static void render_slots(const struct metrics_board *board, FILE *out)
{
    fputs("# HELP kudos_child_restarts_total Deaths of child processes that were answered with a "
          "restart.\n# TYPE kudos_child_restarts_total counter\n",
          out);
    for (size_t i = 0; i < board->slot_count; i++)
        fprintf(out, "kudos_child_restarts_total{role=\"%s\",slot=\"%zu\"} %lld\n",
                board->slots[i].role, i, (long long)board->slots[i].restarts);
    fputs("# HELP kudos_child_ready 1 while the process serves.\n# TYPE kudos_child_ready gauge\n",
          out);
    for (size_t i = 0; i < board->slot_count; i++)
        fprintf(out, "kudos_child_ready{role=\"%s\",slot=\"%zu\"} %d\n", board->slots[i].role, i,
                board->slots[i].ready);
}

char *metrics_render(const struct metrics_board *board, size_t *length)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, length);

    if (!out)
        return NULL;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (table[i].count > 0)
            render_values(board, &table[i], out);
        else
            render_histogram(board, &table[i], out);
    }
    render_slots(board, out);
    fprintf(out,
            "# HELP kudos_build_info The running version.\n# TYPE kudos_build_info gauge\n"
            "kudos_build_info{version=\"%s\"} 1\n",
            KUDOS_VERSION);
    fclose(out);
    return text;
}
