#pragma once
/* Many patterns against one text in one pass.
 *
 * Each pattern is a regular expression (PCRE2 syntax, as the crawler-user-agents list uses it). The
 * longest text that every match must contain is put into an Aho-Corasick automaton; a pattern that
 * is nothing but that text needs no more, any other is checked with PCRE2 once its text was met. So
 * a text that meets no pattern costs one table look-up a byte, whatever the number of patterns.
 *
 * Not thread-safe (one match at a time per set). Matching does not allocate. */
#include <stdbool.h>
#include <stddef.h>

#include "server/clicks/event.h"
#include "shared/error.h"

#define PATTERN_NONE       (-1)
#define PATTERN_SET_MAX    20000 /* patterns */
#define PATTERN_LENGTH_MAX 500   /* bytes of one */
#define PATTERN_ALWAYS_MAX 32    /* patterns without a required text, tried on every text */

struct pattern_set;

/* `fold`: ASCII case is ignored. */
struct pattern_set *pattern_set_new(bool fold);
void pattern_set_free(struct pattern_set *set);

/* Adds a pattern; its number is the count of those added before. False with the reason if it is no
 * regular expression or over a limit. */
bool pattern_set_add(struct pattern_set *set, const char *pattern, struct error *error) MUST_CHECK;

/* Builds the automaton; to be called once, after the last pattern_set_add(). */
bool pattern_set_compile(struct pattern_set *set, struct error *error) MUST_CHECK;

/* The lowest number of a pattern that matches, or PATTERN_NONE. */
int pattern_set_match(const struct pattern_set *set, struct text text);
