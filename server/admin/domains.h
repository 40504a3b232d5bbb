#pragma once
/* /v1/domains: the handlers of the route table. */
#include "server/admin/request.h"
#include "shared/error.h"

/* Makes the statements of this resource; once, at start. */
bool domains_prepare(struct error *error) MUST_CHECK;

void domains_on_create(struct request *request);
void domains_on_list(struct request *request);
void domains_on_get(struct request *request);
void domains_on_update(struct request *request);
