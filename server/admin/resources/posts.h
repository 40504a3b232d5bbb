#pragma once
/* Posts: what influencers published; and what each had reached when somebody looked. */
#include "server/admin/fields/fields.h"

extern struct resource posts_resource;
extern struct resource post_metrics_resource;
