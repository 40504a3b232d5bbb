/* What happens to the product from outside. Each fault costs one of the run's budget; taking a copy
 * of a store aside, waking a frozen flusher and the passing of time cost nothing.
 *
 * None of these steps is needed for progress: when all is quiet they have stopped. */
#include "tests/model/model.h"

#include <assert.h>
#include <string.h>

static bool can(const struct model *m, const struct state *s, enum fault kind)
{
    return s->faults > 0 && (m->kinds >> kind & 1U) != 0;
}

/* Whether the quiet stretch that journal_keep is to contain (tick_step) has been. */
static bool stretch_done(const struct state *s)
{
    bool done = true;

    for (unsigned o = 0; o < ORIGINS; o++)
        done = done && s->journal[o].confirmed;
    return done;
}

static void stretch_begin(struct state *s)
{
    s->passed = 0;
    for (unsigned o = 0; o < ORIGINS; o++)
        s->journal[o].confirmed = 0;
    for (unsigned n = 0; n < FLUSHERS; n++)
        s->flusher[n].fresh = 0;
}

static struct step fault_begin(const struct state *s, enum fault kind, unsigned who)
{
    struct step step = {.after = *s, .actor = ACTOR_NONE, .who = (uint8_t)who};

    assert(s->faults > 0);
    step.what = (uint8_t)(DO_FAULT + kind);
    step.after.faults--;
    if (!stretch_done(s))
        stretch_begin(&step.after);
    return step;
}

/* A copy may be taken at any time, so which state a rollback brings back is left open. One copy is
 * enough until it is used: a run that takes two and uses the second is the run that takes one. */
static void copy_steps(const struct model *m, const struct state *s, struct steps *out)
{
    struct step step = {.actor = ACTOR_NONE};

    if (can(m, s, FAULT_REDIS_BACK) && !s->has_redis_old) {
        step.after = *s;
        step.what = DO_COPY_REDIS;
        step.after.redis_old = s->redis;
        step.after.has_redis_old = 1;
        steps_add(m, out, &step);
    }
    if (can(m, s, FAULT_PG_BACK) && !s->has_pg_old) {
        step.after = *s;
        step.what = DO_COPY_PG;
        step.after.pg_old = s->pg;
        step.after.has_pg_old = stretch_done(s) ? OLD_LATE : OLD_EARLY;
        steps_add(m, out, &step);
    }
}

static void redis_faults(const struct model *m, const struct state *s, struct steps *out)
{
    struct step step;

    if (can(m, s, FAULT_REDIS_BACK) && s->has_redis_old &&
        memcmp(&s->redis, &s->redis_old, sizeof(s->redis)) != 0) {
        step = fault_begin(s, FAULT_REDIS_BACK, 0);
        step.after.redis = s->redis_old;
        step.after.has_redis_old = 0;
        memset(&step.after.redis_old, 0, sizeof(s->redis_old));
        steps_add(m, out, &step);
    }
    if (can(m, s, FAULT_REDIS_EMPTY)) {
        step = fault_begin(s, FAULT_REDIS_EMPTY, 0);
        memset(&step.after.redis, 0, sizeof(step.after.redis));
        steps_add(m, out, &step);
    }
    for (unsigned i = 0; i < s->redis.length && can(m, s, FAULT_REDIS_ENTRY); i++) {
        struct redis *r;
        step = fault_begin(s, FAULT_REDIS_ENTRY, entry_origin(s->redis.stream[i]));
        step.first = (uint8_t)entry_first(s->redis.stream[i]);
        step.last = (uint8_t)entry_last(s->redis.stream[i]);
        r = &step.after.redis;
        memmove(&r->stream[i], &r->stream[i + 1], r->length - i - 1U);
        r->stream[--r->length] = 0;
        r->damaged = 1;
        steps_add(m, out, &step);
    }
}

static bool in_transaction(const struct flusher *f)
{
    return f->at == AT_WAITING || f->at == AT_LOCKED || f->at == AT_COPIED || f->at == AT_ROWS ||
           f->at == AT_RECOVER || f->at == AT_REWRITE;
}

static void pg_faults(const struct model *m, const struct state *s, struct steps *out)
{
    struct step step;

    if (!can(m, s, FAULT_PG_BACK) || !s->has_pg_old)
        return;
    step = fault_begin(s, FAULT_PG_BACK, 0);
    if (s->has_pg_old == OLD_EARLY)
        stretch_begin(&step.after);
    step.after.pg = s->pg_old;
    step.after.has_pg_old = 0;
    memset(&step.after.pg_old, 0, sizeof(s->pg_old));
    step.after.lock = 0;
    step.after.orphan = 0;
    memset(step.after.orphan_read, 0, sizeof(s->orphan_read));
    memset(step.after.orphan_next, 0, sizeof(s->orphan_next));
    for (unsigned n = 0; n < FLUSHERS; n++)
        if (in_transaction(&s->flusher[n]))
            step.after.flusher[n].dead = 1;
    steps_add(m, out, &step);
}

static void ship_faults(const struct model *m, const struct state *s, unsigned o, struct steps *out)
{
    struct step step;

    if (can(m, s, FAULT_SHIP_RESTART)) {
        step = fault_begin(s, FAULT_SHIP_RESTART, o);
        step.after.journal[o] = (struct journal){.oldest = s->journal[o].oldest,
                                                 .next = s->journal[o].oldest,
                                                 .lost = s->journal[o].lost};
        steps_add(m, out, &step);
    }
    if (o == 0 && !s->journal[o].lost && can(m, s, FAULT_JOURNAL_LOST)) {
        step = fault_begin(s, FAULT_JOURNAL_LOST, o);
        step.after.journal[o].oldest = (uint8_t)(m->events[o] + 1);
        step.after.journal[o].lost = 1;
        steps_add(m, out, &step);
    }
    if (!can(m, s, FAULT_APPEND_LOST))
        return;
    for (unsigned n = 1; n <= m->batch; n++) {
        unsigned first =
            rule(m, RULE_APPEND_IN_ORDER) ? s->redis.last_seq[o] + 1U : s->journal[o].next;
        if (first < s->journal[o].oldest || first + n - 1 > m->events[o])
            break;
        step = fault_begin(s, FAULT_APPEND_LOST, o);
        step.first = (uint8_t)first;
        step.last = (uint8_t)(first + n - 1);
        redis_append(m, &step.after.redis, o, first, first + n - 1);
        steps_add(m, out, &step);
    }
}

static void flush_faults(const struct model *m, const struct state *s, unsigned n,
                         struct steps *out)
{
    const struct flusher *f = &s->flusher[n];
    struct step step;

    if (f->at != AT_IDLE && can(m, s, FAULT_FLUSH_CRASH)) {
        step = fault_begin(s, FAULT_FLUSH_CRASH, n);
        step.after.flusher[n] = (struct flusher){.at = AT_IDLE};
        if (s->lock == n + 1)
            step.after.lock = 0;
        steps_add(m, out, &step);
    }
    if (n == 0 && !f->frozen && f->at != AT_IDLE && can(m, s, FAULT_FREEZE)) {
        step = fault_begin(s, FAULT_FREEZE, n);
        step.after.flusher[n].frozen = 1;
        steps_add(m, out, &step);
    }
    if (f->at == AT_COPIED && !f->dead && !f->frozen && !s->orphan &&
        can(m, s, FAULT_COMMIT_LOST)) {
        step = fault_begin(s, FAULT_COMMIT_LOST, n);
        step.after.orphan = 1;
        memcpy(step.after.orphan_read, f->watermark, sizeof(f->watermark));
        memcpy(step.after.orphan_next, f->next, sizeof(f->next));
        step.after.lock = rule(m, RULE_LOCK) ? ORPHAN_LOCK : 0;
        step.after.flusher[n] = (struct flusher){.at = AT_IDLE};
        steps_add(m, out, &step);
    }
    if (f->frozen) {
        step = (struct step){.after = *s, .what = DO_WAKE, .actor = ACTOR_NONE};
        step.who = (uint8_t)n;
        step.after.flusher[n].frozen = 0;
        steps_add(m, out, &step);
    }
}

/* journal_keep runs out: what `flushed` has covered since before the last tick leaves the journal,
 * and PostgreSQL can no longer fall back to before this tick.
 *
 * The setting is to exceed the deepest fall of PostgreSQL and the longest pause of the flushers
 * with time to spare. Here that means: between two ticks lies a stretch without faults in which the
 * passes under way end, a whole pass runs, and then each shipper reads; and after a fall to a state
 * from before that stretch comes another one. */
static void tick_step(const struct model *m, const struct state *s, struct steps *out)
{
    struct step step = {.after = *s, .what = DO_TICK, .actor = ACTOR_NONE};

    if (s->ticks == 0 || !stretch_done(s))
        return;
    for (unsigned o = 0; o < ORIGINS; o++) {
        struct journal *j = &step.after.journal[o];
        if (j->kept + 1U > j->oldest)
            j->oldest = (uint8_t)(j->kept + 1);
        j->kept = s->ticks == 1 ? 0 : j->observed;
    }
    stretch_begin(&step.after);
    step.after.ticks--;
    step.after.has_pg_old = 0;
    memset(&step.after.pg_old, 0, sizeof(s->pg_old));
    steps_add(m, out, &step);
}

void faults_steps(const struct model *m, const struct state *s, struct steps *out)
{
    copy_steps(m, s, out);
    redis_faults(m, s, out);
    pg_faults(m, s, out);
    for (unsigned o = 0; o < ORIGINS; o++)
        ship_faults(m, s, o, out);
    for (unsigned n = 0; n < FLUSHERS; n++)
        flush_faults(m, s, n, out);
    tick_step(m, s, out);
}
