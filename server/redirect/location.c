/* See location.h. */
#include "server/redirect/location.h"

#include <assert.h>
#include <string.h>

/* Bytes that may stand in a query as they are: those of RFC 3986, and '%', '[' and ']', which
 * visitors' browsers send unencoded. */
static const bool query_bytes[256] = {
    ['!'] = true, ['$'] = true, ['%'] = true,         ['&'] = true,         ['\''] = true,
    ['('] = true, [')'] = true, ['*'] = true,         ['+'] = true,         [','] = true,
    ['-'] = true, ['.'] = true, ['/'] = true,         [':'] = true,         [';'] = true,
    ['='] = true, ['?'] = true, ['@'] = true,         ['['] = true,         [']'] = true,
    ['_'] = true, ['~'] = true, ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true,
};

static char *put(char *at, const char *bytes, size_t length)
{
    memcpy(at, bytes, length);
    return at + length;
}

static char *put_encoded(char *at, unsigned char byte)
{
    static const char digits[] = "0123456789ABCDEF";

    *at++ = '%';
    *at++ = digits[byte >> 4];
    *at++ = digits[byte & 15];
    return at;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

/* Reads one character of a parameter's name, as a shop's server will: decoded. */
static int next_decoded(const char **at, const char *end)
{
    const char *here = *at;
    int high, low;

    *at = here + 1;
    if (*here == '+')
        return ' ';
    if (*here != '%' || end - here < 3)
        return (unsigned char)*here;
    high = hex_digit(here[1]);
    low = hex_digit(here[2]);
    if (high < 0 || low < 0)
        return (unsigned char)*here;
    *at = here + 3;
    return high << 4 | low;
}

/* The first parameter's name in [at, end), whose '&' or end is put into `next`. */
static struct text next_name(const char *at, const char *end, const char **next)
{
    const char *stop = memchr(at, '&', (size_t)(end - at)), *equals;

    if (!stop)
        stop = end;
    equals = memchr(at, '=', (size_t)(stop - at));
    *next = stop;
    return (struct text){at, (size_t)((equals ? equals : stop) - at)};
}

static bool same_name(const struct text *a, const struct text *b)
{
    const char *left = a->bytes, *left_end = left + a->length;
    const char *right = b->bytes, *right_end = right + b->length;

    while (left < left_end && right < right_end) {
        if (next_decoded(&left, left_end) != next_decoded(&right, right_end))
            return false;
    }
    return left == left_end && right == right_end;
}

/* Whether the query in [at, end) has a parameter of this name. */
static bool has_name(const char *at, const char *end, const struct text *wanted)
{
    while (at < end) {
        const char *next;
        struct text name = next_name(at, end, &next);

        if (same_name(&name, wanted))
            return true;
        at = next + 1;
    }
    return false;
}

/* '?' or '&', unless the destination already ends in one of these. */
static char *put_separator(char *at, const char *start, bool *has_query)
{
    if (!*has_query)
        *at++ = '?';
    else if (at[-1] != '?' && at[-1] != '&')
        *at++ = '&';
    assert(at > start);
    *has_query = true;
    return at;
}

/* Appends the request's parameters that the destination does not have. */
static char *put_parameters(const struct decision *decision, const struct text *id_name,
                            const char *start, char *at, bool *has_query)
{
    const char *base = decision->destination.bytes, *base_end = base + decision->fragment_offset;
    const char *question = *has_query ? memchr(base, '?', decision->fragment_offset) : NULL;
    const char *own = question ? question + 1 : base_end;
    const char *from = decision->query.bytes, *end = from + decision->query.length, *next;

    for (int count = 0; from < end && count < LOCATION_PARAMETERS_MAX; from = next + 1, count++) {
        struct text name = next_name(from, end, &next);

        if (next == from || same_name(&name, id_name) || has_name(own, base_end, &name))
            continue;
        at = put_separator(at, start, has_query);
        for (; from < next; from++) {
            unsigned char byte = (unsigned char)*from;

            if (query_bytes[byte])
                *at++ = *from;
            else
                at = put_encoded(at, byte);
        }
    }
    return at;
}

size_t location_max(size_t query_length)
{
    return LINK_DESTINATION_MAX + 3 * query_length + 1 + 1 + LOCATION_NAME_MAX + 1 +
           CLICK_ID_LENGTH;
}

size_t location_write(const struct decision *decision, const struct text *name,
                      const char *click_id, char *out, struct location_mark *mark)
{
    const struct text *destination = &decision->destination;
    bool has_query = decision->has_query;
    char *at = put(out, destination->bytes, decision->fragment_offset);

    assert(destination->length > 0 && destination->length <= LINK_DESTINATION_MAX);
    assert(decision->fragment_offset <= destination->length && name->length <= LOCATION_NAME_MAX);
    if (decision->query.length > 0)
        at = put_parameters(decision, name, out, at, &has_query);
    *mark = (struct location_mark){(size_t)(at - out), 0};
    if (click_id) {
        at = put_separator(at, out, &has_query);
        at = put(at, name->bytes, name->length);
        *at++ = '=';
        at = put(at, click_id, CLICK_ID_LENGTH);
        mark->length = (size_t)(at - out) - mark->at;
    }
    at = put(at, destination->bytes + decision->fragment_offset,
             destination->length - decision->fragment_offset);
    assert((size_t)(at - out) <= location_max(decision->query.length));
    return (size_t)(at - out);
}

size_t location_encode_name(const char *name, size_t length, char *out)
{
    char *at = out;

    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)name[i];

        if (query_bytes[byte] && !strchr("%&=+;", byte))
            *at++ = name[i];
        else
            at = put_encoded(at, byte);
    }
    return (size_t)(at - out);
}
