#pragma once
/* The simple kind of regular expression, which nearly all of our patterns are: a text that every
 * match contains, with single characters or sets of characters around it, each optional or
 * repeated, and ^, $ or \b at the ends. It is matched from where its text was met, without PCRE2.
 * */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/text.h"

#define SHAPE_STEPS_MAX  10 /* on one side of the text */
#define SHAPE_TEXT_MAX   64
#define SHAPE_REPEAT_MAX 255 /* characters that * and + stand for at most */

enum shape_anchor { SHAPE_OPEN, SHAPE_EDGE, SHAPE_WORD };

/* One set of characters, `min` to `max` times. */
struct shape_step {
    uint64_t set[4];
    uint8_t min, max;
};

struct shape {
    bool fold;             /* ASCII case is ignored */
    uint8_t before, after; /* enum shape_anchor */
    uint8_t text_length, front_count, back_count;
    char text[SHAPE_TEXT_MAX];                /* the text itself */
    struct shape_step front[SHAPE_STEPS_MAX]; /* before it, the nearest first */
    struct shape_step back[SHAPE_STEPS_MAX];  /* behind it */
};

/* Reads a regular expression without groups and alternatives. False if it is not of this kind, or
 * holds no character that is certain. */
bool shape_read(const char *pattern, size_t length, bool fold, struct shape *out);

/* Whether the shape matches `text` with its own text ending at `end`; that it ends there but for
 * case is known. */
bool shape_matches(const struct shape *shape, struct text text, size_t end);
