#pragma once
/* Contracts: what was agreed with an influencer; payouts: statements, and whether they are paid. */
#include "server/admin/fields/fields.h"

extern struct resource contracts_resource;
extern struct resource payouts_resource;
