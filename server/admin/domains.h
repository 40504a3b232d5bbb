#pragma once
/* Domains: the hosts that short links live on. */
#include "server/admin/fields.h"

extern struct resource domains_resource;
