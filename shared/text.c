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

bool text_same(struct text a, struct text b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.bytes, b.bytes, a.length) == 0);
}

bool text_same_nocase(struct text a, struct text b)
{
    if (a.length != b.length)
        return false;
    for (size_t i = 0; i < a.length; i++)
        if (ascii_lower(a.bytes[i]) != ascii_lower(b.bytes[i]))
            return false;
    return true;
}

bool text_equals_nocase(struct text text, const char *string)
{
    return text_same_nocase(text, (struct text){string, strlen(string)});
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
