/* A pattern and a text, split at the first newline: whatever the engine makes of a pattern by
 * itself (shapes, listed groups, anchors) must agree with PCRE2. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <assert.h>
#include <pcre2.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/visitor/pattern.h"

#define LENGTH_MAX 60  /* of a pattern */
#define TEXT_MAX   200 /* below what a repetition may hold */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* 1 match, 0 none, -1 cannot tell. */
static int ask_pcre2(const char *pattern, const char *text, size_t length)
{
    int code, result;
    PCRE2_SIZE offset;
    pcre2_code *compiled =
        pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, 0, &code, &offset, NULL);
    pcre2_match_data *match;

    if (!compiled)
        return -1;
    match = pcre2_match_data_create(1, NULL);
    result = pcre2_match(compiled, (PCRE2_SPTR)text, length, 0, 0, match, NULL);
    pcre2_match_data_free(match);
    pcre2_code_free(compiled);
    return result >= 0 ? 1 : result == PCRE2_ERROR_NOMATCH ? 0 : -1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *newline = size ? memchr(data, '\n', size) : NULL;
    size_t length = newline ? (size_t)(newline - data) : size;
    char pattern[LENGTH_MAX + 1], text[TEXT_MAX];
    size_t text_length;
    struct pattern_set *set;
    struct pattern_hits hits;
    struct error error;
    int expected;

    if (!newline || length > LENGTH_MAX || size - length - 1 > TEXT_MAX)
        return 0;
    memcpy(pattern, data, length);
    pattern[length] = '\0';
    text_length = size - length - 1;
    memcpy(text, newline + 1, text_length);
    if (memchr(pattern, 0, length) || memchr(text, '\n', text_length) || strstr(pattern, "(*"))
        return 0;
    set = pattern_set_new();
    if (pattern_set_add(set, 0, pattern, PATTERN_EXACT, &error)) {
        assert(pattern_set_compile(set, &error));
        pattern_set_match(set, (struct text){text, text_length}, &hits);
        expected = ask_pcre2(pattern, text, text_length);
        assert(expected < 0 || (hits.first[0] == 0) == (expected == 1));
    }
    pattern_set_free(set);
    return 0;
}
