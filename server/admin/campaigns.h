#pragma once
/* Campaigns: what a group of links and codes is for. */
#include "server/admin/fields.h"

extern struct resource campaigns_resource;
