/* The product as the design states it: three scripts in Redis, the shipper, the flusher.
 *
 * Each function under "steps" emits what one actor may do next from a state. A step is as large as
 * it can be without hiding anything: everything inside it is either one script, one statement, or
 * local to the actor. Rules are asked for by name (model.h), so that each can be taken out. */
#include "tests/model/model.h"

#include <assert.h>
#include <string.h>

void state_init(const struct model *m, struct state *s)
{
    memset(s, 0, sizeof(*s));
    s->redis.ready = 1;
    s->faults = m->faults;
    s->ticks = m->ticks;
    for (unsigned o = 0; o < ORIGINS; o++) {
        assert(m->events[o] >= 1 && m->events[o] <= EVENTS_MAX);
        s->journal[o].oldest = 1;
        s->journal[o].next = 1;
    }
}

/* Clears what can no longer matter, so that states that behave alike are one state. */
static void normalise(const struct model *m, struct state *s)
{
    for (unsigned f = 0; f < FLUSHERS; f++)
        if (s->flusher[f].at == AT_IDLE)
            s->flusher[f] = (struct flusher){.frozen = s->flusher[f].frozen};
    if (s->faults == 0 || (m->kinds >> FAULT_REDIS_BACK & 1U) == 0) {
        s->has_redis_old = 0;
        memset(&s->redis_old, 0, sizeof(s->redis_old));
    }
    if (s->faults == 0 || (m->kinds >> FAULT_PG_BACK & 1U) == 0) {
        s->has_pg_old = 0;
        memset(&s->pg_old, 0, sizeof(s->pg_old));
    }
    for (unsigned o = 0; o < ORIGINS; o++)
        if (s->ticks < 2)
            s->journal[o].observed = 0; /* only the next tick but one would ask for it */
    if (s->ticks > 0)
        return;
    s->passed = 0;
    for (unsigned f = 0; f < FLUSHERS; f++)
        s->flusher[f].fresh = 0;
    for (unsigned o = 0; o < ORIGINS; o++)
        s->journal[o].observed = s->journal[o].kept = s->journal[o].confirmed = 0;
}

void steps_add(const struct model *m, struct steps *out, const struct step *step)
{
    assert(out->count < STEPS_MAX);
    out->step[out->count] = *step;
    normalise(m, &out->step[out->count].after);
    out->count++;
}

static uint8_t larger(uint8_t a, uint8_t b)
{
    return a > b ? a : b;
}

/* ---- the scripts ---- */

void redis_append(const struct model *m, struct redis *r, unsigned o, unsigned first, unsigned last)
{
    if (!r->ready && rule(m, RULE_APPEND_WHEN_READY))
        return;
    if (first != r->last_seq[o] + 1U && rule(m, RULE_APPEND_IN_ORDER))
        return;
    if (r->length == STREAM_MAX || r->last_id == STREAM_MAX) {
        assert(m->off != 0); /* the intact model never has that many entries */
        return;
    }
    r->last_id++;
    r->stream[r->length++] = entry_make(o, r->last_id, first, last);
    r->last_seq[o] = (uint8_t)last;
    r->totals[o] = (uint8_t)(r->totals[o] + last - first + 1);
}

static void stream_remove(struct redis *r, unsigned at)
{
    memmove(&r->stream[at], &r->stream[at + 1], r->length - at - 1U);
    r->stream[--r->length] = 0;
}

static void redis_delete(struct redis *r, uint8_t ack, bool whole)
{
    for (unsigned i = 0; i < r->length; i++)
        if (whole ? r->stream[i] == ack : entry_id(r->stream[i]) == entry_id(ack)) {
            stream_remove(r, i);
            return;
        }
}

static void redis_raise(const struct model *m, struct redis *r, const struct flusher *f)
{
    for (unsigned o = 0; o < ORIGINS; o++) {
        if (!rule(m, RULE_ACK_ALL_WATERMARKS) && f->next[o] == f->watermark[o])
            continue;
        if (f->skip >> o & 1U)
            continue;
        r->flushed[o] =
            rule(m, RULE_FLUSHED_RISES) ? larger(r->flushed[o], f->next[o]) : f->next[o];
    }
}

static void redis_remove(const struct model *m, struct redis *r)
{
    struct redis old = *r;

    memset(r, 0, sizeof(*r));
    if (rule(m, RULE_RECOVER_RESETS))
        return;
    r->length = old.length;
    r->last_id = old.last_id;
    memcpy(r->stream, old.stream, sizeof(r->stream));
}

/* Totals need no field of their own in the flusher: PostgreSQL's total is its row count, which the
 * same statement read with the watermark, and the search ends where the two differ. */
static void redis_write(struct redis *r, const uint8_t watermark[ORIGINS])
{
    for (unsigned o = 0; o < ORIGINS; o++)
        r->last_seq[o] = r->flushed[o] = r->totals[o] = watermark[o];
    r->ready = 1;
}

/* ---- the shipper's steps ---- */

static void shipper_learn(const struct model *m, struct state *s, unsigned o)
{
    struct journal *j = &s->journal[o];
    uint8_t flushed = s->redis.flushed[o];

    if (!s->redis.ready)
        return;
    j->next = (uint8_t)(s->redis.last_seq[o] + 1);
    j->observed = flushed;
    if (flushed < j->kept)
        j->kept = flushed;
    if (s->passed || !rule(m, RULE_KEEP_NEEDS_PASS))
        j->confirmed = 1;
    if (!rule(m, RULE_KEEP))
        j->oldest = larger(j->oldest, (uint8_t)(flushed + 1));
}

static void shipper_steps(const struct model *m, const struct state *s, unsigned o,
                          struct steps *out)
{
    const struct journal *j = &s->journal[o];
    struct step step = {.who = (uint8_t)o};

    for (unsigned n = 1; n <= m->batch; n++) {
        unsigned last = j->next + n - 1;
        if (j->next < j->oldest || last > m->events[o])
            break;
        step.after = *s;
        step.what = DO_APPEND;
        step.actor = (uint8_t)(ACTOR_SEND + o);
        step.first = j->next;
        step.last = (uint8_t)last;
        redis_append(m, &step.after.redis, o, j->next, last);
        if (rule(m, RULE_LEARN))
            shipper_learn(m, &step.after, o);
        else if (step.after.redis.last_seq[o] == last)
            step.after.journal[o].next = (uint8_t)(last + 1);
        steps_add(m, out, &step);
    }
    if (!rule(m, RULE_IDLE_READ))
        return;
    step = (struct step){.after = *s, .what = DO_READ, .who = (uint8_t)o};
    step.actor = (uint8_t)(ACTOR_READ + o);
    if (rule(m, RULE_LEARN))
        shipper_learn(m, &step.after, o);
    steps_add(m, out, &step);
}

/* ---- the flusher's steps ---- */

static void flusher_unlock(struct state *s, unsigned f)
{
    if (s->lock == f + 1)
        s->lock = 0;
}

static void flusher_done(struct state *s, unsigned f)
{
    if (s->flusher[f].fresh)
        s->passed = 1;
    flusher_unlock(s, f);
    s->flusher[f].at = AT_IDLE;
}

static bool trigger_of(const struct model *m, const struct state *s, const uint8_t w[ORIGINS])
{
    const struct redis *r = &s->redis;

    if (!r->ready && rule(m, RULE_TRIGGER_READY))
        return true;
    for (unsigned o = 0; o < ORIGINS; o++) {
        if (w[o] < r->flushed[o] && rule(m, RULE_TRIGGER_FLUSHED))
            return true;
        if (r->last_seq[o] < w[o] && rule(m, RULE_TRIGGER_LAST_SEQ))
            return true;
    }
    return false;
}

/* Walks the first entries up to the limit, fills next and acks; true: recovery is needed. */
static bool flusher_look(const struct model *m, const struct redis *r, struct flusher *f)
{
    unsigned count = r->length < m->limit ? r->length : m->limit;
    unsigned acks = 0;
    bool recover = false;

    memcpy(f->next, f->watermark, sizeof(f->next));
    for (unsigned i = 0; i < count; i++) {
        uint8_t e = r->stream[i];
        unsigned o = entry_origin(e);
        if (entry_first(e) > f->next[o] + 1U) {
            recover |= rule(m, RULE_TRIGGER_HOLE);
            continue;
        }
        f->next[o] = larger(f->next[o], (uint8_t)entry_last(e));
        f->acks[acks++] = e;
    }
    if (count < r->length && rule(m, RULE_LIMIT_DECIDES_NOT))
        return recover;
    for (unsigned o = 0; o < ORIGINS; o++) {
        bool above = false;
        for (unsigned i = 0; i < count; i++)
            above |= entry_origin(r->stream[i]) == o && entry_last(r->stream[i]) > f->watermark[o];
        if (!above && r->last_seq[o] > f->watermark[o])
            recover |= rule(m, RULE_TRIGGER_EXHAUSTED);
    }
    return recover;
}

/* What is left of a pass that has read Redis: rows to commit, or only something to tell Redis, or
 * nothing. */
static void flusher_take(const struct model *m, struct state *s, unsigned n, bool trouble)
{
    struct flusher *f = &s->flusher[n];
    bool behind = false;

    for (unsigned o = 0; o < ORIGINS; o++)
        behind |= s->redis.flushed[o] < f->watermark[o];
    for (unsigned o = 0; o < ORIGINS && !rule(m, RULE_ACK_UNCONDITIONAL); o++)
        f->skip |= (uint8_t)((s->redis.flushed[o] >= f->next[o]) << o);
    if (trouble)
        f->fresh = 0; /* it puts off what a whole pass does */
    if (memcmp(f->next, f->watermark, sizeof(f->next)) != 0) {
        f->at = AT_COPIED;
    } else if ((behind || f->acks[0] != 0) && rule(m, RULE_ACK_WITHOUT_ROWS)) {
        flusher_unlock(s, n);
        f->at = AT_ACK;
    } else {
        flusher_done(s, n);
    }
}

/* Reads Redis once and decides what this pass is for. In trouble it may recover at once, or first
 * take what can be taken: recovery empties the stream, and the journal of what is in it may be
 * gone. */
static void flusher_plan(const struct model *m, const struct step *read, unsigned n,
                         struct steps *out)
{
    struct step step = *read;
    struct flusher *f = &step.after.flusher[n];
    bool trouble = flusher_look(m, &step.after.redis, f);

    trouble = trigger_of(m, &step.after, f->watermark) || trouble;
    if (trouble) {
        struct step recover = step;
        recover.what = DO_PLAN_RECOVERY;
        memset(recover.after.flusher[n].next, 0, sizeof(f->next));
        memset(recover.after.flusher[n].acks, 0, sizeof(f->acks));
        recover.after.flusher[n].at = AT_RECOVER;
        steps_add(m, out, &recover);
    }
    if (trouble && f->acks[0] == 0)
        return;
    flusher_take(m, &step.after, n, trouble);
    steps_add(m, out, &step);
}

static void commit_rows(struct postgres *pg, const uint8_t read[ORIGINS],
                        const uint8_t next[ORIGINS])
{
    for (unsigned o = 0; o < ORIGINS; o++)
        for (unsigned seq = read[o] + 1U; seq <= next[o]; seq++) {
            uint8_t bit = (uint8_t)(1U << (seq - 1));
            if (pg->rows[o] & bit)
                pg->doubled = 1;
            pg->rows[o] |= bit;
        }
}

static void commit_all(struct postgres *pg, const uint8_t read[ORIGINS],
                       const uint8_t next[ORIGINS])
{
    commit_rows(pg, read, next);
    for (unsigned o = 0; o < ORIGINS; o++)
        if (next[o] != read[o])
            pg->watermark[o] = next[o];
}

static uint8_t flusher_commit(const struct model *m, struct state *s, unsigned n)
{
    struct flusher *f = &s->flusher[n];

    if (f->dead) {
        f->at = AT_IDLE;
        return DO_NOTICE_DEAD;
    }
    if (f->at == AT_ROWS) {
        memcpy(s->pg.watermark, f->next, sizeof(f->next));
        f->at = AT_ACK;
        flusher_unlock(s, n);
        return DO_COMMIT_WATERMARK;
    }
    if (!rule(m, RULE_ONE_TRANSACTION)) {
        commit_rows(&s->pg, f->watermark, f->next);
        f->at = AT_ROWS;
        return DO_COMMIT_ROWS;
    }
    commit_all(&s->pg, f->watermark, f->next);
    f->at = AT_ACK;
    flusher_unlock(s, n);
    return DO_COMMIT;
}

static uint8_t flusher_acknowledge(const struct model *m, struct state *s, unsigned n)
{
    struct flusher *f = &s->flusher[n];
    bool whole = rule(m, RULE_ACK_IDENTITY) && f->at == AT_ACK;

    if (f->at == AT_ACK && !rule(m, RULE_ACK_CHECK_DELETE)) {
        for (unsigned i = 0; i < LIMIT_MAX; i++)
            if (memchr(s->redis.stream, f->acks[i], s->redis.length) == NULL)
                f->acks[i] = 0;
        f->at = AT_DELETE;
        return DO_ACK_CHECK;
    }
    if (f->at == AT_ACK && !rule(m, RULE_ACK_DELETE_RAISE)) {
        for (unsigned i = 0; i < LIMIT_MAX; i++)
            redis_delete(&s->redis, f->acks[i], true);
        memset(f->acks, 0, sizeof(f->acks));
        f->at = AT_RAISE;
        return DO_ACK_DELETE;
    }
    uint8_t what = f->at == AT_ACK ? DO_ACK : f->at == AT_DELETE ? DO_ACK_DELETE : DO_ACK_RAISE;
    for (unsigned i = 0; i < LIMIT_MAX; i++)
        if (f->acks[i] != 0)
            redis_delete(&s->redis, f->acks[i], whole);
    redis_raise(m, &s->redis, f);
    flusher_done(s, n);
    return what;
}

static uint8_t flusher_recover(const struct model *m, struct state *s, unsigned n)
{
    struct flusher *f = &s->flusher[n];
    uint8_t what = f->at == AT_REWRITE ? DO_RECOVER_WRITE : DO_RECOVER;

    if (f->at == AT_RECOVER)
        redis_remove(m, &s->redis);
    if (f->at == AT_RECOVER && !rule(m, RULE_RECOVER_ONE_STEP)) {
        f->at = AT_REWRITE;
        return DO_RECOVER_REMOVE;
    }
    redis_write(&s->redis, f->watermark);
    flusher_done(s, n);
    return what;
}

/* A pass is fresh if, since journal_keep last ran out, all passes begun before have ended. */
static void flusher_fresh(struct state *s, unsigned n)
{
    s->flusher[n].fresh = 1;
    for (unsigned k = 0; k < FLUSHERS; k++)
        if (k != n && s->flusher[k].at != AT_IDLE && !s->flusher[k].fresh)
            s->flusher[n].fresh = 0;
}

/* Begin, lock and first read; while a frozen flusher holds the lock, take it over. */
static bool flusher_begin(const struct model *m, struct state *s, unsigned n, uint8_t *what)
{
    struct flusher *f = &s->flusher[n];

    *what = DO_LOCK;
    if (f->at == AT_IDLE && !rule(m, RULE_LOCK_FIRST)) {
        memcpy(f->watermark, s->pg.watermark, sizeof(f->watermark));
        f->at = AT_WAITING;
        *what = DO_WATERMARKS;
        return true;
    }
    if (f->at == AT_WAITING && f->dead) {
        f->at = AT_IDLE;
        *what = DO_NOTICE_DEAD;
        return true;
    }
    if (rule(m, RULE_LOCK) && s->lock != 0) {
        if (!rule(m, RULE_TAKEOVER) || s->lock == ORPHAN_LOCK || !s->flusher[s->lock - 1].frozen)
            return false;
        s->flusher[s->lock - 1].dead = 1;
        s->lock = 0;
        *what = DO_TAKEOVER;
        return true;
    }
    if (f->at == AT_IDLE) {
        memcpy(f->watermark, s->pg.watermark, sizeof(f->watermark));
        flusher_fresh(s, n);
    }
    f->at = AT_LOCKED;
    s->lock = rule(m, RULE_LOCK) ? (uint8_t)(n + 1) : 0;
    return true;
}

static void flusher_steps(const struct model *m, const struct state *s, unsigned n,
                          struct steps *out)
{
    struct step step = {.after = *s, .what = DO_PLAN, .who = (uint8_t)n};

    step.actor = (uint8_t)(ACTOR_FLUSH + n);
    if (s->flusher[n].frozen)
        return;
    switch ((enum flusher_at)s->flusher[n].at) {
    case AT_IDLE:
    case AT_WAITING:
        if (!flusher_begin(m, &step.after, n, &step.what))
            return;
        break;
    case AT_LOCKED: flusher_plan(m, &step, n, out); return;
    case AT_COPIED:
    case AT_ROWS: step.what = flusher_commit(m, &step.after, n); break;
    case AT_ACK:
    case AT_DELETE:
    case AT_RAISE: step.what = flusher_acknowledge(m, &step.after, n); break;
    case AT_RECOVER:
    case AT_REWRITE: step.what = flusher_recover(m, &step.after, n); break;
    }
    steps_add(m, out, &step);
}

/* A COMMIT in flight ends one way or the other, and only then lets go of the lock. */
static void orphan_steps(const struct model *m, const struct state *s, struct steps *out)
{
    for (unsigned commit = 0; commit < 2 && s->orphan; commit++) {
        struct step step = {.after = *s, .actor = ACTOR_ORPHAN};
        step.what = commit ? DO_ORPHAN_COMMIT : DO_ORPHAN_ABORT;
        if (commit)
            commit_all(&step.after.pg, s->orphan_read, s->orphan_next);
        step.after.orphan = 0;
        memset(step.after.orphan_read, 0, sizeof(s->orphan_read));
        memset(step.after.orphan_next, 0, sizeof(s->orphan_next));
        if (step.after.lock == ORPHAN_LOCK)
            step.after.lock = 0;
        steps_add(m, out, &step);
    }
}

void rules_steps(const struct model *m, const struct state *s, struct steps *out)
{
    assert(s->redis.length <= STREAM_MAX);
    assert(m->limit <= LIMIT_MAX);
    for (unsigned o = 0; o < ORIGINS; o++)
        shipper_steps(m, s, o, out);
    for (unsigned n = 0; n < FLUSHERS; n++)
        flusher_steps(m, s, n, out);
    orphan_steps(m, s, out);
}
