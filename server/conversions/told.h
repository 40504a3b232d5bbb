#pragma once
/* A report as the text that travels in an event (struct conversion, server/clicks/event.h). */
#include <jansson.h>
#include <stddef.h>

#include "server/clicks/event.h"

/* Writes `report` (of report_make()) compactly into `out`; the length. What is too long loses its
 * items, then its metadata, and says so in metadata: the sale counts more than what was in it. 0: it
 * does not fit without them either. Changes `report`. */
size_t told_write(json_t *report, char out[EVENT_TOLD_MAX]);
