#pragma once
/* CRC-32C (Castagnoli), as journals use it: by the processor where it can, by table elsewhere. Both
 * give the same value, so a journal may be read on another machine. */
#include <stddef.h>
#include <stdint.h>

/* Continues `crc` (0 at the start) over `length` bytes. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t length);

/* The same without the processor's instruction; for tests. */
uint32_t crc32c_by_table(uint32_t crc, const void *bytes, size_t length);
