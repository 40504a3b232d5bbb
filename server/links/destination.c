/* Destinations, read the way browsers read them (the WHATWG URL standard for http and https), with
 * less leniency: what a browser would repair silently, but which is more often a slip or an attack
 * than meant (spaces, controls, backslashes, userinfo, missing slashes), is refused with the reason.
 *
 * One pass, no allocation but libidn2's for internationalised hosts. The result is printable ASCII
 * without spaces, so that it can stand in a Location header as it is; asserted at the end. Parsing a
 * result again gives the same result.
 *
 * A stray '%' in path, query or fragment is kept, as browsers do: it means what it says there and
 * changing it would lead somewhere else. In a host it is refused. */
#include "server/links/destination.h"

#include <assert.h>
#include <string.h>

#include "server/links/host.h"
#include "shared/percent.h"
#include "shared/text.h"
#include "shared/utf8.h"

#define HTTP_PORT  80
#define HTTPS_PORT 443

struct parser {
    const char *at;
    const char *end;
    struct destination *out;
    struct error *error;
    bool overflow;
};

/* Output --------------------------------------------------------------------------------------- */

/* Past the end nothing is written, but parsing goes on, so that every part finds what it expects. */
static void emit(struct parser *parser, char c)
{
    struct destination *out = parser->out;

    if (out->length == LINK_DESTINATION_MAX) {
        parser->overflow = true;
        return;
    }
    out->url[out->length++] = c;
}

static void emit_text(struct parser *parser, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        emit(parser, text[i]);
}

/* Printable ASCII but for what browsers encode: "<>^`{} in a path, "<>' in a query, "<>` in a
 * fragment. */
static const bool path_bytes[256] = {
    ['!'] = true, ['#' ... ';'] = true, ['='] = true, ['?' ... ']'] = true,
    ['_'] = true, ['a' ... 'z'] = true, ['|'] = true, ['~'] = true};
static const bool query_bytes[256] = {
    ['!'] = true, ['#' ... '&'] = true, ['(' ... ';'] = true, ['='] = true, ['?' ... '~'] = true};
static const bool fragment_bytes[256] = {
    ['!'] = true, ['#' ... ';'] = true, ['='] = true, ['?' ... '_'] = true, ['a' ... '~'] = true};

static void emit_encoded(struct parser *parser, char c, const bool plain[256])
{
    char encoded[PERCENT_MAX];

    emit_text(parser, encoded, (size_t)(percent_put(encoded, c, plain) - encoded));
}

/* The parts ------------------------------------------------------------------------------------ */

/* Refuses what may stand nowhere, so that the rest deals with printable text only. */
static bool check_bytes(const char *url, size_t length, struct error *error)
{
    size_t at = 0, size;
    uint32_t character;

    while (at < length) {
        size = utf8_decode(url + at, length - at, &character);
        if (size == 0)
            return error_set(error, "not UTF-8 text at byte %zu", at + 1);
        if (character == ' ')
            return error_set(error, "contains a space (write it as %%20)");
        if (character < 0x20 || (character >= 0x7F && character < 0xA0))
            return error_set(error, "contains a control character (U+%04X)", (unsigned)character);
        if (character == '\\')
            return error_set(error, "contains a backslash");
        at += size;
    }
    return true;
}

static bool take_prefix(struct parser *parser, const char *prefix)
{
    size_t length = strlen(prefix);

    if ((size_t)(parser->end - parser->at) < length)
        return false;
    for (size_t i = 0; i < length; i++)
        if (ascii_lower(parser->at[i]) != prefix[i])
            return false;
    parser->at += length;
    return true;
}

static bool parse_scheme(struct parser *parser, unsigned *default_port)
{
    if (take_prefix(parser, "https:"))
        *default_port = HTTPS_PORT;
    else if (take_prefix(parser, "http:"))
        *default_port = HTTP_PORT;
    else
        return error_set(parser->error, "must start with http:// or https://");
    if (!take_prefix(parser, "//"))
        return error_set(parser->error, "must have // after http: or https:");
    emit_text(parser, "https://", 4);
    if (*default_port == HTTPS_PORT)
        emit(parser, 's');
    emit_text(parser, "://", 3);
    return true;
}

/* Leaves `port` at -1 if there is none. */
static bool parse_port(struct text digits, int *port, struct error *error)
{
    *port = -1;
    for (size_t i = 0; i < digits.length; i++) {
        if (!ascii_is_digit(digits.bytes[i]))
            return error_set(error, "the port is not a number");
        *port = (*port < 0 ? 0 : *port * 10) + (digits.bytes[i] - '0');
        if (*port > UINT16_MAX)
            return error_set(error, "the port is above 65535");
    }
    return true;
}

static void emit_port(struct parser *parser, unsigned port)
{
    char digits[8];
    size_t count = 0;

    do
        digits[count++] = (char)('0' + port % 10);
    while (port /= 10);
    emit(parser, ':');
    while (count > 0)
        emit(parser, digits[--count]);
}

/* Cuts the authority off the input and splits it into host and port. */
static bool split_authority(struct parser *parser, struct text *host, struct text *port)
{
    const char *start = parser->at, *stop = start, *colon = NULL;
    bool bracket = false;

    for (; stop < parser->end && *stop != '/' && *stop != '?' && *stop != '#'; stop++) {
        if (*stop == '@')
            return error_set(parser->error, "contains a user name or password (before an @)");
        if (*stop == '[' || *stop == ']')
            bracket = *stop == '[';
        else if (*stop == ':' && !bracket && !colon)
            colon = stop;
    }
    parser->at = stop;
    *host = (struct text){start, (size_t)((colon ? colon : stop) - start)};
    *port = colon ? (struct text){colon + 1, (size_t)(stop - colon) - 1} : (struct text){"", 0};
    if (host->length == 0)
        return error_set(parser->error, "has no host");
    return true;
}

static bool parse_authority(struct parser *parser, unsigned default_port)
{
    struct destination *out = parser->out;
    struct text host = {0}, digits = {0};
    char canonical[LINK_HOST_MAX + 1];
    int port;

    if (!split_authority(parser, &host, &digits) ||
        !host_parse(host.bytes, host.length, canonical, parser->error) ||
        !parse_port(digits, &port, parser->error))
        return false;
    out->host_offset = out->length;
    out->host_length = strlen(canonical);
    emit_text(parser, canonical, out->host_length);
    if (port >= 0 && (unsigned)port != default_port)
        emit_port(parser, (unsigned)port);
    return true;
}

/* Whether a path segment is "." (1) or ".." (2), also with %2e; 0: neither. */
static int dots_of(const char *segment, size_t length)
{
    int dots = 0;

    for (size_t at = 0; at < length; dots++) {
        if (segment[at] == '.')
            at++;
        else if (length - at >= 3 && segment[at] == '%' && segment[at + 1] == '2' &&
                 ascii_lower(segment[at + 2]) == 'e')
            at += 3;
        else
            return 0;
    }
    return dots <= 2 ? dots : 0;
}

/* Takes the last segment off what was emitted, but never the path's first slash. */
static void pop_segment(struct parser *parser, size_t path_offset)
{
    struct destination *out = parser->out;

    assert(out->url[path_offset] == '/');
    if (out->length > path_offset + 1)
        out->length--; /* the slash that ended it */
    while (out->length > path_offset + 1 && out->url[out->length - 1] != '/')
        out->length--;
}

static void parse_path(struct parser *parser)
{
    size_t path_offset = parser->out->length;

    emit(parser, '/');
    if (parser->at < parser->end && *parser->at == '/')
        parser->at++;
    while (parser->at < parser->end && *parser->at != '?' && *parser->at != '#') {
        const char *start = parser->at, *stop = start;
        bool slash;

        while (stop < parser->end && *stop != '/' && *stop != '?' && *stop != '#')
            stop++;
        slash = stop < parser->end && *stop == '/';
        parser->at = slash ? stop + 1 : stop;
        switch (dots_of(start, (size_t)(stop - start))) {
        case 1: break;
        case 2: pop_segment(parser, path_offset); break;
        default:
            for (; start < stop; start++)
                emit_encoded(parser, *start, path_bytes);
            if (slash)
                emit(parser, '/');
        }
    }
}

static void parse_query(struct parser *parser)
{
    if (parser->at == parser->end || *parser->at != '?')
        return;
    parser->out->has_query = true;
    emit(parser, '?');
    for (parser->at++; parser->at < parser->end && *parser->at != '#'; parser->at++)
        emit_encoded(parser, *parser->at, query_bytes);
}

static void parse_fragment(struct parser *parser)
{
    parser->out->fragment_offset = parser->out->length;
    if (parser->at == parser->end)
        return;
    assert(*parser->at == '#');
    emit(parser, '#');
    for (parser->at++; parser->at < parser->end; parser->at++)
        emit_encoded(parser, *parser->at, fragment_bytes);
}

/* What a Location header may hold. */
static bool is_printable(const struct destination *destination)
{
    for (size_t i = 0; i < destination->length; i++)
        if (destination->url[i] <= ' ' || destination->url[i] >= 0x7F)
            return false;
    return true;
}

bool destination_parse(const char *url, size_t length, struct destination *out, struct error *error)
{
    struct parser parser = {.at = url, .end = url + length, .out = out, .error = error};
    unsigned default_port = 0;

    out->length = 0;
    out->has_query = false;
    if (length == 0)
        return error_set(error, "is empty");
    if (length > LINK_DESTINATION_MAX)
        return error_set(error, "is longer than %d bytes", LINK_DESTINATION_MAX);
    if (!check_bytes(url, length, error) || !parse_scheme(&parser, &default_port) ||
        !parse_authority(&parser, default_port))
        return false;
    parse_path(&parser);
    parse_query(&parser);
    parse_fragment(&parser);
    if (parser.overflow)
        return error_set(error, "is longer than %d bytes once encoded", LINK_DESTINATION_MAX);
    out->url[out->length] = '\0';
    assert(out->fragment_offset <= out->length);
    assert(out->host_offset + out->host_length <= out->length);
    assert(is_printable(out));
    return true;
}
