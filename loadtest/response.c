/* See response.h. */
#include "loadtest/response.h"

#include <string.h>

static bool take_length(struct text value, uint64_t *out)
{
    *out = 0;
    if (value.length == 0 || value.length > 15)
        return false;
    for (size_t i = 0; i < value.length; i++) {
        if (!ascii_is_digit(value.bytes[i]))
            return false;
        *out = *out * 10 + (uint64_t)(value.bytes[i] - '0');
    }
    return true;
}

/* "HTTP/1.1 302 Found"; HTTP/1.0 closes unless it says otherwise. */
static bool take_status(struct text line, struct response *out)
{
    const char *at = line.bytes;

    if (line.length < 12 || memcmp(at, "HTTP/1.", 7) != 0 || (at[7] != '0' && at[7] != '1') ||
        at[8] != ' ' || at[9] < '1' || at[9] > '9' || !ascii_is_digit(at[10]) ||
        !ascii_is_digit(at[11]))
        return false;
    out->status = (at[9] - '0') * 100 + (at[10] - '0') * 10 + (at[11] - '0');
    out->closes = at[7] == '0';
    return true;
}

/* What frames the body has to be understood; everything else may be anything. */
static bool take_field(struct text line, struct response *out, bool *framed)
{
    struct text value = line, name = text_cut(&value, ':');

    if (!value.bytes)
        return false;
    value = text_trim(value);
    if (text_equals_nocase(name, "Content-Length")) {
        *framed = true;
        return take_length(value, &out->body_bytes);
    }
    if (text_equals_nocase(name, "Transfer-Encoding"))
        return false;
    if (text_equals_nocase(name, "Location"))
        out->location = value;
    else if (text_equals_nocase(name, "Connection"))
        out->closes = text_contains_nocase(value, "close") ||
                      (out->closes && !text_contains_nocase(value, "keep-alive"));
    return true;
}

int response_parse(const char *bytes, size_t length, struct response *out)
{
    const char *end = memmem(bytes, length, "\r\n\r\n", 4), *at = bytes;
    bool framed = false;

    memset(out, 0, sizeof *out);
    if (!end)
        return length > RESPONSE_HEAD_MAX ? RESPONSE_BAD : RESPONSE_PARTIAL;
    out->head_length = (size_t)(end - bytes) + 4;
    while (at <= end) {
        const char *stop = memmem(at, (size_t)(end - at) + 2, "\r\n", 2);
        struct text line = {at, (size_t)(stop - at)};

        if (at == bytes ? !take_status(line, out) : !take_field(line, out, &framed))
            return RESPONSE_BAD;
        at = stop + 2;
    }
    if (out->status < 200 || out->status == 204 || out->status == 304)
        out->body_bytes = 0;
    else if (!framed && !out->closes)
        return RESPONSE_BAD;
    return out->head_length <= RESPONSE_HEAD_MAX ? (int)out->head_length : RESPONSE_BAD;
}

struct text response_parameter(struct text location, const char *name, size_t name_length)
{
    struct text rest = location, found;

    rest = (struct text){memchr(location.bytes ? location.bytes : "", '?', location.length), 0};
    if (!rest.bytes)
        return (struct text){NULL, 0};
    rest.bytes++;
    rest.length = location.length - (size_t)(rest.bytes - location.bytes);
    rest = text_cut(&rest, '#');
    while (rest.bytes) {
        found = text_cut(&rest, '&');
        if (found.length > name_length && found.bytes[name_length] == '=' &&
            memcmp(found.bytes, name, name_length) == 0)
            return (struct text){found.bytes + name_length + 1, found.length - name_length - 1};
    }
    return (struct text){NULL, 0};
}
