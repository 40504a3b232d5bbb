#pragma once
/* What the readers of the shops' bodies (hook_shopify.c, hook_stripe.c, hook_woocommerce.c) share. */
#include <stdint.h>

#include "server/conversions/hook.h"

#define HOOK_ORDER_MAX 200 /* bytes of an order or refund id: room for what is put behind it */

/* Reads one hook into `reports`. */
enum hook_outcome hook_read_shopify(const struct hook *hook, const json_t *body, json_t *reports,
                                    struct error *why);
enum hook_outcome hook_read_stripe(const struct hook *hook, const json_t *body, json_t *reports,
                                   struct error *why);
enum hook_outcome hook_read_woocommerce(const struct hook *hook, const json_t *body,
                                        json_t *reports, struct error *why);

/* The text under `name`; NULL if it is none, or empty. */
const char *hook_text(const json_t *object, const char *name);

/* An id as text, whether it is a number or a text; "" if it is neither, or too long. */
struct hook_id {
    char text[HOOK_ORDER_MAX + 1];
};
struct hook_id hook_id(const json_t *object, const char *name);

/* The currency in capitals; "" if it is none of ISO 4217. */
struct hook_currency {
    char text[4];
};
struct hook_currency hook_currency(const char *text);

/* A decimal amount, which shops write as a text or, at places, as a number: to minor units. Zeros
 * beyond the currency's digits are no error; another digit there is. */
bool hook_amount(const json_t *value, struct hook_currency currency, int64_t *minor);

/* A new report at the end of `reports`; NULL if there are HOOK_REPORTS_MAX. Borrowed. */
json_t *hook_add(json_t *reports, const char *event, const char *order,
                 struct hook_currency currency, int64_t minor);

/* The same for a refund; one of nothing is left out. False if there are too many. */
bool hook_add_refund(json_t *reports, const char *order, const char *refund,
                     struct hook_currency currency, int64_t minor, const char *occurred_at);

/* Members that a sale is not refused for: what is empty, too long or odd is left out. */
void hook_put(json_t *report, const char *name, const char *text, size_t longest);
void hook_put_time(json_t *report, const char *rfc3339);
void hook_put_seconds(json_t *report, int64_t unix_s);
void hook_put_code(json_t *report,
                   const char *code); /* the first counts; all are in the metadata */
void hook_note_code(json_t *report,
                    const char *code); /* what may be a code: counts if it is somebody's here */
void hook_note(json_t *report, const char *name, json_t *value); /* into the metadata */

/* True if a member of this name carries click ids. */
bool hook_is_click(const struct hook *hook, const char *name);

/* The value of such a member: one id, or several, oldest first, of which the last ones are kept. */
void hook_put_clicks(json_t *report, const char *text);

/* True if there is one in the report. */
bool hook_has_click(const json_t *report);

/* Takes the click id out of the query of an address, if it has one and the report has none. */
void hook_put_click_of_url(const struct hook *hook, json_t *report, const char *url);

/* What was bought: the members `sku`, `name` and `quantity` of each line. */
void hook_put_items(json_t *report, const json_t *lines);
