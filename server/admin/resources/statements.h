#pragma once
/* GET /v1/influencers/{id}/statement: what somebody has earned in a period, line by line. */
#include "server/admin/request/request.h"

void statements_on_get(struct request *request);
