#pragma once
/* Log lines for people and machines: one line, key=value, to standard error.
 *
 *   time=2026-11-21T20:14:05.123Z level=info role=ship event=redis_connected url="unix:/run/…"
 *
 * Guarantees: a value can never start a new line or forge a field (control characters, quotes and
 * bytes that are not printable ASCII are escaped as \xNN); a line is written with one write(2); a
 * full pipe never blocks the caller: the line is dropped and counted (log_dropped()).
 * Not for the hot path: nothing is logged per click. */
#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

/* Names this process in every line, from now on; `role` must outlive the process. Makes standard
 * error non-blocking if it is a pipe or socket. */
void log_open(const char *role, enum log_level lowest);

/* Changes what is logged from now on. */
void log_set_level(enum log_level lowest);

/* Lines dropped since the start since standard error could not take them. */
uint64_t log_dropped(void);

/* Logs `event` (a short snake_case name) with fields: `format` is a printf format made of
 * "key=%s key=%llu" pairs separated by one space; the formatted value of each %s is escaped and
 * quoted where needed. Other conversions are copied as they are. `format` may be "". */
void log_event(enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_debug(event, ...) log_event(LOG_LEVEL_DEBUG, event, "" __VA_ARGS__)
#define log_info(event, ...)  log_event(LOG_LEVEL_INFO, event, "" __VA_ARGS__)
#define log_warn(event, ...)  log_event(LOG_LEVEL_WARN, event, "" __VA_ARGS__)
#define log_error(event, ...) log_event(LOG_LEVEL_ERROR, event, "" __VA_ARGS__)
