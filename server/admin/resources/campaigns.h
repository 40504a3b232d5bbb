#pragma once
/* Campaigns: what a group of links and codes is for. */
#include "server/admin/fields/fields.h"

extern struct resource campaigns_resource;

/* GET /v1/campaigns/{id}/changes: its entries in the audit log, for whoever may read it. */
void campaigns_on_changes(struct request *request);
