#pragma once
/* Money as text: currencies and their minor units. No floating point anywhere. */
#include <stdbool.h>
#include <stdint.h>

#define MONEY_MINOR_MAX 999999999999999 /* exact also where somebody reads it as a double */

/* Digits behind the point of a currency; -1 if there is no such currency. */
int money_digits(const char *currency);

/* "12.5" with two digits to 1250. False for anything else than digits with at most `digits` behind
 * one point, and for more than MONEY_MINOR_MAX. A minus sign is taken. */
bool money_from_decimal(const char *text, int digits, int64_t *minor);
