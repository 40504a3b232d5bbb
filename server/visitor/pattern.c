/* See pattern.h. The automaton is a table of states by character class: characters that no text
 * contains share class 0. States are numbered so that those at which some text ends come last; one
 * comparison a byte tells whether there is anything to look at. */
#include "server/visitor/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <assert.h>
#include <pcre2.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/visitor/literal.h"
#include "server/visitor/shape.h"

#define STATES_MAX  65000
#define LISTED_MAX  128 /* alternatives that the groups of one pattern may make */
#define HEAD_MAX    6
#define MATCH_LIMIT 100000 /* steps of PCRE2 in one check: bounds an operator's pattern */

/* A pattern, or one alternative of it. */
struct pattern {
    int number;
    int next_at_state; /* the next pattern whose text ends at the same state, or -1 */
    uint8_t group;
    uint8_t length;      /* of its text; 0: tried on every text */
    uint8_t head;        /* how much of it is in the automaton */
    bool plain;          /* nothing but its text, case ignored: met is matched */
    char exact;          /* what its text begins with, where case counts; else NUL */
    uint8_t before;      /* the set that the character before the text must be of, and */
    uint8_t behind;      /* the one behind it; SHAPE_NO_SET: any, or none */
    char *text;          /* in lower case */
    struct shape *shape; /* or: */
    pcre2_code *code;
};

struct pattern_set {
    int count;
    struct pattern *patterns;
    size_t pattern_count, pattern_capacity;
    size_t always[PATTERN_ALWAYS_MAX], always_count;
    struct shape_sets sets; /* of all shapes */
    pcre2_match_data *match_data;
    pcre2_match_context *match_context;
    uint8_t class_of[256];
    unsigned class_count;
    uint16_t *next; /* [state * class_count + class] */
    unsigned state_count, first_final;
    int *outputs;     /* [state - first_final]: a pattern whose text ends here, or -1 */
    uint16_t *suffix; /* [state - first_final]: the next final state on the way back; 0: none */
};

struct pattern_set *pattern_set_new(void)
{
    struct pattern_set *set = calloc(1, sizeof *set);

    assert(set);
    set->match_data = pcre2_match_data_create(1, NULL);
    set->match_context = pcre2_match_context_create(NULL);
    assert(set->match_data && set->match_context);
    pcre2_set_match_limit(set->match_context, MATCH_LIMIT);
    return set;
}

void pattern_set_free(struct pattern_set *set)
{
    if (!set)
        return;
    for (size_t i = 0; i < set->pattern_count; i++) {
        pcre2_code_free(set->patterns[i].code);
        free(set->patterns[i].shape);
        free(set->patterns[i].text);
    }
    pcre2_match_data_free(set->match_data);
    pcre2_match_context_free(set->match_context);
    free(set->patterns);
    free(set->next);
    free(set->outputs);
    free(set->suffix);
    free(set);
}

static struct pattern *grow(struct pattern_set *set)
{
    if (set->pattern_count == set->pattern_capacity) {
        set->pattern_capacity = set->pattern_capacity ? 2 * set->pattern_capacity : 256;
        set->patterns = realloc(set->patterns, set->pattern_capacity * sizeof set->patterns[0]);
        assert(set->patterns);
    }
    return &set->patterns[set->pattern_count++];
}

static pcre2_code *compile(const char *pattern, size_t length, bool fold, struct error *error)
{
    int code;
    PCRE2_SIZE offset;
    PCRE2_UCHAR reason[128];
    pcre2_code *compiled =
        pcre2_compile((PCRE2_SPTR)pattern, length, fold ? PCRE2_CASELESS : 0, &code, &offset, NULL);

    if (!compiled) {
        pcre2_get_error_message(code, reason, sizeof reason);
        error_set(error, "pattern \"%.*s\": %s at character %zu", (int)length, pattern,
                  (const char *)reason, offset + 1);
    }
    return compiled;
}

/* Where the alternative at `at` ends: at a '|' outside groups and classes, or at `end`. */
static const char *alternative_end(const char *at, const char *end)
{
    int depth = 0;

    for (bool in_class = false; at < end; at++) {
        if (*at == '\\' && at + 1 < end) {
            at++;
        } else if (in_class) {
            in_class = *at != ']';
        } else {
            in_class = *at == '[';
            depth += *at == '(' ? 1 : *at == ')' ? -1 : 0;
            if (*at == '|' && depth == 0)
                return at;
        }
    }
    return end;
}

/* A capital outside escapes (\B, \W). */
static bool has_capital(const char *pattern, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (pattern[i] == '\\')
            i++;
        else if (pattern[i] >= 'A' && pattern[i] <= 'Z')
            return true;
    }
    return false;
}

static char *lower_copy(const char *text, size_t length)
{
    char *copy = strndup(text, length);

    assert(copy);
    for (size_t i = 0; i < length; i++)
        copy[i] = ascii_lower(copy[i]);
    return copy;
}

/* An alternative that a shape can stand for. */
static bool add_shape(struct pattern_set *set, struct pattern made, const char *pattern,
                      size_t length, bool fold)
{
    struct shape shape;

    if (!shape_read(pattern, length, fold, &set->sets, &shape))
        return false;
    made.length = shape.text_length;
    made.text = lower_copy(shape.text, shape.text_length);
    made.plain = fold && shape.front_count == 0 && shape.back_count == 0 &&
                 shape.before == SHAPE_OPEN && shape.after == SHAPE_OPEN;
    made.shape = malloc(sizeof shape);
    assert(made.shape);
    *made.shape = shape;
    made.exact = fold ? '\0' : shape.text[0];
    if (shape.front_count > 0 && shape.front[0].min > 0)
        made.before = shape.front[0].set;
    if (shape.back_count > 0 && shape.back[0].min > 0)
        made.behind = shape.back[0].set;
    *grow(set) = made;
    return true;
}

/* Any other: PCRE2 decides when the text that it is certain to contain was met. */
static bool add_code(struct pattern_set *set, struct pattern made, const char *pattern,
                     size_t length, bool fold, struct error *error)
{
    char copy[PATTERN_LENGTH_MAX + 1];
    struct literal literal;

    memcpy(copy, pattern, length);
    copy[length] = '\0';
    literal_extract(copy, &literal);
    if (literal.length == 0 && set->always_count == PATTERN_ALWAYS_MAX)
        return error_set(error, "pattern \"%s\": more than %d patterns hold no fixed text", copy,
                         PATTERN_ALWAYS_MAX);
    if (!(made.code = compile(pattern, length, fold, error)))
        return false;
    if (literal.length == 0) {
        set->always[set->always_count++] = set->pattern_count;
    } else {
        made.length = (uint8_t)(literal.length < UINT8_MAX ? literal.length : UINT8_MAX);
        made.text = lower_copy(literal.bytes, made.length);
    }
    *grow(set) = made;
    return true;
}

/* A group in round brackets that merely lists texts: "a(b|c)?d". */
struct listing {
    const char *open, *close; /* the brackets */
    const char *rest;         /* behind the group and its quantifier */
    bool optional;
};

/* The first group of `pattern`; false if there is none, or one of another kind. */
static bool find_listing(const char *pattern, const char *end, struct listing *out)
{
    int depth = 0;
    bool in_class = false;

    out->open = NULL;
    for (const char *at = pattern; at < end; at++) {
        if (*at == '\\') {
            at++;
        } else if (in_class) {
            in_class = *at != ']';
        } else if (*at == '[') {
            in_class = true;
        } else if (*at == '(') {
            out->open = out->open ? out->open : at;
            depth++;
        } else if (*at == ')' && --depth == 0) {
            out->close = at;
            out->optional = at + 1 < end && at[1] == '?';
            out->rest = at + 1 + out->optional;
            return out->open[1] != '?' && !(out->rest < end && strchr("?*+{", *out->rest));
        }
    }
    return false;
}

/* Adds an alternative, each of the texts that its groups list as one of its own, as far as that
 * makes shapes of them. `*left` is how many more may come of it. False if it cannot be done. */
static bool add_listed(struct pattern_set *set, const struct pattern *kind, const char *pattern,
                       size_t length, bool fold, int *left)
{
    struct listing listing;
    char made[PATTERN_LENGTH_MAX + 1];

    if (!find_listing(pattern, pattern + length, &listing))
        return --*left >= 0 && add_shape(set, *kind, pattern, length, fold);
    for (const char *at = listing.open + 1;; at++) {
        const char *end = alternative_end(at, listing.close);
        size_t used = (size_t)(listing.open - pattern), part = (size_t)(end - at),
               rest = (size_t)(pattern + length - listing.rest);

        memcpy(made, pattern, used);
        memcpy(made + used, at, part);
        memcpy(made + used + part, listing.rest, rest);
        if (!add_listed(set, kind, made, used + part + rest, fold, left))
            return false;
        if (end == listing.close)
            break;
        at = end;
    }
    if (!listing.optional)
        return true;
    memcpy(made, pattern, (size_t)(listing.open - pattern));
    memcpy(made + (listing.open - pattern), listing.rest,
           (size_t)(pattern + length - listing.rest));
    return add_listed(set, kind, made, length - (size_t)(listing.rest - listing.open), fold, left);
}

static void drop_from(struct pattern_set *set, size_t count)
{
    while (set->pattern_count > count) {
        set->pattern_count--;
        free(set->patterns[set->pattern_count].text);
        free(set->patterns[set->pattern_count].shape);
    }
}

static bool add_alternative(struct pattern_set *set, const struct pattern *kind,
                            const char *pattern, size_t length, bool fold, struct error *error)
{
    size_t before = set->pattern_count;
    int left = LISTED_MAX;

    if (add_listed(set, kind, pattern, length, fold, &left))
        return true;
    drop_from(set, before);
    return add_code(set, *kind, pattern, length, fold, error);
}

bool pattern_set_add(struct pattern_set *set, unsigned group, const char *pattern,
                     enum pattern_case letters, struct error *error)
{
    struct pattern kind = {.number = set->count,
                           .group = (uint8_t)group,
                           .next_at_state = -1,
                           .before = SHAPE_NO_SET,
                           .behind = SHAPE_NO_SET};
    size_t length = strlen(pattern);
    pcre2_code *whole;
    bool fold;

    assert(!set->next && group < PATTERN_GROUPS_MAX);
    if (length == 0 || length > PATTERN_LENGTH_MAX)
        return error_set(error, "a pattern has 1 to %d characters", PATTERN_LENGTH_MAX);
    if (set->count >= PATTERN_SET_MAX)
        return error_set(error, "more than %d patterns", PATTERN_SET_MAX);
    whole = compile(pattern, length, false, error);
    if (!whole)
        return false;
    pcre2_code_free(whole);
    if (literal_is_opaque(pattern)) {
        set->count++;
        return add_code(set, kind, pattern, length, false, error);
    }
    for (const char *at = pattern;; at++) {
        const char *end = alternative_end(at, pattern + length);

        if (end == at)
            return error_set(error, "pattern \"%s\": an empty alternative matches everything",
                             pattern);
        fold = letters == PATTERN_SMART && !has_capital(at, (size_t)(end - at));
        if (!add_alternative(set, &kind, at, (size_t)(end - at), fold, error))
            return false;
        at = end;
        if (!*at)
            break;
    }
    set->count++;
    return true;
}

/* ---- building the automaton ------------------------------------------------------------------ */

/* The automaton holds the heads of the texts in lower case: it ignores case throughout, and stays
 * small enough for the cache; what is behind the head is compared when that was met. */
static void make_classes(struct pattern_set *set)
{
    set->class_count = 1;
    for (size_t i = 0; i < set->pattern_count; i++)
        set->patterns[i].head =
            set->patterns[i].length < HEAD_MAX ? set->patterns[i].length : HEAD_MAX;
    for (size_t i = 0; i < set->pattern_count; i++)
        for (size_t k = 0; k < set->patterns[i].head; k++) {
            uint8_t *class = &set->class_of[(unsigned char)set->patterns[i].text[k]];

            if (*class == 0)
                *class = (uint8_t)set->class_count++;
        }
    for (int c = 'A'; c <= 'Z'; c++)
        set->class_of[c] = set->class_of[c + 32];
    assert(set->class_count <= 256);
}

/* The automaton while it is built, states numbered as they are made. */
struct build {
    uint16_t *next, *fail;
    int *output; /* first pattern whose text ends here, or -1 */
    unsigned count, capacity;
};

static unsigned walk(const struct pattern_set *set, struct build *build,
                     const struct pattern *pattern)
{
    unsigned state = 0;

    for (size_t i = 0; i < pattern->head; i++) {
        unsigned class = set->class_of[(unsigned char)pattern->text[i]];
        uint16_t *edge = &build->next[state * set->class_count + class];

        if (*edge == 0) {
            build->output[build->count] = -1;
            *edge = (uint16_t)build->count++;
        }
        state = *edge;
    }
    return state;
}

/* Breadth first: every missing edge becomes the edge of the longest suffix that has one. `queue`
 * gets the states in that order, the root first. */
static void connect(const struct pattern_set *set, struct build *build, uint16_t *queue)
{
    unsigned head = 1, tail = 1, classes = set->class_count;

    queue[0] = 0;
    for (unsigned class = 0; class < classes; class ++)
        if (build->next[class])
            queue[tail++] = build->next[class];
    while (head < tail) {
        unsigned state = queue[head++];

        for (unsigned class = 0; class < classes; class ++) {
            uint16_t *edge = &build->next[state * classes + class];
            uint16_t fallback = build->next[build->fail[state] * classes + class];

            if (*edge) {
                build->fail[*edge] = fallback;
                queue[tail++] = *edge;
            } else {
                *edge = fallback;
            }
        }
    }
    assert(tail == build->count);
}

static bool is_final(const struct build *build, unsigned state)
{
    while (state) {
        if (build->output[state] >= 0)
            return true;
        state = build->fail[state];
    }
    return false;
}

/* The nearest proper suffix state at which a text ends; 0: none. */
static unsigned final_suffix(const struct build *build, unsigned state)
{
    for (state = build->fail[state]; state; state = build->fail[state])
        if (build->output[state] >= 0)
            return state;
    return 0;
}

/* Renumbers so that final states come last, those near the root first (they are what a text goes
 * through, and so stay in the cache), and writes the tables that matching uses. */
static void finish(struct pattern_set *set, struct build *build, const uint16_t *order)
{
    uint16_t *renumbered = malloc(build->count * sizeof *renumbered);
    unsigned plain = 0, finals = 0, classes = set->class_count;

    assert(renumbered);
    for (unsigned state = 0; state < build->count; state++)
        finals += is_final(build, state);
    set->first_final = build->count - finals;
    finals = set->first_final;
    for (unsigned i = 0; i < build->count; i++)
        renumbered[order[i]] = (uint16_t)(is_final(build, order[i]) ? finals++ : plain++);
    assert(renumbered[0] == 0);
    set->state_count = build->count;
    set->next = malloc((size_t)build->count * classes * sizeof *set->next);
    set->outputs = malloc((build->count - set->first_final + 1) * sizeof *set->outputs);
    set->suffix = malloc((build->count - set->first_final + 1) * sizeof *set->suffix);
    assert(set->next && set->outputs && set->suffix);
    for (unsigned state = 0; state < build->count; state++) {
        unsigned to = renumbered[state];

        for (unsigned class = 0; class < classes; class ++)
            set->next[to * classes + class] = renumbered[build->next[state * classes + class]];
        if (to >= set->first_final) {
            set->outputs[to - set->first_final] = build->output[state];
            set->suffix[to - set->first_final] = renumbered[final_suffix(build, state)];
        }
    }
    free(renumbered);
}

bool pattern_set_compile(struct pattern_set *set, struct error *error)
{
    struct build build = {.count = 1, .capacity = 1};
    uint16_t *order;

    assert(!set->next);
    make_classes(set);
    for (size_t i = 0; i < set->pattern_count; i++)
        build.capacity += (unsigned)set->patterns[i].head;
    if (build.capacity > STATES_MAX)
        return error_set(error, "the patterns hold %u characters of fixed text, allowed are %d",
                         build.capacity, STATES_MAX);
    build.next = calloc((size_t)build.capacity * set->class_count, sizeof *build.next);
    build.fail = calloc(build.capacity, sizeof *build.fail);
    build.output = malloc(build.capacity * sizeof *build.output);
    assert(build.next && build.fail && build.output);
    build.output[0] = -1;
    for (size_t i = set->pattern_count; i-- > 0;) { /* backwards: chains come out in order */
        struct pattern *pattern = &set->patterns[i];
        unsigned state;

        if (pattern->length == 0)
            continue;
        state = walk(set, &build, pattern);
        pattern->next_at_state = build.output[state];
        build.output[state] = (int)i;
    }
    order = malloc(build.count * sizeof *order);
    assert(order);
    connect(set, &build, order);
    finish(set, &build, order);
    free(order);
    free(build.next);
    free(build.fail);
    free(build.output);
    return true;
}

/* ---- matching -------------------------------------------------------------------------------- */

static bool has_rest(const struct pattern *pattern, const char *bytes)
{
    for (size_t i = pattern->head; i < pattern->length; i++)
        if (ascii_lower(bytes[i]) != pattern->text[i])
            return false;
    return true;
}

/* A look at the characters next to where the head of a text was met, before `end`: most of what is
 * short goes by it. */
static inline bool may_match(const struct pattern_set *set, const struct pattern *pattern,
                             struct text text, size_t end)
{
    size_t start = end - pattern->head, stop = start + pattern->length;

    if (pattern->exact && text.bytes[start] != pattern->exact)
        return false;
    if (pattern->before != SHAPE_NO_SET &&
        (start == 0 || !shape_set_has(&set->sets, pattern->before, text.bytes[start - 1])))
        return false;
    return pattern->behind == SHAPE_NO_SET ||
           (stop < text.length && shape_set_has(&set->sets, pattern->behind, text.bytes[stop]));
}

/* Whether a pattern matches, the head of its text having been met before `end`. */
static bool confirms(const struct pattern_set *set, const struct pattern *pattern, struct text text,
                     size_t end)
{
    size_t start = end - pattern->head;

    end = start + pattern->length;
    if (pattern->length > pattern->head &&
        (end > text.length || !has_rest(pattern, text.bytes + start)))
        return false;
    if (pattern->plain)
        return true;
    if (pattern->shape)
        return shape_matches(pattern->shape, &set->sets, text, end);
    return pcre2_match(pattern->code, (PCRE2_SPTR)text.bytes, text.length, 0, 0, set->match_data,
                       set->match_context) >= 0;
}

static bool is_better(const struct pattern *pattern, const struct pattern_hits *hits)
{
    int first = hits->first[pattern->group];

    return first == PATTERN_NONE || pattern->number < first;
}

/* Looks at all texts that end at a final state. */
static __attribute__((noinline)) void visit(const struct pattern_set *set, unsigned state,
                                            struct text text, size_t end, struct pattern_hits *out)
{
    while (state) {
        int index = set->outputs[state - set->first_final];

        for (; index >= 0; index = set->patterns[index].next_at_state) {
            const struct pattern *pattern = &set->patterns[index];

            if (is_better(pattern, out) && may_match(set, pattern, text, end) &&
                confirms(set, pattern, text, end))
                out->first[pattern->group] = pattern->number;
        }
        state = set->suffix[state - set->first_final];
        assert(state == 0 || state >= set->first_final);
    }
}

void pattern_set_match(const struct pattern_set *set, struct text text, struct pattern_hits *out)
{
    /* In registers: visit() could change what `set` points to, for all the compiler knows. */
    const uint16_t *next = set->next;
    const uint8_t *class_of = set->class_of;
    const unsigned classes = set->class_count, first_final = set->first_final;
    unsigned state = 0;

    assert(next);
    for (int group = 0; group < PATTERN_GROUPS_MAX; group++)
        out->first[group] = PATTERN_NONE;
    for (size_t i = 0; i < text.length; i++) {
        state = next[state * classes + class_of[(unsigned char)text.bytes[i]]];
        if (state >= first_final)
            visit(set, state, text, i + 1, out);
    }
    for (size_t i = 0; i < set->always_count; i++) {
        const struct pattern *pattern = &set->patterns[set->always[i]];

        if (is_better(pattern, out) && confirms(set, pattern, text, text.length))
            out->first[pattern->group] = pattern->number;
    }
}
