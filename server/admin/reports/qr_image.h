#pragma once
/* A QR code as a picture, from the modules that libqrencode makes. Pure: no request, no store. */
#include <stdbool.h>
#include <stdint.h>

#include "shared/error.h"

struct evbuffer;

enum qr_level { QR_LEVEL_L, QR_LEVEL_M, QR_LEVEL_Q, QR_LEVEL_H }; /* error correction */

struct qr_look {
    unsigned size;   /* pixels, each way */
    unsigned margin; /* modules of background around; 4 is what readers expect */
    enum qr_level level;
    uint32_t colour, background; /* 0xRRGGBB */
    bool transparent;            /* instead of the background */
};

/* Writes the code for `text`. False if it is too long for any code, or (PNG) does not fit into the
 * size with one pixel a module. */
bool qr_image_svg(const char *text, const struct qr_look *look, struct evbuffer *out,
                  struct error *error) MUST_CHECK;
bool qr_image_png(const char *text, const struct qr_look *look, struct evbuffer *out,
                  struct error *error) MUST_CHECK;
