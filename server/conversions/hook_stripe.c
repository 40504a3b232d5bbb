/* Stripe's webhooks: checkout.session.completed and …async_payment_succeeded, or, for shops without
 * Checkout, payment_intent.succeeded; invoice.paid for subscriptions; charge.refunded, or
 * refund.created.
 *
 * An order is known by metadata.order_id where the shop sets it, else by its invoice, if it is of a
 * subscription, else by its payment intent, which refunds name too; a sale that is known by something
 * else carries the payment intent as external_id, by which its refunds find it. So the first invoice
 * of a subscription and the session that it came from are one sale; where the session has an order_id
 * of its own, the schema finds that out by the invoice that it carries. Since API version 2025-03-31
 * neither an invoice names its payment nor a charge its invoice; invoice_payment.paid does. A refund
 * is known by its own id; a charge that does not list its refunds (API versions since 2022) is known
 * by the sum refunded so far, and tells what was added. */
#include <stdio.h>
#include <string.h>

#include "server/conversions/hook_told.h"
#include "server/conversions/report.h"
#include "shared/money.h"

/* Amounts come in the smallest unit, by Stripe's own count of digits. */
static int stripe_digits(const char *currency)
{
    static const char none[] = "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF ";
    const char *at = strstr(none, currency);

    if (at && (at - none) % 4 == 0)
        return 0;
    return money_digits(currency) == 3 ? 3 : 2;
}

static bool read_minor(const json_t *value, struct hook_currency currency, int64_t *minor)
{
    int theirs, ours = money_digits(currency.text);

    if (ours < 0 || !json_is_integer(value))
        return false;
    *minor = json_integer_value(value);
    if (*minor < 0 || *minor > MONEY_MINOR_MAX)
        return false;
    for (theirs = stripe_digits(currency.text); theirs > ours; theirs--) {
        if (*minor % 10 != 0)
            return false;
        *minor /= 10;
    }
    for (; theirs < ours; theirs++)
        *minor *= 10;
    return *minor <= MONEY_MINOR_MAX;
}

/* The id under `name`, or of the object that was expanded there. */
static struct hook_id id_of(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);

    return json_is_object(value) ? hook_id(value, "id") : hook_id(object, name);
}

/* The invoice that a payment is for, under the names of older and newer API versions. */
static struct hook_id invoice_of(const json_t *payment)
{
    struct hook_id id = id_of(payment, "invoice");

    if (!id.text[0])
        id = hook_id(json_object_get(payment, "payment_details"), "order_reference");
    if (strncmp(id.text, "in_", 3) != 0)
        id.text[0] = '\0'; /* an order_reference may be anything */
    return id;
}

static struct hook_id order_of(const json_t *object, struct hook_id *payment)
{
    static const char *const others[] = {"payment_intent", "invoice", "charge", "id"};
    struct hook_id own = hook_id(json_object_get(object, "metadata"), "order_id"), id = {""};
    const char *type = hook_text(object, "object");

    if (type && strcmp(type, "payment_intent") == 0) {
        id = hook_id(object, "id");
        if (!own.text[0])
            own = invoice_of(object);
    }
    for (size_t i = 0; !id.text[0] && i < sizeof others / sizeof others[0]; i++)
        id = id_of(object, others[i]);
    *payment = id;
    return own.text[0] ? own : id;
}

/* Codes are named by their ids, unless whoever made the session put the word into its metadata. The
 * id or name of a coupon may be the word. */
static void put_discount(json_t *report, const json_t *discount)
{
    const json_t *promotion = json_object_get(discount, "promotion_code");
    const json_t *source = json_object_get(discount, "source"),
                 *coupon = json_object_get(source ? source : discount, "coupon");

    if (json_is_object(promotion))
        hook_put_code(report, hook_text(promotion, "code"));
    else if (json_is_string(promotion))
        hook_note(report, "promotion_code", json_incref((json_t *)(uintptr_t)promotion));
    hook_note_code(report, json_string_value(coupon));
    hook_note_code(report, hook_text(coupon, "id"));
    hook_note_code(report, hook_text(coupon, "name"));
}

static void put_discounts(json_t *report, const json_t *object)
{
    const json_t *each;
    size_t i;

    put_discount(report, json_object_get(object, "discount"));
    json_array_foreach(json_object_get(object, "discounts"), i, each)
    {
        put_discount(report, each);
    }
}

static void put_metadata(const struct hook *hook, json_t *report, const json_t *metadata)
{
    static const char *const names[] = {"code", "discount_code", "promo_code", "coupon"};
    bool has_click = hook_has_click(report);
    const char *name;
    json_t *value;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        hook_put_code(report, hook_text(metadata, names[i]));
    json_object_foreach((json_t *)(uintptr_t)metadata, name, value)
    {
        if (!has_click && hook_is_click(hook, name))
            hook_put_clicks(report, json_string_value(value));
    }
}

static void put_customer(json_t *report, const json_t *object)
{
    const char *email = hook_text(json_object_get(object, "customer_details"), "email");
    struct hook_id id = id_of(object, "customer");

    if (!email)
        email = hook_text(object, "customer_email");
    if (!email)
        email = hook_text(object, "receipt_email");
    hook_put(report, "customer", email ? email : id.text, REPORT_CUSTOMER_MAX);
}

static void put_rest(json_t *report, const json_t *event, const json_t *object)
{
    put_customer(report, object);
    hook_put_seconds(report, json_integer_value(json_object_get(event, "created")));
    if (json_is_false(json_object_get(object, "livemode")))
        hook_note(report, "test", json_true());
}

static enum hook_outcome read_sale(const struct hook *hook, const json_t *event,
                                   const json_t *object, const char *amount, json_t *reports,
                                   struct error *why)
{
    struct hook_currency currency = hook_currency(hook_text(object, "currency"));
    struct hook_id payment, order = order_of(object, &payment);
    json_t *report;
    int64_t total;

    if (!order.text[0] || !read_minor(json_object_get(object, amount), currency, &total)) {
        error_set(why, "no id, %s or currency", amount);
        return HOOK_UNREADABLE;
    }
    report = hook_add(reports, "sale", order.text, currency, total);
    if (strcmp(order.text, payment.text) != 0)
        hook_put(report, "external_id", payment.text, REPORT_ID_MAX);
    put_metadata(hook, report, json_object_get(object, "metadata"));
    put_discounts(report, object);
    if (!hook_has_click(report))
        hook_put(report, "click_id", hook_text(object, "client_reference_id"), REPORT_CLICK_MAX);
    put_rest(report, event, object);
    return HOOK_TOLD;
}

static enum hook_outcome read_session(const struct hook *hook, const json_t *event,
                                      const json_t *session, json_t *reports, struct error *why)
{
    const char *status = hook_text(session, "payment_status"), *mode = hook_text(session, "mode");

    if (mode && strcmp(mode, "setup") == 0) {
        error_set(why, "nothing was sold");
        return HOOK_IGNORED;
    }
    if (status && strcmp(status, "unpaid") == 0) {
        error_set(why, "the session is not paid yet");
        return HOOK_IGNORED;
    }
    return read_sale(hook, event, session, "amount_total", reports, why);
}

/* What the shop set on the subscription, under the names of older and newer API versions. */
static const json_t *subscription_metadata(const json_t *invoice)
{
    const json_t *parent = json_object_get(invoice, "parent"),
                 *details = json_object_get(parent ? parent : invoice, "subscription_details");

    return json_object_get(details, "metadata");
}

/* An invoice of a subscription: its first, a renewal, a change of plan. */
static enum hook_outcome read_invoice(const struct hook *hook, const json_t *event,
                                      const json_t *invoice, json_t *reports, struct error *why)
{
    const char *reason = hook_text(invoice, "billing_reason");
    const json_t *metadata = subscription_metadata(invoice);
    const json_t *times = json_object_get(invoice, "status_transitions");
    struct hook_currency currency = hook_currency(hook_text(invoice, "currency"));
    struct hook_id id = hook_id(invoice, "id"), own = {""},
                   payment = id_of(invoice, "payment_intent");
    json_t *report;
    int64_t paid;

    if (!reason || strncmp(reason, "subscription", strlen("subscription")) != 0) {
        error_set(why, "the invoice is not of a subscription");
        return HOOK_IGNORED;
    }
    if (!id.text[0] || !read_minor(json_object_get(invoice, "amount_paid"), currency, &paid)) {
        error_set(why, "no id, amount_paid or currency");
        return HOOK_UNREADABLE;
    }
    if (paid == 0) {
        error_set(why, "nothing was paid");
        return HOOK_IGNORED;
    }
    if (strcmp(reason, "subscription_create") == 0) /* the order that it began with */
        own = hook_id(metadata, "order_id");
    report = hook_add(reports, "sale", own.text[0] ? own.text : id.text, currency, paid);
    hook_put(report, "external_id", payment.text[0] || !own.text[0] ? payment.text : id.text,
             REPORT_ID_MAX);
    put_metadata(hook, report, json_object_get(invoice, "metadata"));
    put_metadata(hook, report, metadata);
    put_discounts(report, invoice);
    hook_note(report, "billing_reason", json_string(reason));
    put_rest(report, event, invoice);
    hook_put_seconds(report, json_integer_value(json_object_get(times, "paid_at")));
    return HOOK_TOLD;
}

/* Which payment an invoice was paid with, by which its refunds find it. It adds that to the sale. */
static enum hook_outcome read_invoice_payment(const json_t *object, json_t *reports,
                                              struct error *why)
{
    struct hook_id invoice = id_of(object, "invoice");
    struct hook_id payment = id_of(json_object_get(object, "payment"), "payment_intent");
    json_t *report;

    if (!invoice.text[0] || !payment.text[0]) {
        error_set(why, "it was not paid by a payment intent");
        return HOOK_IGNORED;
    }
    report = hook_add(reports, "sale", invoice.text, (struct hook_currency){""}, 0);
    json_object_del(report, "amount_minor");
    json_object_del(report, "currency");
    hook_put(report, "external_id", payment.text, REPORT_ID_MAX);
    return HOOK_TOLD;
}

/* A refund by itself, or one in a charge's list. It was not made if it failed. */
static bool read_refund(const json_t *refund, const char *order, json_t *reports)
{
    struct hook_currency currency = hook_currency(hook_text(refund, "currency"));
    struct hook_id id = hook_id(refund, "id");
    const char *status = hook_text(refund, "status");
    size_t before = json_array_size(reports);
    int64_t minor;

    if (status && (strcmp(status, "failed") == 0 || strcmp(status, "canceled") == 0))
        return true;
    if (!id.text[0] || !read_minor(json_object_get(refund, "amount"), currency, &minor) ||
        !hook_add_refund(reports, order, id.text, currency, minor, NULL))
        return false;
    hook_put_seconds(json_array_get(reports, before),
                     json_integer_value(json_object_get(refund, "created")));
    return true;
}

/* A charge without a list of its refunds: what was added to the sum, known by the sum. */
static bool read_sum(const json_t *event, const json_t *charge, const char *order, json_t *reports)
{
    const json_t *data = json_object_get(event, "data");
    const json_t *before =
        json_object_get(json_object_get(data, "previous_attributes"), "amount_refunded");
    struct hook_currency currency = hook_currency(hook_text(charge, "currency"));
    struct hook_id id = hook_id(charge, "id");
    char refund[HOOK_ORDER_MAX + 32];
    int64_t sum, was = 0;

    if (!id.text[0] || !read_minor(json_object_get(charge, "amount_refunded"), currency, &sum) ||
        (before && !json_is_null(before) && !read_minor(before, currency, &was)))
        return false;
    snprintf(refund, sizeof refund, "%s/%lld", id.text, (long long)sum);
    if (!hook_add_refund(reports, order, refund, currency, sum - was, NULL))
        return false;
    hook_put_seconds(json_array_get(reports, 0),
                     json_integer_value(json_object_get(event, "created")));
    return true;
}

static bool read_charge(const json_t *event, const json_t *charge, const char *order,
                        json_t *reports)
{
    const json_t *refunds = json_object_get(json_object_get(charge, "refunds"), "data"), *refund;
    size_t i;

    if (json_array_size(refunds) == 0)
        return read_sum(event, charge, order, reports);
    json_array_foreach(refunds, i, refund)
    {
        if (!read_refund(refund, order, reports))
            return false;
    }
    return true;
}

static enum hook_outcome read_refunds(const json_t *event, const json_t *object, bool is_charge,
                                      json_t *reports, struct error *why)
{
    struct hook_id payment, order = order_of(object, &payment);

    if (!order.text[0] || !(is_charge ? read_charge(event, object, order.text, reports)
                                      : read_refund(object, order.text, reports))) {
        error_set(why, "a refund has no id, amount or currency");
        return HOOK_UNREADABLE;
    }
    error_set(why, "nothing was paid back");
    return json_array_size(reports) > 0 ? HOOK_TOLD : HOOK_IGNORED;
}

enum hook_outcome hook_read_stripe(const struct hook *hook, const json_t *body, json_t *reports,
                                   struct error *why)
{
    const json_t *object = json_object_get(json_object_get(body, "data"), "object");
    const char *type = hook_text(body, "type");

    if (!type || !json_is_object(object)) {
        error_set(why, "the event has no type, or no data.object");
        return HOOK_UNREADABLE;
    }
    if (strcmp(type, "checkout.session.completed") == 0 ||
        strcmp(type, "checkout.session.async_payment_succeeded") == 0)
        return read_session(hook, body, object, reports, why);
    if (strcmp(type, "payment_intent.succeeded") == 0)
        return read_sale(hook, body, object, "amount_received", reports, why);
    if (strcmp(type, "invoice.paid") == 0 || strcmp(type, "invoice.payment_succeeded") == 0)
        return read_invoice(hook, body, object, reports, why);
    if (strcmp(type, "invoice_payment.paid") == 0)
        return read_invoice_payment(object, reports, why);
    if (strcmp(type, "charge.refunded") == 0)
        return read_refunds(body, object, true, reports, why);
    if (strcmp(type, "refund.created") == 0)
        return read_refunds(body, object, false, reports, why);
    error_set(why, "topic %.*s", HOOK_TOPIC_MAX, type);
    return HOOK_IGNORED;
}
