/* See postback.h. Parameters of the query come first, then those of the body; what is told twice
 * must be the same. Postbacks carry much that is nobody's business here (addresses, names of
 * placements), so that only what is known is kept. */
#include "server/conversions/postback.h"

#include <assert.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/conversions/postback_memory.h"
#include "server/conversions/postback_names.h"
#include "server/conversions/report.h"
#include "server/conversions/told.h"
#include "shared/clock.h"

#define REJECTED_ID    "rejected" /* the refund that a rejection is */
#define SECONDS_DIGITS 10         /* of a time that is told in seconds since 1970 */
#define MILLIS_DIGITS  13
#define CLICK_IDS_MAX  20

static_assert(EVENT_HASH_BYTES == crypto_hash_sha256_BYTES, "hashes are SHA-256");

struct reading {
    const struct postback_input *input;
    struct postback *out;
    json_t *values[MEMBER_COUNT];
    unsigned parameters;
    bool in_query; /* what is read now is the query */
    bool bad;
};

static void refuse(struct reading *reading, const char *name, const char *text)
{
    if (!reading->bad) /* the first will do */
        snprintf(reading->out->problem, sizeof reading->out->problem, "%s: %s", name, text);
    reading->bad = true;
}

/* Takes down a name that means nothing, as far as there is room, and only what may be sent back. */
static void ignore(struct reading *reading, struct text name)
{
    char *list = reading->out->ignored;
    size_t length = strlen(list), need = name.length + (length > 0 ? 2 : 0);

    if (name.length == 0 || name.length > 40 || length + need >= POSTBACK_IGNORED_MAX)
        return;
    for (size_t i = 0; i < name.length; i++) {
        if (!ascii_is_alnum(name.bytes[i]) && !strchr("_-.", name.bytes[i]))
            return;
    }
    snprintf(list + length, POSTBACK_IGNORED_MAX - length, "%s%.*s", length > 0 ? ", " : "",
             (int)name.length, name.bytes);
}

/* Members ---------------------------------------------------------------------------------------- */

/* Ids that come as JSON numbers are texts all the same. */
static json_t *as_text(const json_t *value)
{
    char text[24];

    if (!json_is_integer(value))
        return json_incref((json_t *)(uintptr_t)value);
    snprintf(text, sizeof text, "%lld", (long long)json_integer_value(value));
    return json_string(text);
}

static bool is_id(enum postback_member member)
{
    return member == MEMBER_ORDER || member == MEMBER_REFUND || member == MEMBER_EXTERNAL ||
           member == MEMBER_CUSTOMER || member == MEMBER_SOURCE || member == MEMBER_OCCURRED;
}

static void take_member(struct reading *reading, enum postback_member member, const json_t *value)
{
    const char *name = postback_member_name(member);
    json_t *known = reading->values[member], *taken;

    if (json_is_null(value) || (json_is_string(value) && json_string_length(value) == 0))
        return; /* a macro that had nothing to say */
    if (member == MEMBER_SIGNATURE && !reading->in_query) {
        refuse(reading, name, "belongs at the end of the query");
        return;
    }
    taken = is_id(member) ? as_text(value) : json_incref((json_t *)(uintptr_t)value);
    if (known && !json_equal(known, taken))
        refuse(reading, name, "is given twice, with different values");
    reading->values[member] = taken;
}

/* A query or a form ------------------------------------------------------------------------------ */

static int hex_digit(char c)
{
    c = ascii_lower(c);
    return ascii_is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes %XX and '+'; what is no code stays as it is. `out` has room for as many bytes. */
static struct text decode(struct text text, char *out)
{
    size_t length = 0;

    for (size_t i = 0; i < text.length; i++) {
        int high = i + 2 < text.length && text.bytes[i] == '%' ? hex_digit(text.bytes[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(text.bytes[i + 2]) : -1;

        if (low >= 0) {
            out[length++] = (char)(high << 4 | low);
            i += 2;
        } else {
            out[length++] = text.bytes[i];
            if (text.bytes[i] == '+')
                out[length - 1] = ' ';
        }
    }
    return (struct text){out, length};
}

static void take_parameter(struct reading *reading, struct text name, struct text value)
{
    enum postback_member member = postback_member_of(name, reading->input->click_id_param);
    json_t *text;

    if (member == MEMBER_UNKNOWN || member == MEMBER_ITEMS || member == MEMBER_METADATA) {
        ignore(reading, name);
        return;
    }
    text = json_stringn(value.bytes, value.length);
    if (!text)
        refuse(reading, postback_member_name(member), "must be UTF-8");
    else
        take_member(reading, member, text);
}

static void read_parameters(struct reading *reading, struct text rest)
{
    static char names[POSTBACK_BODY_MAX], values[POSTBACK_BODY_MAX];

    while (rest.bytes && !reading->bad) {
        struct text value = text_cut(&rest, '&');
        struct text name = text_cut(&value, '=');

        if (name.length == 0)
            continue;
        if (++reading->parameters > POSTBACK_PARAMETERS || name.length > sizeof names ||
            value.length > sizeof values) {
            refuse(reading, "request", "has too many or too long parameters");
            return;
        }
        if (!value.bytes)
            value = (struct text){"", 0};
        take_parameter(reading, decode(name, names), decode(value, values));
    }
}

/* JSON ------------------------------------------------------------------------------------------- */

static void read_json(struct reading *reading, struct text body)
{
    json_error_t error = {.line = 0};
    json_t *told = json_loadb(body.bytes, body.length, JSON_REJECT_DUPLICATES, &error), *value;
    const char *name;

    if (postback_memory_failed()) {
        refuse(reading, "body", "is too complex");
        return;
    }
    if (!json_is_object(told)) {
        refuse(reading, "body", told ? "must be one JSON object" : "is no JSON");
        return;
    }
    json_object_foreach(told, name, value)
    {
        struct text text = {name, strlen(name)};
        enum postback_member member = postback_member_of(text, reading->input->click_id_param);

        if (member == MEMBER_UNKNOWN)
            ignore(reading, text);
        else
            take_member(reading, member, value);
    }
}

/* Who says so ------------------------------------------------------------------------------------ */

static const char *text_of(const struct reading *reading, enum postback_member member)
{
    return json_string_value(reading->values[member]);
}

static void read_source(struct reading *reading)
{
    const char *text = text_of(reading, MEMBER_SOURCE);
    char *end;

    if (!reading->values[MEMBER_SOURCE])
        return;
    reading->out->conversion.source = text ? strtoull(text, &end, 10) : 0;
    if (!text || !ascii_is_digit(*text) || *end || strlen(text) > 18 ||
        reading->out->conversion.source == 0)
        refuse(reading, "source", "must be the number of a source");
}

static void read_token(struct reading *reading)
{
    const char *text = text_of(reading, MEMBER_TOKEN);

    if (!reading->values[MEMBER_TOKEN])
        return;
    if (!text || strlen(text) > REPORT_ID_MAX)
        refuse(reading, "token", "must be a text");
    else
        crypto_hash_sha256(reading->out->conversion.token_hash, (const unsigned char *)text,
                           strlen(text));
}

/* What was signed: the query up to its last parameter, the signature; and the body, if there is one,
 * behind a line feed, which no query contains. */
static void digest_of(const struct postback_input *input, size_t signed_length,
                      unsigned char out[EVENT_HASH_BYTES])
{
    crypto_hash_sha256_state state;

    crypto_hash_sha256_init(&state);
    crypto_hash_sha256_update(&state, (const unsigned char *)input->query.bytes, signed_length);
    if (input->body.bytes) {
        crypto_hash_sha256_update(&state, (const unsigned char *)"\n", 1);
        crypto_hash_sha256_update(&state, (const unsigned char *)input->body.bytes,
                                  input->body.length);
    }
    crypto_hash_sha256_final(&state, out);
}

static void read_signature(struct reading *reading)
{
    static const char mark[] = "&signature=";
    const char *text = text_of(reading, MEMBER_SIGNATURE);
    struct conversion *conversion = &reading->out->conversion;
    struct text query = reading->input->query;
    size_t length = text ? strlen(text) : 0, tail = sizeof mark - 1 + length, size;

    if (!reading->values[MEMBER_SIGNATURE])
        return;
    if (length != 2 * EVENT_HASH_BYTES ||
        sodium_hex2bin(conversion->signature, EVENT_HASH_BYTES, text, length, NULL, &size, NULL) ||
        size != EVENT_HASH_BYTES)
        refuse(reading, "signature", "must be 64 hexadecimal digits");
    else if (query.length < tail ||
             memcmp(query.bytes + query.length - tail, mark, sizeof mark - 1) != 0)
        refuse(reading, "signature", "must be the last parameter of the query");
    else if (!reading->values[MEMBER_SOURCE])
        refuse(reading, "source", "is required with a signature");
    else
        digest_of(reading->input, query.length - tail, conversion->digest);
}

/* The report ------------------------------------------------------------------------------------- */

static void set(json_t *told, const char *name, const char *text)
{
    json_object_set_new(told, name, json_string(text));
}

/* In a query a whole number is a text. */
static void put_minor(struct reading *reading, json_t *told)
{
    const char *text = text_of(reading, MEMBER_MINOR);
    json_t *value = reading->values[MEMBER_MINOR];

    if (!value)
        return;
    if (text && strlen(text) <= 15 && strspn(text, "0123456789") == strlen(text))
        value = json_integer(strtoll(text, NULL, 10));
    json_object_set_new(told, "amount_minor", value);
}

static void put_time(struct reading *reading, json_t *told)
{
    const char *text = text_of(reading, MEMBER_OCCURRED);
    size_t length = text ? strlen(text) : 0;
    char out[32];
    time_t seconds;
    struct tm tm;

    if ((length == SECONDS_DIGITS || length == MILLIS_DIGITS) &&
        strspn(text, "0123456789") == length) {
        seconds = (time_t)(strtoll(text, NULL, 10) / (length == MILLIS_DIGITS ? 1000 : 1));
        gmtime_r(&seconds, &tm);
        strftime(out, sizeof out, "%Y-%m-%dT%H:%M:%SZ", &tm);
        set(told, "occurred_at", out);
    } else if (reading->values[MEMBER_OCCURRED]) {
        json_object_set_new(told, "occurred_at", reading->values[MEMBER_OCCURRED]);
    }
}

/* Several clicks, oldest first; the last stands for them, unless one is named. */
static void put_clicks(struct reading *reading, json_t *told)
{
    json_t *list = reading->values[MEMBER_CLICKS];
    size_t count = json_array_size(list);

    if (list && (!json_is_array(list) || count > CLICK_IDS_MAX))
        refuse(reading, "click_ids", "must be an array of at most 20 texts");
    else if (count > 0)
        json_object_set(told, "click_ids", list);
}

static void put_event(struct reading *reading, json_t *told)
{
    const char *text = text_of(reading, MEMBER_EVENT);
    char word[64];

    if (text && strlen(text) < sizeof word) {
        struct text event = postback_event_of((struct text){text, strlen(text)});

        for (size_t i = 0; i < event.length; i++)
            word[i] = ascii_lower(event.bytes[i]);
        word[event.length] = '\0';
        set(told, "event", word);
    } else if (reading->values[MEMBER_EVENT]) {
        json_object_set_new(told, "event", reading->values[MEMBER_EVENT]);
    } else {
        set(told, "event", reading->values[MEMBER_REFUND] ? "refund" : "sale");
    }
}

/* A sale that is none after all is a refund of what it is said to have been. */
static void put_rejection(struct reading *reading, json_t *told)
{
    const char *event = json_string_value(json_object_get(told, "event"));
    const char *order = text_of(reading, MEMBER_ORDER);
    char key[sizeof REJECTED_ID + 1 + REPORT_ID_MAX];

    if (!event || strcmp(event, "sale") != 0) {
        refuse(reading, "status", "only a sale can be rejected");
        return;
    }
    set(told, "event", "refund");
    if (!order) {
        refuse(reading, "order_id", "is required to reject a sale");
        return;
    }
    snprintf(key, sizeof key, REJECTED_ID ":%.*s", REPORT_ID_MAX, order);
    set(told, "refund_id", key);
}

static enum postback_status status_of(struct reading *reading)
{
    const char *text = text_of(reading, MEMBER_STATUS);
    enum postback_status status = STATUS_APPROVED;

    if (reading->values[MEMBER_STATUS])
        status = text ? postback_status_of((struct text){text, strlen(text)}) : STATUS_UNKNOWN;
    if (status == STATUS_UNKNOWN)
        refuse(reading, "status", "must be approved, pending or rejected, or a word for these");
    return status;
}

static json_t *make_told(struct reading *reading, enum postback_status status)
{
    json_t *told = json_object();

    for (enum postback_member member = MEMBER_ORDER; member <= MEMBER_METADATA; member++) {
        if (reading->values[member] && member != MEMBER_MINOR && member != MEMBER_OCCURRED &&
            member != MEMBER_CLICKS)
            json_object_set(told, postback_member_name(member), reading->values[member]);
    }
    put_event(reading, told);
    put_minor(reading, told);
    put_time(reading, told);
    put_clicks(reading, told);
    if (reading->values[MEMBER_PAYOUT] && !reading->values[MEMBER_AMOUNT] &&
        !reading->values[MEMBER_MINOR])
        json_object_set(told, "amount", reading->values[MEMBER_PAYOUT]);
    if (status == STATUS_REJECTED)
        put_rejection(reading, told);
    return told;
}

static void on_problem(void *owner, const char *pointer, const char *text)
{
    refuse(owner, pointer + 1, text);
}

static void finish(struct reading *reading)
{
    const struct postback_input *input = reading->input;
    struct postback *out = reading->out;
    struct report_source source = {.path = conversion_path_name((uint8_t)input->path),
                                   .secret = input->secret,
                                   .now_us = input->now_us};
    enum postback_status status = status_of(reading);
    json_t *told, *report;

    postback_memory_extend();
    told = make_told(reading, status);
    report = reading->bad ? NULL : report_make(told, &source, on_problem, reading);
    if (!report)
        return;
    if (status == STATUS_PENDING)
        json_object_set_new(report, "pending", json_true());
    out->conversion.told = (struct text){out->told, told_write(report, out->told)};
    if (postback_memory_failed() || out->conversion.told.length == 0)
        refuse(reading, "request", "is too large");
}

bool postback_read(const struct postback_input *input, struct postback *out)
{
    struct reading reading = {.input = input, .out = out};
    struct text body = input->body;

    assert(conversion_path_name((uint8_t)input->path) && body.length <= POSTBACK_BODY_MAX);
    out->conversion = (struct conversion){
        .time_us = input->now_us, .workspace = input->workspace, .path = (uint8_t)input->path};
    out->problem[0] = out->ignored[0] = '\0';
    postback_memory_begin();
    reading.in_query = true;
    read_parameters(&reading, input->query);
    reading.in_query = false;
    if (body.bytes && (input->is_json || (body.length > 0 && body.bytes[0] == '{')))
        read_json(&reading, body);
    else if (body.bytes)
        read_parameters(&reading, body);
    read_source(&reading);
    read_token(&reading);
    read_signature(&reading);
    if (!reading.bad)
        finish(&reading);
    postback_memory_end();
    return !reading.bad;
}
