#pragma once
/* The click id: what the destination carries back when a sale is made.
 *
 * 64 characters of base64url over 48 bytes: version (1 byte) and time in ms (7 bytes), origin (8),
 * seq (8), link (8), 128-bit SipHash-2-4 of those 32 bytes under the service's secret (16), all
 * big-endian. It cannot be forged, so a conversion can be credited before its click has been
 * flushed. It names no person. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/error.h"

#define CLICK_ID_LENGTH       64
#define CLICK_ID_SECRET_BYTES 16

struct click_id {
    uint64_t origin;
    uint64_t seq;
    uint64_t link;
    int64_t time_us; /* of millisecond resolution */
};

/* Writes 64 characters and no NUL. About 0.15 µs; no allocation. */
void click_id_encode(const struct click_id *id, const unsigned char secret[CLICK_ID_SECRET_BYTES],
                     char out[CLICK_ID_LENGTH]);

/* Verifies (in constant time) and decodes; false for anything else than an id that
 * click_id_encode() made under this secret. */
bool click_id_decode(const char *text, size_t length,
                     const unsigned char secret[CLICK_ID_SECRET_BYTES],
                     struct click_id *out) MUST_CHECK;

/* Decodes without looking at the signature, for tools that have no secret: what anybody can read in
 * an id, and nothing to be trusted. */
bool click_id_read(const char *text, size_t length, struct click_id *out) MUST_CHECK;

/* Reads the secret from `path` (32 hex digits); makes the file (mode 0600, fsynced, exclusive) if it
 * does not exist. Called once, by the supervisor, before it forks. */
bool click_id_load_secret(const char *path, unsigned char out[CLICK_ID_SECRET_BYTES],
                          struct error *error) MUST_CHECK;
