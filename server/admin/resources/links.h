#pragma once
/* Links: what visitors follow. */
#include "server/admin/fields/fields.h"
#include "server/links/link.h"
#include "server/settings.h"

#define LINKS_URL_MAX (SETTING_TEXT_MAX + LINK_HOST_MAX + 3 * LINK_SLUG_MAX + 8)

extern struct resource links_resource;

/* The address of a link; `host` is its domain's, or "" for the default domain. */
void links_short_url(const struct admin *admin, const char *host, const char *slug,
                     char url[LINKS_URL_MAX]);
