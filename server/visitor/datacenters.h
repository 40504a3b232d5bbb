#pragma once
/* Networks (AS numbers) whose clicks come from servers, not from people. */
#include <stddef.h>
#include <stdint.h>

#include "shared/error.h"

#define DATACENTERS_MAX 1024

struct datacenters {
    size_t count;
    uint32_t list[DATACENTERS_MAX]; /* ascending */
};

/* Reads AS numbers ("64500", "AS64500") separated by spaces or commas; "builtin" stands for those
 * of server/visitor/datacenters.txt. False with the reason. */
bool datacenters_parse(const char *text, struct datacenters *out, struct error *error) MUST_CHECK;

bool datacenters_contain(const struct datacenters *datacenters, uint32_t asn);
