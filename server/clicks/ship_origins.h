#pragma once
/* The journals that ship serves: finds the folders, keeps one reader for each, deletes what
 * PostgreSQL has had for long enough. Knows files, not Redis. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/clicks/journal_read.h"
#include "server/settings.h"
#include "shared/error.h"

#define SHIP_ORIGINS_MAX 65536

struct ship_origin {
    struct journal_reader *reader;
    bool known;     /* Redis has said where it is */
    bool due;       /* may have something to send */
    bool in_flight; /* a batch has been sent and not answered */
    uint64_t sent_first, sent_last;
    unsigned sent_count;
    uint64_t sent_gap_seqs;
    uint64_t last_seq;        /* what Redis has, as last heard */
    uint64_t flushed;         /* what PostgreSQL has, as last heard */
    int64_t flushed_since_us; /* of a journal without segments; as in struct journal_segment */
    int64_t oldest_us; /* wall time of the first event that Redis does not have; 0: not known */
};

struct ship_origins {
    int root_fd;
    struct ship_origin **origins; /* by origin */
    size_t count, room;
    int64_t root_changed_ns, listed_us;
    bool root_unsynced;
};

/* Opens <data_dir>/journal, making it if need be. */
bool ship_origins_open(struct ship_origins *origins, const char *data_dir,
                       struct error *error) MUST_CHECK;
void ship_origins_close(struct ship_origins *origins);

/* Finds new folders and segments, notices dead writers, and fdatasyncs all that is new. Returns
 * whether a folder was found that was not there before. */
bool ship_origins_sync(struct ship_origins *origins);

/* NULL if it is not there (any more). */
struct ship_origin *ship_origins_find(const struct ship_origins *origins, uint64_t origin);

/* Takes note of how far PostgreSQL is with an origin, which sets or restarts the clocks of its
 * segments. */
void ship_origin_flushed(struct ship_origin *origin, uint64_t flushed, int64_t now_us);

/* Deletes segments whose time has come, then, above journal_max_bytes, flushed ones before their
 * time, oldest first, and the folders that are empty then. Call it only on fresh news of
 * ship_origin_flushed() for the origins of `partition`; others are left alone. */
void ship_origins_delete(struct ship_origins *origins, unsigned partition,
                         const struct settings *settings, int64_t now_us);

/* Sets the gauges that describe the journals. `bytes_per_event` is what one takes in a segment. */
void ship_origins_measure(const struct ship_origins *origins, double bytes_per_event);
