#pragma once
/* Sources over HTTP: who may tell conversions on the public plane, and how they prove it. A postback
 * has a token, of which only the hash is kept; shops sign with secrets, which are never shown again.
 * What is made here (a token, or a secret for WooCommerce) is in the answer that makes it and nowhere
 * else; under an Idempotency-Key it is derived from the service's secret, as API keys are. */
#include "server/admin/fields/fields.h"

extern struct resource sources_resource;

/* Makes the statement that rotates; once, at start. */
bool sources_prepare(struct error *error) MUST_CHECK;

void sources_on_rotate(struct request *request);
void sources_on_revoke(struct request *request);
