/* See hook.h; what the shops' readers share is in hook_told.h. Amounts never pass through a float: a
 * number that a shop writes without quotes is taken back to its decimal digits first, which is exact
 * for up to 15 of them (DBL_DIG). */
#include "server/conversions/hook.h"

#include <assert.h>
#include <float.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "server/conversions/hook_told.h"
#include "server/conversions/report.h"
#include "shared/money.h"
#include "shared/timestamp.h"

#define AMOUNT_MAX      40
#define ITEM_TEXT_MAX   100 /* all items together stay below REPORT_JSON_MAX, however escaped */
#define NOTE_MAX        16  /* codes of one order */
#define SECONDS_LONGEST 253402300799 /* the end of 9999 */

const char *const hook_shop_names[HOOK_SHOPS] = {"shopify", "stripe", "woocommerce"};

/* --- reading --- */

/* True if it is one line of up to `longest` bytes, and not blank. */
static bool is_plain(const char *text, size_t longest)
{
    size_t length = text ? strlen(text) : 0;

    if (length == 0 || length > longest || strspn(text, " ") == length)
        return false;
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            return false;
    }
    return true;
}

const char *hook_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text && *text ? text : NULL;
}

struct hook_id hook_id(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    const char *text = json_string_value(value);
    struct hook_id out = {""};

    if (is_plain(text, HOOK_ORDER_MAX))
        snprintf(out.text, sizeof out.text, "%s", text);
    else if (json_is_integer(value) && json_integer_value(value) > 0)
        snprintf(out.text, sizeof out.text, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    return out;
}

struct hook_currency hook_currency(const char *text)
{
    struct hook_currency out = {""};

    if (!text || strlen(text) != 3)
        return out;
    for (int i = 0; i < 3; i++)
        out.text[i] = text[i] >= 'a' && text[i] <= 'z' ? (char)(text[i] - 'a' + 'A') : text[i];
    if (money_digits(out.text) < 0)
        out.text[0] = '\0';
    return out;
}

/* "49.90", "49.9000", 49.9 and 50 as the digits that they are. */
static bool decimal_of(const json_t *value, char out[AMOUNT_MAX])
{
    int length = -1;

    if (json_is_string(value))
        length = snprintf(out, AMOUNT_MAX, "%s", json_string_value(value));
    else if (json_is_integer(value))
        length = snprintf(out, AMOUNT_MAX, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        length = snprintf(out, AMOUNT_MAX, "%.*g", DBL_DIG, json_real_value(value));
    return length > 0 && length < AMOUNT_MAX;
}

bool hook_amount(const json_t *value, struct hook_currency currency, int64_t *minor)
{
    int digits = money_digits(currency.text);
    char text[AMOUNT_MAX], *point, *end;

    if (digits < 0 || !decimal_of(value, text))
        return false;
    point = strchr(text, '.');
    if (point) {
        end = text + strlen(text);
        while (end > point + 1 + digits && end[-1] == '0')
            *--end = '\0';
        if (end == point + 1)
            *point = '\0';
    }
    return money_from_decimal(text, digits, minor);
}

bool hook_is_click(const struct hook *hook, const char *name)
{
    static const char *const names[] = {"kudos_id",   "_kudos_id", "click_id",
                                        "_kudos_ids", "kudos_ids", "click_ids"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0)
            return true;
    }
    return strcmp(name, hook->click_param) == 0;
}

/* --- telling --- */

json_t *hook_add(json_t *reports, const char *event, const char *order,
                 struct hook_currency currency, int64_t minor)
{
    json_t *report;

    if (json_array_size(reports) >= HOOK_REPORTS_MAX)
        return NULL;
    report = json_pack("{s:s, s:s, s:I, s:s}", "event", event, "order_id", order, "amount_minor",
                       (json_int_t)minor, "currency", currency.text);
    json_array_append_new(reports, report);
    return report;
}

bool hook_add_refund(json_t *reports, const char *order, const char *refund,
                     struct hook_currency currency, int64_t minor, const char *occurred_at)
{
    json_t *report;

    if (minor <= 0)
        return true;
    report = hook_add(reports, "refund", order, currency, minor);
    hook_put(report, "refund_id", refund, REPORT_ID_MAX);
    hook_put_time(report, occurred_at);
    return report != NULL;
}

void hook_put(json_t *report, const char *name, const char *text, size_t longest)
{
    if (report && is_plain(text, longest))
        json_object_set_new(report, name, json_string(text));
}

void hook_put_time(json_t *report, const char *rfc3339)
{
    int64_t time_us;

    if (rfc3339 && timestamp_parse((struct text){rfc3339, strlen(rfc3339)}, &time_us) &&
        time_us >= 0)
        hook_put(report, "occurred_at", rfc3339, 40);
}

void hook_put_seconds(json_t *report, int64_t unix_s)
{
    time_t seconds = unix_s;
    char text[32];
    struct tm tm;

    if (unix_s <= 0 || unix_s > SECONDS_LONGEST || !gmtime_r(&seconds, &tm))
        return;
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    hook_put_time(report, text);
}

/* The metadata, made when it is first needed. */
static json_t *metadata_of(json_t *report)
{
    json_t *metadata = json_object_get(report, "metadata");

    if (!metadata) {
        metadata = json_object();
        json_object_set_new(report, "metadata", metadata);
    }
    return metadata;
}

void hook_note(json_t *report, const char *name, json_t *value)
{
    bool is_odd = json_is_string(value) && !is_plain(json_string_value(value), REPORT_ID_MAX);

    if (report && value && !is_odd)
        json_object_set(metadata_of(report), name, value);
    json_decref(value);
}

void hook_note_code(json_t *report, const char *code)
{
    json_t *codes, *first = json_object_get(report, "code");

    if (!report || !is_plain(code, REPORT_CODE_MAX))
        return;
    codes = json_object_get(metadata_of(report), "codes");
    if (!codes) {
        codes = first ? json_pack("[O]", first) : json_array();
        json_object_set_new(metadata_of(report), "codes", codes);
    }
    if (json_array_size(codes) < NOTE_MAX)
        json_array_append_new(codes, json_string(code));
}

void hook_put_code(json_t *report, const char *code)
{
    if (report && json_object_get(report, "code"))
        hook_note_code(report, code);
    else
        hook_put(report, "code", code, REPORT_CODE_MAX);
}

/* What stands between several ids: as kudos.clicks().join(" ") writes them, or JSON. */
#define BETWEEN " ,[]\""

/* The next id of a text, moved on behind it; "" at the end, or one that is too long for an id. */
static bool next_click(const char **text, char click[REPORT_CLICK_MAX + 1])
{
    size_t length;

    *text += strspn(*text, BETWEEN);
    length = strcspn(*text, BETWEEN);
    snprintf(click, REPORT_CLICK_MAX + 1, "%.*s", length > REPORT_CLICK_MAX ? 0 : (int)length,
             *text);
    *text += length;
    return length > 0;
}

bool hook_has_click(const json_t *report)
{
    return json_object_get(report, "click_id") || json_object_get(report, "click_ids");
}

void hook_put_clicks(json_t *report, const char *text)
{
    char click[REPORT_CLICK_MAX + 1];
    json_t *clicks;

    if (!text)
        return;
    text += strspn(text, BETWEEN);
    if (!strpbrk(text, BETWEEN)) {
        hook_put(report, "click_id", text, REPORT_CLICK_MAX);
        return;
    }
    clicks = json_array();
    while (next_click(&text, click)) {
        if (!is_plain(click, REPORT_CLICK_MAX))
            continue;
        json_array_append_new(clicks, json_string(click));
        if (json_array_size(clicks) > REPORT_CLICKS_MAX)
            json_array_remove(clicks, 0);
    }
    if (json_array_size(clicks) > 0)
        json_object_set(report, "click_ids", clicks);
    json_decref(clicks);
}

void hook_put_click_of_url(const struct hook *hook, json_t *report, const char *url)
{
    struct text rest = {0};

    if (!url || !report || !strchr(url, '?') || hook_has_click(report))
        return;
    rest.bytes = strchr(url, '?') + 1;
    rest.length = strcspn(rest.bytes, "#");
    while (rest.bytes) {
        struct text value = text_cut(&rest, '&'), name = text_cut(&value, '=');
        char click[REPORT_CLICK_MAX + 1], own[64];

        if (name.length >= sizeof own || value.length >= sizeof click || value.length == 0)
            continue;
        snprintf(own, sizeof own, "%.*s", (int)name.length, name.bytes);
        snprintf(click, sizeof click, "%.*s", (int)value.length, value.bytes);
        if (hook_is_click(hook, own)) {
            hook_put(report, "click_id", click, REPORT_CLICK_MAX);
            return;
        }
    }
}

static json_t *item_of(const json_t *line)
{
    json_t *item = json_object(), *quantity = json_object_get(line, "quantity");

    hook_put(item, "sku", hook_text(line, "sku"), ITEM_TEXT_MAX);
    hook_put(item, "name", hook_text(line, "name"), ITEM_TEXT_MAX);
    if (!json_object_get(item, "name"))
        hook_put(item, "name", hook_text(line, "title"), ITEM_TEXT_MAX);
    if (json_is_integer(quantity))
        json_object_set(item, "quantity", quantity);
    return item;
}

void hook_put_items(json_t *report, const json_t *lines)
{
    json_t *items, *line;
    size_t i;

    if (!report || json_array_size(lines) == 0)
        return;
    items = json_array();
    json_array_foreach(lines, i, line)
    {
        if (i < HOOK_ITEMS_MAX && json_is_object(line))
            json_array_append_new(items, item_of(line));
    }
    json_object_set_new(report, "items", items);
}

/* --- a hook --- */

static const struct {
    enum hook_outcome (*read)(const struct hook *hook, const json_t *body, json_t *reports,
                              struct error *why);
} shops[HOOK_SHOPS] = {
    [HOOK_SHOPIFY] = {hook_read_shopify},
    [HOOK_STRIPE] = {hook_read_stripe},
    [HOOK_WOOCOMMERCE] = {hook_read_woocommerce},
};

enum hook_outcome hook_read(const struct hook *hook, struct text body, json_t **reports,
                            struct error *why)
{
    json_error_t json_error;
    json_t *json = json_loadb(body.bytes, body.length, JSON_REJECT_DUPLICATES, &json_error);
    enum hook_outcome outcome = HOOK_UNREADABLE;

    *reports = json_array();
    assert(*reports && hook->shop < HOOK_SHOPS);
    error_set(why, "nothing that is a conversion");
    if (!json)
        error_set(why, "the body is no JSON: %s", json_error.text);
    else if (!json_is_object(json))
        error_set(why, "the body is no JSON object");
    else
        outcome = shops[hook->shop].read(hook, json, *reports, why);
    json_decref(json);
    assert(outcome != HOOK_TOLD || json_array_size(*reports) > 0);
    if (outcome != HOOK_TOLD)
        json_array_clear(*reports);
    return outcome;
}
