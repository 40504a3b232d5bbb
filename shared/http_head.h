#pragma once
/* The head of an HTTP/1.0 or 1.1 request (RFC 9112), parsed strictly.
 *
 * Zero-copy and without allocation: what it finds are spans of the caller's bytes. Nothing is
 * repaired: whatever two implementations could read in two ways is refused, so that no request can
 * be smuggled past a proxy. Refused are bare CR or LF, white space before a colon, folded lines,
 * NUL and other control characters, versions other than 1.0 and 1.1, a missing, repeated or
 * malformed Host, a repeated or malformed Content-Length, any transfer coding other than exactly
 * `chunked`, Transfer-Encoding beside Content-Length or in HTTP/1.0.
 *
 * It never reads past `length`, and comes to the same end whether a head arrives at once or byte by
 * byte (a fault in a line that is not finished may be told only with the line's end). It does not
 * look at the body. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/error.h"
#include "shared/text.h"

/* Results of http_head_parse() that are no length. */
#define HTTP_HEAD_BAD     (-1) /* answer head->status and close */
#define HTTP_HEAD_PARTIAL (-2) /* come again with more bytes */

struct http_limits {
    size_t head_bytes;   /* longer: 431 */
    size_t target_bytes; /* longer: 414 */
    unsigned fields;     /* more: 431 */
};

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_OPTIONS, HTTP_OTHER };

enum http_form {
    HTTP_ORIGIN,    /* /path?query */
    HTTP_ABSOLUTE,  /* http://host/path?query */
    HTTP_AUTHORITY, /* host:port, with CONNECT */
    HTTP_ASTERISK,  /* *, with OPTIONS */
};

/* Fields that somebody here wants; all others are checked and skipped. */
enum http_name {
    HTTP_NAME_HOST,
    HTTP_NAME_CONNECTION,
    HTTP_NAME_CONTENT_LENGTH,
    HTTP_NAME_TRANSFER_ENCODING,
    HTTP_NAME_USER_AGENT,
    HTTP_NAME_ACCEPT_LANGUAGE,
    HTTP_NAME_REFERER,
    HTTP_NAME_SEC_PURPOSE,
    HTTP_NAME_PURPOSE,
    HTTP_NAME_X_PURPOSE,
    HTTP_NAME_X_MOZ,
    HTTP_NAME_SEC_GPC,
    HTTP_NAME_DNT,
    HTTP_NAME_X_FORWARDED_FOR,
    HTTP_NAME_FORWARDED,
    HTTP_NAME_SEC_CH_UA,
    HTTP_NAME_SEC_CH_UA_MOBILE,
    HTTP_NAME_SEC_CH_UA_PLATFORM,
    HTTP_NAME_SEC_CH_UA_MODEL,
    HTTP_NAME_X_REQUESTED_WITH,
    HTTP_NAME_OTHER,
};

struct http_head {
    int status; /* why it is HTTP_HEAD_BAD: 400, 414 or 431 */
    enum http_method method;
    enum http_form form;
    int minor_version; /* HTTP/1.x */
    bool keep_alive;   /* the client would keep the connection */
    bool chunked;
    uint64_t content_length;
    unsigned field_count;
    struct text target; /* as it was sent */
    struct text host;   /* with port; of the target where that is absolute, else of Host */
    struct text path;   /* from its slash on; empty for `*`, authority and a bare host */
    struct text query;  /* between '?' and '#' */
    struct text known[HTTP_NAME_OTHER]; /* value of the first line of that name */
    uint32_t repeated;                  /* bit 1 << name: there are more lines of it */
    struct text fields;                 /* all lines, for http_next_field() */
};

/* Parses the head at `bytes`. `seen` is how many of these bytes an earlier call has already found
 * to be partial (0 at first); it saves work and changes no result. Returns the length of the head
 * with its empty line, or one of the two above. Empty lines before the request line are skipped. */
int http_head_parse(const char *bytes, size_t length, size_t seen, const struct http_limits *limits,
                    struct http_head *head) MUST_CHECK;

/* Walks the field lines of a parsed head: `rest` starts as head->fields. False at the end. */
bool http_next_field(struct text *rest, struct text *name, struct text *value) MUST_CHECK;

/* What a name is; case does not matter. */
enum http_name http_name_of(const char *name, size_t length);

/* True if a body follows the head. */
static inline bool http_has_body(const struct http_head *head)
{
    return head->chunked || head->content_length > 0;
}
