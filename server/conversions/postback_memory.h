#pragma once
/* Memory for the JSON of one request: a piece of the process, given out from its start and taken
 * back at once, so that a request costs no heap and leaves no trace in it. Between begin and end
 * every allocation of jansson comes from here. */
#include <stdbool.h>

void postback_memory_begin(void);

/* Opens the part that was held back so far: what reads the request may use up its half, what is made
 * of it then has the other. */
void postback_memory_extend(void);

/* Whether something did not fit. */
bool postback_memory_failed(void);

/* All that was allocated is gone. */
void postback_memory_end(void);
