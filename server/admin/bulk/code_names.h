#pragma once
/* Names of discount codes, made from a template: "{HANDLE}{PERCENT}" and anna, 20 give ANNA20.
 *
 * {HANDLE} is the handle in capitals, with letters of Latin script without their accents and what is
 * neither letter nor digit left out; {PERCENT} the discount (12.5: "12-5"); {CAMPAIGN} the campaign's
 * slug in capitals; {RANDOM} four characters that nobody mixes up. What people can read out and shops
 * take: A-Z, 0-9, "-" and "_".
 *
 * Codes are unique in a workspace; where a name is taken, the next one is tried: ANNA20-2 … ANNA20-9,
 * then ANNA20- and four random characters. Blocked words are avoided in what is random; handles stay
 * as they are. */
#include <stdbool.h>
#include <stddef.h>

#include "shared/error.h"

#define CODE_NAME_MAX     64
#define CODE_TEMPLATE_MAX 64
#define CODE_TRIES_MAX    40

struct code_parts {
    const char *handle;
    const char *percent; /* "20", "12.5"; NULL: none */
    const char *campaign;
};

/* Checks a template; one with {PERCENT} needs a percentage. */
bool code_template_check(const char *code_template, bool has_percent,
                         struct error *error) MUST_CHECK;

/* The name to try as the `attempt`-th, from 1. Same arguments, same name, but for what is random. */
void code_name_make(const char *code_template, const struct code_parts *parts, unsigned attempt,
                    char out[CODE_NAME_MAX + 1]);
