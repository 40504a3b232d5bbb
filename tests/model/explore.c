/* Breadth-first search. The set keeps every state whole (no fingerprints: two states are one only
 * if all their bytes agree), with the index of the state it was first reached from, so that the
 * first violation found has a shortest trace.
 *
 * Memory: sizeof(struct state) + 4 bytes a state and 16 to 32 in the table, freed at the end of a
 * run. A run that would need more than MAX_STATES ends as TOO_BIG, which counts as a failure. */
#include "tests/model/model.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1 << 14, CHUNKS = 1 << 12 };
#define MAX_STATES ((uint32_t)CHUNK * CHUNKS)

struct chunk {
    struct state state[CHUNK];
    uint32_t parent[CHUNK];
};

/* The hash kept beside the index saves most looks at states, which are misses of the cache. */
struct slot {
    uint32_t index; /* plus one; 0 is free */
    uint32_t hash;
};

struct set {
    struct chunk *chunks[CHUNKS];
    uint32_t count;
    struct slot *table;
    uint32_t mask;
};

static void *must(void *memory)
{
    if (memory == NULL) {
        fputs("model: out of memory\n", stderr);
        exit(2);
    }
    return memory;
}

static uint32_t state_hash(const struct state *s)
{
    uint64_t words[sizeof(*s) / 8], h = 0x9e3779b97f4a7c15U;

    memcpy(words, s, sizeof(words));
    for (unsigned i = 0; i < sizeof(words) / 8; i++) {
        h = (h ^ words[i]) * 0xff51afd7ed558ccdU;
        h ^= h >> 32;
    }
    return (uint32_t)h;
}

const struct state *set_at(const struct set *set, uint32_t i)
{
    assert(i < set->count);
    return &set->chunks[i / CHUNK]->state[i % CHUNK];
}

uint32_t set_count(const struct set *set)
{
    return set->count;
}

static struct slot *set_slot(const struct set *set, const struct state *s, uint32_t hash)
{
    uint32_t at = hash & set->mask;

    for (;; at = (at + 1) & set->mask) {
        struct slot *slot = &set->table[at];
        if (slot->index == 0 ||
            (slot->hash == hash && memcmp(set_at(set, slot->index - 1), s, sizeof(*s)) == 0))
            return slot;
    }
}

/* Hashes all successors at once and has their slots fetched while the next ones are hashed. */
void set_expect(const struct set *set, struct steps *steps)
{
    for (unsigned k = 0; k < steps->count; k++) {
        steps->hash[k] = state_hash(&steps->step[k].after);
        __builtin_prefetch(&set->table[steps->hash[k] & set->mask]);
    }
}

uint32_t set_find(const struct set *set, const struct steps *steps, unsigned k)
{
    const struct slot *slot = set_slot(set, &steps->step[k].after, steps->hash[k]);

    assert(slot->index != 0);
    return slot->index - 1;
}

static void set_grow(struct set *set)
{
    struct slot *old = set->table;
    uint32_t size = set->mask + 1;

    set->mask = size * 2 - 1;
    set->table = must(calloc((size_t)size * 2, sizeof(*old)));
    for (uint32_t i = 0; i < size; i++) {
        uint32_t at = old[i].hash & set->mask;
        if (old[i].index == 0)
            continue;
        while (set->table[at].index != 0)
            at = (at + 1) & set->mask;
        set->table[at] = old[i];
    }
    free(old);
}

/* Adds a state unless it is there; true if it was added. */
static bool set_add(struct set *set, const struct state *s, uint32_t hash, uint32_t parent)
{
    uint32_t i = set->count;
    struct slot *slot = set_slot(set, s, hash);

    if (slot->index != 0)
        return false;
    if (i % CHUNK == 0)
        set->chunks[i / CHUNK] = must(malloc(sizeof(struct chunk)));
    set->chunks[i / CHUNK]->state[i % CHUNK] = *s;
    set->chunks[i / CHUNK]->parent[i % CHUNK] = parent;
    *slot = (struct slot){.index = ++set->count, .hash = hash};
    if (set->count > set->mask / 2)
        set_grow(set);
    return true;
}

static struct set *set_new(void)
{
    struct set *set = must(calloc(1, sizeof(*set)));

    set->mask = (1U << 16) - 1;
    set->table = must(calloc((size_t)set->mask + 1, sizeof(*set->table)));
    return set;
}

static void set_free(struct set *set)
{
    for (uint32_t i = 0; i < set->count; i += CHUNK)
        free(set->chunks[i / CHUNK]);
    free(set->table);
    free(set);
}

static void print_one(const struct model *m, const struct state *from, const struct state *to,
                      unsigned number, FILE *f)
{
    struct steps steps;

    steps.count = 0;
    rules_steps(m, from, &steps);
    faults_steps(m, from, &steps);
    unsigned i = 0;
    while (i < steps.count && memcmp(&steps.step[i].after, to, sizeof(*to)) != 0)
        i++;
    assert(i < steps.count); /* a parent has its child among its successors */
    report_step(f, number, &steps.step[i]);
}

unsigned set_print_path(const struct model *m, const struct set *set, uint32_t to, FILE *f)
{
    unsigned length = 0, at;
    uint32_t *path;

    for (uint32_t i = to; i != 0; i = set->chunks[i / CHUNK]->parent[i % CHUNK])
        length++;
    if (f == NULL)
        return length;
    path = must(malloc((length + 1) * sizeof(*path)));
    at = length;
    for (uint32_t i = to;; i = set->chunks[i / CHUNK]->parent[i % CHUNK]) {
        path[at] = i;
        if (at-- == 0)
            break;
    }
    fputs("     start", f);
    report_state(f, set_at(set, 0));
    for (unsigned i = 0; i < length; i++)
        print_one(m, set_at(set, path[i]), set_at(set, path[i + 1]), i + 1, f);
    free(path);
    return length;
}

/* PostgreSQL's total is its rows; the stream adds the events above the watermark. */
static bool totals_right(const struct state *s)
{
    unsigned expected[ORIGINS];
    const struct redis *r = &s->redis;

    if (!r->ready || r->damaged)
        return true;
    for (unsigned o = 0; o < ORIGINS; o++) {
        if (r->flushed[o] > s->pg.watermark[o] || s->pg.watermark[o] > r->last_seq[o])
            return true; /* recovering */
        expected[o] = (unsigned)__builtin_popcount(s->pg.rows[o]);
    }
    for (unsigned i = 0; i < r->length; i++) {
        unsigned o = entry_origin(r->stream[i]);
        for (unsigned seq = entry_first(r->stream[i]); seq <= entry_last(r->stream[i]); seq++)
            expected[o] += seq > s->pg.watermark[o];
    }
    for (unsigned o = 0; o < ORIGINS; o++)
        if (expected[o] != r->totals[o])
            return false;
    return true;
}

static enum verdict safety(const struct model *m, const struct state *s)
{
    if (s->pg.doubled)
        return DOUBLED;
    if (!rule(m, RULE_ONE_TRANSACTION))
        return CLEAN; /* rows and watermark part in any case; what comes of it is asked for */
    for (unsigned o = 0; o < ORIGINS; o++)
        if (s->pg.rows[o] != (1U << s->pg.watermark[o]) - 1U)
            return MISMATCH;
    return totals_right(s) ? CLEAN : MISCOUNTED;
}

static enum verdict search(const struct model *m, struct set *set)
{
    struct steps *steps = must(malloc(sizeof(*steps)));
    enum verdict verdict = CLEAN;

    for (uint32_t i = 0; i < set->count && verdict == CLEAN; i++) {
        steps->count = 0;
        rules_steps(m, set_at(set, i), steps);
        faults_steps(m, set_at(set, i), steps);
        set_expect(set, steps);
        for (unsigned k = 0; k < steps->count && verdict == CLEAN; k++) {
            if (set->count == MAX_STATES)
                verdict = TOO_BIG;
            else if (set_add(set, &steps->step[k].after, steps->hash[k], i))
                verdict = safety(m, &steps->step[k].after);
        }
    }
    free(steps);
    return verdict;
}

struct result explore(const struct model *m, FILE *trace)
{
    struct set *set = set_new();
    struct result result = {.verdict = CLEAN};
    struct state start;

    state_init(m, &start);
    set_add(set, &start, state_hash(&start), 0);
    result.verdict = search(m, set);
    result.states = set->count;
    if (result.verdict == CLEAN) {
        result.depth = set_print_path(m, set, set->count - 1, NULL);
        quiet_check(m, set, &result, trace);
    } else {
        bool show = result.verdict != TOO_BIG;
        result.depth = set_print_path(m, set, set->count - 1, show ? trace : NULL);
    }
    set_free(set);
    return result;
}
