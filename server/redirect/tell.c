/* See tell.h. A body is taken only where one is expected, with a Content-Length of at most
 * POSTBACK_BODY_MAX, and whole; behind any other body the connection ends, as everywhere here. */
#include "server/redirect/tell.h"

#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "server/metrics.h"
#include "server/redirect/serve.h"
#include "shared/embed.h"

EMBED(kudos_js, "server/redirect/kudos.js");

#define TAG_DIGITS 16

static struct postback postback; /* large, and there is one per process */

/* The smallest GIF: one transparent pixel. */
static const char gif[] =
    "GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\4\1\0\0\0\0,\0\0\0\0\1\0\1\0"
    "\0\2\2D\1\0;";
static_assert(sizeof gif - 1 == 43, "a GIF of 43 bytes");

static char script_tag[TAG_DIGITS + 3]; /* with quotes */

void tell_open(struct worker *worker)
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    char digits[TAG_DIGITS + 1];

    crypto_hash_sha256(hash, (const unsigned char *)kudos_js, EMBED_SIZE(kudos_js));
    sodium_bin2hex(digits, sizeof digits, hash, TAG_DIGITS / 2);
    snprintf(script_tag, sizeof script_tag, "\"%s\"", digits);
    reply_tag_script(&worker->replies, script_tag);
}

/* The value of a field that nobody else wants. */
static struct text field_of(const struct http_head *head, const char *wanted)
{
    struct text rest = head->fields, name, value;

    while (http_next_field(&rest, &name, &value)) {
        if (text_equals_nocase(name, wanted))
            return value;
    }
    return (struct text){NULL, 0};
}

/* Whether the browser has the script already. */
static bool is_known(const struct http_head *head)
{
    struct text value = field_of(head, "if-none-match");

    return value.length >= sizeof script_tag - 1 &&
           memmem(value.bytes, value.length, script_tag, sizeof script_tag - 1) != NULL;
}

/* What a body is, by its Content-Type: JSON, a form (or nothing said), or nothing that is read. */
static bool is_readable(const struct http_head *head, enum route route, bool *is_json)
{
    struct text rest = field_of(head, "content-type");
    struct text type = text_trim(text_cut(&rest, ';'));

    *is_json = route == ROUTE_BEACON || text_equals_nocase(type, "application/json");
    return *is_json || type.length == 0 || text_equals_nocase(type, "text/plain") ||
           text_equals_nocase(type, "application/x-www-form-urlencoded");
}

/* Why the request is none of those that are taken here; ANSWER_TOLD if it is one. */
static enum answer refusal_of(const struct http_head *head, enum route route)
{
    enum http_method method = head->method;

    if (route == ROUTE_PIXEL && method != HTTP_GET)
        return ANSWER_PIXEL_METHOD;
    if (route == ROUTE_BEACON && method != HTTP_POST)
        return method == HTTP_OPTIONS ? ANSWER_BEACON_MAY : ANSWER_BEACON_METHOD;
    if (route == ROUTE_POSTBACK && method != HTTP_GET && method != HTTP_POST)
        return ANSWER_TOLD_METHOD;
    if (method != HTTP_POST)
        return ANSWER_TOLD;
    if (head->chunked)
        return ANSWER_TOLD_LENGTH;
    return head->content_length > POSTBACK_BODY_MAX ? ANSWER_TOLD_LARGE : ANSWER_TOLD;
}

/* Puts what was told into the journal's round; false if the journal does not take it. */
static struct round_click *record(struct connection *connection)
{
    static unsigned char payload[EVENT_PAYLOAD_MAX];
    const struct event event = {.kind = EVENT_CONVERSION, .conversion = postback.conversion};
    struct worker *worker = connection->worker;
    struct round *round = &worker->round;
    uint64_t seq = journal_append(worker->journal, payload, event_encode(&event, payload));
    struct round_click *told;

    if (seq == 0)
        return NULL;
    assert(round->click_count < JOURNAL_ROUND_MAX);
    told = &round->clicks[round->click_count++];
    *told = (struct round_click){.seq = seq, .connection = connection, .told = true};
    return told;
}

static bool read_told(struct worker *worker, enum route route, struct text body)
{
    struct postback_input input = {
        .path = route == ROUTE_PIXEL    ? CONVERSION_PIXEL
                : route == ROUTE_BEACON ? CONVERSION_BEACON
                                        : CONVERSION_POSTBACK,
        .query = worker->request.query,
        .body = body,
        .click_id_param = worker->context->settings.click_id_param,
        .secret = worker->context->secret,
        .now_us = worker->round.wall_us,
    };
    struct domain domain;

    if (serve_find_domain(worker, &worker->request, &domain))
        input.workspace = domain.workspace;
    if (body.bytes && !is_readable(&worker->head, route, &input.is_json)) {
        strcpy(postback.problem, "");
        return false;
    }
    return postback_read(&input, &postback);
}

static struct text say(const char *before, const char *what)
{
    static char line[POSTBACK_TEXT_MAX + POSTBACK_IGNORED_MAX];
    int length = snprintf(line, sizeof line, "%s%s\n", before, what);

    assert(length > 0 && (size_t)length < sizeof line);
    return (struct text){line, (size_t)length};
}

/* The answer to what cannot be used. */
static void answer_bad(enum route route, struct decision *decision)
{
    metrics->conversions_refused_total++;
    if (route == ROUTE_PIXEL) {
        decision->answer = ANSWER_PIXEL;
        decision->body = (struct text){gif, sizeof gif - 1};
    } else if (postback.problem[0] == '\0') {
        decision->answer = ANSWER_TOLD_TYPE;
    } else {
        decision->answer = route == ROUTE_BEACON ? ANSWER_BEACON_BAD : ANSWER_TOLD_BAD;
        decision->body = say("", postback.problem);
    }
}

static void answer_good(enum route route, struct decision *decision)
{
    decision->answer = route == ROUTE_PIXEL    ? ANSWER_PIXEL
                       : route == ROUTE_BEACON ? ANSWER_BEACON
                                               : ANSWER_TOLD;
    if (route == ROUTE_PIXEL)
        decision->body = (struct text){gif, sizeof gif - 1};
    else if (route == ROUTE_POSTBACK)
        decision->body = postback.ignored[0]
                             ? say("ok; these are not known here: ", postback.ignored)
                             : TEXT("ok\n");
}

static void tell(struct connection *connection, enum route route, struct text body)
{
    struct worker *worker = connection->worker;
    enum reply_connection said = serve_said(connection);
    struct decision decision = {.answer = ANSWER_UNAVAILABLE};
    struct round_click *told = NULL;
    size_t length;

    if (!replica_complete(worker->replica)) {
        metrics->conversions_unavailable_total++;
    } else if (!read_told(worker, route, body)) {
        answer_bad(route, &decision);
    } else if ((told = record(connection)) == NULL) {
        decision.answer = ANSWER_TOLD_LOST;
        metrics->conversions_unavailable_total++;
    } else {
        answer_good(route, &decision);
        metrics->conversions_told_total++;
    }
    length = serve_answer(connection, &decision, said, true);
    if (!told)
        return;
    told->mark = (struct location_mark){.at = worker->round.used - length, .length = length};
    told->said = (uint8_t)said;
    told->answer = (uint8_t)decision.answer;
}

/* Answers without looking at what was told. */
static void answer_plainly(struct connection *connection, enum answer answer)
{
    const struct http_head *head = &connection->worker->head;
    struct decision decision = {.answer = answer};

    if (answer == ANSWER_SCRIPT)
        decision.body = (struct text){kudos_js, EMBED_SIZE(kudos_js)};
    (void)serve_answer(connection, &decision, serve_said(connection), head->method != HTTP_HEAD);
}

int tell_serve(struct connection *connection, enum route route, const char *bytes, size_t length,
               int taken)
{
    struct worker *worker = connection->worker;
    const struct http_head *head = &worker->head;
    enum answer refusal = ANSWER_SCRIPT;
    struct text body = {NULL, 0};

    if (route != ROUTE_SCRIPT)
        refusal = refusal_of(head, route);
    else if (head->method > HTTP_HEAD)
        refusal = ANSWER_METHOD;
    else if (is_known(head))
        refusal = ANSWER_SCRIPT_KNOWN;
    if (refusal == ANSWER_TOLD && head->method == HTTP_POST && http_has_body(head)) {
        size_t whole = (size_t)taken + head->content_length;

        if (length < whole) {
            connection->needed = (unsigned)whole;
            return HTTP_HEAD_PARTIAL;
        }
        body = (struct text){bytes + taken, head->content_length};
        taken = (int)whole;
    }
    connection->lingering = http_has_body(head) && !body.bytes;
    connection->closing = connection->lingering || !head->keep_alive || worker->stopping;
    if (refusal == ANSWER_TOLD)
        tell(connection, route, body);
    else
        answer_plainly(connection, refusal);
    return taken;
}
