#pragma once
/* Influencers: the people who recommend, with their profiles. */
#include "server/admin/fields/fields.h"

extern struct resource influencers_resource;
