/* See location.h. */
#include "server/redirect/location.h"

#include <assert.h>
#include <string.h>

#include "server/redirect/test_link.h"
#include "shared/percent.h"

#define COUNTRY  "{country}"
#define CLICK_ID "{click_id}"

/* Placeholders of one destination that the click id is filled into, at most: its length says. */
#define IN_PLACE_MAX (LINK_DESTINATION_MAX / (sizeof CLICK_ID - 1))

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

/* What a parameter is joined to the destination with: '?', '&', or nothing (0) where it ends in the
 * '?' of its query or in '&'. Told by the destination as it is written, so that it does not depend on
 * what placeholders become; a '?' within the query is part of a value. */
static char joint_of(const struct decision *decision)
{
    const char *bytes = decision->destination.bytes;
    size_t length = decision->fragment_offset;

    if (!decision->has_query)
        return '?';
    assert(length > 0);
    if (bytes[length - 1] == '&' || memchr(bytes, '?', length) == bytes + length - 1)
        return 0;
    return '&';
}

static char *put_separator(char *at, char *joint)
{
    if (*joint)
        *at++ = *joint;
    *joint = '&';
    return at;
}

/* A test link's sign is for us alone. */
static const struct text test_name = {TEST_LINK_PARAM, sizeof TEST_LINK_PARAM - 1};

/* Appends the request's parameters that the destination does not have. */
static char *put_parameters(const struct decision *decision, const struct text *id_name, char *at,
                            char *joint)
{
    const char *base = decision->destination.bytes, *base_end = base + decision->fragment_offset;
    const char *question =
        decision->has_query ? memchr(base, '?', decision->fragment_offset) : NULL;
    const char *own = question ? question + 1 : base_end;
    const char *from = decision->query.bytes, *end = from + decision->query.length, *next;

    for (int count = 0; from < end && count < LOCATION_PARAMETERS_MAX; from = next + 1, count++) {
        struct text name = next_name(from, end, &next);

        if (next == from || same_name(&name, id_name) || same_name(&name, &test_name) ||
            has_name(own, base_end, &name))
            continue;
        at = put_separator(at, joint);
        for (; from < next; from++)
            at = percent_put(at, *from, query_bytes);
    }
    return at;
}

/* Placeholders ----------------------------------------------------------------------------------- */

static bool begins(const char *at, const char *end, const char *what)
{
    size_t length = strlen(what);

    return (size_t)(end - at) >= length && memcmp(at, what, length) == 0;
}

static char *put_country(char *at, const char country[2])
{
    for (int i = 0; i < 2 && country[i]; i++)
        at = percent_put(at, country[i], percent_unreserved);
    return at;
}

static char *put_id(char *at, const char *start, const char *click_id, struct location_mark *mark)
{
    if (!click_id)
        return at;
    if (!mark->in_place)
        mark->at = (size_t)(at - start);
    mark->in_place = true;
    at = put(at, click_id, CLICK_ID_LENGTH);
    mark->length = (size_t)(at - start) - mark->at;
    return at;
}

/* A piece of a destination with its placeholders filled in. */
static char *put_filled(const struct decision *decision, const char *from, size_t length,
                        const char *click_id, const char *start, char *at,
                        struct location_mark *mark)
{
    const char *end = from + length;

    while (from < end) {
        const char *brace = memchr(from, '{', (size_t)(end - from));

        if (!brace)
            brace = end;
        at = put(at, from, (size_t)(brace - from));
        from = brace;
        if (begins(from, end, COUNTRY)) {
            at = put_country(at, decision->country);
            from += sizeof COUNTRY - 1;
        } else if (begins(from, end, CLICK_ID)) {
            at = put_id(at, start, click_id, mark);
            from += sizeof CLICK_ID - 1;
        } else if (from < end) {
            *at++ = *from++;
        }
    }
    return at;
}

/* A piece of the destination. */
static char *put_piece(const struct decision *decision, size_t from, size_t to,
                       const char *click_id, const char *start, char *at,
                       struct location_mark *mark)
{
    const char *bytes = decision->destination.bytes;

    if (!decision->is_template)
        return put(at, bytes + from, to - from);
    return put_filled(decision, bytes + from, to - from, click_id, start, at, mark);
}

/* The whole ---------------------------------------------------------------------------------------- */

size_t location_max(size_t query_length)
{
    return LINK_DESTINATION_MAX + IN_PLACE_MAX * CLICK_ID_LENGTH + 3 * query_length + 1 + 1 +
           LOCATION_NAME_MAX + 1 + CLICK_ID_LENGTH;
}

static char *put_id_parameter(const struct text *name, const char *click_id, const char *start,
                              char *at, char *joint, struct location_mark *mark)
{
    mark->at = (size_t)(at - start);
    at = put_separator(at, joint);
    at = put(at, name->bytes, name->length);
    *at++ = '=';
    at = put(at, click_id, CLICK_ID_LENGTH);
    mark->length = (size_t)(at - start) - mark->at;
    return at;
}

size_t location_write(const struct decision *decision, const struct text *name,
                      const char *click_id, char *out, struct location_mark *mark)
{
    const struct text *destination = &decision->destination;
    char *at, joint = joint_of(decision);

    assert(destination->length > 0 && destination->length <= LINK_DESTINATION_MAX);
    assert(decision->fragment_offset <= destination->length && name->length <= LOCATION_NAME_MAX);
    *mark = (struct location_mark){.length = 0};
    at = put_piece(decision, 0, decision->fragment_offset, click_id, out, out, mark);
    if (decision->query.length > 0)
        at = put_parameters(decision, name, at, &joint);
    if (click_id && decision->id == ID_PARAMETER)
        at = put_id_parameter(name, click_id, out, at, &joint, mark);
    at = put_piece(decision, decision->fragment_offset, destination->length, click_id, out, at,
                   mark);
    assert((size_t)(at - out) <= location_max(decision->query.length));
    return (size_t)(at - out);
}

static size_t cut(char *bytes, size_t length, size_t at, size_t count)
{
    assert(count > 0 && at + count <= length);
    memmove(bytes + at, bytes + at + count, length - at - count);
    return length - count;
}

size_t location_strip(const struct location_mark *mark, char *bytes, size_t length)
{
    char id[CLICK_ID_LENGTH], *found;
    size_t end = mark->at + mark->length;

    assert(mark->length >= CLICK_ID_LENGTH && end <= length);
    if (!mark->in_place)
        return cut(bytes, length, mark->at, mark->length);
    memcpy(id, bytes + mark->at, sizeof id);
    while ((found = memmem(bytes + mark->at, end - mark->at, id, sizeof id))) {
        length = cut(bytes, length, (size_t)(found - bytes), sizeof id);
        end -= sizeof id;
    }
    return length;
}

size_t location_encode_name(const char *name, size_t length, char *out)
{
    char *at = out;

    for (size_t i = 0; i < length; i++)
        at = percent_put(at, name[i], percent_unreserved);
    return (size_t)(at - out);
}
