#pragma once
/* What verify found wrong, as a JSON array of texts. */
#include <jansson.h>

/* Most problems told per list; after them one element says that there are more. */
#define VERIFY_PROBLEMS_MAX 50

void verify_problem(json_t *problems, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
