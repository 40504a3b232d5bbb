/* See test_link.h. What is hashed can be no click id's: those are 32 bytes. */
#include "server/redirect/test_link.h"

#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static_assert(2 * crypto_shorthash_siphashx24_BYTES == TEST_LINK_SIGN_LENGTH, "in hex");

void test_link_sign(uint64_t link, const unsigned char secret[CLICK_ID_SECRET_BYTES],
                    char out[TEST_LINK_SIGN_LENGTH + 1])
{
    unsigned char bytes[sizeof TEST_LINK_PARAM + sizeof link] = TEST_LINK_PARAM;
    unsigned char hash[crypto_shorthash_siphashx24_BYTES];

    memcpy(bytes + sizeof TEST_LINK_PARAM, &link, sizeof link);
    crypto_shorthash_siphashx24(hash, bytes, sizeof bytes, secret);
    sodium_bin2hex(out, TEST_LINK_SIGN_LENGTH + 1, hash, sizeof hash);
}

bool test_link_is_signed(struct text query, uint64_t link,
                         const unsigned char secret[CLICK_ID_SECRET_BYTES])
{
    char sign[TEST_LINK_SIGN_LENGTH + 1];

    if (query.length < sizeof TEST_LINK_PARAM + TEST_LINK_SIGN_LENGTH ||
        !memmem(query.bytes, query.length, TEST_LINK_PARAM "=", sizeof TEST_LINK_PARAM))
        return false;
    test_link_sign(link, secret, sign);
    while (query.length) {
        struct text value = text_cut(&query, '&'), name = text_cut(&value, '=');

        if (text_equals_nocase(name, TEST_LINK_PARAM) && value.length == TEST_LINK_SIGN_LENGTH &&
            sodium_memcmp(value.bytes, sign, TEST_LINK_SIGN_LENGTH) == 0)
            return true;
    }
    return false;
}

bool test_link_load_secret(const struct settings *settings,
                           unsigned char out[CLICK_ID_SECRET_BYTES], struct error *error)
{
    char path[SETTING_TEXT_MAX + 16];

    if (settings->secret_file[0])
        snprintf(path, sizeof path, "%s", settings->secret_file);
    else
        snprintf(path, sizeof path, "%s/secret", settings->data_dir);
    if (access(path, R_OK) != 0)
        return error_set(error, "%s cannot be read: run this where the service runs", path);
    return click_id_load_secret(path, out, error);
}
