#pragma once
/* GET /v1/links/{id}/stats: what a link has brought, live from Redis and stored in PostgreSQL. */
#include "server/admin/request/request.h"

void stats_on_link(struct request *request);
