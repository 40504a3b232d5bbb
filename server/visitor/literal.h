#pragma once
/* What a regular expression's matches must contain. */
#include <stdbool.h>
#include <stddef.h>

#include "server/visitor/pattern.h"

struct literal {
    char bytes[PATTERN_LENGTH_MAX + 1];
    size_t length; /* 0: nothing is certain */
    bool whole;    /* the pattern is exactly this text, unanchored */
};

/* Finds the longest run of plain characters that every match contains. Careful rather than clever:
 * groups, classes, alternatives and optional characters end a run. */
void literal_extract(const char *pattern, struct literal *out);

/* Whether a part of the pattern changes what others mean (options, quoting, references): then it
 * may not be taken apart, and nothing in it is certain. */
bool literal_is_opaque(const char *pattern);
