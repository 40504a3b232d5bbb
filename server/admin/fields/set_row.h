#pragma once
/* A row of a call that makes many things: read through the table of fields of a resource as a single
 * one would be. */
#include <jansson.h>

#include "server/admin/fields/resource.h"

/* Reads `json` into change->values (to be freed with values_free()) and makes every check that the
 * resource has. Returns what is wrong, an array of {"pointer", "detail"} that the caller owns, or
 * NULL. Nothing is left noted at the request. */
json_t *set_row_read(struct request *request, const struct resource *resource, unsigned use,
                     json_t *json, struct change *change);

/* Texts of a CSV row become what the fields of the table are: numbers, booleans, objects. */
void set_row_type(const struct resource *resource, json_t *row);

/* Adds to a row's errors; makes the array where there is none. */
void set_row_refuse(json_t **errors, const char *pointer, const char *detail);

/* Puts `prefix` before the pointers of errors: "/17" or "/influencers/17". */
void set_row_prefix(json_t *errors, const char *prefix);
