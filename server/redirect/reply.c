/* See reply.h. */
#include "server/redirect/reply.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "server/redirect/preview.h"
#include "shared/clock.h"

#define PRIVATE "Cache-Control: private, no-store\r\n"
#define PLAIN   "Content-Type: text/plain; charset=utf-8\r\n"
#define DAY     "Cache-Control: public, max-age=86400\r\n"

/* The referrer policy lets the shop see which site its visitor came from, and no more than that. */
#define REDIRECT \
    PRIVATE "Referrer-Policy: strict-origin-when-cross-origin\r\nX-Robots-Tag: noindex\r\n"

/* No script, nothing from elsewhere, in nobody's frame. */
#define PAGE                                                                              \
    PRIVATE "Content-Type: text/html; charset=utf-8\r\n"                                  \
            "Content-Security-Policy: default-src 'none'; style-src '" PREVIEW_STYLE_HASH \
            "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"          \
            "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"         \
            "X-Robots-Tag: noindex\r\n"

#define LENGTH "Content-Length: "

/* What is said about a conversion is for whoever told it. Scripts of any shop may read whether their
 * beacon arrived; nothing else here is for scripts. */
#define SAID    PRIVATE PLAIN "X-Content-Type-Options: nosniff\r\n"
#define ANYBODY "Access-Control-Allow-Origin: *\r\n"
#define SCRIPT  "Cache-Control: public, max-age=3600\r\n"

struct form {
    const char *status;
    const char *fields;
    const char *body; /* NULL: decision.body */
};

static const struct form forms[ANSWER_COUNT] = {
    [ANSWER_HEALTH] = {"200 OK", PRIVATE PLAIN, "ok\n"},
    /* Robots may come in: what they find says noindex, which they could not see otherwise. */
    [ANSWER_ROBOTS] = {"200 OK", DAY PLAIN, "User-agent: *\nDisallow:\n"},
    [ANSWER_JSON] = {"200 OK",
                     "Cache-Control: public, max-age=300\r\nContent-Type: application/json\r\n"
                     "X-Content-Type-Options: nosniff\r\n",
                     NULL},
    [ANSWER_PREVIEW] = {"200 OK", PAGE, NULL},
    [ANSWER_FAVICON] = {"204 No Content", DAY, ""},
    [ANSWER_MOVED] = {"301 Moved Permanently", REDIRECT, ""},
    [ANSWER_FOUND] = {"302 Found", REDIRECT, ""},
    [ANSWER_TEMPORARY] = {"307 Temporary Redirect", REDIRECT, ""},
    [ANSWER_PERMANENT] = {"308 Permanent Redirect", REDIRECT, ""},
    [ANSWER_BAD] = {"400 Bad Request", PRIVATE PLAIN, "This request is malformed.\n"},
    [ANSWER_NOT_FOUND] = {"404 Not Found", PRIVATE PLAIN "X-Robots-Tag: noindex\r\n",
                          "There is no such link.\n"},
    [ANSWER_METHOD] = {"405 Method Not Allowed", PRIVATE PLAIN "Allow: GET, HEAD\r\n",
                       "Only GET and HEAD work here.\n"},
    [ANSWER_TIMEOUT] = {"408 Request Timeout", PRIVATE PLAIN, "The request took too long.\n"},
    [ANSWER_GONE] = {"410 Gone", PRIVATE PLAIN "X-Robots-Tag: noindex\r\n",
                     "This link has expired.\n"},
    [ANSWER_TARGET_LONG] = {"414 URI Too Long", PRIVATE PLAIN, "The address is too long.\n"},
    [ANSWER_HEAD_LARGE] = {"431 Request Header Fields Too Large", PRIVATE PLAIN,
                           "The request's header is too large.\n"},
    /* The browser does without what it wanted beforehand, and asks again when somebody follows the
     * link: that is the click. */
    [ANSWER_PREFETCH] = {"503 Service Unavailable", PRIVATE PLAIN "X-Robots-Tag: noindex\r\n",
                         "This link is not for fetching ahead.\n"},
    [ANSWER_UNAVAILABLE] = {"503 Service Unavailable", PRIVATE PLAIN "Retry-After: 1\r\n",
                            "Links are not loaded yet. Try again in a second.\n"},
    [ANSWER_TOLD] = {"200 OK", SAID, NULL},
    [ANSWER_PIXEL] = {"200 OK", PRIVATE "Content-Type: image/gif\r\n", NULL},
    [ANSWER_SCRIPT] = {"200 OK",
                       SCRIPT "Content-Type: text/javascript; charset=utf-8\r\n"
                              "X-Content-Type-Options: nosniff\r\n"
                              "Cross-Origin-Resource-Policy: cross-origin\r\n" ANYBODY,
                       NULL},
    [ANSWER_SCRIPT_KNOWN] = {"304 Not Modified", SCRIPT, ""},
    [ANSWER_BEACON] = {"204 No Content", PRIVATE ANYBODY, ""},
    [ANSWER_BEACON_MAY] = {"204 No Content",
                           ANYBODY "Access-Control-Allow-Methods: POST\r\n"
                                   "Access-Control-Allow-Headers: Content-Type\r\n"
                                   "Access-Control-Max-Age: 86400\r\n",
                           ""},
    [ANSWER_TOLD_BAD] = {"400 Bad Request", SAID, NULL},
    [ANSWER_BEACON_BAD] = {"400 Bad Request", SAID ANYBODY, NULL},
    [ANSWER_TOLD_METHOD] = {"405 Method Not Allowed", SAID "Allow: GET, POST\r\n",
                            "Only GET and POST work here.\n"},
    [ANSWER_PIXEL_METHOD] = {"405 Method Not Allowed", SAID "Allow: GET\r\n",
                             "Only GET works here.\n"},
    [ANSWER_BEACON_METHOD] = {"405 Method Not Allowed", SAID "Allow: POST, OPTIONS\r\n",
                              "Only POST works here.\n"},
    [ANSWER_TOLD_LENGTH] = {"411 Length Required", SAID, "The body needs a Content-Length.\n"},
    [ANSWER_TOLD_LARGE] = {"413 Content Too Large", SAID,
                           "The body may have 16384 bytes at most.\n"},
    [ANSWER_TOLD_TYPE] = {"415 Unsupported Media Type", SAID,
                          "The body must be a form (application/x-www-form-urlencoded) or JSON.\n"},
    [ANSWER_TOLD_LOST] = {"503 Service Unavailable", "Retry-After: 5\r\n", ""},
};

static const struct text connections[] = {
    [REPLY_STAYS] = {"", 0},
    [REPLY_KEEP_ALIVE] = {"Connection: keep-alive\r\n", 24},
    [REPLY_CLOSE] = {"Connection: close\r\n", 19},
};

static bool is_redirect(enum answer answer)
{
    return answer >= ANSWER_MOVED && answer <= ANSWER_PERMANENT;
}

static char *put(char *at, const char *bytes, size_t length)
{
    memcpy(at, bytes, length);
    return at + length;
}

void reply_open(struct reply_writer *writer, const char *click_id_param)
{
    size_t length = strlen(click_id_param);

    memset(writer, 0, sizeof *writer);
    assert(3 * length <= sizeof writer->name);
    writer->name_length = location_encode_name(click_id_param, length, writer->name);
}

void reply_tag_script(struct reply_writer *writer, const char *tag)
{
    snprintf(writer->script_tag, sizeof writer->script_tag, "ETag: %s\r\n", tag);
    writer->built_for_s = 0;
}

/* RFC 9110: no Content-Length in a 204, and none that is wrong in a 304. */
static bool has_length(enum answer answer)
{
    int status = answer_status(answer);

    return status != 204 && status != 304;
}

/* Everything up to what differs from request to request. */
static size_t build_head(const struct reply_writer *writer, enum answer answer, const char *date,
                         char out[REPLY_HEAD_MAX])
{
    const struct form *form = &forms[answer];
    const char *last = is_redirect(answer) ? "Location: " : form->body ? "" : LENGTH;
    bool is_script = answer == ANSWER_SCRIPT || answer == ANSWER_SCRIPT_KNOWN;
    char size[64] = "";
    int length;

    if (form->body && has_length(answer))
        snprintf(size, sizeof size, LENGTH "%zu\r\n", strlen(form->body));
    length = snprintf(out, REPLY_HEAD_MAX, "HTTP/1.1 %s\r\nDate: %s\r\n%s%s%s%s", form->status,
                      date, form->fields, is_script ? writer->script_tag : "", size, last);
    assert(length > 0 && length < REPLY_HEAD_MAX);
    assert(!form->body || strlen(form->body) <= REPLY_BODY_MAX);
    return (size_t)length;
}

void reply_set_time(struct reply_writer *writer, int64_t wall_us)
{
    int64_t second = wall_us / US_PER_SECOND;
    char date[HTTP_DATE_BYTES + 1];

    if (second == writer->built_for_s)
        return;
    writer->built_for_s = second;
    clock_http_date(wall_us, date);
    for (int i = 0; i < ANSWER_COUNT; i++)
        writer->head_lengths[i] =
            (uint16_t)build_head(writer, (enum answer)i, date, writer->heads[i]);
}

size_t reply_max(size_t target_length)
{
    size_t redirect = location_max(target_length), body = REPLY_BODY_MAX;

    if (body < PREVIEW_MAX)
        body = PREVIEW_MAX;
    if (body < DOMAIN_JSON_MAX)
        body = DOMAIN_JSON_MAX;
    return REPLY_HEAD_MAX + (redirect > body ? redirect : body) + 64;
}

/* A body that is the decision's own. */
static char *put_own_body(const struct decision *decision, const struct text *said, bool with_body,
                          char *at)
{
    at += snprintf(at, 32, "%zu\r\n", decision->body.length);
    at = put(at, said->bytes, said->length);
    at = put(at, "\r\n", 2);
    return with_body && decision->body.length > 0
               ? put(at, decision->body.bytes, decision->body.length)
               : at;
}

size_t reply_write(const struct reply_writer *writer, const struct decision *decision,
                   enum reply_connection connection, bool with_body, const char *click_id,
                   char *out, struct location_mark *mark)
{
    enum answer answer = decision->answer;
    const struct text *said = &connections[connection];
    char *at = out;

    assert(writer->built_for_s != 0 && answer < ANSWER_COUNT);
    *mark = (struct location_mark){.length = 0};
    at = put(at, writer->heads[answer], writer->head_lengths[answer]);
    if (!forms[answer].body)
        return (size_t)(put_own_body(decision, said, with_body, at) - out);
    if (is_redirect(answer)) {
        struct text name = {writer->name, writer->name_length};
        size_t length = location_write(decision, &name, click_id, at, mark);

        mark->at += (size_t)(at - out);
        at += length;
        at = put(at, "\r\n", 2);
    }
    at = put(at, said->bytes, said->length);
    at = put(at, "\r\n", 2);
    if (with_body)
        at = put(at, forms[answer].body, strlen(forms[answer].body));
    return (size_t)(at - out);
}
