/* See http_head.h.
 *
 * One pass over the bytes, 64 at a time: for each such block two bit masks say where a field line
 * can end (a byte that no value holds) and where colons are, so that finding the end of a name and
 * of a value costs a shift and a bit count instead of a loop. Names that somebody here wants are
 * recognised first, and need no check of their characters then.
 *
 * A partial head is parsed again from its start, but only when a new line feed has arrived, so that
 * a byte-by-byte sender costs one parse a line, of which there are at most `limits->fields`. */
#include "shared/http_head.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

#include "shared/http_scan.h"

#define CONTENT_LENGTH_DIGITS_MAX 18

/* A position in the bytes; functions move `at` forward and answer a `step`. */
struct cursor {
    const char *at;
    const char *end;
};

enum step { STEP_DONE, STEP_PARTIAL, STEP_BAD };

/* tchar of RFC 9110: what names and methods are made of. */
static const bool token_bytes[256] = {
    ['!'] = true,         ['#'] = true,         ['$'] = true,         ['%'] = true, ['&'] = true,
    ['\''] = true,        ['*'] = true,         ['+'] = true,         ['-'] = true, ['.'] = true,
    ['^'] = true,         ['_'] = true,         ['`'] = true,         ['|'] = true, ['~'] = true,
    ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true,
};

/* reg-name of RFC 3986, without the colon. */
static const bool host_bytes[256] = {
    ['!'] = true, ['$'] = true,         ['%'] = true,         ['&'] = true,         ['\''] = true,
    ['('] = true, [')'] = true,         ['*'] = true,         ['+'] = true,         [','] = true,
    ['-'] = true, ['.'] = true,         [';'] = true,         ['='] = true,         ['_'] = true,
    ['~'] = true, ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true,
};

static enum step bad(struct http_head *head, int status)
{
    head->status = status;
    return STEP_BAD;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static inline uint64_t load(const char *at, size_t size)
{
    uint64_t word = 0;

    memcpy(&word, at, size);
    return word;
}

/* `name` is `lower` but for case. Only sound for names made of letters and '-', since other bytes
 * that meet under | 0x20 (CR and '-') are no part of a line. The last word overlaps the one before
 * it, so that there is no rest to go through byte by byte. */
static inline bool same_name(const char *name, const char *lower, size_t length)
{
    const uint64_t fold = 0x2020202020202020u;
    uint64_t difference = 0;
    size_t i;

    if (length >= 8) {
        for (i = 0; i + 8 < length; i += 8)
            difference |= (load(name + i, 8) | fold) ^ load(lower + i, 8);
        difference |= (load(name + length - 8, 8) | fold) ^ load(lower + length - 8, 8);
    } else if (length >= 4) {
        difference = (load(name, 4) | (uint32_t)fold) ^ load(lower, 4);
        difference |= (load(name + length - 4, 4) | (uint32_t)fold) ^ load(lower + length - 4, 4);
    } else {
        for (i = 0; i < length; i++)
            difference |= (uint64_t)((name[i] | 0x20) ^ lower[i]);
    }
    return difference == 0;
}

/* Length and first letter tell the known names apart; the compiler refuses two in one place. */
#define NAME_SLOTS               64
#define NAME_SLOT(first, length) (((unsigned)(first) + 10 * (unsigned)(length)) % NAME_SLOTS)

static const struct {
    const char *text;
    size_t length;
    enum http_name name;
} known_names[NAME_SLOTS] = {
    [NAME_SLOT('h', 4)] = {"host", 4, HTTP_NAME_HOST},
    [NAME_SLOT('c', 10)] = {"connection", 10, HTTP_NAME_CONNECTION},
    [NAME_SLOT('c', 14)] = {"content-length", 14, HTTP_NAME_CONTENT_LENGTH},
    [NAME_SLOT('t', 17)] = {"transfer-encoding", 17, HTTP_NAME_TRANSFER_ENCODING},
    [NAME_SLOT('u', 10)] = {"user-agent", 10, HTTP_NAME_USER_AGENT},
    [NAME_SLOT('a', 15)] = {"accept-language", 15, HTTP_NAME_ACCEPT_LANGUAGE},
    [NAME_SLOT('r', 7)] = {"referer", 7, HTTP_NAME_REFERER},
    [NAME_SLOT('s', 11)] = {"sec-purpose", 11, HTTP_NAME_SEC_PURPOSE},
    [NAME_SLOT('p', 7)] = {"purpose", 7, HTTP_NAME_PURPOSE},
    [NAME_SLOT('x', 9)] = {"x-purpose", 9, HTTP_NAME_X_PURPOSE},
    [NAME_SLOT('x', 5)] = {"x-moz", 5, HTTP_NAME_X_MOZ},
    [NAME_SLOT('s', 7)] = {"sec-gpc", 7, HTTP_NAME_SEC_GPC},
    [NAME_SLOT('d', 3)] = {"dnt", 3, HTTP_NAME_DNT},
    [NAME_SLOT('x', 15)] = {"x-forwarded-for", 15, HTTP_NAME_X_FORWARDED_FOR},
    [NAME_SLOT('f', 9)] = {"forwarded", 9, HTTP_NAME_FORWARDED},
    [NAME_SLOT('s', 9)] = {"sec-ch-ua", 9, HTTP_NAME_SEC_CH_UA},
    [NAME_SLOT('s', 16)] = {"sec-ch-ua-mobile", 16, HTTP_NAME_SEC_CH_UA_MOBILE},
    [NAME_SLOT('s', 18)] = {"sec-ch-ua-platform", 18, HTTP_NAME_SEC_CH_UA_PLATFORM},
    [NAME_SLOT('s', 15)] = {"sec-ch-ua-model", 15, HTTP_NAME_SEC_CH_UA_MODEL},
    [NAME_SLOT('x', 16)] = {"x-requested-with", 16, HTTP_NAME_X_REQUESTED_WITH},
};

enum http_name http_name_of(const char *name, size_t length)
{
    unsigned slot;

    if (length == 0)
        return HTTP_NAME_OTHER;
    slot = NAME_SLOT((unsigned char)name[0] | 0x20, length);
    if (known_names[slot].length != length || !same_name(name, known_names[slot].text, length))
        return HTTP_NAME_OTHER;
    return known_names[slot].name;
}

/* Reads the CRLF that must stand here. */
static enum step read_crlf(struct cursor *cursor, struct http_head *head)
{
    if (cursor->at == cursor->end)
        return STEP_PARTIAL;
    if (cursor->at[0] != '\r')
        return bad(head, 400);
    if (cursor->end - cursor->at < 2)
        return STEP_PARTIAL;
    if (cursor->at[1] != '\n')
        return bad(head, 400);
    cursor->at += 2;
    return STEP_DONE;
}

/* host[:port] as in Host or an absolute target; an IPv6 address stands in brackets. */
static bool authority_is_valid(const char *at, size_t length)
{
    const char *end = at + length;

    if (at < end && *at == '[') {
        for (at++; at < end && *at != ']'; at++) {
            if (!is_digit(*at) && !((*at | 0x20) >= 'a' && (*at | 0x20) <= 'f') && *at != ':' &&
                *at != '.')
                return false;
        }
        if (at++ == end)
            return false;
    } else {
        while (at < end && host_bytes[(unsigned char)*at])
            at++;
    }
    if (at < end && *at++ != ':')
        return false;
    while (at < end && is_digit(*at))
        at++;
    return at == end;
}

static enum step read_method(struct cursor *cursor, struct http_head *head)
{
    const char *start = cursor->at, *end = cursor->end;

    if (end - start >= 5 && memcmp(start, "GET ", 4) == 0) {
        head->method = HTTP_GET;
        cursor->at += 4;
        return STEP_DONE;
    }
    while (cursor->at < end && token_bytes[(unsigned char)*cursor->at])
        cursor->at++;
    if (cursor->at == end)
        return STEP_PARTIAL;
    if (*cursor->at != ' ' || cursor->at == start)
        return bad(head, 400);
    if (cursor->at - start == 3 && memcmp(start, "GET", 3) == 0)
        head->method = HTTP_GET;
    else if (cursor->at - start == 4 && memcmp(start, "HEAD", 4) == 0)
        head->method = HTTP_HEAD;
    else if (cursor->at - start == 4 && memcmp(start, "POST", 4) == 0)
        head->method = HTTP_POST;
    else if (cursor->at - start == 7 && memcmp(start, "OPTIONS", 7) == 0)
        head->method = HTTP_OPTIONS;
    else
        head->method = HTTP_OTHER;
    cursor->at++;
    return STEP_DONE;
}

/* Splits path, query and (ignored) fragment, from `at` to the target's end. */
static void split_path(struct http_head *head, const char *at)
{
    const char *end = head->target.bytes + head->target.length, *path = at, *query = NULL;

    for (; at < end && *at != '#'; at++) {
        if (*at == '?' && !query)
            query = at;
    }
    head->path = (struct text){path, (size_t)((query ? query : at) - path)};
    if (query)
        head->query = (struct text){query + 1, (size_t)(at - query - 1)};
}

/* http://host[:port][/path][?query]; no other scheme, no userinfo. */
static bool split_absolute(struct http_head *head)
{
    const char *at = head->target.bytes, *end = at + head->target.length, *authority;

    if (end - at > 7 && same_name(at, "http", 4) && memcmp(at + 4, "://", 3) == 0)
        at += 7;
    else if (end - at > 8 && same_name(at, "https", 5) && memcmp(at + 5, "://", 3) == 0)
        at += 8;
    else
        return false;
    for (authority = at; at < end && *at != '/' && *at != '?' && *at != '#'; at++)
        continue;
    head->host = (struct text){authority, (size_t)(at - authority)};
    split_path(head, at);
    return head->host.length > 0 && authority_is_valid(authority, head->host.length);
}

static bool split_target(struct http_head *head, bool connect)
{
    const char *bytes = head->target.bytes;

    if (bytes[0] == '/' && !connect) {
        head->form = HTTP_ORIGIN;
        split_path(head, bytes);
        return true;
    }
    if (connect) {
        head->form = HTTP_AUTHORITY;
        return authority_is_valid(bytes, head->target.length);
    }
    if (head->target.length == 1 && bytes[0] == '*') {
        head->form = HTTP_ASTERISK;
        return head->method > HTTP_HEAD;
    }
    head->form = HTTP_ABSOLUTE;
    return split_absolute(head);
}

static enum step read_target(struct cursor *cursor, const struct http_limits *limits,
                             struct http_head *head, bool connect)
{
    const char *start = cursor->at, *stop = skip_visible(start, cursor->end);

    if ((size_t)(stop - start) > limits->target_bytes)
        return bad(head, 414);
    if (stop == cursor->end)
        return STEP_PARTIAL;
    if (*stop != ' ' || stop == start)
        return bad(head, 400);
    head->target = (struct text){start, (size_t)(stop - start)};
    cursor->at = stop + 1;
    return split_target(head, connect) ? STEP_DONE : bad(head, 400);
}

static enum step read_version(struct cursor *cursor, struct http_head *head)
{
    static const char name[] = "HTTP/1.";
    size_t left = (size_t)(cursor->end - cursor->at), want = sizeof name - 1;

    if (memcmp(cursor->at, name, left < want ? left : want) != 0)
        return bad(head, 400);
    if (left <= want)
        return STEP_PARTIAL;
    if (cursor->at[want] != '0' && cursor->at[want] != '1')
        return bad(head, 400);
    head->minor_version = cursor->at[want] - '0';
    cursor->at += want + 1;
    return read_crlf(cursor, head);
}

static enum step read_request_line(struct cursor *cursor, const struct http_limits *limits,
                                   struct http_head *head)
{
    const char *start = cursor->at;
    enum step step = read_method(cursor, head);
    bool connect;

    if (step != STEP_DONE)
        return step;
    connect = cursor->at - start == 8 && memcmp(start, "CONNECT ", 8) == 0;
    step = read_target(cursor, limits, head, connect);
    return step == STEP_DONE ? read_version(cursor, head) : step;
}

/* `room` is how far may be read; nearly all names are letters, digits and '-'. */
static bool name_is_token(const char *at, const char *end, const char *room)
{
    if (at == end)
        return false;
    while (end - at >= 16 && plain_name_bytes(at) == 16)
        at += 16;
    if (room - at >= 16 && plain_name_bytes(at) >= end - at)
        return true;
    while (at < end && token_bytes[(unsigned char)*at])
        at++;
    return at == end;
}

/* Reads one `name: value CRLF`. */
static enum step read_field(struct cursor *cursor, struct block *block, struct http_head *head,
                            enum http_name *known, struct text *value)
{
    const char *name = cursor->at, *end = cursor->end, *start, *stop;
    const char *colon = find_colon(block, name, end, &stop);
    enum step step;

    if (!colon)
        return stop == end && name_is_token(name, end, end) ? STEP_PARTIAL : bad(head, 400);
    *known = http_name_of(name, (size_t)(colon - name));
    if (*known == HTTP_NAME_OTHER && !name_is_token(name, colon, end))
        return bad(head, 400);
    for (start = colon + 1; start < end && is_blank(*start); start++)
        continue;
    stop = start < end ? find_end(block, start, end) : end;
    cursor->at = stop;
    if ((step = read_crlf(cursor, head)) != STEP_DONE)
        return step;
    while (stop > start && is_blank(stop[-1]))
        stop--;
    *value = (struct text){start, (size_t)(stop - start)};
    return STEP_DONE;
}

static bool parse_content_length(struct http_head *head, const struct text *value)
{
    if (value->length == 0 || value->length > CONTENT_LENGTH_DIGITS_MAX)
        return false;
    for (size_t i = 0; i < value->length; i++) {
        if (!is_digit(value->bytes[i]))
            return false;
        head->content_length = head->content_length * 10 + (uint64_t)(value->bytes[i] - '0');
    }
    return true;
}

/* Looks for `close` and `keep-alive` in a comma-separated list; close wins over all. */
static void read_connection(const struct text *value, bool *close, bool *keep_alive)
{
    const char *at = value->bytes, *end = at + value->length, *token;

    while (at < end) {
        while (at < end && (is_blank(*at) || *at == ','))
            at++;
        for (token = at; at < end && *at != ',' && !is_blank(*at); at++)
            continue;
        if (at - token == 5 && same_name(token, "close", 5))
            *close = true;
        else if (at - token == 10 && same_name(token, "keep-alive", 10))
            *keep_alive = true;
    }
}

/* What a field line means for the message itself. */
static enum step take_field(struct http_head *head, enum http_name name, const struct text *value,
                            bool *close, bool *keep_alive)
{
    bool first = head->known[name].bytes == NULL;

    if (first)
        head->known[name] = *value;
    else
        head->repeated |= 1u << name;
    switch (name) {
    case HTTP_NAME_HOST:
        return first && authority_is_valid(value->bytes, value->length) ? STEP_DONE
                                                                        : bad(head, 400);
    case HTTP_NAME_CONTENT_LENGTH:
        return first && parse_content_length(head, value) ? STEP_DONE : bad(head, 400);
    case HTTP_NAME_TRANSFER_ENCODING:
        head->chunked = value->length == 7 && same_name(value->bytes, "chunked", 7);
        return first && head->chunked ? STEP_DONE : bad(head, 400);
    case HTTP_NAME_CONNECTION: read_connection(value, close, keep_alive); return STEP_DONE;
    default: return STEP_DONE;
    }
}

/* Rules that concern the head as a whole. */
static enum step check_head(struct http_head *head, bool close, bool keep_alive)
{
    const struct text *known = head->known;

    if (head->minor_version == 1 && !known[HTTP_NAME_HOST].bytes)
        return bad(head, 400);
    if (head->chunked && (head->minor_version == 0 || known[HTTP_NAME_CONTENT_LENGTH].bytes))
        return bad(head, 400);
    if (!head->host.bytes)
        head->host = known[HTTP_NAME_HOST];
    head->keep_alive = !close && (head->minor_version == 1 || keep_alive);
    return STEP_DONE;
}

static enum step read_fields(struct cursor *cursor, const struct http_limits *limits,
                             struct http_head *head)
{
    bool close = false, keep_alive = false;
    const char *start = cursor->at;
    struct block block = {.base = start};

    look(&block, cursor->end);
    for (;;) {
        struct text value;
        enum http_name name;
        enum step step;

        if (cursor->at == cursor->end)
            return STEP_PARTIAL;
        if (*cursor->at == '\r') {
            head->fields = (struct text){start, (size_t)(cursor->at - start)};
            step = read_crlf(cursor, head);
            return step == STEP_DONE ? check_head(head, close, keep_alive) : step;
        }
        if (head->field_count == limits->fields)
            return bad(head, 431);
        if ((step = read_field(cursor, &block, head, &name, &value)) != STEP_DONE)
            return step;
        head->field_count++;
        if (name != HTTP_NAME_OTHER &&
            (step = take_field(head, name, &value, &close, &keep_alive)) != STEP_DONE)
            return step;
    }
}

static enum step read_head(struct cursor *cursor, const struct http_limits *limits,
                           struct http_head *head)
{
    enum step step;

    while (cursor->at < cursor->end && (*cursor->at == '\r' || *cursor->at == '\n')) {
        if ((step = read_crlf(cursor, head)) != STEP_DONE)
            return step;
    }
    if (cursor->at == cursor->end)
        return STEP_PARTIAL;
    step = read_request_line(cursor, limits, head);
    return step == STEP_DONE ? read_fields(cursor, limits, head) : step;
}

/* Whether the bytes from `seen` on end a line, or break the rule that LF follows CR. */
static bool line_ended(const char *bytes, size_t length, size_t seen)
{
    return length > seen && (memchr(bytes + seen, '\n', length - seen) ||
                             memchr(bytes + seen - 1, '\r', length - seen));
}

int http_head_parse(const char *bytes, size_t length, size_t seen, const struct http_limits *limits,
                    struct http_head *head)
{
    size_t within = length < limits->head_bytes ? length : limits->head_bytes;
    struct cursor cursor = {bytes, bytes + within};
    enum step step;

    assert(seen <= length && limits->head_bytes < INT_MAX);
    if (seen > 0 && length < limits->head_bytes && length < limits->target_bytes &&
        !line_ended(bytes, length, seen))
        return HTTP_HEAD_PARTIAL;
    memset(head, 0, sizeof *head);
    step = read_head(&cursor, limits, head);
    if (step == STEP_PARTIAL && within == limits->head_bytes)
        step = bad(head, 431);
    if (step == STEP_PARTIAL)
        return HTTP_HEAD_PARTIAL;
    if (step == STEP_BAD) {
        assert(head->status != 0);
        return HTTP_HEAD_BAD;
    }
    assert(cursor.at > bytes && cursor.at <= cursor.end);
    return (int)(cursor.at - bytes);
}

bool http_next_field(struct text *rest, struct text *name, struct text *value)
{
    const char *end = rest->bytes + rest->length, *colon, *line_end;

    if (rest->length == 0)
        return false;
    colon = memchr(rest->bytes, ':', rest->length);
    line_end = memchr(rest->bytes, '\r', rest->length);
    assert(colon && line_end && colon < line_end && end - line_end >= 2);
    *name = (struct text){rest->bytes, (size_t)(colon - rest->bytes)};
    *value = (struct text){colon + 1, (size_t)(line_end - colon - 1)};
    for (; value->length > 0 && is_blank(value->bytes[0]); value->bytes++)
        value->length--;
    while (value->length > 0 && is_blank(value->bytes[value->length - 1]))
        value->length--;
    *rest = (struct text){line_end + 2, (size_t)(end - line_end - 2)};
    return true;
}
