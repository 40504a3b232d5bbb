#pragma once
/* Whether every sale that was answered 2xx is a conversion in PostgreSQL, once, with its amount to the
 * minor unit, and none is there that was never told. */
#include <stdbool.h>
#include <stdint.h>

#include "loadtest/sales.h"
#include "loadtest/verify.h"

struct verify_sales_plan {
    const char *database;
    struct sales *const *sales; /* of each process */
    unsigned count;
    int64_t wait_us; /* without a further sale arriving */
    bool quiet;
};

struct verify_sales_result {
    int64_t told;         /* and taken: answered 2xx */
    int64_t told_minor;   /* their money */
    int64_t stored;       /* of them, once and with that money */
    int64_t stored_minor; /* money stored of them */
    int64_t missing;
    int64_t wrong;  /* another amount or currency, or twice */
    int64_t others; /* stored, though no 2xx arrived here */
    int64_t credited, unattributed, unverified;
    unsigned shown;
    char faults[VERIFY_SHOWN][160]; /* one line each */
};

/* Waits until all has arrived, or nothing more arrives for `wait_us`, and compares. False with the
 * reason if it could not look. */
bool verify_sales(const struct verify_sales_plan *plan, struct verify_sales_result *result,
                  struct error *error) MUST_CHECK;

/* True if nothing is wrong; also if there was no sale. */
bool verify_sales_passed(const struct verify_sales_result *result);
