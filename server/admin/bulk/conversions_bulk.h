#pragma once
/* Many reports of conversions in one POST /v1/conversions: a JSON array, NDJSON or CSV. */
#include "server/admin/request/request.h"

#define CONVERSIONS_BULK_MAX   100000
#define CONVERSIONS_BATCH_ROWS 500 /* in one statement */
#define CONVERSIONS_SLICE_ROWS 100 /* checked in one round of the loop */

/* Answers {"created", "enriched", "repeated", "conflict", "error", "items": [a result for each row, in
 * the order sent]}. One transaction for the whole call; rows that cannot be accepted are errors in the
 * answer and hold up no other. Ends the request. */
void conversions_on_bulk(struct request *request);
