#pragma once
/* Links: what visitors follow. */
#include "server/admin/fields.h"

extern struct resource links_resource;
