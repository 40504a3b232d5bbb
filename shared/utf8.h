#pragma once
/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. */
#include <stddef.h>
#include <stdint.h>

/* Bytes of the character at the start of `bytes`, and the character; 0, and `character` left
 * alone, if there is none. */
size_t utf8_decode(const char *bytes, size_t length, uint32_t *character);
