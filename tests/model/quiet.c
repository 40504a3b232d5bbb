/* "Exactly once when all is quiet again", exactly: from every reachable state, every fair run in
 * which no more faults happen ends at the goal and stays there.
 *
 * A run is fair if no actor (each shipper's sending, each shipper's reading, each flusher, a COMMIT
 * in flight) waits for ever although it could always take a step. A fair run that never settles
 * stays, in the end, inside one strongly connected component of the graph of quiet steps, where
 * each actor either takes a step or is sometimes unable to. Conversely, a run that walks around all
 * of such a component is fair. So the check is: no component like that contains a state that is
 * not the goal. A frozen flusher takes no step, so both its never waking and its waking (another
 * state) are covered.
 *
 * Tarjan's algorithm with a stack of its own. Memory: 13 bytes a state, and the stacks. */
#include "tests/model/model.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { ROUND_MAX = 12 }; /* steps printed of what goes round for ever */

#define NONE UINT32_MAX
#define DONE UINT32_MAX

struct frame {
    uint32_t state, next, end; /* successors still to visit: targets[next..end) */
};

struct quiet {
    const struct model *model;
    const struct set *set;
    uint32_t *number; /* order of discovery from 1, 0 unseen, DONE when its component is known */
    uint32_t *low;    /* Tarjan's low link; afterwards the component's first state */
    uint8_t *self;    /* actors that may step without changing anything, or cannot step */
    uint32_t *stack;  /* Tarjan's stack of states */
    struct frame *frames;
    uint32_t *targets; /* successors of the states on frames */
    uint32_t stack_size, frames_size, targets_size, targets_room, order;
    uint32_t worst; /* nearest state of a bad component */
};

bool state_is_goal(const struct model *m, const struct state *s)
{
    if (!s->redis.ready || s->redis.length != 0 || s->orphan)
        return false;
    for (unsigned o = 0; o < ORIGINS; o++) {
        uint8_t n = s->journal[o].lost ? s->pg.watermark[o] : m->events[o];
        if (s->pg.watermark[o] != n || s->pg.rows[o] != (1U << n) - 1U ||
            s->redis.last_seq[o] != n || s->redis.flushed[o] != n || s->redis.totals[o] != n)
            return false;
    }
    return true;
}

static void *room(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    if (memory == NULL) {
        fputs("model: out of memory\n", stderr);
        exit(2);
    }
    return memory;
}

static void quiet_open(struct quiet *q, uint32_t i)
{
    struct steps steps;
    struct frame *frame = &q->frames[q->frames_size++];
    uint8_t able = 0;

    steps.count = 0;
    rules_steps(q->model, set_at(q->set, i), &steps);
    set_expect(q->set, &steps);
    if (q->targets_size + STEPS_MAX > q->targets_room) {
        q->targets_room *= 2;
        q->targets = realloc(q->targets, q->targets_room * sizeof(*q->targets));
        assert(q->targets != NULL);
    }
    frame->state = i;
    frame->next = q->targets_size;
    for (unsigned k = 0; k < steps.count; k++) {
        uint32_t to = set_find(q->set, &steps, k);
        able |= (uint8_t)(1U << steps.step[k].actor);
        if (to == i)
            q->self[i] |= (uint8_t)(1U << steps.step[k].actor);
        else
            q->targets[q->targets_size++] = to;
    }
    q->self[i] |= (uint8_t)(~able & ((1U << ACTORS) - 1U));
    frame->end = q->targets_size;
    q->number[i] = q->low[i] = ++q->order;
    q->stack[q->stack_size++] = i;
}

/* Actors that cannot complain about a run inside the component with this first state. */
static uint8_t content_in(const struct quiet *q, uint32_t i, uint32_t component)
{
    struct steps steps;
    uint8_t content = q->self[i];

    steps.count = 0;
    rules_steps(q->model, set_at(q->set, i), &steps);
    set_expect(q->set, &steps);
    for (unsigned k = 0; k < steps.count; k++) {
        uint32_t to = set_find(q->set, &steps, k);
        if (q->number[to] == DONE && q->low[to] == component)
            content |= (uint8_t)(1U << steps.step[k].actor);
    }
    return content;
}

/* Takes a finished component off the stack and judges it. */
static void quiet_close(struct quiet *q, uint32_t root)
{
    uint32_t bottom = q->stack_size, nearest = NONE;
    uint8_t content = 0;
    bool goal = true;

    do {
        uint32_t i = q->stack[--bottom];
        q->number[i] = DONE;
        q->low[i] = root;
        goal = goal && state_is_goal(q->model, set_at(q->set, i));
        if (i < nearest)
            nearest = i;
    } while (q->stack[bottom] != root);
    if (!goal && nearest < q->worst) {
        if (q->stack_size - bottom == 1)
            content = q->self[root];
        else
            for (uint32_t k = bottom; k < q->stack_size; k++)
                content |= content_in(q, q->stack[k], root);
        if (content == (1U << ACTORS) - 1U)
            q->worst = nearest;
    }
    q->stack_size = bottom;
}

static void quiet_from(struct quiet *q, uint32_t start)
{
    quiet_open(q, start);
    while (q->frames_size > 0) {
        struct frame *frame = &q->frames[q->frames_size - 1];
        uint32_t i = frame->state;
        if (frame->next < frame->end) {
            uint32_t to = q->targets[frame->next++];
            if (q->number[to] == 0)
                quiet_open(q, to);
            else if (q->number[to] != DONE && q->number[to] < q->low[i])
                q->low[i] = q->number[to];
            continue;
        }
        q->frames_size--;
        q->targets_size = q->frames_size > 0 ? q->frames[q->frames_size - 1].end : 0;
        uint32_t low = q->low[i];
        if (low == q->number[i])
            quiet_close(q, i);
        else if (low < q->low[q->frames[q->frames_size - 1].state])
            q->low[q->frames[q->frames_size - 1].state] = low;
    }
}

/* A step of the next actors in turn that stays in the component; false if there is none. */
static bool round_step(const struct quiet *q, uint32_t *at, unsigned *turn, struct step *step)
{
    struct steps steps;

    steps.count = 0;
    rules_steps(q->model, set_at(q->set, *at), &steps);
    set_expect(q->set, &steps);
    for (unsigned a = 0; a < ACTORS; a++)
        for (unsigned k = 0; k < steps.count; k++) {
            uint32_t to = set_find(q->set, &steps, k);
            if (steps.step[k].actor != (*turn + a) % ACTORS || q->low[to] != q->low[*at] ||
                to == *at)
                continue;
            *turn = (*turn + a + 1) % ACTORS;
            *at = to;
            *step = steps.step[k];
            return true;
        }
    return false;
}

/* Walks around the bad component, actor by actor, until a place comes again. */
static void quiet_print(const struct quiet *q, struct result *result, FILE *trace)
{
    uint8_t *seen = room(set_count(q->set), sizeof(*seen));
    uint32_t at = q->worst;
    unsigned turn = 0, number = 0;
    struct step step;

    result->depth = set_print_path(q->model, q->set, at, trace);
    result->arrived = true;
    for (unsigned o = 0; o < ORIGINS; o++)
        result->arrived &= set_at(q->set, at)->journal[o].lost ||
                           set_at(q->set, at)->pg.watermark[o] == q->model->events[o];
    if (trace != NULL)
        fputs("     now all is quiet, and this goes round for ever:\n", trace);
    while ((seen[at] >> turn & 1U) == 0) {
        seen[at] |= (uint8_t)(1U << turn);
        if (!round_step(q, &at, &turn, &step))
            break;
        result->recovers |= step.what == DO_RECOVER;
        number++;
        if (trace != NULL && number <= ROUND_MAX)
            report_step(trace, result->depth + number, &step);
    }
    if (trace != NULL && number == 0)
        fputs("     nothing moves any more\n", trace);
    free(seen);
}

void quiet_check(const struct model *m, const struct set *set, struct result *result, FILE *trace)
{
    uint32_t count = set_count(set);
    struct quiet q = {.model = m, .set = set, .worst = NONE, .targets_room = 1U << 16};

    q.number = room(count, sizeof(*q.number));
    q.low = room(count, sizeof(*q.low));
    q.self = room(count, sizeof(*q.self));
    q.stack = room(count, sizeof(*q.stack));
    q.frames = room(count, sizeof(*q.frames));
    q.targets = room(q.targets_room, sizeof(*q.targets));
    for (uint32_t i = 0; i < count; i++)
        if (q.number[i] == 0)
            quiet_from(&q, i);
    if (q.worst != NONE) {
        result->verdict = BLOCKED;
        quiet_print(&q, result, trace);
    }
    free(q.number);
    free(q.low);
    free(q.self);
    free(q.stack);
    free(q.frames);
    free(q.targets);
}
