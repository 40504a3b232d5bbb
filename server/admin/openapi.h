#pragma once
/* GET /v1/openapi.json: what the admin plane takes and answers, in OpenAPI 3.1, made from the route
 * table and the tables of fields: what is described here is what is dispatched and checked. */
#include "server/admin/request/request.h"

void openapi_on_get(struct request *request);
