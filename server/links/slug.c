/* Slugs; see slug.h. Pure functions over embedded word lists; nothing is allocated or remembered.
 *
 * What slug_check() lets in, slug_from_path() finds again when it is percent-encoded: both use the
 * same alphabet. Characters that cannot be seen, or that turn the reading direction, are left out of
 * it, since two links that look the same would be a trap. */
#include "server/links/slug.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "shared/embed.h"
#include "shared/text.h"
#include "shared/utf8.h"

EMBED(slug_blocked_words, "server/links/blocked_words.txt");
EMBED(slug_reserved_words, "server/links/reserved_words.txt");

/* No 0 o, 1 i l: links are read aloud and typed. */
static const char ALPHABET[] = "abcdefghjkmnpqrstuvwxyz23456789";

#define ALPHABET_SIZE ((unsigned)(sizeof ALPHABET - 1))
#define RANDOM_BYTES  32 /* at least 7 of which are usable, all but always */

/* Words of an embedded list, one a line ---------------------------------------------------------- */

struct words {
    const char *at;
    const char *end;
};

/* The next word; false at the end. Lines that start with '#' and empty lines are no words. */
static bool next_word(struct words *words, struct text *word)
{
    while (words->at < words->end) {
        const char *line = words->at;
        const char *newline = memchr(line, '\n', (size_t)(words->end - line));
        const char *end = newline ? newline : words->end;

        words->at = newline ? newline + 1 : words->end;
        *word = (struct text){line, (size_t)(end - line)};
        if (word->length > 0 && *line != '#')
            return true;
    }
    return false;
}

static bool equal_folded(const char *bytes, struct text lower)
{
    for (size_t i = 0; i < lower.length; i++)
        if (ascii_lower(bytes[i]) != lower.bytes[i])
            return false;
    return true;
}

bool slug_has_blocked_word(const char *slug, size_t length)
{
    struct words words = {slug_blocked_words, slug_blocked_words_end};
    struct text word;

    while (next_word(&words, &word))
        for (size_t at = 0; at + word.length <= length; at++)
            if (equal_folded(slug + at, word))
                return true;
    return false;
}

static bool is_reserved(const char *slug, size_t length)
{
    struct words words = {slug_reserved_words, slug_reserved_words_end};
    struct text word;

    while (next_word(&words, &word))
        if (word.length == length && equal_folded(slug, word))
            return true;
    return false;
}

/* Generated ------------------------------------------------------------------------------------ */

/* Fills `out` from random bytes; false if too few of them were usable. A byte above the largest
 * multiple of the alphabet's size would favour some letters. */
static bool pick(char out[SLUG_GENERATED_LENGTH])
{
    const unsigned limit = 256 - 256 % ALPHABET_SIZE;
    unsigned char bytes[RANDOM_BYTES];
    size_t picked = 0;

    randombytes_buf(bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes && picked < SLUG_GENERATED_LENGTH; i++)
        if (bytes[i] < limit)
            out[picked++] = ALPHABET[bytes[i] % ALPHABET_SIZE];
    return picked == SLUG_GENERATED_LENGTH;
}

void slug_generate(char out[SLUG_GENERATED_LENGTH + 1])
{
    int rc = sodium_init(); /* idempotent */

    assert(rc >= 0);
    (void)rc;
    do
        out[SLUG_GENERATED_LENGTH] = '\0';
    while (!pick(out) || slug_has_blocked_word(out, SLUG_GENERATED_LENGTH));
    assert(strlen(out) == SLUG_GENERATED_LENGTH);
}

/* The alphabet of custom slugs ------------------------------------------------------------------ */

/* Characters above ASCII that are no part of a slug: controls, spaces, invisible ones, those that
 * turn the reading direction, private and unassigned-for-ever ones. The joiners U+200C and U+200D
 * are needed by scripts and emoji. */
static const struct {
    uint32_t first, last;
} refused[] = {
    {0x0080, 0x00A0},   {0x00AD, 0x00AD},   {0x034F, 0x034F},    {0x061C, 0x061C},
    {0x115F, 0x1160},   {0x1680, 0x1680},   {0x17B4, 0x17B5},    {0x180B, 0x180F},
    {0x2000, 0x200B},   {0x200E, 0x200F},   {0x2028, 0x202F},    {0x205F, 0x206F},
    {0x3000, 0x3000},   {0x3164, 0x3164},   {0xE000, 0xF8FF},    {0xFDD0, 0xFDEF},
    {0xFEFF, 0xFEFF},   {0xFFA0, 0xFFA0},   {0xFFF0, 0xFFFF},    {0xE0000, 0xE001F},
    {0xE0080, 0xE00FF}, {0xE01F0, 0xE0FFF}, {0xF0000, 0x10FFFF},
};

static bool is_slug_character(uint32_t character)
{
    if (character < 0x80)
        return ascii_is_alnum((char)character) || character == '-' || character == '_';
    if ((character & 0xFFFE) == 0xFFFE)
        return false;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (character >= refused[i].first && character <= refused[i].last)
            return false;
    return true;
}

/* Where the first thing is that does not belong into a slug; `length` if all is well. */
static size_t find_bad(const char *slug, size_t length, uint32_t *character)
{
    size_t at = 0, size;

    while (at < length) {
        *character = 0;
        size = utf8_decode(slug + at, length - at, character);
        if (size == 0 || !is_slug_character(*character))
            return at;
        at += size;
    }
    return length;
}

bool slug_check(const char *slug, size_t length, struct error *error)
{
    uint32_t character = 0;
    size_t bad;

    if (length == 0)
        return error_set(error, "a slug cannot be empty");
    if (length > LINK_SLUG_MAX)
        return error_set(error, "a slug has at most %d bytes, this one has %zu", LINK_SLUG_MAX,
                         length);
    if (is_reserved(slug, length))
        return error_set(error, "\"%.*s\" is reserved", (int)length, slug);
    bad = find_bad(slug, length, &character);
    if (bad == length)
        return true;
    if (character == 0)
        return error_set(error, "a slug is UTF-8 text; it is not at byte %zu", bad + 1);
    if (character > 0x20 && character < 0x7F)
        return error_set(error, "a slug is made of letters, digits, - and _; not %c",
                         (char)character);
    return error_set(error, "a slug is made of letters, digits, - and _; not U+%04X",
                     (unsigned)character);
}

/* From requests --------------------------------------------------------------------------------- */

static int hex_value(char c)
{
    if (ascii_is_digit(c))
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

size_t slug_from_path(const char *path, size_t length, bool fold, char out[LINK_SLUG_MAX])
{
    size_t used = 0;
    bool plain = true;

    for (size_t at = 0; at < length; at++) {
        char c = path[at];

        if (c == '%') {
            int high, low;

            if (length - at < 3 || (high = hex_value(path[at + 1])) < 0 ||
                (low = hex_value(path[at + 2])) < 0)
                return 0;
            c = (char)(high << 4 | low);
            at += 2;
        }
        if (used == LINK_SLUG_MAX)
            return 0;
        plain = plain && (ascii_is_alnum(c) || c == '-' || c == '_');
        out[used++] = fold ? ascii_lower(c) : c;
    }
    if (!plain) {
        uint32_t character;

        if (find_bad(out, used, &character) != used)
            return 0;
    }
    return used;
}
