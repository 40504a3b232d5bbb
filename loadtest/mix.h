#pragma once
/* Who clicks, from where: weighted lists of agents, referrers and countries, built in (agents.txt,
 * referrers.txt, countries.txt) or read from files of the same layout. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "loadtest/draw.h"
#include "shared/error.h"

#define MIX_LINES_MAX 4096
#define MIX_BYTES_MAX (1 << 20)
#define MIX_LINE_MAX  4096

/* One line: what a request gets from it. */
struct mix_entry {
    double up_to; /* weights up to and with this one */
    char *fields; /* header lines, each with its CRLF; "" for none */
    size_t length;
    bool has_referrer;
    uint32_t network, mask; /* of a country: IPv4, host byte order */
};

struct mix_list {
    struct mix_entry *entries;
    size_t count;
};

struct mix {
    struct mix_list people, bots, referrers, countries;
};

/* Reads the lists; an empty path means the built-in one. False with file, line and reason. */
bool mix_open(struct mix *mix, const char *agents, const char *referrers, const char *countries,
              struct error *error) MUST_CHECK;
void mix_close(struct mix *mix);

/* One entry by weight; `point` from 0 to below 1. The list is not empty. */
const struct mix_entry *mix_pick(const struct mix_list *list, double point);

/* Prints a built-in list ("agents", "referrers", "countries"); false: there is none of that name.
 * */
bool mix_show(const char *name, FILE *out) MUST_CHECK;
