/* See zipf.h. Rejection-inversion: a point under the continuous curve x^-s is drawn by inverting
 * its area, rounded to a rank, and kept if it lies under that rank's bar; few are thrown away (less
 * than one in four at the worst exponent). */
#include "loadtest/zipf.h"

#include <assert.h>
#include <math.h>

static double height(const struct zipf *zipf, double x)
{
    return exp(-zipf->exponent * log(x));
}

/* Area under the curve from 1 to x. */
static double area(const struct zipf *zipf, double x)
{
    double power = 1 - zipf->exponent, logarithm = log(x);

    return fabs(power) < 1e-9 ? logarithm : expm1(power * logarithm) / power;
}

/* The x to which the area is `wanted`. */
static double area_end(const struct zipf *zipf, double wanted)
{
    double power = 1 - zipf->exponent;

    if (fabs(power) < 1e-9)
        return exp(wanted);
    return exp(log1p(fmax(-1, wanted * power)) / power);
}

void zipf_open(struct zipf *zipf, uint64_t count, double exponent)
{
    assert(count > 0 && exponent >= 0);
    zipf->count = count;
    zipf->exponent = exponent;
    zipf->lowest = area(zipf, 1.5) - 1;
    zipf->highest = area(zipf, (double)count + 0.5);
    zipf->shortcut = 2 - area_end(zipf, area(zipf, 2.5) - height(zipf, 2));
}

uint64_t zipf_draw(const struct zipf *zipf, struct draw *draw)
{
    if (zipf->exponent <= 0)
        return draw_below(draw, zipf->count);
    for (;;) {
        double drawn = zipf->highest + draw_unit(draw) * (zipf->lowest - zipf->highest);
        double x = area_end(zipf, drawn), rank = floor(x + 0.5);

        if (rank < 1)
            rank = 1;
        if (rank > (double)zipf->count)
            rank = (double)zipf->count;
        if (rank - x <= zipf->shortcut || drawn >= area(zipf, rank + 0.5) - height(zipf, rank))
            return (uint64_t)rank - 1;
    }
}
