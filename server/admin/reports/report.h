#pragma once
/* Reports over HTTP: every view of schema `report`, for the key's workspace.
 *
 * GET /v1/reports lists the views with their columns; GET /v1/reports/{view} reads one: filters by
 * column, a range of time, groups, an order, pages; JSON or CSV. What views and columns there are is
 * read from PostgreSQL's catalogue with each request, so that a new view needs nothing here. */
#include "server/admin/request/request.h"

void reports_on_list(struct request *request);
void reports_on_get(struct request *request);
