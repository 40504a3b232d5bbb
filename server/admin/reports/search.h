#pragma once
/* GET /v1/search?q=…: things of the workspace by a piece of a handle, name, hashtag or code, by the
 * beginning of a slug, or by a whole tag or external id. What fits exactly comes first. */
#include "server/admin/request/request.h"

void search_on_get(struct request *request);
