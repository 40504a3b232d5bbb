/* See literal.h. One pass over the pattern at its top level. */
#include "server/visitor/literal.h"

#include <string.h>

struct run {
    char bytes[PATTERN_LENGTH_MAX + 1];
    size_t length;
};

static void end_run(struct run *run, struct literal *out)
{
    if (run->length > out->length) {
        memcpy(out->bytes, run->bytes, run->length);
        out->length = run->length;
    }
    run->length = 0;
}

/* Behind the class that begins at `at` ('['). */
static const char *skip_class(const char *at)
{
    at++;
    if (*at == '^')
        at++;
    if (*at == ']')
        at++;
    while (*at && *at != ']')
        at += at[0] == '\\' && at[1] ? 2 : 1;
    return *at ? at + 1 : at;
}

/* Behind the group that begins at `at` ('('). */
static const char *skip_group(const char *at)
{
    int depth = 0;

    while (*at) {
        if (*at == '\\' && at[1]) {
            at += 2;
        } else if (*at == '[') {
            at = skip_class(at);
        } else {
            depth += *at == '(' ? 1 : *at == ')' ? -1 : 0;
            at++;
            if (depth == 0)
                return at;
        }
    }
    return at;
}

/* Behind a quantifier, if one stands at `at`. */
static const char *skip_quantifier(const char *at)
{
    if (*at == '{') {
        while (*at && *at != '}')
            at++;
    }
    if (*at && strchr("?*+}", *at))
        at++;
    return *at && strchr("?+", *at) ? at + 1 : at;
}

/* A character that stands for itself: returns it, else -1 (class escapes, metacharacters). */
static int plain_at(const char *at, size_t *width)
{
    *width = 1;
    if (*at == '\\') {
        unsigned char next = (unsigned char)at[1];

        *width = next ? 2 : 1;
        if (!next || (next >= '0' && next <= '9') || ((next | 32) >= 'a' && (next | 32) <= 'z'))
            return -1;
        return next;
    }
    return strchr("^$.|?*+()[]{}", *at) ? -1 : (unsigned char)*at;
}

/* Escapes of a letter or digit that take more characters with them (\x41, \p{L}, \cA, \1). */
static bool has_long_escapes(const char *pattern)
{
    for (; *pattern; pattern++)
        if (*pattern == '\\' && *++pattern && ascii_is_alnum(*pattern) &&
            !strchr("dDwWsSbBhHvVRnrtfaeAzZGK", *pattern))
            return true;
    return false;
}

/* "(?i)" and its kin change what the rest means; so do verbs, "(*ACCEPT)", and "\Q". */
bool literal_is_opaque(const char *pattern)
{
    if (strstr(pattern, "(*") || has_long_escapes(pattern))
        return true;
    for (const char *at = strstr(pattern, "(?"); at; at = strstr(at + 2, "(?"))
        if (!at[2] || !strchr(":=!<", at[2])) /* options, comments, branch resets */
            return true;
    return strstr(pattern, "\\Q") != NULL;
}

void literal_extract(const char *pattern, struct literal *out)
{
    struct run run = {.length = 0};
    const char *at = pattern;

    *out = (struct literal){.whole = true};
    if (literal_is_opaque(pattern)) {
        out->whole = false;
        return;
    }
    while (*at) {
        size_t width;
        int c = plain_at(at, &width);

        if (c >= 0 && !strchr("?*+{", at[width] ? at[width] : 'x')) {
            if (run.length < PATTERN_LENGTH_MAX)
                run.bytes[run.length++] = (char)c;
            at += width;
            continue;
        }
        out->whole = false;
        if (*at == '|') { /* alternatives at the top level: nothing is certain */
            out->length = 0;
            return;
        }
        if (c >= 0 && at[width] == '+' && run.length < PATTERN_LENGTH_MAX)
            run.bytes[run.length++] = (char)c; /* at least once; the run ends here */
        end_run(&run, out);
        at = *at == '[' ? skip_class(at) : *at == '(' ? skip_group(at) : at + width;
        at = skip_quantifier(at);
    }
    end_run(&run, out);
}
