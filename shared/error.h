#pragma once
/* How a library function says what went wrong: it fills the caller's error buffer and returns
 * false (or NULL); the caller decides whether to log, to answer or to give up. Text is one line,
 * without a trailing newline or full stop. */
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#define MUST_CHECK __attribute__((warn_unused_result))

#define ERROR_TEXT_MAX 512

struct error {
    char text[ERROR_TEXT_MAX];
};

/* Formats into `error` (which may be NULL) and returns false, so that a caller can
 * `return error_set(error, "cannot open %s: %s", path, strerror(errno));`. */
bool error_set(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts context in front of the text that is there: "reading journal: " + text. Returns false. */
bool error_prefix(struct error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
