#pragma once
/* What the command line says. One table (options_table.h) makes the struct, the parser and the
 * help. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "loadtest/schedule.h"
#include "shared/address.h"
#include "shared/error.h"

struct options {
#define OPTION_TEXT    const char *
#define OPTION_INTEGER int64_t
#define OPTION_NUMBER  double
#define OPTION_FLAG    bool
#define SECTION(title)
#define OPTION(type, name, lowest, highest, unit, value, doc) OPTION_##type name;
#include "loadtest/options_table.h"

    /* What follows from them. */
    struct schedule schedule;
    struct address address; /* to load */
    char address_host[64];  /* as it stands in the URL */
    struct address admin_address;
    char admin_host[64];
    char orders_made[32]; /* what --orders is if absent */
};

/* Reads and checks everything: unknown options, bad values, options that contradict each other, a
 * target that is not on this machine. Texts point into argv. False with the reason. */
bool options_parse(int argc, char **argv, struct options *options, struct error *error) MUST_CHECK;

void options_help(FILE *out);
