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
#define SHAPE_SETS_MAX   255 /* different sets of characters in all shapes together */
#define SHAPE_NO_SET     255

enum shape_anchor { SHAPE_OPEN, SHAPE_EDGE, SHAPE_WORD };

/* The sets of characters that shapes speak of, each once. */
struct shape_sets {
    unsigned count;
    uint64_t of[SHAPE_SETS_MAX][4];
};

static inline bool shape_set_has(const struct shape_sets *sets, uint8_t set, char c)
{
    unsigned char byte = (unsigned char)c;

    return sets->of[set][byte / 64] >> byte % 64 & 1;
}

/* One set of characters, `min` to `max` times. */
struct shape_step {
    uint8_t set, min, max;
};

/* Small, since some twenty of them are looked at for each user agent. */
struct shape {
    bool fold;             /* ASCII case is ignored */
    uint8_t before, after; /* enum shape_anchor */
    uint8_t text_length, front_count, back_count;
    struct shape_step front[SHAPE_STEPS_MAX]; /* before the text, the nearest first */
    struct shape_step back[SHAPE_STEPS_MAX];  /* behind it */
    char text[SHAPE_TEXT_MAX];                /* the text itself; in lower case if folded */
};

/* Reads a regular expression without groups and alternatives; its sets go into `sets`. False if it is
 * not of this kind, holds no character that is certain, or `sets` is full. */
bool shape_read(const char *pattern, size_t length, bool fold, struct shape_sets *sets,
                struct shape *out);

/* Whether the shape matches `text` with its own text ending at `end`; that it ends there but for
 * case is known. */
bool shape_matches(const struct shape *shape, const struct shape_sets *sets, struct text text,
                   size_t end);
