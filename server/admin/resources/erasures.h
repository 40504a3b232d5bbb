#pragma once
/* Erasures: making one removes what is known of a customer or an influencer, and says what was found
 * and that nothing is left. The work is done by a trigger (server/schema/011_erasures.sql), so that
 * it is the same for whoever inserts the row. */
#include "server/admin/fields/fields.h"

extern struct resource erasures_resource;
