#pragma once
/* Many patterns against one text in one pass.
 *
 * Each pattern is a regular expression (PCRE2 syntax, as the crawler-user-agents list uses it). The
 * longest text that every match must contain is put into an Aho-Corasick automaton. Once it was met
 * there, a pattern of the simple kind (shape.h) is checked right there; groups that merely list
 * texts are written out first. Any other is checked with PCRE2. So a text that meets no pattern
 * costs one table look-up a byte, whatever the number of patterns.
 *
 * A pattern belongs to a group, which is one question asked of the text; a single pass answers all
 * of them. Not thread-safe (one match at a time per set). Matching does not allocate. */
#include <stdbool.h>
#include <stddef.h>

#include "shared/error.h"
#include "shared/text.h"

#define PATTERN_NONE       (-1)
#define PATTERN_SET_MAX    20000 /* patterns */
#define PATTERN_LENGTH_MAX 500   /* bytes of one */
#define PATTERN_ALWAYS_MAX 32    /* patterns without a required text, tried on every text */
#define PATTERN_GROUPS_MAX 16

struct pattern_set;

/* For each group the lowest number of a pattern that matches, or PATTERN_NONE. */
struct pattern_hits {
    int first[PATTERN_GROUPS_MAX];
};

struct pattern_set *pattern_set_new(void);
void pattern_set_free(struct pattern_set *set);

/* How letters are compared. */
enum pattern_case {
    PATTERN_EXACT,
    PATTERN_SMART, /* an alternative without capitals ignores ASCII case */
};

/* Adds a pattern; its number is the count of those added before, over all groups. False with the
 * reason if it is no regular expression or over a limit. */
bool pattern_set_add(struct pattern_set *set, unsigned group, const char *pattern,
                     enum pattern_case letters, struct error *error) MUST_CHECK;

/* Builds the automaton; to be called once, after the last pattern_set_add(). */
bool pattern_set_compile(struct pattern_set *set, struct error *error) MUST_CHECK;

void pattern_set_match(const struct pattern_set *set, struct text text, struct pattern_hits *out);
