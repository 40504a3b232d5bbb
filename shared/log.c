/* See log.h. A line is built in a buffer on the stack and written with one write(2); what is too
 * long is cut and marked with "…". Nothing is kept between lines, so a crash loses none that was
 * logged. */
#include "shared/log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048

static const char *role_name = "main";
static enum log_level lowest_level = LOG_LEVEL_INFO;
static uint64_t dropped;

struct line {
    size_t length;
    char bytes[LINE_MAX_BYTES];
};

void log_open(const char *role, enum log_level lowest)
{
    struct stat status;
    int flags = fcntl(STDERR_FILENO, F_GETFL);

    role_name = role;
    lowest_level = lowest;
    /* A terminal stays blocking: the flag belongs to the open file, which the shell shares. */
    if (flags >= 0 && fstat(STDERR_FILENO, &status) == 0 &&
        (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode)))
        fcntl(STDERR_FILENO, F_SETFL, flags | O_NONBLOCK);
}

void log_set_level(enum log_level lowest)
{
    lowest_level = lowest;
}

uint64_t log_dropped(void)
{
    return dropped;
}

static void put(struct line *line, const char *bytes, size_t length)
{
    size_t room = sizeof line->bytes - 5 - line->length; /* 5: the mark of a cut, and newline */

    if (length > room)
        length = room;
    memcpy(line->bytes + line->length, bytes, length);
    line->length += length;
}

static bool is_plain(unsigned char c)
{
    return c > ' ' && c < 0x7f && c != '"' && c != '=' && c != '\\';
}

/* As it is if it is one plain word, else in quotes with everything dangerous as \xNN. */
static void put_value(struct line *line, const char *value)
{
    size_t length = strlen(value), plain = 0;

    while (plain < length && is_plain((unsigned char)value[plain]))
        plain++;
    if (length > 0 && plain == length) {
        put(line, value, length);
        return;
    }
    put(line, "\"", 1);
    for (; *value; value++) {
        unsigned char c = (unsigned char)*value;
        char escaped[5];

        if (is_plain(c) || c == ' ' || c == '=') {
            put(line, value, 1);
        } else {
            snprintf(escaped, sizeof escaped, "\\x%02x", c);
            put(line, escaped, 4);
        }
    }
    put(line, "\"", 1);
}

/* Formats one integer conversion; `spec` is the whole of it, such as "%08llx". */
static void put_integer(struct line *line, const char *spec, va_list *arguments)
{
    char text[64];
    size_t length = strlen(spec);
    bool is_signed = spec[length - 1] == 'd' || spec[length - 1] == 'i';
    bool is_long = strchr(spec, 'l') || strchr(spec, 'z') || strchr(spec, 'j');
    uint64_t value;

    if (is_long)
        value = va_arg(*arguments, uint64_t);
    else if (is_signed)
        value = (uint64_t)(int64_t)va_arg(*arguments, int);
    else
        value = va_arg(*arguments, unsigned);
    if (is_signed)
        snprintf(text, sizeof text, "%" PRId64, (int64_t)value);
    else
        snprintf(text, sizeof text, spec[length - 1] == 'x' ? "%" PRIx64 : "%" PRIu64, value);
    put(line, text, strlen(text));
}

/* Handles the conversion at `at` (behind the '%'); returns what follows it. */
static const char *put_conversion(struct line *line, const char *at, va_list *arguments)
{
    char spec[16], text[64];
    size_t length = strcspn(at, "sdiuxf%");

    assert(at[length] != '\0' && length < sizeof spec - 1);
    memcpy(spec, at, length + 1);
    spec[length + 1] = '\0';
    switch (at[length]) {
    case 's': {
        const char *value = va_arg(*arguments, const char *);

        put_value(line, value ? value : "");
        break;
    }
    case 'f':
        snprintf(text, sizeof text, "%.3f", va_arg(*arguments, double));
        put(line, text, strlen(text));
        break;
    case '%': put(line, "%", 1); break;
    default: put_integer(line, spec, arguments);
    }
    return at + length + 1;
}

static void put_fields(struct line *line, const char *format, va_list *arguments)
{
    while (*format) {
        size_t literal = strcspn(format, "%");

        put(line, format, literal);
        format += literal;
        if (*format == '%')
            format = put_conversion(line, format + 1, arguments);
    }
}

static void put_head(struct line *line, enum log_level level, const char *event)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    char head[160];
    struct timespec now;
    struct tm tm;
    int length;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    length = snprintf(head, sizeof head,
                      "time=%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ level=%s role=%s event=%s",
                      tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
                      tm.tm_sec, now.tv_nsec / 1000000, names[level], role_name, event);
    assert(length > 0 && (size_t)length < sizeof head);
    put(line, head, (size_t)length);
}

void log_event(enum log_level level, const char *event, const char *format, ...)
{
    struct line line = {.length = 0};
    int saved = errno;
    va_list arguments;

    if (level < lowest_level)
        return;
    put_head(&line, level, event);
    if (*format)
        put(&line, " ", 1);
    va_start(arguments, format);
    put_fields(&line, format, &arguments);
    va_end(arguments);
    if (line.length >= sizeof line.bytes - 5) {
        memcpy(line.bytes + line.length, "\xe2\x80\xa6", 3);
        line.length += 3;
    }
    line.bytes[line.length++] = '\n';
    if (write(STDERR_FILENO, line.bytes, line.length) < 0)
        dropped++;
    errno = saved;
}
