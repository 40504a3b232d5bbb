#pragma once
/* Signatures of webhooks: HMAC-SHA256 over the body exactly as it came.
 *
 * Compared over decoded bytes, in constant time, with every secret, whichever fits: neither the text
 * of a header nor the number of the secret shows in how long it takes. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/text.h"

#define HOOK_SIGNATURE_BYTES 32
#define HOOK_TOLERANCE_S     300 /* Stripe: how old, or how far ahead, a signature may be */
#define HOOK_STRIPE_MAX      8   /* signatures in one Stripe-Signature header */

/* What may have signed. */
struct hook_secrets {
    const struct text *list;
    size_t count;
};

/* `header`: the signature in base64, with padding, and nothing else (Shopify, WooCommerce). */
bool hook_signature_base64(const struct hook_secrets *secrets, struct text header,
                           struct text body);

/* `header`: "t=<seconds>,v1=<hex>[,v1=…]"; other schemes in it are passed over. */
bool hook_signature_stripe(const struct hook_secrets *secrets, struct text header, struct text body,
                           int64_t now_s);
