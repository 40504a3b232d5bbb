/* See hook_signature.h. Pure: no clock, no store, no allocation. */
#include "server/conversions/hook_signature.h"

#include <assert.h>
#include <sodium.h>

#define BASE64_LENGTH 44 /* of 32 bytes, with padding */
#define DIGITS_MAX    12 /* of a time in seconds */

static_assert(HOOK_SIGNATURE_BYTES == crypto_auth_hmacsha256_BYTES, "what is compared");

struct signature {
    unsigned char bytes[HOOK_SIGNATURE_BYTES];
};

/* What `secret` makes of the pieces, one after the other. */
static struct signature sign(struct text secret, const struct text *pieces, size_t count)
{
    crypto_auth_hmacsha256_state state;
    struct signature out;

    crypto_auth_hmacsha256_init(&state, (const unsigned char *)secret.bytes, secret.length);
    for (size_t i = 0; i < count; i++)
        crypto_auth_hmacsha256_update(&state, (const unsigned char *)pieces[i].bytes,
                                      pieces[i].length);
    crypto_auth_hmacsha256_final(&state, out.bytes);
    sodium_memzero(&state, sizeof state);
    return out;
}

/* True if any of the secrets made any of the signatures. All are looked at. */
static bool is_signed(const struct hook_secrets *secrets, const struct text *pieces, size_t count,
                      const struct signature *given, size_t given_count)
{
    int good = 0;

    for (size_t i = 0; i < secrets->count; i++) {
        struct signature made = sign(secrets->list[i], pieces, count);

        for (size_t j = 0; j < given_count; j++)
            good |= sodium_memcmp(made.bytes, given[j].bytes, sizeof made.bytes) == 0;
    }
    return good != 0;
}

bool hook_signature_base64(const struct hook_secrets *secrets, struct text header, struct text body)
{
    struct signature given;
    size_t length = 0;

    if (header.length != BASE64_LENGTH ||
        sodium_base642bin(given.bytes, sizeof given.bytes, header.bytes, header.length, NULL,
                          &length, NULL, sodium_base64_VARIANT_ORIGINAL) != 0 ||
        length != sizeof given.bytes)
        return false;
    return is_signed(secrets, &body, 1, &given, 1);
}

/* Digits only: no sign, no space, no more than a time has. */
static bool read_time(struct text text, int64_t *seconds)
{
    *seconds = 0;
    if (text.length == 0 || text.length > DIGITS_MAX)
        return false;
    for (size_t i = 0; i < text.length; i++) {
        if (!ascii_is_digit(text.bytes[i]))
            return false;
        *seconds = *seconds * 10 + (text.bytes[i] - '0');
    }
    return true;
}

static bool read_hex(struct text text, struct signature *out)
{
    size_t length = 0;

    return text.length == 2 * sizeof out->bytes &&
           sodium_hex2bin(out->bytes, sizeof out->bytes, text.bytes, text.length, NULL, &length,
                          NULL) == 0 &&
           length == sizeof out->bytes;
}

/* The time, as it stands there, and the signatures. False if there is not exactly one time. */
static bool read_stripe(struct text header, struct text *time, struct signature *given,
                        size_t *count)
{
    unsigned times = 0;

    *count = 0;
    while (header.bytes) {
        struct text value = text_cut(&header, ','), name = text_cut(&value, '=');

        if (text_same(name, TEXT("t"))) {
            *time = value;
            times++;
        } else if (text_same(name, TEXT("v1")) && *count < HOOK_STRIPE_MAX &&
                   read_hex(value, &given[*count])) {
            (*count)++;
        }
    }
    return times == 1;
}

bool hook_signature_stripe(const struct hook_secrets *secrets, struct text header, struct text body,
                           int64_t now_s)
{
    struct signature given[HOOK_STRIPE_MAX];
    struct text time = {0};
    size_t count;
    int64_t time_s;

    if (!read_stripe(header, &time, given, &count) || !read_time(time, &time_s))
        return false;
    {
        const struct text pieces[] = {time, TEXT("."), body};
        bool good = is_signed(secrets, pieces, sizeof pieces / sizeof pieces[0], given, count);

        return good && time_s >= now_s - HOOK_TOLERANCE_S && time_s <= now_s + HOOK_TOLERANCE_S;
    }
}
