#pragma once
/* Domains: the hosts that short links live on. */
#include "server/admin/fields/fields.h"

extern struct resource domains_resource;
