#pragma once
/* POST /v1/campaigns/{id}/roster: a link and a code for each of up to ROSTER_ROWS_MAX influencers.
 * See roster.c for how, README.md for the API. */
#include "server/admin/request/request.h"
#include "shared/error.h"

#define ROSTER_ROWS_MAX 10000

/* Makes the statements; once, at start, after those of the resources. */
bool roster_prepare(struct error *error) MUST_CHECK;

void roster_on_post(struct request *request);
