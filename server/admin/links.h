#pragma once
/* /v1/links: the handlers of the route table. */
#include "server/admin/request.h"
#include "shared/error.h"

/* Makes the statements of this resource; once, at start. */
bool links_prepare(struct error *error) MUST_CHECK;

void links_on_create(struct request *request);
void links_on_list(struct request *request);
void links_on_get(struct request *request);
void links_on_update(struct request *request);
void links_on_archive(struct request *request);
