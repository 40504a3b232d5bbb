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

#define STATES_MAX  65000
#define MATCH_LIMIT 100000 /* steps of PCRE2 in one check: bounds an operator's pattern */

/* What must hold at an end of a text. */
enum anchor { ANCHOR_NONE, ANCHOR_END, ANCHOR_WORD };

/* A pattern, or one alternative of it at its top level. */
struct pattern {
    int number;
    uint8_t group;
    bool fold;
    uint8_t before, after; /* enum anchor, at the ends of the text */
    int next_at_state;     /* the next pattern whose text ends at the same state, or -1 */
    pcre2_code *code;      /* NULL: the text alone decides */
    size_t length;
    char *text; /* as it was given; NULL: tried on every text */
};

struct pattern_set {
    int count;
    struct pattern *patterns;
    size_t pattern_count, pattern_capacity;
    size_t always[PATTERN_ALWAYS_MAX], always_count;
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

/* Cuts "^" or "\b" off the front and "$" or "\b" off the back; what is left may be plain text. */
static void cut_anchors(char *pattern, struct pattern *out)
{
    size_t length, skip = 0;

    if (pattern[0] == '^') {
        out->before = ANCHOR_END;
        skip = 1;
    } else if (pattern[0] == '\\' && pattern[1] == 'b') {
        out->before = ANCHOR_WORD;
        skip = 2;
    }
    memmove(pattern, pattern + skip, strlen(pattern + skip) + 1);
    length = strlen(pattern);
    if (length >= 2 && pattern[length - 1] == 'b' && pattern[length - 2] == '\\' &&
        (length == 2 || pattern[length - 3] != '\\')) {
        out->after = ANCHOR_WORD;
        pattern[length - 2] = '\0';
    } else if (length >= 1 && pattern[length - 1] == '$' &&
               (length == 1 || pattern[length - 2] != '\\')) {
        out->after = ANCHOR_END;
        pattern[length - 1] = '\0';
    }
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

static bool add_alternative(struct pattern_set *set, const struct pattern *kind,
                            const char *pattern, size_t length, struct error *error)
{
    char copy[PATTERN_LENGTH_MAX + 1];
    struct literal literal;
    struct pattern *added, made = *kind;

    memcpy(copy, pattern, length);
    copy[length] = '\0';
    cut_anchors(copy, &made);
    literal_extract(copy, &literal);
    if (!literal.whole || literal.length == 0) {
        made.before = made.after = ANCHOR_NONE; /* PCRE2 sees to all of it */
        if (!(made.code = compile(pattern, length, made.fold, error)))
            return false;
    }
    if (literal.length == 0 && set->always_count == PATTERN_ALWAYS_MAX) {
        pcre2_code_free(made.code);
        return error_set(error, "pattern \"%.*s\": more than %d patterns hold no fixed text",
                         (int)length, pattern, PATTERN_ALWAYS_MAX);
    }
    added = grow(set);
    *added = made;
    if (literal.length == 0) {
        set->always[set->always_count++] = set->pattern_count - 1;
        return true;
    }
    added->length = literal.length;
    added->text = strndup(literal.bytes, literal.length);
    assert(added->text);
    return true;
}

/* Where the alternative at `at` ends: at a '|' outside groups and classes, or at the end. */
static const char *alternative_end(const char *at)
{
    int depth = 0;

    for (bool in_class = false; *at; at++) {
        if (*at == '\\' && at[1]) {
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
    return at;
}

bool pattern_set_add(struct pattern_set *set, unsigned group, const char *pattern,
                     enum pattern_case letters, struct error *error)
{
    struct pattern kind = {.number = set->count, .group = (uint8_t)group, .next_at_state = -1};
    size_t length = strlen(pattern);
    pcre2_code *whole;

    assert(!set->next && group < PATTERN_GROUPS_MAX);
    if (length == 0 || length > PATTERN_LENGTH_MAX)
        return error_set(error, "a pattern has 1 to %d characters", PATTERN_LENGTH_MAX);
    if (set->count >= PATTERN_SET_MAX)
        return error_set(error, "more than %d patterns", PATTERN_SET_MAX);
    whole = compile(pattern, length, false, error);
    if (!whole)
        return false;
    pcre2_code_free(whole);
    for (const char *at = pattern;; at++) {
        const char *end = alternative_end(at);

        if (end == at)
            return error_set(error, "pattern \"%s\": an empty alternative matches everything",
                             pattern);
        kind.fold = letters == PATTERN_SMART && !has_capital(at, (size_t)(end - at));
        if (!add_alternative(set, &kind, at, (size_t)(end - at), error))
            return false;
        at = end;
        if (!*at)
            break;
    }
    set->count++;
    return true;
}

/* ---- building the automaton ------------------------------------------------------------------ */

/* The automaton ignores case throughout; a pattern that does not is compared again when met. */
static unsigned char folded(char c)
{
    return (unsigned char)ascii_lower(c);
}

static void make_classes(struct pattern_set *set)
{
    set->class_count = 1;
    for (size_t i = 0; i < set->pattern_count; i++)
        for (size_t k = 0; k < set->patterns[i].length; k++) {
            uint8_t *class = &set->class_of[folded(set->patterns[i].text[k])];

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

    for (size_t i = 0; i < pattern->length; i++) {
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

/* Breadth first: every missing edge becomes the edge of the longest suffix that has one. */
static void connect(struct pattern_set *set, struct build *build)
{
    uint16_t *queue = malloc(build->count * sizeof *queue);
    unsigned head = 0, tail = 0, classes = set->class_count;

    assert(queue);
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
    free(queue);
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

/* Renumbers so that final states come last, and writes the tables that matching uses. */
static void finish(struct pattern_set *set, struct build *build)
{
    uint16_t *renumbered = malloc(build->count * sizeof *renumbered);
    unsigned plain = 0, finals = 0, classes = set->class_count;

    assert(renumbered);
    for (unsigned state = 0; state < build->count; state++)
        finals += is_final(build, state);
    set->first_final = build->count - finals;
    finals = set->first_final;
    for (unsigned state = 0; state < build->count; state++)
        renumbered[state] = (uint16_t)(is_final(build, state) ? finals++ : plain++);
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

    assert(!set->next);
    make_classes(set);
    for (size_t i = 0; i < set->pattern_count; i++)
        build.capacity += (unsigned)set->patterns[i].length;
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
    connect(set, &build);
    finish(set, &build);
    free(build.next);
    free(build.fail);
    free(build.output);
    return true;
}

/* ---- matching -------------------------------------------------------------------------------- */

static bool is_word(char c)
{
    return ascii_is_alnum(c) || c == '_';
}

/* Whether `anchor` holds between the bytes before and behind `at`. */
static bool holds(enum anchor anchor, struct text text, size_t at, bool front)
{
    if (anchor == ANCHOR_NONE)
        return true;
    if (anchor == ANCHOR_END)
        return at == (front ? 0 : text.length);
    return (at > 0 && is_word(text.bytes[at - 1])) != (at < text.length && is_word(text.bytes[at]));
}

/* Whether a pattern matches whose text ends at `end`. */
static bool confirms(const struct pattern_set *set, const struct pattern *pattern, struct text text,
                     size_t end)
{
    size_t start = end - pattern->length;

    if (pattern->code)
        return pcre2_match(pattern->code, (PCRE2_SPTR)text.bytes, text.length, 0, 0,
                           set->match_data, set->match_context) >= 0;
    return (pattern->fold || memcmp(text.bytes + start, pattern->text, pattern->length) == 0) &&
           holds(pattern->before, text, start, true) && holds(pattern->after, text, end, false);
}

static bool is_better(const struct pattern *pattern, const struct pattern_hits *hits)
{
    int first = hits->first[pattern->group];

    return first == PATTERN_NONE || pattern->number < first;
}

/* Looks at all texts that end at a final state. */
static void visit(const struct pattern_set *set, unsigned state, struct text text, size_t end,
                  struct pattern_hits *out)
{
    while (state) {
        int index = set->outputs[state - set->first_final];

        for (; index >= 0; index = set->patterns[index].next_at_state) {
            const struct pattern *pattern = &set->patterns[index];

            if (is_better(pattern, out) && confirms(set, pattern, text, end))
                out->first[pattern->group] = pattern->number;
        }
        state = set->suffix[state - set->first_final];
        assert(state == 0 || state >= set->first_final);
    }
}

void pattern_set_match(const struct pattern_set *set, struct text text, struct pattern_hits *out)
{
    unsigned state = 0;

    assert(set->next);
    for (int group = 0; group < PATTERN_GROUPS_MAX; group++)
        out->first[group] = PATTERN_NONE;
    for (size_t i = 0; i < text.length; i++) {
        unsigned class = set->class_of[(unsigned char)text.bytes[i]];

        state = set->next[state * set->class_count + class];
        if (state >= set->first_final)
            visit(set, state, text, i + 1, out);
    }
    for (size_t i = 0; i < set->always_count; i++) {
        const struct pattern *pattern = &set->patterns[set->always[i]];

        if (is_better(pattern, out) && confirms(set, pattern, text, text.length))
            out->first[pattern->group] = pattern->number;
    }
}
