#pragma once
/* The page under /{slug}+: where a link leads, for which campaign, and whose it is. Plain HTML
 * without script; everything in it is escaped. Pure. */
#include <stdbool.h>
#include <stddef.h>

#include "server/links/link.h"
#include "shared/text.h"

/* The page's only style, and its hash for the Content-Security-Policy. */
#define PREVIEW_STYLE                                                                          \
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem}" \
    "dt{color:#555}dd{margin:0 0 1rem;overflow-wrap:anywhere}"
#define PREVIEW_STYLE_HASH "sha256-LglSrdUnoCl6WkztobCxy53J2+7nuNhKZlCMVSHyEeI="

#define PREVIEW_FIXED_MAX 2048 /* of the page without what is filled in */
#define PREVIEW_ESCAPED   6    /* bytes that one byte can become */
#define PREVIEW_MAX                                                                      \
    (PREVIEW_FIXED_MAX +                                                                 \
     PREVIEW_ESCAPED * (LINK_DESTINATION_MAX + 2 * (LINK_HOST_MAX + LINK_SLUG_MAX + 1) + \
                        LINK_SLUG_MAX + 2 * LINK_NAME_MAX + LINK_PROFILE_MAX))

struct preview {
    struct text host; /* of the short link */
    const struct link *link;
    struct text destination; /* where it leads who asks */
    bool is_late;            /* the destination is the fallback */
};

/* Writes the page; returns its length. */
size_t preview_write(const struct preview *preview, char out[PREVIEW_MAX]);
