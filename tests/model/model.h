#pragma once
/* A bounded model of ship, Redis, flush and recovery: what the parts of this folder share.
 *
 * A state is the whole world: two journals with their shippers, Redis, PostgreSQL, two flushers, a
 * COMMIT that may be in flight, and one older copy of each store that a rollback can bring back.
 * It is a plain value of bytes without padding, so that states compare and hash as memory.
 *
 *   rules.c    what the product does: scripts, shipper, flusher. Every rule can be switched off.
 *   faults.c   what happens to it: rollbacks, crashes, freezing, lost answers, time passing.
 *   explore.c  breadth-first search over all states, safety checks, shortest trace.
 *   quiet.c    once faults end: no fair run may go on for ever without reaching the goal.
 *   report.c   words for states and steps.
 *   main.c     the table of runs: the intact model, and one run for every rule taken out.
 *
 * README.md says what is abstracted and why that is sound. */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum {
    ORIGINS = 2,
    FLUSHERS = 2,
    EVENTS_MAX = 3,  /* per origin; seq fits two bits of an entry */
    STREAM_MAX = 7,  /* entry ids fit three bits */
    LIMIT_MAX = 3,   /* entries read by one pass */
    STEPS_MAX = 48,  /* successors of one state */
    ORPHAN_LOCK = 3, /* lock holder: the COMMIT in flight; 1 and 2 are the flushers */
};

/* The rules of the design. A mutation is the model with one of them off. */
enum rule {
    RULE_LOCK,               /* the partition's lock */
    RULE_LOCK_FIRST,         /* watermarks are read after the lock was granted */
    RULE_ONE_TRANSACTION,    /* rows and watermark are committed together */
    RULE_TAKEOVER,           /* a frozen holder of the lock is ended */
    RULE_APPEND_IN_ORDER,    /* append refuses first != last_seq + 1 */
    RULE_APPEND_WHEN_READY,  /* append refuses while `ready` is missing */
    RULE_LEARN,              /* the shipper moves to the answered last_seq, behind or ahead */
    RULE_IDLE_READ,          /* the shipper also reads last_seq when it has nothing to send */
    RULE_ACK_CHECK_DELETE,   /* acknowledge checks and deletes in one step */
    RULE_ACK_DELETE_RAISE,   /* acknowledge deletes and raises `flushed` in one step */
    RULE_ACK_IDENTITY,       /* acknowledge compares origin, first, last, not only the id */
    RULE_ACK_ALL_WATERMARKS, /* acknowledge raises every origin it deletes an entry of */
    RULE_ACK_UNCONDITIONAL,  /* and also if `flushed`, as the pass read it, was there already */
    RULE_ACK_WITHOUT_ROWS,   /* a pass that finds only rows already committed acknowledges too */
    RULE_FLUSHED_RISES,      /* acknowledge never lowers `flushed` */
    RULE_RECOVER_ONE_STEP,   /* recover is one script */
    RULE_RECOVER_RESETS,     /* recover removes the stream */
    RULE_TRIGGER_READY,      /* recovery when `ready` is missing */
    RULE_TRIGGER_FLUSHED,    /* recovery when the watermark is below `flushed` */
    RULE_TRIGGER_LAST_SEQ,   /* recovery when last_seq is below the watermark */
    RULE_TRIGGER_HOLE,       /* recovery when the first entry above begins too late */
    RULE_TRIGGER_EXHAUSTED,  /* recovery when the stream ends without what last_seq promises */
    RULE_LIMIT_DECIDES_NOT,  /* a pass that stopped at its limit knows nothing of the others */
    RULE_KEEP,               /* flushed events stay in the journal for journal_keep */
    RULE_KEEP_NEEDS_PASS,    /* journal_keep only runs out while passes complete */
    RULES,
};

/* What can go wrong. A run has a budget of faults, and a set of kinds to spend it on. */
enum fault {
    FAULT_REDIS_BACK,   /* Redis returns to the older state kept aside (restore, failover) */
    FAULT_REDIS_EMPTY,  /* Redis loses everything */
    FAULT_REDIS_ENTRY,  /* one entry vanishes from the stream (someone's XDEL or XTRIM) */
    FAULT_PG_BACK,      /* PostgreSQL returns to the older state; all transactions end */
    FAULT_SHIP_RESTART, /* a shipper forgets what it knew */
    FAULT_APPEND_LOST,  /* an append is applied, its answer lost (or its sender dead) */
    FAULT_FLUSH_CRASH,  /* a flusher dies and starts over */
    FAULT_FREEZE,       /* flusher 1 stops where it stands, perhaps for ever */
    FAULT_COMMIT_LOST,  /* no answer to COMMIT, which stays in flight and holds the lock */
    FAULT_JOURNAL_LOST, /* a journal is destroyed: its origin stops, the other goes on */
    FAULTS,
};

enum { OLD_EARLY = 1, OLD_LATE }; /* PostgreSQL's copy: from before the quiet stretch, or after */

#define ALL_FAULTS ((1U << FAULTS) - 1U)

struct model {
    uint32_t off;            /* rules taken out, bit per rule */
    uint32_t kinds;          /* faults that may happen, bit per fault */
    uint8_t events[ORIGINS]; /* events per origin, 1 to EVENTS_MAX */
    uint8_t batch;           /* most events in one append */
    uint8_t limit;           /* most entries in one pass, at most LIMIT_MAX */
    uint8_t faults;          /* faults in one run */
    uint8_t ticks;           /* how often journal_keep may run out */
};

/* Entries are one byte: origin, id, first, last. */
struct redis {
    uint8_t ready;
    uint8_t damaged; /* an entry vanished; totals are excused until the next recovery */
    uint8_t last_id; /* ids start again with the stream: they may be handed out twice */
    uint8_t length;
    uint8_t last_seq[ORIGINS];
    uint8_t flushed[ORIGINS];
    uint8_t totals[ORIGINS]; /* one link per origin */
    uint8_t stream[STREAM_MAX];
};

struct postgres {
    uint8_t watermark[ORIGINS];
    uint8_t rows[ORIGINS]; /* bit seq-1 */
    uint8_t doubled;       /* some row was inserted twice */
};

enum flusher_at {
    AT_IDLE,
    AT_WAITING, /* has read the watermarks before the lock (RULE_LOCK_FIRST off) */
    AT_LOCKED,  /* holds the lock, has read the watermarks */
    AT_COPIED,  /* has read Redis and written rows; COMMIT comes next */
    AT_ROWS,    /* rows committed, watermark not (RULE_ONE_TRANSACTION off) */
    AT_ACK,     /* committed; acknowledge comes next */
    AT_DELETE,  /* checked, not yet deleted (RULE_ACK_CHECK_DELETE off) */
    AT_RAISE,   /* deleted, `flushed` not yet raised (RULE_ACK_DELETE_RAISE off) */
    AT_RECOVER, /* found a trigger; recover comes next, from `watermark` */
    AT_REWRITE, /* keys removed, not yet written (RULE_RECOVER_ONE_STEP off) */
};

struct flusher {
    uint8_t at;
    uint8_t dead;               /* its transaction was ended under it */
    uint8_t frozen;             /* takes no step */
    uint8_t fresh;              /* began after the last tick, and after older passes had ended */
    uint8_t watermark[ORIGINS]; /* as read */
    uint8_t next[ORIGINS];      /* to be committed */
    uint8_t skip;               /* origins not raised (RULE_ACK_UNCONDITIONAL off) */
    uint8_t acks[LIMIT_MAX];    /* entries to be deleted, 0 none */
};

/* One journal with the part of its shipper that serves it. */
struct journal {
    uint8_t oldest;    /* first seq still there */
    uint8_t next;      /* first seq the shipper would send */
    uint8_t observed;  /* `flushed` when last seen */
    uint8_t kept;      /* lowest `flushed` seen since before the last tick */
    uint8_t confirmed; /* saw `flushed` after a pass that began after the last tick */
    uint8_t lost;      /* destroyed; this origin need not be complete */
};

struct state {
    struct redis redis, redis_old;
    struct postgres pg, pg_old;
    struct flusher flusher[FLUSHERS];
    struct journal journal[ORIGINS];
    uint8_t has_redis_old, has_pg_old;
    uint8_t lock; /* 0 free, flusher + 1, ORPHAN_LOCK */
    uint8_t orphan, orphan_read[ORIGINS], orphan_next[ORIGINS]; /* the COMMIT in flight */
    uint8_t passed;        /* a pass began and ended since tick */
    uint8_t faults, ticks; /* left */
    uint8_t pad[5];
};

_Static_assert(sizeof(struct state) % 8 == 0, "states are hashed in words");

/* Whoever must get a turn when all is quiet; all else is fault and environment. */
enum actor { ACTOR_SEND, ACTOR_READ = 2, ACTOR_FLUSH = 4, ACTOR_ORPHAN = 6, ACTORS, ACTOR_NONE };

enum what {
    DO_APPEND,
    DO_READ,
    DO_WATERMARKS,
    DO_LOCK,
    DO_TAKEOVER,
    DO_PLAN,
    DO_PLAN_RECOVERY,
    DO_COMMIT,
    DO_COMMIT_ROWS,
    DO_COMMIT_WATERMARK,
    DO_NOTICE_DEAD,
    DO_ACK,
    DO_ACK_CHECK,
    DO_ACK_DELETE,
    DO_ACK_RAISE,
    DO_RECOVER,
    DO_RECOVER_REMOVE,
    DO_RECOVER_WRITE,
    DO_ORPHAN_COMMIT,
    DO_ORPHAN_ABORT,
    DO_TICK,
    DO_WAKE,
    DO_COPY_REDIS,
    DO_COPY_PG,
    DO_FAULT, /* plus enum fault */
};

struct step {
    struct state after;
    uint8_t what, who, first, last;
    uint8_t actor;
};

struct steps {
    unsigned count;
    struct step step[STEPS_MAX];
    uint32_t hash[STEPS_MAX]; /* of step[].after, once set_expect was called */
};

enum verdict { CLEAN, DOUBLED, MISMATCH, MISCOUNTED, BLOCKED, TOO_BIG };

struct result {
    enum verdict verdict;
    uint32_t states;
    unsigned depth; /* longest shortest path, or length of the trace */
    bool recovers;  /* BLOCKED: and recovers for ever */
    bool arrived;   /* BLOCKED: although every row is there */
};

static inline bool rule(const struct model *m, enum rule r)
{
    return (m->off >> r & 1U) == 0;
}

static inline uint8_t entry_make(unsigned origin, unsigned id, unsigned first, unsigned last)
{
    return (uint8_t)(origin << 7 | id << 4 | first << 2 | last);
}

static inline unsigned entry_origin(uint8_t e)
{
    return e >> 7;
}

static inline unsigned entry_id(uint8_t e)
{
    return e >> 4 & 7U;
}

static inline unsigned entry_first(uint8_t e)
{
    return e >> 2 & 3U;
}

static inline unsigned entry_last(uint8_t e)
{
    return e & 3U;
}

/* rules.c */
void state_init(const struct model *m, struct state *s);
void steps_add(const struct model *m, struct steps *out, const struct step *step);
void rules_steps(const struct model *m, const struct state *s, struct steps *out);
void redis_append(const struct model *m, struct redis *r, unsigned o, unsigned first,
                  unsigned last);

/* faults.c */
void faults_steps(const struct model *m, const struct state *s, struct steps *out);

/* explore.c: the set of states reached. Index 0 is the start; indices grow with distance. */
struct set;
struct result explore(const struct model *m, FILE *trace);
const struct state *set_at(const struct set *set, uint32_t i);
void set_expect(const struct set *set, struct steps *steps);
uint32_t set_find(const struct set *set, const struct steps *steps, unsigned k); /* must be there */
uint32_t set_count(const struct set *set);
unsigned set_print_path(const struct model *m, const struct set *set, uint32_t to, FILE *f);

/* quiet.c: looks for a fair run without faults that is not, in the end, at the goal for good. */
bool state_is_goal(const struct model *m, const struct state *s);
void quiet_check(const struct model *m, const struct set *set, struct result *result, FILE *trace);

/* report.c */
void report_step(FILE *f, unsigned number, const struct step *step);
void report_state(FILE *f, const struct state *s);
const char *verdict_name(const struct result *r);
