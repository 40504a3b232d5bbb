/* Words for steps and states. One line a step: what happened, then the world after it:
 *
 *   pg w=1,0          watermarks of the origins A and B
 *   redis ready last=1,0 flushed=1,0 totals=1,0 [A1..2#1]   entries: origin, first..last, id
 *   ship next=2,1 oldest=1,1
 *   flush 1:ack -> 1,0   2:idle                              what each flusher would do next */
#include "tests/model/model.h"

#include <assert.h>

static const char *const fault_names[FAULTS] = {
    [FAULT_REDIS_BACK] = "FAULT: Redis falls back to its older state",
    [FAULT_REDIS_EMPTY] = "FAULT: Redis is emptied",
    [FAULT_REDIS_ENTRY] = "FAULT: an entry vanishes from the stream",
    [FAULT_PG_BACK] = "FAULT: PostgreSQL falls back to its older state",
    [FAULT_SHIP_RESTART] = "FAULT: shipper restarts",
    [FAULT_APPEND_LOST] = "FAULT: append applied, its answer lost",
    [FAULT_FLUSH_CRASH] = "FAULT: flusher dies",
    [FAULT_FREEZE] = "FAULT: flusher freezes",
    [FAULT_COMMIT_LOST] = "FAULT: no answer to COMMIT, which is still in flight",
    [FAULT_JOURNAL_LOST] = "FAULT: a journal is destroyed",
};

static const char *const what_names[] = {
    [DO_APPEND] = "ship appends",
    [DO_READ] = "ship reads last_seq, flushed",
    [DO_WATERMARKS] = "flusher reads watermarks",
    [DO_LOCK] = "flusher locks, reads watermarks",
    [DO_TAKEOVER] = "flusher ends the frozen one",
    [DO_PLAN] = "flusher reads Redis",
    [DO_PLAN_RECOVERY] = "flusher reads Redis and sees trouble",
    [DO_COMMIT] = "flusher COPYs and commits",
    [DO_COMMIT_ROWS] = "flusher commits rows only",
    [DO_COMMIT_WATERMARK] = "flusher commits watermark only",
    [DO_NOTICE_DEAD] = "flusher finds its transaction gone",
    [DO_ACK] = "flusher acknowledges",
    [DO_ACK_CHECK] = "flusher checks entries",
    [DO_ACK_DELETE] = "flusher deletes entries",
    [DO_ACK_RAISE] = "flusher raises flushed",
    [DO_RECOVER] = "flusher recovers Redis",
    [DO_RECOVER_REMOVE] = "flusher recovers: removes keys",
    [DO_RECOVER_WRITE] = "flusher recovers: writes keys",
    [DO_ORPHAN_COMMIT] = "COMMIT in flight succeeds",
    [DO_ORPHAN_ABORT] = "COMMIT in flight fails",
    [DO_TICK] = "journal_keep runs out",
    [DO_WAKE] = "flusher wakes up",
    [DO_COPY_REDIS] = "(a copy of Redis is kept aside)",
    [DO_COPY_PG] = "(a copy of PostgreSQL is kept aside)",
};

static const char *const at_names[] = {
    [AT_IDLE] = "idle",       [AT_WAITING] = "wait",       [AT_LOCKED] = "read Redis",
    [AT_COPIED] = "commit",   [AT_ROWS] = "set watermark", [AT_ACK] = "acknowledge",
    [AT_DELETE] = "delete",   [AT_RAISE] = "raise",        [AT_RECOVER] = "recover",
    [AT_REWRITE] = "rewrite",
};

static void report_entry(FILE *f, uint8_t e)
{
    fprintf(f, " %c%u", 'A' + (int)entry_origin(e), entry_first(e));
    if (entry_last(e) != entry_first(e))
        fprintf(f, "..%u", entry_last(e));
    fprintf(f, "#%u", entry_id(e));
}

static void report_flusher(FILE *f, unsigned n, const struct flusher *x)
{
    fprintf(f, " %u:%s%s%s", n + 1, x->frozen ? "FROZEN " : "", x->dead ? "DEAD " : "",
            at_names[x->at]);
    if (x->at == AT_COPIED || x->at == AT_ACK || x->at == AT_RAISE || x->at == AT_DELETE)
        fprintf(f, " w=%u,%u", x->next[0], x->next[1]);
    else if (x->at == AT_RECOVER || x->at == AT_REWRITE || x->at == AT_WAITING)
        fprintf(f, " w=%u,%u", x->watermark[0], x->watermark[1]);
}

void report_state(FILE *f, const struct state *s)
{
    const struct redis *r = &s->redis;

    fprintf(f, "\n          pg w=%u,%u%s | redis", s->pg.watermark[0], s->pg.watermark[1],
            s->pg.doubled ? " DOUBLED" : "");
    if (r->ready)
        fputs(" ready", f);
    fprintf(f, " last=%u,%u flushed=%u,%u totals=%u,%u [", r->last_seq[0], r->last_seq[1],
            r->flushed[0], r->flushed[1], r->totals[0], r->totals[1]);
    for (unsigned i = 0; i < r->length; i++)
        report_entry(f, r->stream[i]);
    fprintf(f, " ] | ship next=%u,%u oldest=%u,%u | flush", s->journal[0].next, s->journal[1].next,
            s->journal[0].oldest, s->journal[1].oldest);
    for (unsigned n = 0; n < FLUSHERS; n++)
        report_flusher(f, n, &s->flusher[n]);
    fputc('\n', f);
}

void report_step(FILE *f, unsigned number, const struct step *step)
{
    bool fault = step->what >= DO_FAULT;
    const char *name = fault ? fault_names[step->what - DO_FAULT] : what_names[step->what];
    bool ship =
        step->what == DO_APPEND || step->what == DO_READ ||
        step->what == DO_FAULT + FAULT_SHIP_RESTART || step->what == DO_FAULT + FAULT_APPEND_LOST ||
        step->what == DO_FAULT + FAULT_JOURNAL_LOST || step->what == DO_FAULT + FAULT_REDIS_ENTRY;
    bool flush = (step->what >= DO_WATERMARKS && step->what <= DO_RECOVER_WRITE) ||
                 step->what == DO_WAKE || step->what == DO_FAULT + FAULT_FLUSH_CRASH ||
                 step->what == DO_FAULT + FAULT_FREEZE ||
                 step->what == DO_FAULT + FAULT_COMMIT_LOST;

    assert(name != NULL);
    fprintf(f, "%7u.  %s", number, name);
    if (flush)
        fprintf(f, " (flusher %u)", step->who + 1U);
    if (ship && step->first != 0)
        fprintf(f, " %c %u..%u", 'A' + (int)step->who, step->first, step->last);
    else if (ship)
        fprintf(f, " %c", 'A' + (int)step->who);
    report_state(f, &step->after);
}

const char *verdict_name(const struct result *r)
{
    switch (r->verdict) {
    case CLEAN: return "clean";
    case DOUBLED: return "a row is doubled";
    case MISMATCH: return "rows and watermark differ";
    case MISCOUNTED: return "totals are wrong";
    case BLOCKED:
        return r->recovers  ? "recovers for ever"
               : r->arrived ? "Redis never learns what was committed"
                            : "an event never arrives";
    case TOO_BIG: return "state space exceeds its bound";
    }
    return "?";
}
