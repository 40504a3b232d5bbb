/* See shape.h. Reading makes a row of steps; the longest run of steps that are one certain
 * character becomes the text. */
#include "server/visitor/shape.h"

#include <assert.h>
#include <string.h>

#define ROW_MAX (2 * SHAPE_STEPS_MAX + SHAPE_TEXT_MAX)

/* ---- sets ------------------------------------------------------------------------------------ */

static void set_add(uint64_t set[4], unsigned char c)
{
    set[c / 64] |= (uint64_t)1 << c % 64;
}

static bool set_has(const uint64_t set[4], unsigned char c)
{
    return set[c / 64] >> c % 64 & 1;
}

static void set_add_range(uint64_t set[4], unsigned char from, unsigned char to)
{
    for (unsigned c = from; c <= to; c++)
        set_add(set, (unsigned char)c);
}

static void set_fold(uint64_t set[4])
{
    for (unsigned c = 'a'; c <= 'z'; c++)
        if (set_has(set, (unsigned char)c) || set_has(set, (unsigned char)(c - 32))) {
            set_add(set, (unsigned char)c);
            set_add(set, (unsigned char)(c - 32));
        }
}

/* \d, \w, \s or an escaped sign; false for what is neither. */
static bool set_add_escape(uint64_t set[4], char c)
{
    switch (c) {
    case 'd': set_add_range(set, '0', '9'); return true;
    case 'w':
        set_add_range(set, '0', '9');
        set_add_range(set, 'a', 'z');
        set_add_range(set, 'A', 'Z');
        set_add(set, '_');
        return true;
    case 's':
        set_add(set, ' ');
        set_add_range(set, '\t', '\r');
        return true;
    default:
        if (!c || ascii_is_alnum(c))
            return false;
        set_add(set, (unsigned char)c);
        return true;
    }
}

/* ---- reading --------------------------------------------------------------------------------- */

/* A step while it is read. */
struct wide_step {
    uint64_t set[4];
    uint8_t min, max;
};

struct reader {
    const char *at, *end;
    bool fold;
    size_t count;
    struct wide_step row[ROW_MAX];
};

/* "[…]" from behind its bracket; false if it is malformed or holds what we do not know. */
static bool read_class(struct reader *reader, uint64_t set[4])
{
    bool negated = reader->at < reader->end && *reader->at == '^';

    reader->at += negated;
    for (bool first = true; reader->at < reader->end && (first || *reader->at != ']');
         first = false) {
        unsigned char from = (unsigned char)*reader->at++;

        if (from == '[' || (from == ']' && first))
            return false; /* named classes and oddities: not for us */
        if (from == '\\') {
            if (reader->at == reader->end || !set_add_escape(set, *reader->at++))
                return false;
        } else if (reader->end - reader->at > 1 && reader->at[0] == '-' && reader->at[1] != ']') {
            if (reader->at[1] == '\\' || (unsigned char)reader->at[1] < from)
                return false;
            set_add_range(set, from, (unsigned char)reader->at[1]);
            reader->at += 2;
        } else {
            set_add(set, from);
        }
    }
    if (reader->at == reader->end)
        return false;
    reader->at++;
    if (reader->fold)
        set_fold(set);
    for (int i = 0; negated && i < 4; i++)
        set[i] = ~set[i];
    return true;
}

static bool read_set(struct reader *reader, uint64_t set[4])
{
    char c = *reader->at++;

    if (c == '[')
        return read_class(reader, set);
    if (c == '\\') {
        if (reader->at == reader->end || !set_add_escape(set, *reader->at++))
            return false;
    } else if (strchr("^$.|?*+()]{}", c)) {
        return false;
    } else {
        set_add(set, (unsigned char)c);
    }
    if (reader->fold)
        set_fold(set);
    return true;
}

static bool read_number(struct reader *reader, uint8_t *out)
{
    unsigned value = 0, digits = 0;

    while (reader->at < reader->end && ascii_is_digit(*reader->at) && value < 100) {
        value = value * 10 + (unsigned)(*reader->at++ - '0');
        digits++;
    }
    *out = (uint8_t)value;
    return digits > 0 && value < 100;
}

static bool read_quantifier(struct reader *reader, struct wide_step *step)
{
    char c = reader->at < reader->end ? *reader->at : '\0';

    step->min = step->max = 1;
    if (!c || !strchr("?*+{", c))
        return true;
    reader->at++;
    if (c == '{') {
        if (!read_number(reader, &step->min))
            return false;
        step->max = step->min;
        if (reader->at < reader->end && *reader->at == ',') {
            reader->at++;
            if (!read_number(reader, &step->max))
                return false;
        }
        if (reader->at == reader->end || *reader->at++ != '}')
            return false;
    } else {
        step->min = c == '+';
        step->max = c == '?' ? 1 : SHAPE_REPEAT_MAX;
    }
    return step->min <= step->max &&
           (reader->at == reader->end || !strchr("?*+{", *reader->at)); /* no lazy ones */
}

static void read_anchors(struct reader *reader, struct shape *out)
{
    if (reader->end - reader->at >= 1 && reader->at[0] == '^') {
        out->before = SHAPE_EDGE;
        reader->at++;
    } else if (reader->end - reader->at >= 2 && memcmp(reader->at, "\\b", 2) == 0) {
        out->before = SHAPE_WORD;
        reader->at += 2;
    }
}

/* At the end of the pattern: "$" or "\b". */
static bool read_end(struct reader *reader, struct shape *out)
{
    if (reader->end - reader->at == 1 && reader->at[0] == '$')
        out->after = SHAPE_EDGE;
    else if (reader->end - reader->at == 2 && memcmp(reader->at, "\\b", 2) == 0)
        out->after = SHAPE_WORD;
    else
        return false;
    reader->at = reader->end;
    return true;
}

/* The one character that a step stands for (in lower case, if folded), or -1. */
static int certain(const struct wide_step *step, bool fold)
{
    int members = 0, last = -1;

    if (step->min != 1 || step->max != 1)
        return -1;
    for (int i = 0; i < 4; i++) {
        members += __builtin_popcountll(step->set[i]);
        if (step->set[i])
            last = 64 * i + 63 - __builtin_clzll(step->set[i]);
    }
    if (fold && members == 2 && last >= 'a' && last <= 'z' &&
        set_has(step->set, (unsigned char)(last - 32)))
        return last;
    return members == 1 ? last : -1;
}

/* The step with its set among those of all shapes; false if they are too many. */
static bool pack(const struct wide_step *step, struct shape_sets *sets, struct shape_step *out)
{
    unsigned i = 0;

    while (i < sets->count && memcmp(sets->of[i], step->set, sizeof step->set) != 0)
        i++;
    if (i == SHAPE_SETS_MAX)
        return false;
    if (i == sets->count)
        memcpy(sets->of[sets->count++], step->set, sizeof step->set);
    *out = (struct shape_step){(uint8_t)i, step->min, step->max};
    return true;
}

/* Splits the row at the longest run of certain characters. */
static bool split(const struct reader *reader, struct shape_sets *sets, struct shape *out)
{
    size_t best = 0, best_start = 0;
    int characters[ROW_MAX + 1];

    for (size_t i = 0; i < reader->count; i++)
        characters[i] = certain(&reader->row[i], reader->fold);
    for (size_t start = 0; start < reader->count; start++) {
        size_t length = 0;

        while (start + length < reader->count && length < SHAPE_TEXT_MAX &&
               characters[start + length] >= 0)
            length++;
        if (length > best) {
            best = length;
            best_start = start;
        }
    }
    if (best == 0 || best_start > SHAPE_STEPS_MAX ||
        reader->count - best_start - best > SHAPE_STEPS_MAX)
        return false;
    out->text_length = (uint8_t)best;
    for (size_t i = 0; i < best; i++)
        out->text[i] = (char)characters[best_start + i];
    out->front_count = (uint8_t)best_start;
    for (size_t i = 0; i < best_start; i++)
        if (!pack(&reader->row[best_start - 1 - i], sets, &out->front[i]))
            return false;
    out->back_count = (uint8_t)(reader->count - best_start - best);
    for (size_t i = 0; i < out->back_count; i++)
        if (!pack(&reader->row[best_start + best + i], sets, &out->back[i]))
            return false;
    return true;
}

bool shape_read(const char *pattern, size_t length, bool fold, struct shape_sets *sets,
                struct shape *out)
{
    struct reader reader = {.at = pattern, .end = pattern + length, .fold = fold};

    *out = (struct shape){.fold = fold};
    read_anchors(&reader, out);
    while (reader.at < reader.end && !read_end(&reader, out)) {
        struct wide_step *step = &reader.row[reader.count];

        if (reader.count == ROW_MAX)
            return false;
        *step = (struct wide_step){.min = 0};
        if (!read_set(&reader, step->set) || !read_quantifier(&reader, step))
            return false;
        reader.count++;
    }
    return split(&reader, sets, out);
}

/* ---- matching -------------------------------------------------------------------------------- */

static bool is_word(char c)
{
    return ascii_is_alnum(c) || c == '_';
}

static bool holds(enum shape_anchor anchor, struct text text, size_t at, bool front)
{
    if (anchor == SHAPE_OPEN)
        return true;
    if (anchor == SHAPE_EDGE)
        return at == (front ? 0 : text.length);
    return (at > 0 && is_word(text.bytes[at - 1])) != (at < text.length && is_word(text.bytes[at]));
}

/* Whether the step behind the one at `index` may stand at `at`: asked before it is tried in earnest. */
static bool may_follow(const struct shape_step *steps, unsigned count, unsigned index,
                       const struct shape_sets *sets, const char *at, const char *end)
{
    return index + 1 == count || steps[index + 1].min == 0 ||
           (at < end && shape_set_has(sets, steps[index + 1].set, *at));
}

/* Forward from `at`: as many as possible first, then fewer. */
static bool matches_back(const struct shape *shape, const struct shape_sets *sets, unsigned index,
                         struct text text, size_t at)
{
    const struct shape_step *step;
    const uint64_t *set;
    size_t count = 0;

    if (index == shape->back_count)
        return holds((enum shape_anchor)shape->after, text, at, false);
    step = &shape->back[index];
    set = sets->of[step->set];
    while (count < step->max && at + count < text.length &&
           set_has(set, (unsigned char)text.bytes[at + count]))
        count++;
    for (; count + 1 > step->min; count--) {
        if (may_follow(shape->back, shape->back_count, index, sets, text.bytes + at + count,
                       text.bytes + text.length) &&
            matches_back(shape, sets, index + 1, text, at + count))
            return true;
        if (count == 0)
            break;
    }
    return false;
}

/* Backward from `at`. */
static bool matches_front(const struct shape *shape, const struct shape_sets *sets, unsigned index,
                          struct text text, size_t at)
{
    const struct shape_step *step;
    const uint64_t *set;
    size_t count = 0;

    if (index == shape->front_count)
        return holds((enum shape_anchor)shape->before, text, at, true);
    step = &shape->front[index];
    set = sets->of[step->set];
    while (count < step->max && count < at &&
           set_has(set, (unsigned char)text.bytes[at - count - 1]))
        count++;
    for (; count + 1 > step->min; count--) {
        if (matches_front(shape, sets, index + 1, text, at - count))
            return true;
        if (count == 0)
            break;
    }
    return false;
}

bool shape_matches(const struct shape *shape, const struct shape_sets *sets, struct text text,
                   size_t end)
{
    size_t start = end - shape->text_length;

    assert(end >= shape->text_length && end <= text.length);
    return (shape->fold || memcmp(text.bytes + start, shape->text, shape->text_length) == 0) &&
           matches_front(shape, sets, 0, text, start) && matches_back(shape, sets, 0, text, end);
}
