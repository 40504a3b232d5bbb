#pragma once
/* Counters and gauges of all processes, in memory that the supervisor shares with its children:
 * one `struct metrics` per child slot, written by that child alone with plain stores, summed when
 * /metrics is scraped. Counters survive a child's death, since the slot does.
 *
 * A metric is one line of server/metrics_table.h; the Prometheus name is kudos_<name>. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/error.h"
#include "shared/histogram.h"

/* The HTTP statuses that are counted one by one; the last name, "other", is for the rest. */
#define METRICS_STATUS_COUNT 25
extern const char *const metrics_status_names[METRICS_STATUS_COUNT];

/* Where an HTTP status is counted in the arrays by status. */
int metrics_status_index(int status);

struct metrics {
#define METRIC(kind, name, doc)                          int64_t name;
#define METRIC_BY(kind, name, label, values, count, doc) int64_t name[count];
#define METRIC_HISTOGRAM(name, doc)                      struct histogram name;
#include "server/metrics_table.h"
#undef METRIC
#undef METRIC_BY
#undef METRIC_HISTOGRAM
};

/* What a slot is for; kept by the supervisor. */
struct metrics_slot {
    char role[16];
    int32_t pid;      /* 0: not running */
    int32_t ready;    /* set by the child when it serves */
    int64_t restarts; /* after deaths; counted by the supervisor */
    struct metrics metrics;
};

struct metrics_board {
    size_t slot_count;
    struct metrics_slot slots[];
};

/* Makes the shared board, before forking. Never freed. */
struct metrics_board *metrics_board_new(size_t slot_count);

/* The slot of this process: set once after fork by metrics_use(); before that, a private one. */
extern struct metrics *metrics;
extern struct metrics_slot *metrics_slot;
void metrics_use(struct metrics_slot *slot);

/* True once every slot's process has said it is ready. */
bool metrics_all_ready(const struct metrics_board *board);

/* Renders Prometheus text format 0.0.4 for all slots into a malloc()ed string. */
char *metrics_render(const struct metrics_board *board, size_t *length);
