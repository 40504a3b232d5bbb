#pragma once
/* Codes: what buyers type, and what it takes off. */
#include "server/admin/fields/fields.h"

extern struct resource codes_resource;
