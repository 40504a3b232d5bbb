#pragma once
/* Scanning for http_head.c: with SSE2 where the compiler has it, else byte by byte with the same
 * results (-DHTTP_SCAN_PORTABLE forces that). Nothing here reads at or behind `end`. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__) && !defined(HTTP_SCAN_PORTABLE)
#define HTTP_SCAN_SSE2
#include <emmintrin.h>
#endif

/* The first byte at or after `at` that is no visible ASCII character: a space, a control character
 * or 0x7f and above; `end` if there is none. */
static inline const char *skip_visible(const char *at, const char *end)
{
#ifdef HTTP_SCAN_SSE2
    const __m128i lowest = _mm_set1_epi8(0x21), delete = _mm_set1_epi8(0x7f);

    for (; end - at >= 16; at += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        /* signed: bytes from 0x80 on are negative, so below '!' too */
        __m128i out = _mm_or_si128(_mm_cmplt_epi8(bytes, lowest), _mm_cmpeq_epi8(bytes, delete));
        unsigned mask = (unsigned)_mm_movemask_epi8(out);

        if (mask)
            return at + __builtin_ctz(mask);
    }
#endif
    while (at<end && * at> 0x20 && *at < 0x7f)
        at++;
    return at;
}

#define BLOCK_BYTES 64

/* Where in the 64 bytes from `base` on things are: bit n stands for base[n]. */
struct block {
    const char *base;
    uint64_t ends; /* bytes that no field value holds: control characters but HTAB, and 0x7f */
    uint64_t colons;
};

/* Looks at 64 bytes. Short of the buffer's end they are a copy, followed by NULs, which end lines
 * too: callers tell by the position. */
static inline void look(struct block *block, const char *end)
{
    char copy[BLOCK_BYTES];
    const char *bytes = block->base;

    if (end - bytes < BLOCK_BYTES) {
        memset(copy, 0, sizeof copy);
        memcpy(copy, bytes, (size_t)(end - bytes));
        bytes = copy;
    }
    block->ends = block->colons = 0;
#ifdef HTTP_SCAN_SSE2
#pragma GCC unroll 4
    for (int i = 0; i < BLOCK_BYTES; i += 16) {
        __m128i part = _mm_loadu_si128((const __m128i *)(const void *)(bytes + i));
        __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(part, _mm_set1_epi8(0x1f)), part);
        __m128i tab = _mm_cmpeq_epi8(part, _mm_set1_epi8('\t'));
        __m128i delete = _mm_cmpeq_epi8(part, _mm_set1_epi8(0x7f));
        __m128i colon = _mm_cmpeq_epi8(part, _mm_set1_epi8(':'));
        __m128i out = _mm_or_si128(_mm_andnot_si128(tab, low), delete);

        block->ends |= (uint64_t)(unsigned)_mm_movemask_epi8(out) << i;
        block->colons |= (uint64_t)(unsigned)_mm_movemask_epi8(colon) << i;
    }
#else
    for (int i = 0; i < BLOCK_BYTES; i++) {
        unsigned char byte = (unsigned char)bytes[i];

        block->ends |= (uint64_t)((byte < 0x20 && byte != '\t') || byte == 0x7f) << i;
        block->colons |= (uint64_t)(byte == ':') << i;
    }
#endif
}

/* Makes `block` the one that holds `at`, which never goes back. */
static inline void move_to(struct block *block, const char *at, const char *end)
{
    if (at - block->base < BLOCK_BYTES)
        return;
    block->base += (at - block->base) / BLOCK_BYTES * BLOCK_BYTES;
    look(block, end);
}

/* The first byte from `at` on that ends a line; `end` if there is none. */
static inline const char *find_end(struct block *block, const char *at, const char *end)
{
    uint64_t mask;

    move_to(block, at, end);
    mask = block->ends >> (at - block->base);
    if (mask) {
        at += __builtin_ctzll(mask);
        return at < end ? at : end;
    }
    while (end - block->base > BLOCK_BYTES) {
        block->base += BLOCK_BYTES;
        look(block, end);
        if (block->ends) {
            at = block->base + __builtin_ctzll(block->ends);
            return at < end ? at : end;
        }
    }
    return end;
}

/* The first colon from `at` on that stands before the line's end; NULL if there is none, with the
 * line's end in `stop`. */
static inline const char *find_colon(struct block *block, const char *at, const char *end,
                                     const char **stop)
{
    for (;;) {
        uint64_t colons, ends;

        move_to(block, at, end);
        colons = block->colons >> (at - block->base);
        ends = block->ends >> (at - block->base);
        if (colons && (!ends || __builtin_ctzll(colons) < __builtin_ctzll(ends)))
            return at + __builtin_ctzll(colons);
        if (ends) {
            *stop = at + __builtin_ctzll(ends);
            break;
        }
        *stop = block->base + BLOCK_BYTES;
        if (*stop >= end)
            break;
        at = *stop;
    }
    if (*stop > end)
        *stop = end;
    return NULL;
}

/* How many of the 16 bytes at `at` are letters, digits or '-', up to the first that is not. 0 where
 * it cannot be told cheaply. */
static inline int plain_name_bytes(const char *at)
{
#ifdef HTTP_SCAN_SSE2
    __m128i part = _mm_loadu_si128((const __m128i *)(const void *)at);
    __m128i lower = _mm_or_si128(part, _mm_set1_epi8(0x20));
    __m128i letter = _mm_and_si128(_mm_cmpgt_epi8(lower, _mm_set1_epi8('a' - 1)),
                                   _mm_cmplt_epi8(lower, _mm_set1_epi8('z' + 1)));
    __m128i digit = _mm_and_si128(_mm_cmpgt_epi8(part, _mm_set1_epi8('0' - 1)),
                                  _mm_cmplt_epi8(part, _mm_set1_epi8('9' + 1)));
    __m128i dash = _mm_cmpeq_epi8(part, _mm_set1_epi8('-'));
    unsigned good = (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(letter, digit), dash));

    return __builtin_ctz(~good);
#else
    (void)at;
    return 0;
#endif
}
