/* See verify_problem.h. */
#include "server/clicks/verify_problem.h"

#include <stdarg.h>
#include <stdio.h>

void verify_problem(json_t *problems, const char *format, ...)
{
    size_t count = json_array_size(problems);
    char text[512];
    va_list arguments;

    if (count > VERIFY_PROBLEMS_MAX)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    json_array_append_new(problems, json_string(count < VERIFY_PROBLEMS_MAX ? text : "… and more"));
}
