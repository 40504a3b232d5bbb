#pragma once
/* Workspaces: client brands. A key sees its own; one of the workspace that owns the default domain
 * (the service's own, made by `kudos migrate`) sees all of them and may make further ones. */
#include "server/admin/fields/fields.h"

extern struct resource workspaces_resource;

void workspaces_on_create(struct request *request);
