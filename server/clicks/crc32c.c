/* See crc32c.h. The instruction handles 8 bytes in 3 cycles: a record of 120 bytes takes 0.02 µs. */
#include "server/clicks/crc32c.h"

#include <stdbool.h>
#include <string.h>

#ifdef __aarch64__
#include <arm_acle.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#define POLYNOMIAL 0x82F63B78u /* 0x1EDC6F41 with its bits reversed */

static uint32_t table[256];

static void fill_table(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;

        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
        table[i] = crc;
    }
}

uint32_t crc32c_by_table(uint32_t crc, const void *bytes, size_t length)
{
    const unsigned char *at = bytes;

    if (!table[1])
        fill_table();
    crc = ~crc;
    for (size_t i = 0; i < length; i++)
        crc = crc >> 8 ^ table[(crc ^ at[i]) & 0xFF];
    return ~crc;
}

#if defined __x86_64__

static bool has_instruction(void)
{
    return __builtin_cpu_supports("sse4.2");
}

__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const void *bytes,
                                                                 size_t length)
{
    const unsigned char *at = bytes;
    uint64_t state = ~crc, word;

    for (; length >= 8; length -= 8, at += 8) {
        memcpy(&word, at, 8);
        state = __builtin_ia32_crc32di(state, word);
    }
    for (; length; length--)
        state = __builtin_ia32_crc32qi((uint32_t)state, *at++);
    return ~(uint32_t)state;
}

#elif defined __aarch64__

static bool has_instruction(void)
{
    return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0;
}

__attribute__((target("+crc"))) static uint32_t by_instruction(uint32_t crc, const void *bytes,
                                                               size_t length)
{
    const unsigned char *at = bytes;
    uint32_t state = ~crc;
    uint64_t word;

    for (; length >= 8; length -= 8, at += 8) {
        memcpy(&word, at, 8);
        state = __crc32cd(state, word);
    }
    for (; length; length--)
        state = __crc32cb(state, *at++);
    return ~state;
}

#else

static bool has_instruction(void)
{
    return false;
}

#define by_instruction crc32c_by_table

#endif

uint32_t crc32c(uint32_t crc, const void *bytes, size_t length)
{
    static int known; /* 0: not asked yet; 1: yes; -1: no */

    if (known == 0)
        known = has_instruction() ? 1 : -1;
    return known > 0 ? by_instruction(crc, bytes, length) : crc32c_by_table(crc, bytes, length);
}
