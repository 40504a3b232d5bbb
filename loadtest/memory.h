#pragma once
/* Memory that the processes of a load share: made before the fork, taken up as it is written. */
#include <stddef.h>

/* Zeroed, for the life of the program; NULL with errno. */
void *memory_share(size_t bytes);
