#pragma once
/* Small questions about text that came from outside. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* True for well-formed UTF-8 (no surrogates, nothing above U+10FFFF, no overlong forms). */
bool input_is_utf8(const char *text, size_t length);

/* True if there is a control character (C0, DEL, C1) in well-formed UTF-8. */
bool input_has_control(const char *text, size_t length);

/* A decimal number of digits alone, 1 … INT64_MAX, without a leading zero. */
bool input_to_id(const char *text, uint64_t *out);

/* An RFC 3339 time ("2026-11-21T20:00:00Z", "…+01:00", with or without a fraction) to microseconds
 * since 1970. Years 1970 to 9999; fractions are cut after microseconds. */
bool input_to_time(const char *text, int64_t *us);

/* A date ("2026-11-21"), years 1970 to 9999. */
bool input_to_date(const char *text);
