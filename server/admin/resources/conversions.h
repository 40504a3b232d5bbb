#pragma once
/* /v1/conversions: reports of sales, leads, refunds, and who is credited. See conversions/README.md. */
#include "server/admin/request/request.h"

#define CONVERSIONS_EXAMPLE                                                                      \
    "{\"event\": \"sale\", \"order_id\": \"A-1\", \"amount\": \"49.90\", \"currency\": \"EUR\"," \
    " \"code\": \"ANNA20\"}"

extern struct resource conversions_resource;

/* POST: takes a report, once for each (workspace, event, key). 201 for a new one, 200 for one that is
 * known, 409 for one that is known with another amount. Other bodies than one JSON object are many
 * reports: see conversions_bulk.h. Ends the request. */
void conversions_on_post(struct request *request);

/* GET …/{id}/why: the winner, each loser and the reasons, in fields and in sentences. Ends the
 * request. */
void conversions_on_why(struct request *request);
