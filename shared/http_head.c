/* See http_head.h.
 *
 * One pass over the bytes, line by line. The two long scans (target, field value) look at 16 bytes
 * at a time where SSE2 is there; known field names are recognised by length first, and a name that
 * was recognised needs no check of its characters. A partial head is parsed again from its start,
 * but only when a new line feed has arrived, so that a byte-by-byte sender costs one parse a line,
 * of which there are at most `limits->fields`. */
#include "shared/http_head.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

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

/* The first byte at or after `at` that is no visible ASCII character: a space, a control character
 * or 0x7f and above; `end` if there is none. */
static const char *skip_visible(const char *at, const char *end)
{
#ifdef __SSE2__
    const __m128i lowest = _mm_set1_epi8(0x21), delete = _mm_set1_epi8(0x7f);

    for (; end - at >= 16; at += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        /* signed: bytes from 0x80 on are negative, so below '!' too */
        __m128i out = _mm_or_si128(_mm_cmplt_epi8(bytes, lowest), _mm_cmpeq_epi8(bytes, delete));
        unsigned mask = (unsigned)_mm_movemask_epi8(out);

        if (mask)
            return at + __builtin_ctz(mask);
    }
#endif
    while (at<end && * at> 0x20 && *at < 0x7f)
        at++;
    return at;
}

/* The first byte at or after `at` that a field value cannot hold: a control character but HTAB, or
 * 0x7f; `end` if there is none. */
static const char *skip_value(const char *at, const char *end)
{
#ifdef __SSE2__
    const __m128i highest = _mm_set1_epi8(0x1f), tab = _mm_set1_epi8('\t');
    const __m128i delete = _mm_set1_epi8(0x7f);

    for (; end - at >= 16; at += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, highest), bytes);
        __m128i out = _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(bytes, tab), control),
                                   _mm_cmpeq_epi8(bytes, delete));
        unsigned mask = (unsigned)_mm_movemask_epi8(out);

        if (mask)
            return at + __builtin_ctz(mask);
    }
#endif
    while (at < end && (((unsigned char)*at >= 0x20 && *at != 0x7f) || *at == '\t'))
        at++;
    return at;
}

/* The first colon or byte that no name holds, found cheaply: the caller checks what it passed. */
static const char *find_colon(const char *at, const char *end)
{
#ifdef __SSE2__
    const __m128i colon = _mm_set1_epi8(':'), lowest = _mm_set1_epi8(0x21);

    for (; end - at >= 16; at += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        __m128i out = _mm_or_si128(_mm_cmpeq_epi8(bytes, colon), _mm_cmplt_epi8(bytes, lowest));
        unsigned mask = (unsigned)_mm_movemask_epi8(out);

        if (mask)
            return at + __builtin_ctz(mask);
    }
#endif
    while (at<end && * at> 0x20 && *at != ':')
        at++;
    return at;
}

/* `name` is `lower` but for case. Only sound for names made of letters and '-', since other bytes
 * that meet under | 0x20 (CR and '-') are no part of a line. */
static inline bool same_name(const char *name, const char *lower, size_t length)
{
    uint64_t difference = 0, ours, theirs;
    size_t i = 0;

    for (; i + 8 <= length; i += 8) {
        memcpy(&ours, name + i, 8);
        memcpy(&theirs, lower + i, 8);
        difference |= (ours | 0x2020202020202020u) ^ theirs;
    }
    for (; i < length; i++)
        difference |= (uint64_t)((name[i] | 0x20) ^ lower[i]);
    return difference == 0;
}

#define NAME(text, value)                       \
    if (same_name(name, text, sizeof text - 1)) \
    return value

enum http_name http_name_of(const char *name, size_t length)
{
    switch (length) {
    case 3: NAME("dnt", HTTP_NAME_DNT); break;
    case 4: NAME("host", HTTP_NAME_HOST); break;
    case 5: NAME("x-moz", HTTP_NAME_X_MOZ); break;
    case 7:
        NAME("referer", HTTP_NAME_REFERER);
        NAME("purpose", HTTP_NAME_PURPOSE);
        NAME("sec-gpc", HTTP_NAME_SEC_GPC);
        break;
    case 9: NAME("x-purpose", HTTP_NAME_X_PURPOSE); break;
    case 10:
        NAME("user-agent", HTTP_NAME_USER_AGENT);
        NAME("connection", HTTP_NAME_CONNECTION);
        break;
    case 11: NAME("sec-purpose", HTTP_NAME_SEC_PURPOSE); break;
    case 14: NAME("content-length", HTTP_NAME_CONTENT_LENGTH); break;
    case 15:
        NAME("accept-language", HTTP_NAME_ACCEPT_LANGUAGE);
        NAME("x-forwarded-for", HTTP_NAME_X_FORWARDED_FOR);
        break;
    case 17: NAME("transfer-encoding", HTTP_NAME_TRANSFER_ENCODING); break;
    default: break;
    }
    return HTTP_NAME_OTHER;
}

#undef NAME

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
    else
        head->method = HTTP_OTHER;
    cursor->at++;
    return STEP_DONE;
}

/* Splits path, query and (ignored) fragment, from `at` to the target's end. */
static void split_path(struct http_head *head, const char *at)
{
    const char *end = head->target.bytes + head->target.length;
    const char *fragment = memchr(at, '#', (size_t)(end - at)), *query;

    if (fragment)
        end = fragment;
    query = memchr(at, '?', (size_t)(end - at));
    head->path = (struct text){at, (size_t)((query ? query : end) - at)};
    if (query)
        head->query = (struct text){query + 1, (size_t)(end - query - 1)};
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
        return head->method == HTTP_OTHER;
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

static bool name_is_token(const char *at, const char *end)
{
    if (at == end)
        return false;
    while (at < end && token_bytes[(unsigned char)*at])
        at++;
    return at == end;
}

/* Reads one `name: value CRLF`. */
static enum step read_field(struct cursor *cursor, struct http_head *head, enum http_name *known,
                            struct text *value)
{
    const char *name = cursor->at, *colon = find_colon(name, cursor->end), *start, *stop;
    enum step step;

    *known = http_name_of(name, (size_t)(colon - name));
    if (colon == cursor->end)
        return *known != HTTP_NAME_OTHER || name_is_token(name, colon) ? STEP_PARTIAL
                                                                       : bad(head, 400);
    if (*colon != ':' || (*known == HTTP_NAME_OTHER && !name_is_token(name, colon)))
        return bad(head, 400);
    for (start = colon + 1; start < cursor->end && is_blank(*start); start++)
        continue;
    stop = skip_value(start, cursor->end);
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
        if ((step = read_field(cursor, head, &name, &value)) != STEP_DONE)
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
