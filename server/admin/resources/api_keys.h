#pragma once
/* API keys over HTTP. The key itself is in the answer that makes it, and nowhere else: what is stored
 * is its hash (auth.h). Under an Idempotency-Key it is derived from the service's secret, so that the
 * repeated call can be answered as the first was although nothing was kept. */
#include "server/admin/fields/fields.h"

extern struct resource api_keys_resource;

/* Makes the statement that rotates; once, at start. */
bool api_keys_prepare(struct error *error) MUST_CHECK;

void api_keys_on_rotate(struct request *request);
void api_keys_on_revoke(struct request *request);
