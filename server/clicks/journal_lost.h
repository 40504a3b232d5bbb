#pragma once
/* The count of clicks that were answered but could not be journalled, kept where a full disk cannot
 * take it: <data_dir>/journal/lost.<slot>, one block that is preallocated when the file is made.
 *
 * Each loss becomes an EVENT_LOST record once the journal can be written again. Its `episode` is
 * random; PostgreSQL stores an episode once, so telling it twice does no harm, and adding to one
 * that may have been told would lose the addition. Hence two entries in the block: the loss that is
 * being told, which never changes again, and the one that is still counting. A process that dies
 * leaves both to the next one of the slot.
 *
 * The file is flocked: while a predecessor still lives, the successor counts in memory and takes the
 * file over later. If the file cannot be made at all (the disk was full before), the count is in
 * memory too, and is lost only if the process dies before the disk has room again. */
#include <stdbool.h>
#include <stdint.h>

#include "server/clicks/event.h"

struct journal_lost;

/* Takes over what is in the file. Never fails: without a file it counts in memory and tries again,
 * at most once a second. */
struct journal_lost *journal_lost_open(const char *path);
void journal_lost_close(struct journal_lost *lost);

void journal_lost_add(struct journal_lost *lost, uint64_t clicks, int64_t now_us);

/* Whether there is a loss to tell, and which. Until journal_lost_told() it stays the same one,
 * through crashes too. */
bool journal_lost_begin(struct journal_lost *lost, struct lost *out) MUST_CHECK;

/* The loss that journal_lost_begin() gave is safe in the journal: forget it. */
void journal_lost_told(struct journal_lost *lost);

/* Whether anything is counted, told or not. */
bool journal_lost_pending(const struct journal_lost *lost);
