#pragma once
/* Small things with pieces of text that are owned elsewhere and not NUL-terminated. ASCII only:
 * never the locale. */
#include <stdbool.h>
#include <stddef.h>

/* A piece of text; `bytes` may be NULL when `length` is 0. */
struct text {
    const char *bytes;
    size_t length;
};

/* A string literal as a text. */
#define TEXT(literal) ((struct text){"" literal, sizeof(literal) - 1})

static inline char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 32) : c;
}

static inline bool ascii_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline bool ascii_is_alnum(char c)
{
    return ascii_is_digit(c) || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z');
}

/* The same bytes. */
bool text_same(struct text a, struct text b);

/* The same but for ASCII case. */
bool text_same_nocase(struct text a, struct text b);

/* Equal but for ASCII case. */
bool text_equals_nocase(struct text text, const char *string);

/* Contains `needle` (lower case), ASCII case ignored. */
bool text_contains_nocase(struct text text, const char *needle);

/* Without spaces and tabs at either end. */
struct text text_trim(struct text text);

/* Splits at the first `separator`: returns what is before it, and leaves in `rest` what is behind it
 * (`rest->bytes` is NULL when there was none). */
struct text text_cut(struct text *rest, char separator);
