/* The runs. Without arguments: the intact model under all bounds, which must be clean, and for each
 * rule one run without it, which must find the fault named here, under bounds for which the intact
 * model is clean. One line a run; exit 0 only if all came out so.
 *
 *   model-check              all of it
 *   model-check list         names of bounds and mutations
 *   model-check NAME         one of them, with the trace of what it finds
 *   model-check deep         the intact model under the wider bounds (minutes, some GiB) */
#include "tests/model/model.h"

#include <assert.h>
#include <string.h>
#include <time.h>

/* The faults that the design promises to survive without a loss; the other two are an entry that
 * vanishes (needs the triggers on holes) and a journal that does. */
#define WHOLE (ALL_FAULTS & ~(1U << FAULT_REDIS_ENTRY | 1U << FAULT_JOURNAL_LOST))

/* Both stores fall back, whatever a slow flusher is at. */
#define STORES (1U << FAULT_REDIS_BACK | 1U << FAULT_PG_BACK)

enum bounds {
    BASE,
    WIDE,
    LONG,
    TWO,
    THREE,
    LOST,
    AGE,
    AGE_TWO,
    USUAL,
    DEEP = USUAL,
    DEEP_AGE,
    DEEP_LONG,
    BOUNDS
};

struct named {
    const char *name;
    struct model model;
};

static const struct named bounds[BOUNDS] = {
    [BASE] = {"base", {0, ALL_FAULTS, {2, 1}, 2, 1, 1, 0}},
    [WIDE] = {"wide", {0, ALL_FAULTS, {2, 2}, 2, 2, 1, 0}},
    [LONG] = {"long", {0, WHOLE, {3, 1}, 2, 2, 1, 0}},
    [TWO] = {"two", {0, WHOLE, {2, 1}, 1, 2, 2, 0}},
    [THREE] = {"three", {0, WHOLE, {1, 1}, 1, 1, 3, 0}},
    [LOST] = {"lost", {0, ALL_FAULTS & ~(1U << FAULT_APPEND_LOST), {2, 1}, 1, 1, 2, 0}},
    [AGE] = {"age", {0, WHOLE, {2, 1}, 1, 1, 1, 2}},
    [AGE_TWO] = {"age-two", {0, WHOLE, {1, 1}, 1, 1, 2, 2}},
    [DEEP] = {"deep-two", {0, STORES, {3, 1}, 1, 2, 2, 0}},
    [DEEP_AGE] = {"deep-age", {0, STORES, {1, 1}, 1, 1, 3, 2}},
    [DEEP_LONG] = {"deep-long", {0, WHOLE, {3, 2}, 2, 2, 1, 0}},
};

struct mutation {
    const char *name;
    const char *what;
    uint32_t off;
    enum bounds bounds;
    enum verdict expected;
};

#define WITHOUT(r) (1U << RULE_##r)

static const struct mutation mutations[] = {
    {"lock", "no lock", WITHOUT(LOCK), BASE, DOUBLED},
    {"lock-first", "watermarks read before the lock", WITHOUT(LOCK_FIRST), BASE, DOUBLED},
    {"one-transaction", "watermark committed after the rows", WITHOUT(ONE_TRANSACTION), BASE,
     DOUBLED},
    {"takeover", "a frozen holder keeps the lock", WITHOUT(TAKEOVER), BASE, BLOCKED},
    {"append-in-order", "append takes any first", WITHOUT(APPEND_IN_ORDER), BASE, MISCOUNTED},
    {"learn", "shipper does not move to last_seq", WITHOUT(LEARN), BASE, BLOCKED},
    {"idle-read", "no idle read", WITHOUT(IDLE_READ), BASE, BLOCKED},
    {"ack-check-delete", "acknowledge checks, then deletes", WITHOUT(ACK_CHECK_DELETE), BASE,
     MISCOUNTED},
    {"ack-delete-raise", "acknowledge deletes, then raises", WITHOUT(ACK_DELETE_RAISE), BASE,
     MISCOUNTED},
    {"ack-identity", "acknowledge by entry id alone", WITHOUT(ACK_IDENTITY), BASE, MISCOUNTED},
    {"ack-all", "flushed raised only where rows were added", WITHOUT(ACK_ALL_WATERMARKS), BASE,
     MISCOUNTED},
    {"ack-unconditional", "flushed raised only where it was seen behind",
     WITHOUT(ACK_UNCONDITIONAL), TWO, MISCOUNTED},
    {"ack-without-rows", "no acknowledge without new rows", WITHOUT(ACK_WITHOUT_ROWS), BASE,
     BLOCKED},
    {"flushed-rises", "acknowledge may lower flushed", WITHOUT(FLUSHED_RISES), BASE, MISCOUNTED},
    {"recover-one-step", "recover removes, then writes", WITHOUT(RECOVER_ONE_STEP), BASE,
     MISCOUNTED},
    {"recover-resets", "recover leaves the stream", WITHOUT(RECOVER_RESETS), BASE, MISCOUNTED},
    {"trigger-ready", "no recovery on ready missing", WITHOUT(TRIGGER_READY), BASE, BLOCKED},
    {"trigger-flushed", "no recovery on watermark < flushed", WITHOUT(TRIGGER_FLUSHED), AGE,
     BLOCKED},
    {"trigger-last-seq", "no recovery on last_seq < watermark", WITHOUT(TRIGGER_LAST_SEQ), AGE,
     BLOCKED},
    {"trigger-hole", "no recovery on a hole", WITHOUT(TRIGGER_HOLE), BASE, BLOCKED},
    {"trigger-exhausted", "no recovery on a stream that ends early", WITHOUT(TRIGGER_EXHAUSTED),
     BASE, BLOCKED},
    {"triggers-lost", "none on flushed, none on holes",
     WITHOUT(TRIGGER_FLUSHED) | WITHOUT(TRIGGER_HOLE), AGE, BLOCKED},
    {"limit-decides-not", "a pass cut short decides for all", WITHOUT(LIMIT_DECIDES_NOT), BASE,
     BLOCKED},
    {"keep", "journal deleted as soon as flushed", WITHOUT(KEEP), BASE, BLOCKED},
    {"keep-needs-pass", "journal_keep runs out while no pass completes", WITHOUT(KEEP_NEEDS_PASS),
     AGE, BLOCKED},
    /* The one rule that is a saving and no need: a recovery follows in any case. */
    {"append-when-ready", "append works while ready is missing", WITHOUT(APPEND_WHEN_READY), AGE,
     CLEAN},
};

enum { MUTATIONS = sizeof(mutations) / sizeof(mutations[0]) };

static struct result timed(const struct model *m, FILE *trace, double *seconds)
{
    clock_t start = clock();
    struct result result = explore(m, trace);

    *seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    return result;
}

static bool run_intact(enum bounds b, FILE *trace)
{
    const struct model *m = &bounds[b].model;
    double seconds;
    struct result r = timed(m, trace, &seconds);

    assert(m->off == 0);
    printf("intact %-10s events %u+%u, append <= %u, pass <= %u, faults <= %u%s: "
           "%9u states, %2u deep, %s (%.1f s)\n",
           bounds[b].name, m->events[0], m->events[1], m->batch, m->limit, m->faults,
           m->ticks ? ", keep runs out" : "", r.states, r.depth, verdict_name(&r), seconds);
    fflush(stdout);
    return r.verdict == CLEAN;
}

static bool run_mutation(const struct mutation *u, FILE *trace)
{
    struct model m = bounds[u->bounds].model;
    double seconds;
    struct result r;

    m.off = u->off;
    r = timed(&m, trace, &seconds);
    printf("without %-17s (%s; %s): %s, %u steps, %u states (%.1f s)%s\n", u->name, u->what,
           bounds[u->bounds].name, verdict_name(&r), r.depth, r.states, seconds,
           r.verdict == u->expected ? "" : "  <-- NOT WHAT WAS EXPECTED");
    fflush(stdout);
    return r.verdict == u->expected;
}

static int run_all(void)
{
    unsigned bad = 0, missed = 0;

    for (unsigned b = 0; b < USUAL; b++)
        bad += !run_intact(b, stdout);
    for (unsigned i = 0; i < MUTATIONS; i++)
        missed += !run_mutation(&mutations[i], NULL);
    if (bad == 0 && missed == 0)
        printf("model: OK, intact clean under %u bounds, %u mutations as expected\n",
               (unsigned)USUAL, (unsigned)MUTATIONS);
    else
        printf("model: FAILED, %u intact runs with a fault, %u mutations not as expected\n", bad,
               missed);
    return bad == 0 && missed == 0 ? 0 : 1;
}

static int list(void)
{
    for (unsigned b = 0; b < BOUNDS; b++)
        printf("%s\n", bounds[b].name);
    for (unsigned i = 0; i < MUTATIONS; i++)
        printf("%-18s %s\n", mutations[i].name, mutations[i].what);
    return 0;
}

static int run_named(const char *name)
{
    bool good = true, found = false;

    for (unsigned b = 0; b < BOUNDS; b++)
        if (strcmp(name, bounds[b].name) == 0 || (b >= DEEP && strcmp(name, "deep") == 0)) {
            good = run_intact(b, stdout) && good;
            found = true;
        }
    for (unsigned i = 0; i < MUTATIONS && !found; i++)
        if (strcmp(name, mutations[i].name) == 0)
            return run_mutation(&mutations[i], stdout) ? 0 : 1;
    if (!found)
        fprintf(stderr, "model: no run is called %s; see `list`\n", name);
    return found ? !good : 2;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return run_all();
    if (argc > 2) {
        fputs("usage: model-check [list | deep | NAME]\n", stderr);
        return 2;
    }
    return strcmp(argv[1], "list") == 0 ? list() : run_named(argv[1]);
}
