#pragma once
/* What a journal looks like on disk; shared by its writer (journal.c) and reader (journal_read.c).
 * Everything is little-endian.
 *
 *   <data_dir>/journal/<origin, 16 hex digits>/      one folder per worker start
 *       <first seq, 20 decimal digits>.seg           segment header, then records
 *       closed                                       where it ended, if that could be written
 *   <data_dir>/journal/.<origin>.new                 a folder that is being made
 *   <data_dir>/journal/lost.<slot>                   see journal_lost.h
 *
 * A folder whose flock can be had is dead: nothing will ever be appended to it. Inside one segment
 * a byte never changes once it is covered by a whole record; what stands behind the last whole
 * record is the torn rest of a write that failed, and means nothing. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "server/clicks/crc32c.h"
#include "server/clicks/event.h"

#define JOURNAL_FOLDER         "journal"
#define JOURNAL_ORIGIN_DIGITS  16
#define JOURNAL_ORIGIN_FORMAT  "%016llx"
#define JOURNAL_SEGMENT_FORMAT "%020llu.seg"
#define JOURNAL_SEGMENT_NAME   24 /* characters of a segment's name */
#define JOURNAL_CLOSED         "closed"

#define JOURNAL_MAGIC   0x4C4E4A534F44554Bu /* "KUDOSJNL" */
#define JOURNAL_VERSION 1

struct journal_segment_header {
    uint64_t magic;
    uint32_t version;
    uint32_t partition;
    uint64_t origin;
    uint64_t first_seq;
    int64_t created_us;
    uint32_t reserved;
    uint32_t crc; /* of all before it */
};
static_assert(sizeof(struct journal_segment_header) == 48, "the header is packed by itself");

struct journal_record_header {
    uint32_t length; /* of the payload, 1 … EVENT_PAYLOAD_MAX */
    uint32_t crc;    /* of origin, length, seq and payload */
    uint64_t seq;
};
static_assert(sizeof(struct journal_record_header) == 16, "the header is packed by itself");

#define JOURNAL_RECORD_MAX (sizeof(struct journal_record_header) + EVENT_PAYLOAD_MAX)

/* What the file `closed` holds: the journal ended with `last_seq`. In a folder without segments it
 * is all that is left of a journal that was removed while its writer lived: what Redis does not have
 * of it can no longer be read, and is declared. */
struct journal_closed {
    uint64_t magic;
    uint64_t origin;
    uint64_t last_seq;
    uint32_t partition;
    uint32_t crc; /* of all before it */
};
static_assert(sizeof(struct journal_closed) == 32, "the struct is packed by itself");

/* A record's CRC. The origin takes part, so that a record of another journal is never taken for one
 * of this; so do length and seq. */
static inline uint32_t journal_record_crc(uint64_t origin, uint32_t length, uint64_t seq,
                                          const void *payload)
{
    const uint64_t head[3] = {origin, seq, length};

    return crc32c(crc32c(0, head, sizeof head), payload, length);
}

static inline uint32_t journal_header_crc(const struct journal_segment_header *header)
{
    return crc32c(0, header, offsetof(struct journal_segment_header, crc));
}

static inline uint32_t journal_closed_crc(const struct journal_closed *closed)
{
    return crc32c(0, closed, offsetof(struct journal_closed, crc));
}
