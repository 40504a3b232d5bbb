#pragma once
/* Webhooks of shops: from a body whose signature was found good to reports (report.h).
 *
 * One hook may tell several things, such as an order and its refunds. Only what is named here is
 * taken: order, total, currency, discount codes, click id, customer, time, what was bought; the rest
 * of a body is forgotten. Pure: no clock, no store, and nothing is believed but the body. */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "shared/error.h"
#include "shared/text.h"

#define HOOK_BODY_MAX    (1024 * 1024)
#define HOOK_REPORTS_MAX 256 /* an order and its refunds */
#define HOOK_ITEMS_MAX   30  /* further ones are left out */
#define HOOK_TOPIC_MAX   64

enum hook_shop { HOOK_SHOPIFY, HOOK_STRIPE, HOOK_WOOCOMMERCE };
#define HOOK_SHOPS 3

/* "shopify", "stripe", "woocommerce": as in paths, kudos.source_kind and kudos.conversion_path. */
extern const char *const hook_shop_names[HOOK_SHOPS];

enum hook_outcome {
    HOOK_TOLD,       /* there are reports */
    HOOK_IGNORED,    /* nothing that is a conversion: another topic, an order that is not paid */
    HOOK_UNREADABLE, /* it should be one, and cannot be read: see the error */
};

struct hook {
    enum hook_shop shop;
    const char *topic;       /* of the header; NULL: none (Stripe names it in the body) */
    const char *click_param; /* the setting click_id_param */
};

/* Reads a body. `reports` gets a new array of objects with the members that report_make() takes, empty
 * unless HOOK_TOLD; `why` gets the reason otherwise. */
enum hook_outcome hook_read(const struct hook *hook, struct text body, json_t **reports,
                            struct error *why);
