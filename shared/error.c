/* The error buffer of shared/error.h. Long texts are cut, never overrun. */
#include "shared/error.h"

#include <stdio.h>

bool error_set(struct error *error, const char *format, ...)
{
    va_list arguments;

    if (!error)
        return false;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    return false;
}

bool error_prefix(struct error *error, const char *format, ...)
{
    char prefix[ERROR_TEXT_MAX / 2], rest[ERROR_TEXT_MAX / 2];
    va_list arguments;

    if (!error)
        return false;
    va_start(arguments, format);
    vsnprintf(prefix, sizeof prefix, format, arguments);
    va_end(arguments);
    snprintf(rest, sizeof rest, "%s", error->text);
    snprintf(error->text, sizeof error->text, "%s: %s", prefix, rest);
    return false;
}
