#pragma once
/* Percent-encoding: a byte that is not plain becomes %XX. What is plain depends on where in a URL it
 * stands, so that is the caller's to say: a table of 256. */
#include <stdbool.h>
#include <stddef.h>

#define PERCENT_MAX 3 /* bytes that one byte can become */

/* The unreserved characters of RFC 3986: plain everywhere, and never with a meaning of their own. */
extern const bool percent_unreserved[256];

/* Writes one byte, encoded unless it is plain; returns where to go on. */
static inline char *percent_put(char *at, char byte, const bool plain[256])
{
    static const char digits[] = "0123456789ABCDEF";
    unsigned char value = (unsigned char)byte;

    if (plain[value]) {
        *at++ = byte;
        return at;
    }
    *at++ = '%';
    *at++ = digits[value >> 4];
    *at++ = digits[value & 15];
    return at;
}
