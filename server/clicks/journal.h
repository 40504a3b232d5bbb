#pragma once
/* The journal: where a click is safe before its answer leaves.
 *
 * On disk: <data_dir>/journal/<origin, 16 hex digits>/<first seq, 20 digits>.seg, appended only.
 * One folder per worker start; nobody ever appends to a folder that another process made, so no
 * crash, copy or restore can hand out a seq twice. A segment starts with a header (magic, version,
 * origin, first seq, partition), then records: u32 length, u32 CRC-32C, u64 seq, payload. The format
 * is in journal_format.h.
 * The folder is flock()ed exclusively while its writer lives.
 *
 * The length of the file is the commit mark. Records are gathered during a round of the loop and
 * written with one write(2) by journal_commit() before any reply of that round is sent, so kill -9
 * loses nothing. A disk that is full is an error code here, never a signal: whole records that made
 * it into the file count, the torn rest is truncated away. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/error.h"

struct journal;

/* Makes a new origin and its folder under `data_dir`/journal. `partition` goes into each segment
 * header. `slot` names the file in which lost clicks are counted (<data_dir>/journal/lost.<slot>),
 * preallocated here. A full disk is no failure: the journal is then degraded (journal_append()
 * answers 0) and journal_commit() tries again, at most once a second. NULL with the reason only for
 * what will not heal by itself (no such data_dir, no permission). */
struct journal *journal_open(const char *data_dir, unsigned slot, unsigned partition,
                             uint64_t segment_bytes, struct error *error) MUST_CHECK;

/* Commits what is gathered, marks the folder as complete, unlocks it. Frees `journal`. */
void journal_close(struct journal *journal);

/* A random 63-bit number, never 0. Ask again in each round: journal_commit() makes a new origin when
 * the folder has been taken away or the disk left the old one in doubt. */
uint64_t journal_origin(const struct journal *journal);

/* The seq that the next journal_append() will use (the first is 1); 0 while the journal is degraded
 * or the round is full (JOURNAL_ROUND_MAX records or the buffer's bytes): no click id then. */
uint64_t journal_next_seq(const struct journal *journal);

/* Gathers one record for this round: no system call, no allocation after warm-up. Returns its seq,
 * or 0 exactly when journal_next_seq() does. */
uint64_t journal_append(struct journal *journal, const void *payload, size_t length);

#define JOURNAL_ROUND_MAX 1024

/* Writes what was gathered with one write(2). Returns the highest seq that is in the file now. A
 * record gathered in this round whose seq is above it was not stored: its seq will be used again,
 * its click id must not leave, and journal_count_lost() is to be called for it. */
uint64_t journal_commit(struct journal *journal);

/* Counts clicks that were answered but are in no journal, in slot's lost file: mapped nowhere,
 * written with pwrite into preallocated bytes, so that it works on a full disk. When writing works
 * again the journal itself appends an EVENT_LOST record and clears the file; a new journal of the
 * same slot takes over what its predecessor left. */
void journal_count_lost(struct journal *journal, uint64_t clicks, int64_t now_us);
