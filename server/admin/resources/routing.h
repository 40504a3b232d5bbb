#pragma once
/* Checks of what links and domains say about where visitors go: destinations, rules, UTM parameters,
 * and whether any of it leads back to a short domain of this service. */
#include <stdbool.h>

#include "server/admin/fields/fields.h"
#include "server/admin/request/request.h"
#include "shared/text.h"

/* For the field table: a URL that may hold placeholders, replaced by its normal form; one without;
 * UTM parameters (JSON), whose problem is noted with the parameter's name. */
bool routing_check_destination(struct value *value, struct error *error);
bool routing_check_url(struct value *value, struct error *error);
bool routing_check_utm(struct value *value, struct error *error);
bool routing_check_status(struct value *value, struct error *error); /* 301, 302, 307, 308 */

/* Note problems at `request`, if a value was given; `pointer` is the field's. A destination is one
 * that passed its check above. */
void routing_refuse_loop(struct request *request, const char *pointer, const struct value *value);
void routing_check_rules(struct request *request, const char *pointer, const struct value *value);
