#pragma once
/* Test links: a short link with `?kudos_test=SIGN`, for own staff to try a link out anywhere. Its
 * clicks are recorded with the verdict `internal` and count for nobody. The sign is a MAC of the
 * link's id under the service's secret: who has not been given one can neither hide a click nor
 * make others' clicks disappear. Pure but for the reading of the secret. */
#include <stdbool.h>
#include <stdint.h>

#include "server/conversions/click_id.h"
#include "server/settings.h"
#include "shared/text.h"

#define TEST_LINK_PARAM       "kudos_test"
#define TEST_LINK_SIGN_LENGTH 32

/* Writes the sign of a link: 32 hex digits and a NUL. */
void test_link_sign(uint64_t link, const unsigned char secret[CLICK_ID_SECRET_BYTES],
                    char out[TEST_LINK_SIGN_LENGTH + 1]);

/* Whether the query (without '?') holds the sign of this link. */
bool test_link_is_signed(struct text query, uint64_t link,
                         const unsigned char secret[CLICK_ID_SECRET_BYTES]);

/* Reads the service's own secret for the commands; never makes one. False if it is not there. */
bool test_link_load_secret(const struct settings *settings,
                           unsigned char out[CLICK_ID_SECRET_BYTES],
                           struct error *error) MUST_CHECK;
