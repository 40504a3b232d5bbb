#pragma once
/* The segments of a journal as files: finding, opening, syncing, deleting. The half of
 * journal_read.h that knows folders; private to the reader. */
#include "server/clicks/journal_format.h"
#include "server/clicks/journal_read.h"

/* The descriptor of a segment, opened if need be; -1 if that fails now. A segment that is gone is
 * from then on an empty one. */
int journal_files_segment(struct journal_reader *reader, struct journal_segment *segment);
void journal_files_close_segment(struct journal_segment *segment);

/* At the end of a call: closes the segment if it can be opened again as well as not. */
void journal_files_rest(const struct journal_reader *reader, struct journal_segment *segment);

/* Reads and checks a segment's header. */
bool journal_files_read_header(struct journal_reader *reader, struct journal_segment *segment,
                               struct journal_segment_header *out);
