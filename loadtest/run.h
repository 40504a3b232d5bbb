#pragma once
/* The whole load: its processes, what they share, the progress line. */
#include <stdbool.h>
#include <stdint.h>

#include "loadtest/answers.h"
#include "loadtest/figures.h"
#include "loadtest/links.h"
#include "loadtest/mix.h"
#include "loadtest/options.h"
#include "loadtest/sales.h"

#define RUN_PROCESSES_MAX 64

struct run {
    const struct options *options;
    struct links links;
    struct mix mix;
    struct figures *figures; /* of each process, shared */
    struct answers *answers[RUN_PROCESSES_MAX];
    struct sales_plan selling;
    struct sales *sales[RUN_PROCESSES_MAX];
    bool *stop; /* shared */
    struct figures total;
    int64_t took_us; /* from the first intended time to the last answer */
    bool stopped;    /* ended before its time by a signal */
};

/* Reads links and lists and makes what is shared. False with the reason. */
bool run_open(struct run *run, const struct options *options, struct error *error) MUST_CHECK;
void run_close(struct run *run);

/* Makes the load: forks, prints progress to standard error, waits, adds up. SIGINT and SIGTERM end
 * it early; what is out is still waited for. False if a process could not run. */
bool run_load(struct run *run, struct error *error) MUST_CHECK;

/* Writes the kept click ids into the file of --ids. */
bool run_write_ids(const struct run *run, struct error *error) MUST_CHECK;
