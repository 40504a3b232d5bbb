#pragma once
/* Latency by percentile as a drawing (SVG): from the intended and from the actual send time, both
 * axes logarithmic, so that the tail has its place. */
#include <stdbool.h>

#include "loadtest/figures.h"
#include "shared/error.h"

bool plot_write(const struct figures *figures, bool closed_loop, const char *path,
                struct error *error) MUST_CHECK;
