#pragma once
/* What a run found: for people, for machines, as a table of its histograms. */
#include <stdbool.h>
#include <stdio.h>

#include "loadtest/run.h"
#include "loadtest/verify.h"
#include "loadtest/verify_sales.h"

/* What was compared with PostgreSQL. */
struct verified {
    struct verify_result clicks;
    struct verify_sales_result sales;
};

/* PASS or FAIL. */
bool report_passed(const struct verified *verified);

/* `verified` is NULL when nothing was compared. */
void report_print(const struct run *run, const struct verified *verified, FILE *out);
bool report_json(const struct run *run, const struct verified *verified, FILE *out) MUST_CHECK;

/* Writes up_to_us,intended,sent: how many answers took up to that long, and longer than the line
 * before. */
bool report_histogram(const struct run *run, const char *path, struct error *error) MUST_CHECK;
