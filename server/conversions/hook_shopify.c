/* Shopify's webhooks: topics orders/… (the body is an order, with its refunds) and refunds/create (the
 * body is a refund).
 *
 * Amounts are those of the shop's currency. A refund is known by its own id on both topics. Its amount
 * is what was paid back (transactions); where there are none, what its lines and adjustments come to.
 * An order that was cancelled before anybody paid has no refund: it is taken back as a whole. */
#include <stdio.h>
#include <string.h>

#include "server/conversions/hook_told.h"
#include "server/conversions/report.h"
#include "shared/money.h"

/* The order's currency; of a refund by itself, that of its transactions or lines. */
static struct hook_currency currency_of_refund(const json_t *refund)
{
    const json_t *transaction = json_array_get(json_object_get(refund, "transactions"), 0);
    const json_t *line = json_array_get(json_object_get(refund, "refund_line_items"), 0);
    const json_t *set = json_object_get(line, "subtotal_set");
    const char *code = hook_text(json_object_get(set, "shop_money"), "currency_code");

    return hook_currency(code ? code : hook_text(transaction, "currency"));
}

/* The amount under `name`; where there is "<name>_set", its shop money, which is always a text. */
static bool shop_amount(const json_t *object, const char *name, struct hook_currency currency,
                        int64_t *minor)
{
    const json_t *value = json_object_get(object, name), *set, *shop;
    char set_name[64];

    snprintf(set_name, sizeof set_name, "%s_set", name);
    set = json_object_get(object, set_name);
    shop = json_object_get(json_object_get(set, "shop_money"), "amount");
    *minor = 0;
    if (shop)
        value = shop;
    return !value || json_is_null(value) || hook_amount(value, currency, minor);
}

/* Adds an amount; false where no sum of money can be that large. */
static bool add(int64_t *sum, int64_t amount)
{
    *sum += amount;
    return *sum <= MONEY_MINOR_MAX && *sum >= -MONEY_MINOR_MAX;
}

/* What was paid back, or is about to be. False if an amount cannot be read. */
static bool add_transactions(const json_t *list, struct hook_currency currency, int64_t *minor)
{
    const json_t *each;
    size_t i;

    json_array_foreach(list, i, each)
    {
        const char *kind = hook_text(each, "kind"), *status = hook_text(each, "status");
        int64_t amount;

        if (!kind || strcmp(kind, "refund") != 0 || !status ||
            (strcmp(status, "success") != 0 && strcmp(status, "pending") != 0))
            continue;
        if (!shop_amount(each, "amount", currency, &amount) || !add(minor, amount))
            return false;
    }
    return true;
}

static bool add_lines(const json_t *refund, struct hook_currency currency, int64_t *minor)
{
    const json_t *each;
    int64_t amount, tax;
    size_t i;

    json_array_foreach(json_object_get(refund, "refund_line_items"), i, each)
    {
        if (!shop_amount(each, "subtotal", currency, &amount) ||
            !shop_amount(each, "total_tax", currency, &tax) || !add(minor, amount) ||
            !add(minor, tax))
            return false;
    }
    json_array_foreach(json_object_get(refund, "order_adjustments"), i, each)
    {
        if (!shop_amount(each, "amount", currency, &amount) ||
            !shop_amount(each, "tax_amount", currency, &tax) || !add(minor, -amount) ||
            !add(minor, -tax)) /* they are below zero where money goes back */
            return false;
    }
    return true;
}

static bool read_refund(const json_t *refund, const char *order, struct hook_currency currency,
                        json_t *reports)
{
    const json_t *transactions = json_object_get(refund, "transactions");
    struct hook_id id = hook_id(refund, "id");
    const char *at = hook_text(refund, "processed_at");
    int64_t minor = 0;

    if (!id.text[0] ||
        !(json_array_size(transactions) > 0 ? add_transactions(transactions, currency, &minor)
                                            : add_lines(refund, currency, &minor)))
        return false;
    return hook_add_refund(reports, order, id.text, currency, minor,
                           at ? at : hook_text(refund, "created_at"));
}

static void put_customer(json_t *report, const json_t *order)
{
    const json_t *customer = json_object_get(order, "customer");
    const char *email = hook_text(order, "email");
    struct hook_id id = hook_id(customer, "id");

    if (!email)
        email = hook_text(order, "contact_email");
    if (!email)
        email = hook_text(customer, "email");
    hook_put(report, "customer", email ? email : id.text, REPORT_CUSTOMER_MAX);
}

static void put_touches(const struct hook *hook, json_t *report, const json_t *order)
{
    const json_t *each;
    size_t i;

    json_array_foreach(json_object_get(order, "note_attributes"), i, each)
    {
        const char *name = hook_text(each, "name");

        if (name && hook_is_click(hook, name))
            hook_put_clicks(report, hook_text(each, "value"));
    }
    hook_put_click_of_url(hook, report, hook_text(order, "landing_site"));
    json_array_foreach(json_object_get(order, "discount_codes"), i, each)
    {
        hook_put_code(report, hook_text(each, "code"));
    }
}

/* True if it was cancelled while nothing had been paid, so that no refund will come. */
static bool is_void(const json_t *order)
{
    const char *status = hook_text(order, "financial_status");

    return hook_text(order, "cancelled_at") && status &&
           (strcmp(status, "voided") == 0 || strcmp(status, "pending") == 0 ||
            strcmp(status, "authorized") == 0 || strcmp(status, "expired") == 0) &&
           json_array_size(json_object_get(order, "refunds")) == 0;
}

static bool read_refunds(const json_t *order, const char *id, struct hook_currency currency,
                         int64_t total, json_t *reports)
{
    const json_t *refund;
    size_t i;

    json_array_foreach(json_object_get(order, "refunds"), i, refund)
    {
        if (!read_refund(refund, id, currency, reports))
            return false;
    }
    if (is_void(order)) {
        char cancelled[HOOK_ORDER_MAX + 16];

        snprintf(cancelled, sizeof cancelled, "%s/cancelled", id);
        return hook_add_refund(reports, id, cancelled, currency, total,
                               hook_text(order, "cancelled_at"));
    }
    return true;
}

static enum hook_outcome read_order(const struct hook *hook, const json_t *order, json_t *reports,
                                    struct error *why)
{
    struct hook_currency currency = hook_currency(hook_text(order, "currency"));
    struct hook_id id = hook_id(order, "id");
    bool is_test = json_is_true(json_object_get(order, "test"));
    json_t *report;
    int64_t total;

    if (!id.text[0] || !currency.text[0] ||
        !hook_amount(json_object_get(order, "total_price"), currency, &total) || total < 0) {
        error_set(why, "the order has no id, total_price or currency");
        return HOOK_UNREADABLE;
    }
    report = hook_add(reports, is_test ? "test_sale" : "sale", id.text, currency, total);
    if (is_test) { /* shown, and worth nothing */
        json_object_del(report, "amount_minor");
        json_object_del(report, "currency");
    }
    put_customer(report, order);
    put_touches(hook, report, order);
    hook_put_time(report, hook_text(order, "created_at"));
    hook_put_items(report, json_object_get(order, "line_items"));
    hook_note(report, "order_name", json_string(hook_text(order, "name")));
    if (is_test || read_refunds(order, id.text, currency, total, reports))
        return HOOK_TOLD;
    error_set(why, "a refund of the order has no id, or an amount that cannot be read");
    return HOOK_UNREADABLE;
}

static enum hook_outcome read_lone_refund(const json_t *refund, json_t *reports, struct error *why)
{
    struct hook_currency currency = currency_of_refund(refund);
    struct hook_id order = hook_id(refund, "order_id");

    if (!currency.text[0] && json_array_size(json_object_get(refund, "transactions")) == 0)
        return HOOK_IGNORED; /* nothing was paid back; the order's next hook has it all the same */
    if (!order.text[0] || !currency.text[0] ||
        !read_refund(refund, order.text, currency, reports)) {
        error_set(why, "the refund has no id, order_id or currency, or an odd amount");
        return HOOK_UNREADABLE;
    }
    return json_array_size(reports) > 0 ? HOOK_TOLD : HOOK_IGNORED;
}

enum hook_outcome hook_read_shopify(const struct hook *hook, const json_t *body, json_t *reports,
                                    struct error *why)
{
    static const char *const orders[] = {
        "create", "updated", "paid", "cancelled", "edited", "fulfilled", "partially_fulfilled"};
    const char *topic = hook->topic ? hook->topic : "";

    if (strcmp(topic, "refunds/create") == 0)
        return read_lone_refund(body, reports, why);
    if (strncmp(topic, "orders/", 7) == 0 && !json_object_get(body, "order_edit")) {
        for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
            if (strcmp(topic + 7, orders[i]) == 0)
                return read_order(hook, body, reports, why);
        }
    }
    error_set(why, "topic %.*s", HOOK_TOPIC_MAX, topic);
    return HOOK_IGNORED;
}
