#pragma once
/* Reading one journal (one origin's folder), while its writer lives or long after. Used by ship.
 *
 * A reader hands out events in order, beginning at the seq it was told, each exactly once, and only
 * such that an fdatasync has covered. What cannot be read is handed out as an EVENT_GAP:
 *   - a record that lies wholly in its segment but has a wrong CRC or seq is damage; the reader
 *     looks for the next valid record, or the next segment, and declares exactly what is missing;
 *   - an incomplete record at the end of a live journal is waited for; at the end of a dead one it is
 *     the torn rest of a failed write and means nothing, unless the file `closed` says otherwise;
 *   - what lies before the oldest segment is no gap: it was deleted since PostgreSQL had it. The
 *     reader says that it is stuck, until it is told another seq.
 *
 * A journal that is removed while its writer lives is read to its end through the descriptors that
 * are open. Not thread-safe; every call does a bounded amount of work. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "server/clicks/partition.h"
#include "shared/error.h"

struct journal_segment {
    uint64_t first_seq; /* from the file's name */
    uint64_t size;      /* as last seen */
    uint64_t covered;   /* bytes that an fdatasync has covered */
    ino_t inode;
    int fd;                   /* -1: not open now */
    bool final;               /* nothing will be appended, and covered is all of it */
    bool header_read;         /* and found good or reported as bad */
    int64_t flushed_since_us; /* monotonic: since when all of it has been in PostgreSQL; 0: not */
    int64_t written_us;       /* wall time of the last write, as last seen */
};

struct journal_reader {
    uint64_t origin;
    int64_t partition;   /* -1: no header read yet */
    bool live;           /* its writer holds the lock */
    bool drained;        /* dead, and everything has been handed out; `wanted` is the end */
    bool stuck;          /* `wanted` lies before the oldest segment */
    bool vanished;       /* the folder is not, or no longer, the one under its name */
    uint64_t closed_seq; /* where journal_close() said it ends; UINT64_MAX: not said */

    /* Private. */
    int root_fd, folder_fd;
    ino_t folder_inode;
    int64_t folder_changed_ns, listed_us;
    bool entries_unsynced, listed, logged_torn, logged_stuck;
    struct journal_segment *segments; /* by first_seq */
    size_t segment_count, segment_room;
    size_t index;    /* segment of the position; may be segment_count */
    uint64_t offset; /* in it, of the record that is looked at next */
    uint64_t wanted; /* seq that is handed out next */
    bool searching;  /* the bytes at `offset` are no record: looking for one */
};

/* A run of events without a hole, as it goes into Redis (partition.h). */
struct journal_batch {
    unsigned char *bytes; /* BATCH_BYTES_MAX, the caller's */
    size_t used;
    unsigned count;    /* records */
    uint64_t first;    /* seq */
    uint64_t last;     /* seq; first - 1 when empty */
    uint64_t gap_seqs; /* of these, declared unreadable */
};

/* Opens the folder of `origin` in `root_fd` (<data_dir>/journal, must stay open) and positions at
 * seq 1. NULL if there is none or it cannot be read. */
struct journal_reader *journal_reader_open(int root_fd, uint64_t origin,
                                           struct error *error) MUST_CHECK;
void journal_reader_close(struct journal_reader *reader);

/* Looks for new segments and whether the writer is gone. */
void journal_reader_scan(struct journal_reader *reader);

/* fdatasyncs what has been written since the last call (segments from the position on, at most
 * JOURNAL_SYNC_SEGMENTS of them), and the folder if it has new entries. Returns how many calls of
 * fdatasync or fsync that took. */
#define JOURNAL_SYNC_SEGMENTS 64
unsigned journal_reader_sync(struct journal_reader *reader);

/* The next event handed out is `seq`. */
void journal_reader_seek(struct journal_reader *reader, uint64_t seq);

/* Appends events to `batch`, which must have room for one (journal_batch_has_room()), reading at
 * most JOURNAL_READ_BYTES. Returns whether calling again may bring more. */
#define JOURNAL_READ_BYTES (4u << 20)
bool journal_reader_fill(struct journal_reader *reader, struct journal_batch *batch);

void journal_batch_reset(struct journal_batch *batch, uint64_t first);
bool journal_batch_has_room(const struct journal_batch *batch);

/* Bytes behind the position, covered or not; and an estimate of the events in them (exact when there
 * are none). */
uint64_t journal_reader_backlog_bytes(const struct journal_reader *reader);

/* Bytes of all segments. */
uint64_t journal_reader_disk_bytes(const struct journal_reader *reader);

/* The last seq of segment `index`: of the last one of a live or not drained journal UINT64_MAX. */
uint64_t journal_reader_last_seq(const struct journal_reader *reader, size_t index);

/* Deletes the oldest segment, which must not be the last one of a live journal. */
bool journal_reader_delete_oldest(struct journal_reader *reader, struct error *error) MUST_CHECK;

/* Removes the folder of a dead journal without segments. */
bool journal_reader_remove_folder(struct journal_reader *reader, struct error *error) MUST_CHECK;
