#pragma once
/* Names that ship, Redis and flush share.
 *
 * Every key of partition p carries the hash tag {p}, so that Redis Cluster keeps them together:
 *   kudos:{p}:ready     set once the partition has been recovered from PostgreSQL
 *   kudos:{p}:last_seq  hash origin → last seq appended          (decimal strings)
 *   kudos:{p}:flushed   hash origin → watermark, only ever rising
 *   kudos:{p}:totals    hash "<link>" → clicks; "<link>:x" → those that are not human
 *   kudos:{p}:bytes     bytes of batches in the stream
 *   kudos:{p}:events    stream; one entry is one batch: o origin, f first, l last, b batch
 *
 * A batch is a run of records without a hole: u32 little-endian length, payload (event.h). A record
 * stands for one seq, an EVENT_GAP for all the seqs that it names. Only three scripts change these
 * keys: append.lua, acknowledge.lua, recover.lua.
 *
 * Origins and seqs are strings in the scripts: Lua's numbers are doubles. */

#define PARTITION_KEY_MAX 64

#define PARTITION_KEY_READY    "kudos:{%u}:ready"
#define PARTITION_KEY_LAST_SEQ "kudos:{%u}:last_seq"
#define PARTITION_KEY_FLUSHED  "kudos:{%u}:flushed"
#define PARTITION_KEY_TOTALS   "kudos:{%u}:totals"
#define PARTITION_KEY_BYTES    "kudos:{%u}:bytes"
#define PARTITION_KEY_EVENTS   "kudos:{%u}:events"

/* The rows of PostgreSQL that `totals` stands for: SQL giving (link_id, clicks, human), any number of
 * rows for a link. What a recovery writes and what verify compares is the same by being this. Takes
 * the number of the partition twice. */
#define PARTITION_COUNTS_SQL                                                      \
    "select link_id, clicks, human from kudos.clicks_hourly where partition = %u" \
    " union all"                                                                  \
    " select link_id, 1, human::int from kudos.quarantine"                        \
    "  where partition = %u and link_id is not null"

/* Two hashes that a recovery prepares, under a random name of its own; they expire. */
#define PARTITION_KEY_RECOVER "kudos:{%u}:recover:%s:%s"

/* Large batches have few links twice: with 10,000 of them, 10,000 clicks are 6,300 links to count. */
#define BATCH_EVENTS_MAX 16000
#define BATCH_BYTES_MAX  (2 * 1024 * 1024)
