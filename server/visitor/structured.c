/* See structured.h. One function for each production of RFC 9651, section 4.2; each takes what it
 * knows off the front of `rest`. */
#include "server/visitor/structured.h"

#include <string.h>

#define DIGITS_MAX  15 /* of an integer */
#define WHOLE_MAX   12 /* digits of a decimal before the point */
#define DECIMAL_MAX 3  /* behind it */

static bool at(const struct text *rest, char c)
{
    return rest->length > 0 && rest->bytes[0] == c;
}

static void skip(struct text *rest, size_t count)
{
    rest->bytes += count;
    rest->length -= count;
}

static bool take(struct text *rest, char c)
{
    if (!at(rest, c))
        return false;
    skip(rest, 1);
    return true;
}

static void skip_spaces(struct text *rest)
{
    while (take(rest, ' '))
        continue;
}

static void skip_blanks(struct text *rest)
{
    while (take(rest, ' ') || take(rest, '\t'))
        continue;
}

/* Where `rest` is now, as the end of a text that began at `start`. */
static struct text since(const char *start, const struct text *rest)
{
    return (struct text){start, (size_t)(rest->bytes - start)};
}

static size_t digits(struct text *rest)
{
    size_t count = 0;

    while (rest->length && ascii_is_digit(rest->bytes[0])) {
        skip(rest, 1);
        count++;
    }
    return count;
}

static bool parse_number(struct text *rest, struct sf_item *out)
{
    const char *start = rest->bytes;
    size_t whole;

    take(rest, '-');
    whole = digits(rest);
    out->type = SF_INTEGER;
    if (whole == 0 || whole > DIGITS_MAX)
        return false;
    if (take(rest, '.')) {
        size_t decimals = digits(rest);

        out->type = SF_DECIMAL;
        if (whole > WHOLE_MAX || decimals == 0 || decimals > DECIMAL_MAX)
            return false;
    }
    out->text = since(start, rest);
    return true;
}

static bool parse_date(struct text *rest, struct sf_item *out)
{
    skip(rest, 1);
    if (!parse_number(rest, out) || out->type != SF_INTEGER)
        return false;
    out->type = SF_DATE;
    return true;
}

static bool parse_string(struct text *rest, struct sf_item *out)
{
    const char *start;

    skip(rest, 1);
    start = rest->bytes;
    while (rest->length && rest->bytes[0] != '"') {
        unsigned char c = (unsigned char)rest->bytes[0];

        if (c < 0x20 || c > 0x7e)
            return false;
        if (c == '\\' && (rest->length < 2 || !strchr("\"\\", rest->bytes[1])))
            return false;
        skip(rest, c == '\\' ? 2 : 1);
    }
    out->type = SF_STRING;
    out->text = since(start, rest);
    return take(rest, '"');
}

static int hex(char c)
{
    return ascii_is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The next byte of a display string; -1 if it is malformed. */
static int display_byte(struct text *rest)
{
    unsigned char c = (unsigned char)rest->bytes[0];

    if (c < 0x20 || c > 0x7e)
        return -1;
    if (c != '%') {
        skip(rest, 1);
        return c;
    }
    if (rest->length < 3 || hex(rest->bytes[1]) < 0 || hex(rest->bytes[2]) < 0)
        return -1;
    c = (unsigned char)(hex(rest->bytes[1]) * 16 + hex(rest->bytes[2]));
    skip(rest, 3);
    return c;
}

/* Follows UTF-8 byte by byte: `*left` continuation bytes are to come, the next in low … high. */
static bool follows(int byte, int *left, int *low, int *high)
{
    if (*left > 0) {
        bool valid = byte >= *low && byte <= *high;

        *low = 0x80;
        *high = 0xbf;
        (*left)--;
        return valid;
    }
    if (byte < 0x80)
        return true;
    *left = byte >= 0xf0 ? 3 : byte >= 0xe0 ? 2 : 1;
    *low = byte == 0xe0 ? 0xa0 : byte == 0xf0 ? 0x90 : 0x80;
    *high = byte == 0xed ? 0x9f : byte == 0xf4 ? 0x8f : 0xbf;
    return byte >= 0xc2 && byte <= 0xf4;
}

static bool parse_display(struct text *rest, struct sf_item *out)
{
    int left = 0, low = 0x80, high = 0xbf;
    const char *start;

    skip(rest, 1);
    if (!take(rest, '"'))
        return false;
    start = rest->bytes;
    while (rest->length && rest->bytes[0] != '"') {
        int byte = display_byte(rest);

        if (byte < 0 || !follows(byte, &left, &low, &high))
            return false;
    }
    out->type = SF_DISPLAY;
    out->text = since(start, rest);
    return left == 0 && take(rest, '"');
}

static bool parse_token(struct text *rest, struct sf_item *out)
{
    const char *start = rest->bytes;

    while (rest->length && rest->bytes[0] &&
           (ascii_is_alnum(rest->bytes[0]) || strchr("!#$%&'*+-.^_`|~:/", rest->bytes[0])))
        skip(rest, 1);
    out->type = SF_TOKEN;
    out->text = since(start, rest);
    return true;
}

static bool parse_bytes(struct text *rest, struct sf_item *out)
{
    const char *start;
    size_t padding = 0;

    skip(rest, 1);
    start = rest->bytes;
    while (rest->length && rest->bytes[0] != ':') {
        char c = rest->bytes[0];

        if (c == '=' ? ++padding > 2 : padding > 0 || (!ascii_is_alnum(c) && c != '+' && c != '/'))
            return false;
        skip(rest, 1);
    }
    out->type = SF_BYTES;
    out->text = since(start, rest);
    return take(rest, ':') && (out->text.length - padding) % 4 != 1 &&
           (padding == 0 || out->text.length % 4 == 0);
}

static bool parse_boolean(struct text *rest, struct sf_item *out)
{
    skip(rest, 1);
    if (!at(rest, '0') && !at(rest, '1'))
        return false;
    out->type = SF_BOOLEAN;
    out->text = (struct text){rest->bytes, 1};
    skip(rest, 1);
    return true;
}

static bool parse_bare_item(struct text *rest, struct sf_item *out)
{
    char c = rest->length ? rest->bytes[0] : '\0';

    if (c == '-' || ascii_is_digit(c))
        return parse_number(rest, out);
    if (c == '*' || (ascii_is_alnum(c) && !ascii_is_digit(c)))
        return parse_token(rest, out);
    switch (c) {
    case '"': return parse_string(rest, out);
    case ':': return parse_bytes(rest, out);
    case '?': return parse_boolean(rest, out);
    case '@': return parse_date(rest, out);
    case '%': return parse_display(rest, out);
    default: return false;
    }
}

static bool parse_key(struct text *rest, struct text *out)
{
    const char *start = rest->bytes;

    if (!at(rest, '*') && !(rest->length && rest->bytes[0] >= 'a' && rest->bytes[0] <= 'z'))
        return false;
    while (rest->length &&
           ((rest->bytes[0] >= 'a' && rest->bytes[0] <= 'z') || ascii_is_digit(rest->bytes[0]) ||
            (rest->bytes[0] && strchr("_-.*", rest->bytes[0]))))
        skip(rest, 1);
    *out = since(start, rest);
    return true;
}

static bool skip_parameters(struct text *rest)
{
    struct sf_item ignored;

    while (take(rest, ';')) {
        skip_spaces(rest);
        if (!parse_key(rest, &ignored.key) || (take(rest, '=') && !parse_bare_item(rest, &ignored)))
            return false;
    }
    return true;
}

static bool parse_inner_list(struct text *rest, struct sf_item *out)
{
    struct sf_item ignored;
    const char *start;

    skip(rest, 1);
    start = rest->bytes;
    for (;;) {
        skip_spaces(rest);
        if (at(rest, ')'))
            break;
        if (!parse_bare_item(rest, &ignored) || !skip_parameters(rest) ||
            (!at(rest, ' ') && !at(rest, ')')))
            return false;
    }
    out->type = SF_INNER_LIST;
    out->text = since(start, rest);
    return take(rest, ')');
}

static bool parse_member(struct text *rest, struct sf_item *out)
{
    return (at(rest, '(') ? parse_inner_list(rest, out) : parse_bare_item(rest, out)) &&
           skip_parameters(rest);
}

bool sf_item(struct text field, struct sf_item *out)
{
    skip_spaces(&field);
    if (!parse_bare_item(&field, out) || !skip_parameters(&field))
        return false;
    skip_spaces(&field);
    return field.length == 0;
}

/* Behind a member: the end, or a comma and another member. */
static bool end_member(struct text *rest)
{
    skip_blanks(rest);
    if (rest->length == 0) {
        rest->bytes = NULL;
        return true;
    }
    if (!take(rest, ','))
        return false;
    skip_blanks(rest);
    return rest->length > 0; /* no comma at the end */
}

/* At the start of a member; true at the end of an empty field too, which is then marked. */
static bool is_over(struct text *rest)
{
    if (rest->bytes)
        skip_spaces(rest);
    if (rest->length == 0)
        rest->bytes = NULL;
    return !rest->bytes;
}

bool sf_next_in_list(struct text *rest, struct sf_item *out)
{
    if (is_over(rest))
        return false;
    out->key = (struct text){NULL, 0};
    return parse_member(rest, out) && end_member(rest);
}

bool sf_next_in_dictionary(struct text *rest, struct sf_item *out)
{
    if (is_over(rest) || !parse_key(rest, &out->key))
        return false;
    if (take(rest, '='))
        return parse_member(rest, out) && end_member(rest);
    out->type = SF_BOOLEAN;
    out->text = TEXT("1");
    return skip_parameters(rest) && end_member(rest);
}
