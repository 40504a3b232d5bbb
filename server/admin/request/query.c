/* See query.h. */
#include "server/admin/request/query.h"

#include <string.h>

#include "server/admin/request/input.h"

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes in place; false for a bad escape or an escaped NUL. */
static bool decode(char *text)
{
    char *out = text;

    for (; *text; text++) {
        char c = *text;

        if (c == '+')
            c = ' ';
        if (c == '%') {
            int high = hex(text[1]), low = high < 0 ? -1 : hex(text[2]);

            if (low < 0 || (high == 0 && low == 0))
                return false;
            c = (char)(high << 4 | low);
            text += 2;
        }
        *out++ = c;
    }
    *out = '\0';
    return true;
}

static bool add(struct query *query, char *item)
{
    char *value = strchr(item, '=');

    if (query->count == QUERY_PARAMETERS_MAX)
        return false;
    if (value)
        *value++ = '\0';
    else
        value = item + strlen(item);
    if (!decode(item) || !decode(value))
        return false;
    if (!input_is_utf8(item, strlen(item)) || !input_is_utf8(value, strlen(value)))
        return false;
    if (query_get(query, item))
        return false;
    query->names[query->count] = item;
    query->values[query->count++] = value;
    return true;
}

bool query_parse(const char *text, struct query *out)
{
    char *rest = out->texts, *item;

    out->count = 0;
    if (!text)
        return true;
    if (strlen(text) > QUERY_BYTES_MAX)
        return false;
    memcpy(out->texts, text, strlen(text) + 1);
    while ((item = strsep(&rest, "&"))) {
        if (*item && !add(out, item))
            return false;
    }
    return true;
}

const char *query_get(const struct query *query, const char *name)
{
    for (size_t i = 0; i < query->count; i++) {
        if (strcmp(query->names[i], name) == 0)
            return query->values[i];
    }
    return NULL;
}
