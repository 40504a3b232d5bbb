/* WooCommerce's webhooks: topics order.created, order.updated and order.restored; the body is an order
 * with its refunds.
 *
 * An order counts once it is paid, or in work (cash on delivery): baskets that were never paid for are
 * left out. Money that goes back is a refund; an order in work that is cancelled, and was not paid,
 * is taken back as a whole. */
#include <stdio.h>
#include <string.h>

#include "server/conversions/hook_told.h"
#include "server/conversions/report.h"

static bool is_status(const json_t *order, const char *wanted)
{
    const char *status = hook_text(order, "status");

    return status && strcmp(status, wanted) == 0;
}

static bool is_paid(const json_t *order)
{
    return hook_text(order, "date_paid") || hook_text(order, "date_paid_gmt");
}

/* It was in work without having been paid, and was given up. */
static bool is_given_up(const json_t *order)
{
    const char *method = hook_text(order, "payment_method");

    return is_status(order, "cancelled") && !is_paid(order) && method && strcmp(method, "cod") == 0;
}

static bool is_sale(const json_t *order)
{
    return is_paid(order) || is_status(order, "processing") || is_status(order, "completed") ||
           is_status(order, "refunded") || is_given_up(order);
}

/* `name` "date_created": "…_gmt" has no zone, and is UTC. */
static void put_time(json_t *report, const json_t *order)
{
    const char *text = hook_text(order, "date_created_gmt");
    char utc[48];

    if (!text)
        return;
    snprintf(utc, sizeof utc, "%.40sZ", text);
    hook_put_time(report, utc);
}

static void put_touches(const struct hook *hook, json_t *report, const json_t *order)
{
    const json_t *each;
    size_t i;

    json_array_foreach(json_object_get(order, "meta_data"), i, each)
    {
        const char *key = hook_text(each, "key");

        if (key && hook_is_click(hook, key))
            hook_put_clicks(report, hook_text(each, "value"));
    }
    json_array_foreach(json_object_get(order, "meta_data"), i, each)
    {
        const char *key = hook_text(each, "key"); /* WooCommerce's own: where the visit began */

        if (key && strcmp(key, "_wc_order_attribution_session_entry") == 0)
            hook_put_click_of_url(hook, report, hook_text(each, "value"));
    }
    json_array_foreach(json_object_get(order, "coupon_lines"), i, each)
    {
        hook_put_code(report, hook_text(each, "code"));
    }
}

static bool read_refunds(const json_t *order, const char *id, struct hook_currency currency,
                         int64_t total, json_t *reports)
{
    const json_t *refund;
    size_t i;

    json_array_foreach(json_object_get(order, "refunds"), i, refund)
    {
        struct hook_id own = hook_id(refund, "id");
        int64_t minor;

        if (!own.text[0] || !hook_amount(json_object_get(refund, "total"), currency, &minor) ||
            !hook_add_refund(reports, id, own.text, currency, minor < 0 ? -minor : minor, NULL))
            return false;
    }
    if (is_given_up(order) && json_array_size(json_object_get(order, "refunds")) == 0) {
        char cancelled[HOOK_ORDER_MAX + 16];

        snprintf(cancelled, sizeof cancelled, "%s/cancelled", id);
        return hook_add_refund(reports, id, cancelled, currency, total, NULL);
    }
    return true;
}

static enum hook_outcome read_order(const struct hook *hook, const json_t *order, json_t *reports,
                                    struct error *why)
{
    struct hook_currency currency = hook_currency(hook_text(order, "currency"));
    struct hook_id id = hook_id(order, "id");
    struct hook_id customer = hook_id(order, "customer_id");
    const char *email = hook_text(json_object_get(order, "billing"), "email");
    json_t *report;
    int64_t total;

    if (!id.text[0] || !currency.text[0] ||
        !hook_amount(json_object_get(order, "total"), currency, &total) || total < 0) {
        error_set(why, "the order has no id, total or currency");
        return HOOK_UNREADABLE;
    }
    report = hook_add(reports, "sale", id.text, currency, total);
    hook_put(report, "customer", email ? email : customer.text, REPORT_CUSTOMER_MAX);
    put_touches(hook, report, order);
    put_time(report, order);
    hook_put_items(report, json_object_get(order, "line_items"));
    hook_note(report, "order_number", json_string(hook_text(order, "number")));
    if (read_refunds(order, id.text, currency, total, reports))
        return HOOK_TOLD;
    error_set(why, "a refund of the order has no id, or an amount that cannot be read");
    return HOOK_UNREADABLE;
}

enum hook_outcome hook_read_woocommerce(const struct hook *hook, const json_t *body,
                                        json_t *reports, struct error *why)
{
    const char *topic = hook->topic ? hook->topic : "";

    if (strcmp(topic, "order.created") != 0 && strcmp(topic, "order.updated") != 0 &&
        strcmp(topic, "order.restored") != 0) {
        error_set(why, "topic %.*s", HOOK_TOPIC_MAX, topic);
        return HOOK_IGNORED;
    }
    if (is_sale(body))
        return read_order(hook, body, reports, why);
    if (!hook_text(body, "status")) {
        error_set(why, "the order has no status");
        return HOOK_UNREADABLE;
    }
    error_set(why, "the order is not paid");
    return HOOK_IGNORED;
}
