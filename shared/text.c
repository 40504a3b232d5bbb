/* See text.h. */
#include "shared/text.h"

#include <string.h>

static bool starts_nocase(const char *bytes, const char *lower, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (ascii_lower(bytes[i]) != lower[i])
            return false;
    return true;
}

bool text_equals_nocase(struct text text, const char *string)
{
    if (strlen(string) != text.length)
        return false;
    for (size_t i = 0; i < text.length; i++)
        if (ascii_lower(text.bytes[i]) != ascii_lower(string[i]))
            return false;
    return true;
}

bool text_contains_nocase(struct text text, const char *needle)
{
    size_t length = strlen(needle);

    for (size_t i = 0; i + length <= text.length; i++)
        if (starts_nocase(text.bytes + i, needle, length))
            return true;
    return false;
}

struct text text_trim(struct text text)
{
    while (text.length && (text.bytes[0] == ' ' || text.bytes[0] == '\t')) {
        text.bytes++;
        text.length--;
    }
    while (text.length &&
           (text.bytes[text.length - 1] == ' ' || text.bytes[text.length - 1] == '\t'))
        text.length--;
    return text;
}

struct text text_cut(struct text *rest, char separator)
{
    const char *found = rest->length ? memchr(rest->bytes, separator, rest->length) : NULL;
    struct text head = *rest;

    if (!found) {
        *rest = (struct text){NULL, 0};
        return head;
    }
    head.length = (size_t)(found - rest->bytes);
    rest->bytes = found + 1;
    rest->length -= head.length + 1;
    return head;
}
