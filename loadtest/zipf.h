#pragma once
/* Ranks after Zipf's law: rank k of n comes up in proportion to k^-s. s = 0: all alike. A value,
 * without memory of its own; a draw costs a logarithm or two whatever n is. */
#include <stdint.h>

#include "loadtest/draw.h"

struct zipf {
    uint64_t count;
    double exponent;
    double lowest, highest; /* area under the curve: to the left of rank 1, and of all */
    double shortcut;        /* this near to a rank from above needs no second look */
};

/* `count` ≥ 1, `exponent` ≥ 0. */
void zipf_open(struct zipf *zipf, uint64_t count, double exponent);

/* A rank from 0 (the most frequent) to count − 1. */
uint64_t zipf_draw(const struct zipf *zipf, struct draw *draw);
