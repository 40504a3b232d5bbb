#pragma once
/* Money as it comes in: {"amount_minor": 500000, "currency": "EUR"} or {"amount": "5000.00",
 * "currency": "EUR"}, exactly one of the two. A JSON number with a fraction is never money: it may
 * have lost a cent before it got here. Kept is the number of minor units (cents; a currency has 0 to
 * 4 digits of them) and the currency (ISO 4217). */
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "shared/error.h"
#include "shared/money.h"

struct value;

struct money {
    int64_t minor;
    char currency[4];
};

/* Reads an object as above; `member` gets the name of the member at fault, or "". */
bool money_parse(const json_t *object, struct money *out, const char **member,
                 struct error *error) MUST_CHECK;

/* For the field table: reads money of 0 or more into its normal form,
 * {"amount_minor":…,"currency":"…"}. */
bool money_read(const json_t *json, struct value *value, struct error *error) MUST_CHECK;
