#pragma once
/* Shop webhooks: POST /-/hooks/{shopify|stripe|woocommerce}/{source} on hooks_listen.
 *
 * A hook answered 2xx whose signature was good is in this process' own journal, if it tells anything;
 * from there it goes the way of all conversions (ship, Redis, flush, kudos.conversion_inbox). Neither
 * PostgreSQL nor Redis is asked. */
#include "server/admin/server.h"
#include "shared/error.h"

struct hooks;

/* Listens on context->hooks_fd. NULL with the reason. */
struct hooks *hooks_new(struct admin *admin, struct error *error) MUST_CHECK;

/* Accepts no more. */
void hooks_stop(struct hooks *hooks);

/* Closes the journal. Requests must have been answered, which they are at once. */
void hooks_free(struct hooks *hooks);

/* A source was changed here: ask for them. `hooks` may be NULL. */
void hooks_on_source(struct hooks *hooks);
