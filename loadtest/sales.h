#pragma once
/* Sales that follow clicks: kept from the click's answer until they are due, told to the public plane
 * as a shop would (GET /-/postback), and remembered for comparing with what was stored.
 *
 * One for each process, in shared memory that is taken up as it is filled; made before the fork,
 * written by the process, read by its parent after the end. Sales become due in the order of their
 * clicks' answers, since all wait equally long. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loadtest/answers.h"
#include "loadtest/draw.h"
#include "shared/error.h"
#include "shared/text.h"

#define SALES_REQUEST_MAX 4096
#define SALES_ORDER_MAX   96
#define SALES_CODE_MAX    64
#define SALES_TOKEN_MAX   128

enum sale_state {
    SALE_WAITS = 0,
    SALE_OUT,     /* told; no answer yet */
    SALE_TAKEN,   /* answered 2xx: it must be stored */
    SALE_REFUSED, /* answered otherwise: it must not be lost silently, and was not */
    SALE_UNHEARD, /* no answer came: it may be stored or not */
};

struct sale {
    int64_t due_us;
    uint32_t link; /* that was clicked */
    uint32_t amount_minor;
    uint8_t state; /* enum sale_state */
    bool by_code;
    char id[ANSWERS_ID_LENGTH]; /* of the click */
};

/* How sales are told; texts stay the caller's. */
struct sales_plan {
    const char *host, *prefix, *currency;
    int64_t delay_us;
    double by_code; /* share that names a code and no click */
    char token[SALES_TOKEN_MAX + 1];
    char (*codes)[SALES_CODE_MAX + 1];
    size_t code_count;
};

struct sales {
    const struct sales_plan *plan;
    unsigned process;
    struct draw draw;
    struct sale *list;
    size_t count, told, most; /* made, told of these, room */
    int64_t out;              /* without an answer, now */
    int64_t forgotten;        /* for which there was no room */
};

/* Reads the files of --token-file and --codes (either may be ""). What it holds lives as long as the
 * process. */
bool sales_plan_read(struct sales_plan *plan, const char *token_file, const char *codes_file,
                     struct error *error) MUST_CHECK;

/* NULL with the reason. */
struct sales *sales_open(const struct sales_plan *plan, size_t most, uint64_t seed,
                         unsigned process, struct error *error) MUST_CHECK;

/* The click `id` on link number `link` was answered at `now_us`, and a sale follows it. */
void sales_follow(struct sales *sales, uint32_t link, struct text id, int64_t now_us);

/* When the next sale is to be told; -1: none waits. */
int64_t sales_due_us(const struct sales *sales);

/* Writes the request of the next sale into `out` (SALES_REQUEST_MAX bytes); its length. The sale's
 * number goes to `number`. */
size_t sales_next(struct sales *sales, char *out, uint32_t *number);

/* What came of a sale that was told; status 0: no answer. */
void sales_answered(struct sales *sales, uint32_t number, int status);

/* The order id of a sale: prefix, process, number. */
void sales_order_id(const struct sales *sales, size_t number, char out[SALES_ORDER_MAX]);
