/* See report.h. Pure: no store, no clock. */
#include "server/conversions/report.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "server/conversions/click_id.h"
#include "shared/clock.h"
#include "shared/money.h"
#include "shared/text.h"
#include "shared/timestamp.h"

#define EVENT_NAME_MAX 32

struct report {
    const json_t *told;
    const struct report_source *source;
    report_problem *problem;
    void *owner;
    json_t *out;
    bool bad;
};

static void refuse(struct report *report, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void refuse(struct report *report, const char *name, const char *format, ...)
{
    char pointer[64], text[256];
    va_list arguments;

    snprintf(pointer, sizeof pointer, "/%s", name);
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    report->bad = true;
    report->problem(report->owner, pointer, text);
}

static void put(struct report *report, const char *name, json_t *value)
{
    json_object_set_new(report->out, name, value);
}

static bool is_refund(const struct report *report)
{
    const char *event = json_string_value(json_object_get(report->out, "event"));

    return event && strcmp(event, "refund") == 0;
}

/* The member; NULL if it is absent or null. */
static const json_t *member(const struct report *report, const char *name)
{
    const json_t *value = json_object_get(report->told, name);

    return json_is_null(value) ? NULL : value;
}

/* True for a text of 1 to `longest` bytes without control characters. */
static bool is_line(const char *text, size_t length, size_t longest)
{
    if (!text || length == 0 || length > longest)
        return false;
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            return false;
    }
    return true;
}

/* The member, or NULL if it is absent, null or no text of up to `longest` bytes on one line. */
static const char *text_of(struct report *report, const char *name, size_t longest)
{
    const json_t *value = member(report, name);
    const char *text = json_string_value(value);
    size_t length = json_string_length(value);

    if (!value)
        return NULL;
    if (!text || length == 0 || length > longest) {
        refuse(report, name, "must be a text of 1 to %zu bytes", longest);
        return NULL;
    }
    if (!is_line(text, length, longest)) {
        refuse(report, name, "must not contain control characters");
        return NULL;
    }
    return text;
}

/* What it is, and what it is known by ----------------------------------------------------------- */

static void read_event(struct report *report)
{
    const char *event = text_of(report, "event", EVENT_NAME_MAX);

    if (!member(report, "event")) {
        refuse(report, "event",
               "is required: sale, lead, signup, install, refund or a word of your "
               "own");
    } else if (event) {
        if (!(event[0] >= 'a' && event[0] <= 'z') ||
            strspn(event, "abcdefghijklmnopqrstuvwxyz0123456789_") != strlen(event))
            refuse(report, "event", "must be a word in lower case: letters, digits, underscores");
        else
            put(report, "event", json_string(event));
    }
}

/* The click id, or the last of several. */
static const json_t *last_click(const struct report *report)
{
    const json_t *click = member(report, "click_id"), *clicks = member(report, "click_ids");

    return click ? click : json_array_get(clicks, json_array_size(clicks) - 1);
}

static void read_key(struct report *report)
{
    const char *order = text_of(report, "order_id", REPORT_ID_MAX);
    const char *refund = text_of(report, "refund_id", REPORT_ID_MAX);
    const char *external = text_of(report, "external_id", REPORT_ID_MAX);
    const char *click = json_string_value(last_click(report));
    const char *key = is_refund(report) ? (refund ? refund : external)
                      : order           ? order
                      : external        ? external
                                        : click;

    if (order)
        put(report, "order_id", json_string(order));
    if (external)
        put(report, "external_id", json_string(external));
    if (refund && !is_refund(report))
        refuse(report, "refund_id", "belongs to event refund alone");
    if (is_refund(report) && !order)
        refuse(report, "order_id", "is required: the order that the refund takes back");
    if (key)
        put(report, "key", json_string(key));
    else if (is_refund(report))
        refuse(report, "refund_id",
               "is required, or external_id: an order may have several refunds");
    else
        refuse(report, "order_id",
               "is required, or external_id, or click_id: something to know the "
               "conversion by when it is told again");
}

/* Money ------------------------------------------------------------------------------------------ */

static bool read_currency(struct report *report, char out[4])
{
    const char *currency = text_of(report, "currency", 3);

    if (!currency) {
        if (!member(report, "currency"))
            refuse(report, "currency", "is required with an amount: ISO 4217, such as \"EUR\"");
        return false;
    }
    for (int i = 0; i < 4; i++)
        out[i] = (char)toupper((unsigned char)currency[i]);
    if (money_digits(out) >= 0)
        return true;
    refuse(report, "currency", "is none of ISO 4217: \"EUR\", \"USD\", …");
    return false;
}

static bool read_minor(struct report *report, const json_t *value, int64_t *minor)
{
    *minor = json_integer_value(value);
    if (!json_is_integer(value))
        refuse(report, "amount_minor", "must be a whole number of minor units (cents)");
    else if (*minor > MONEY_MINOR_MAX || *minor < -MONEY_MINOR_MAX)
        refuse(report, "amount_minor", "is too large");
    else
        return true;
    return false;
}

static bool read_major(struct report *report, const json_t *value, const char *currency,
                       int64_t *minor)
{
    const char *text = json_string_value(value);
    int digits = money_digits(currency);

    if (!text)
        refuse(report, "amount",
               "must be a decimal number in a text, such as \"49.90\"; a JSON "
               "number may have lost a cent");
    else if (!money_from_decimal(text, digits, minor))
        refuse(report, "amount",
               "must be a decimal number with at most %d digits behind the point (%s)", digits,
               currency);
    else
        return true;
    return false;
}

static void read_money(struct report *report)
{
    const json_t *minor = member(report, "amount_minor");
    const json_t *major = member(report, "amount");
    const char *name = minor ? "amount_minor" : "amount";
    char currency[4];
    int64_t amount;

    if (minor && major)
        refuse(report, "amount", "is given twice: send amount or amount_minor");
    if (!minor && !major) {
        if (member(report, "currency"))
            refuse(report, "amount", "is required with a currency");
        else if (is_refund(report))
            refuse(report, "amount", "is required: what the refund takes back");
        return;
    }
    if (!read_currency(report, currency) || (minor && major) ||
        !(minor ? read_minor(report, minor, &amount)
                : read_major(report, major, currency, &amount)))
        return;
    if (amount < 0) {
        refuse(report, name, "must not be negative: money that goes back is event refund");
        return;
    }
    put(report, "amount_minor", json_integer(is_refund(report) ? -amount : amount));
    put(report, "currency", json_string(currency));
}

/* What led to it --------------------------------------------------------------------------------- */

static json_t *make_time(int64_t time_us)
{
    char text[40];
    struct tm tm;
    time_t seconds = time_us / US_PER_SECOND;
    size_t length;

    gmtime_r(&seconds, &tm);
    length = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + length, sizeof text - length, ".%06dZ", (int)(time_us % US_PER_SECOND));
    return json_string(text);
}

/* What a click id says, into members whose names begin with `stem`. */
static void put_click(json_t *out, const char *stem, const char *text, const unsigned char *secret)
{
    struct click_id id;
    char name[32];

    snprintf(name, sizeof name, "%sid", stem);
    json_object_set_new(out, name, json_string(text));
    if (!click_id_decode(text, strlen(text), secret, &id)) {
        snprintf(name, sizeof name, "%sproblem", stem);
        json_object_set_new(out, name, json_string("bad_signature"));
        return;
    }
    snprintf(name, sizeof name, "%sorigin", stem);
    json_object_set_new(out, name, json_integer((json_int_t)id.origin));
    snprintf(name, sizeof name, "%sseq", stem);
    json_object_set_new(out, name, json_integer((json_int_t)id.seq));
    snprintf(name, sizeof name, "%slink_id", stem);
    json_object_set_new(out, name, json_integer((json_int_t)id.link));
    snprintf(name, sizeof name, "%stime", stem);
    json_object_set_new(out, name, make_time(id.time_us));
}

/* All the clicks that led here, oldest first, as the page script keeps them. */
static void read_clicks(struct report *report)
{
    const json_t *clicks = member(report, "click_ids");
    json_t *touches, *touch;

    if (!clicks)
        return;
    if (!json_is_array(clicks) || json_array_size(clicks) > REPORT_CLICKS_MAX) {
        refuse(report, "click_ids", "must be an array of at most %d texts", REPORT_CLICKS_MAX);
        return;
    }
    touches = json_array();
    for (size_t i = 0; i < json_array_size(clicks); i++) {
        const char *text = json_string_value(json_array_get(clicks, i));

        if (!is_line(text, json_string_length(json_array_get(clicks, i)), REPORT_CLICK_MAX)) {
            refuse(report, "click_ids", "must hold texts of 1 to %d bytes on one line",
                   REPORT_CLICK_MAX);
            break;
        }
        touch = json_object();
        put_click(touch, "", text, report->source->secret);
        json_array_append_new(touches, touch);
    }
    put(report, "touches", touches);
}

static void read_click(struct report *report)
{
    const char *text = text_of(report, "click_id", REPORT_CLICK_MAX);

    read_clicks(report);
    if (!text && !member(report, "click_id"))
        text = json_string_value(last_click(report));
    if (text && !report->bad)
        put_click(report->out, "click_", text, report->source->secret);
}

static void read_code(struct report *report)
{
    const char *text = text_of(report, "code", REPORT_CODE_MAX);
    size_t length = text ? strlen(text) : 0;

    if (!text)
        return;
    for (; *text == ' '; text++)
        length--;
    while (length > 0 && text[length - 1] == ' ')
        length--;
    if (length == 0)
        refuse(report, "code", "is blank");
    else
        put(report, "code", json_stringn(text, length));
}

static void read_occurred(struct report *report)
{
    const char *text = text_of(report, "occurred_at", 40);
    int64_t time_us;

    if (!text)
        return;
    if (!timestamp_parse((struct text){text, strlen(text)}, &time_us) || time_us < 0)
        refuse(report, "occurred_at", "must be a time such as \"2026-11-21T20:00:00Z\"");
    else if (time_us > report->source->now_us + REPORT_AHEAD_MAX_US)
        refuse(report, "occurred_at", "lies in the future");
    else
        put(report, "occurred_at", make_time(time_us));
}

/* The rest --------------------------------------------------------------------------------------- */

static void read_json(struct report *report, const char *name, bool is_array)
{
    const json_t *value = member(report, name);

    if (!value)
        return;
    if (is_array ? !json_is_array(value) : !json_is_object(value))
        refuse(report, name, "must be %s", is_array ? "an array" : "an object");
    else if (json_dumpb(value, NULL, 0, JSON_COMPACT) > REPORT_JSON_MAX)
        refuse(report, name, "must not have more than %d bytes", REPORT_JSON_MAX);
    else
        put(report, name, json_incref((json_t *)(uintptr_t)value));
}

static void refuse_unknown(struct report *report)
{
    static const char *const known[] = {
        "event",    "order_id",  "refund_id", "external_id", "amount", "currency", "amount_minor",
        "click_id", "click_ids", "code",      "customer",    "items",  "metadata", "occurred_at"};
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)report->told, name, value)
    {
        size_t i = 0;

        while (i < sizeof known / sizeof known[0] && strcmp(known[i], name) != 0)
            i++;
        if (i == sizeof known / sizeof known[0])
            refuse(report, name, "is not known here");
    }
}

json_t *report_make(const json_t *told, const struct report_source *source, report_problem *problem,
                    void *owner)
{
    struct report report = {.told = told, .source = source, .problem = problem, .owner = owner};
    const char *customer;

    assert(json_is_object(told));
    report.out = json_pack("{s:s, s:b}", "path", source->path, "verified", source->verified);
    assert(report.out);
    refuse_unknown(&report);
    read_event(&report);
    read_key(&report);
    read_money(&report);
    read_click(&report);
    read_code(&report);
    customer = text_of(&report, "customer", REPORT_CUSTOMER_MAX);
    if (customer)
        put(&report, "customer", json_string(customer));
    read_occurred(&report);
    read_json(&report, "items", true);
    read_json(&report, "metadata", false);
    if (!report.bad)
        return report.out;
    json_decref(report.out);
    return NULL;
}
