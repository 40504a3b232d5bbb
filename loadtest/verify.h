#pragma once
/* Whether every click that was answered is stored in PostgreSQL, once, as a click of its link, and
 * no more of them than were asked for. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "loadtest/answers.h"
#include "shared/error.h"

#define VERIFY_SHOWN 20 /* faults that are listed */

struct verify_plan {
    const char *database;
    struct answers *const *answers; /* of each process */
    unsigned count;
    int64_t wait_us; /* without a further click arriving */
    bool not_alone;
    bool quiet;
};

struct verify_result {
    int64_t ids;         /* compared one by one */
    int64_t stored;      /* of them, once and of the right link */
    int64_t missing;     /* in no row */
    int64_t twice;       /* in several */
    int64_t given_twice; /* ids that two answers carried */
    int64_t astray;      /* stored as a click of another link */
    int64_t links;       /* whose totals were compared */
    int64_t wrong_totals;
    int64_t others_stored; /* clicks stored of requests that brought no id */
    unsigned shown;
    char faults[VERIFY_SHOWN][160]; /* one line each */
};

/* Waits until all has arrived, or nothing more arrives for `wait_us`, and compares. False with the
 * reason if it could not look. */
bool verify_run(const struct verify_plan *plan, struct verify_result *result,
                struct error *error) MUST_CHECK;

/* True if there was something to compare and nothing is wrong. */
bool verify_passed(const struct verify_result *result);
