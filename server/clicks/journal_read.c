/* The parsing half of the reader; journal_files.c keeps its list of segments and their syncing.
 * What it promises is in journal_read.h.
 *
 * The position is (segment, offset) and the seq that is wanted next. Records before it are skipped,
 * so that a seek only has to find the segment. Bytes are looked at in windows of READ_WINDOW; the
 * window is shared by all readers of the process, since none keeps anything in it between calls. */
#include "server/clicks/journal_read.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/clicks/event.h"
#include "server/clicks/journal_files.h"
#include "server/clicks/journal_format.h"
#include "shared/log.h"

#define READ_WINDOW  (256u << 10)
#define BAD_BLOCK    4096u /* skipped when the disk cannot read it */
#define HEADER_BYTES sizeof(struct journal_segment_header)

static_assert(READ_WINDOW >= 4 * JOURNAL_RECORD_MAX, "a window holds any record");

static unsigned char window[READ_WINDOW];

enum step { STEP_ON, STEP_WAIT };

enum found { FOUND_RECORD, FOUND_PART, FOUND_DAMAGE };

void journal_batch_reset(struct journal_batch *batch, uint64_t first)
{
    batch->used = 0;
    batch->count = 0;
    batch->first = first;
    batch->last = first - 1;
    batch->gap_seqs = 0;
}

bool journal_batch_has_room(const struct journal_batch *batch)
{
    return batch->count < BATCH_EVENTS_MAX &&
           batch->used + sizeof(uint32_t) + EVENT_PAYLOAD_MAX <= BATCH_BYTES_MAX;
}

static void add_to_batch(struct journal_batch *batch, const void *payload, uint32_t length,
                         uint64_t last)
{
    assert(journal_batch_has_room(batch) && last > batch->last);
    memcpy(batch->bytes + batch->used, &length, sizeof length);
    memcpy(batch->bytes + batch->used + sizeof length, payload, length);
    batch->used += sizeof length + length;
    batch->count++;
    batch->last = last;
}

/* Declares everything from the wanted seq up to and including `last` unreadable. */
static void add_gap(struct journal_reader *reader, struct journal_batch *batch, uint64_t last,
                    const char *reason)
{
    struct event event = {.kind = EVENT_GAP};
    unsigned char payload[EVENT_PAYLOAD_MAX];

    assert(last >= reader->wanted);
    event.gap.first = reader->wanted;
    event.gap.last = last;
    event.gap.reason = (struct text){reason, strlen(reason)};
    log_error("journal_gap", "origin=%llu first=%llu last=%llu reason=%s",
              (unsigned long long)reader->origin, (unsigned long long)reader->wanted,
              (unsigned long long)last, reason);
    add_to_batch(batch, payload, (uint32_t)event_encode(&event, payload), last);
    batch->gap_seqs += last - reader->wanted + 1;
    reader->wanted = last + 1;
}

/* The highest seq that a record of this segment can have. */
static uint64_t highest_plausible(const struct journal_reader *reader)
{
    const struct journal_segment *segment = &reader->segments[reader->index];
    uint64_t highest =
        segment->first_seq + segment->covered / (sizeof(struct journal_record_header) + 1);

    if (reader->index + 1 < reader->segment_count &&
        reader->segments[reader->index + 1].first_seq - 1 < highest)
        highest = reader->segments[reader->index + 1].first_seq - 1;
    return highest < reader->closed_seq ? highest : reader->closed_seq;
}

static enum found look_at(const struct journal_reader *reader, const unsigned char *bytes,
                          size_t left, uint64_t highest, struct journal_record_header *header)
{
    const struct journal_segment *segment = &reader->segments[reader->index];

    if (left < sizeof *header)
        return FOUND_PART;
    memcpy(header, bytes, sizeof *header);
    if (header->length == 0 || header->length > EVENT_PAYLOAD_MAX ||
        header->seq < segment->first_seq || header->seq > highest)
        return FOUND_DAMAGE;
    if (left < sizeof *header + header->length)
        return FOUND_PART;
    if (journal_record_crc(reader->origin, header->length, header->seq, bytes + sizeof *header) !=
        header->crc)
        return FOUND_DAMAGE;
    return FOUND_RECORD;
}

/* Takes one valid record: skips it, or hands it out, with a gap before it if seqs are missing.
 * False if the batch has no room left for it. */
static bool take_record(struct journal_reader *reader, struct journal_batch *batch,
                        const struct journal_record_header *header, const unsigned char *payload)
{
    reader->searching = false;
    if (header->seq < reader->wanted)
        return true;
    if (header->seq > reader->wanted) {
        add_gap(reader, batch, header->seq - 1, "damaged segment");
        if (!journal_batch_has_room(batch))
            return false;
    }
    add_to_batch(batch, payload, header->length, header->seq);
    reader->wanted = header->seq + 1;
    return true;
}

/* Parses `size` bytes of the window, which begin at the position, and moves it. `at_end`: nothing
 * covered follows them. */
static enum step parse_window(struct journal_reader *reader, struct journal_batch *batch,
                              size_t size, bool at_end)
{
    const bool final = reader->segments[reader->index].final;
    const uint64_t highest = highest_plausible(reader);
    struct journal_record_header header;
    enum step step = STEP_ON;
    size_t at = 0;

    while (at < size && journal_batch_has_room(batch)) {
        enum found found = look_at(reader, window + at, size - at, highest, &header);

        if (found == FOUND_PART && !at_end)
            break; /* the next window begins here */
        if (found == FOUND_PART && !final) {
            step = STEP_WAIT;
            break;
        }
        if (found != FOUND_RECORD) {
            reader->searching = true;
            at++;
            continue;
        }
        if (!take_record(reader, batch, &header, window + at + sizeof header))
            break;
        at += sizeof header + header.length;
    }
    reader->offset += at;
    return step;
}

/* Checks the header at the start of a segment. A bad one is damage, but records may be good. */
static void check_header(struct journal_reader *reader, struct journal_segment *segment)
{
    struct journal_segment_header header;

    if (segment->header_read)
        return;
    segment->header_read = true;
    if (!journal_files_read_header(reader, segment, &header))
        log_error("journal_header_damaged", "origin=%llu segment=%llu",
                  (unsigned long long)reader->origin, (unsigned long long)segment->first_seq);
}

/* At the end of the last segment of a dead journal. */
static enum step finish_journal(struct journal_reader *reader, struct journal_batch *batch)
{
    if (reader->searching && !reader->logged_torn) {
        log_warn("journal_torn_tail", "origin=%llu seq=%llu", (unsigned long long)reader->origin,
                 (unsigned long long)reader->wanted);
        reader->logged_torn = true;
    }
    if (reader->closed_seq != UINT64_MAX && reader->closed_seq >= reader->wanted)
        add_gap(reader, batch, reader->closed_seq, "the end of the journal is missing");
    reader->drained = true;
    return STEP_WAIT;
}

/* Everything covered in this segment has been looked at. */
static enum step finish_segment(struct journal_reader *reader, struct journal_batch *batch)
{
    struct journal_segment *segment = &reader->segments[reader->index];

    if (!segment->final)
        return STEP_WAIT;
    if (reader->index + 1 == reader->segment_count)
        return reader->live ? STEP_WAIT : finish_journal(reader, batch);
    if (!reader->vanished)
        journal_files_close_segment(segment);
    reader->index++;
    reader->offset = 0;
    return STEP_ON; /* `searching` tells enter_segment() why something is missing */
}

static enum step enter_segment(struct journal_reader *reader, struct journal_batch *batch)
{
    struct journal_segment *segment = &reader->segments[reader->index];

    if (segment->first_seq > reader->wanted && reader->index == 0) {
        if (!reader->stuck && !reader->logged_stuck)
            log_error("journal_begins_later", "origin=%llu wanted=%llu oldest=%llu",
                      (unsigned long long)reader->origin, (unsigned long long)reader->wanted,
                      (unsigned long long)segment->first_seq);
        reader->stuck = reader->logged_stuck = true;
        return STEP_WAIT;
    }
    reader->stuck = false;
    if (!segment->final && segment->covered < HEADER_BYTES)
        return STEP_WAIT;
    if (segment->first_seq > reader->wanted)
        add_gap(reader, batch, segment->first_seq - 1,
                reader->searching ? "damaged segment" : "missing segment");
    reader->searching = false;
    if (segment->covered < HEADER_BYTES)
        return finish_segment(reader, batch);
    check_header(reader, segment);
    reader->offset = HEADER_BYTES;
    return STEP_ON;
}

static enum step read_step(struct journal_reader *reader, struct journal_batch *batch,
                           uint64_t *budget)
{
    struct journal_segment *segment;
    size_t size;
    ssize_t got;
    int fd;

    if (reader->index >= reader->segment_count)
        return reader->live || !reader->listed ? STEP_WAIT : finish_journal(reader, batch);
    if (reader->offset == 0)
        return enter_segment(reader, batch);
    segment = &reader->segments[reader->index];
    if (reader->offset >= segment->covered)
        return finish_segment(reader, batch);
    fd = journal_files_segment(reader, segment);
    if (fd < 0)
        return STEP_WAIT;
    size = segment->covered - reader->offset;
    size = size < READ_WINDOW ? size : READ_WINDOW;
    got = pread(fd, window, size, (off_t)reader->offset);
    if (got < 0 && errno == EIO) {
        log_error("journal_unreadable", "origin=%llu segment=%llu offset=%llu",
                  (unsigned long long)reader->origin, (unsigned long long)segment->first_seq,
                  (unsigned long long)reader->offset);
        reader->searching = true;
        reader->offset = (reader->offset / BAD_BLOCK + 1) * BAD_BLOCK;
        return STEP_ON;
    }
    if (got < 0)
        return STEP_WAIT;
    if ((size_t)got < size) /* somebody cut the file */
        segment->covered = reader->offset + (uint64_t)got;
    *budget = *budget > (uint64_t)got ? *budget - (uint64_t)got : 0;
    return parse_window(reader, batch, (size_t)got,
                        reader->offset + (uint64_t)got == segment->covered);
}

bool journal_reader_fill(struct journal_reader *reader, struct journal_batch *batch)
{
    uint64_t budget = JOURNAL_READ_BYTES;
    enum step step = STEP_ON;

    assert(batch->last + 1 == reader->wanted && journal_batch_has_room(batch));
    while (step == STEP_ON && budget > 0 && journal_batch_has_room(batch))
        step = read_step(reader, batch, &budget);
    if (reader->index < reader->segment_count)
        journal_files_rest(reader, &reader->segments[reader->index]);
    return step == STEP_ON;
}

void journal_reader_seek(struct journal_reader *reader, uint64_t seq)
{
    size_t index = 0;

    assert(seq > 0);
    if (seq == reader->wanted)
        return;
    while (index + 1 < reader->segment_count && reader->segments[index + 1].first_seq <= seq)
        index++;
    /* Forwards within the segment: what is between is skipped; else from its start. */
    if (index != reader->index || seq < reader->wanted) {
        reader->index = index;
        reader->offset = 0;
        reader->searching = false;
    }
    reader->wanted = seq;
    reader->drained = reader->stuck = reader->logged_stuck = false;
}

uint64_t journal_reader_backlog_bytes(const struct journal_reader *reader)
{
    uint64_t bytes = 0;

    if (reader->index >= reader->segment_count || reader->drained)
        return 0;
    for (size_t i = reader->index; i < reader->segment_count; i++)
        bytes += reader->segments[i].size;
    if (bytes <= reader->offset)
        return 0;
    bytes -= reader->offset;
    return reader->offset == 0 && bytes <= HEADER_BYTES ? 0 : bytes;
}

uint64_t journal_reader_disk_bytes(const struct journal_reader *reader)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < reader->segment_count; i++)
        bytes += reader->segments[i].size;
    return bytes;
}

uint64_t journal_reader_last_seq(const struct journal_reader *reader, size_t index)
{
    assert(index < reader->segment_count);
    if (index + 1 < reader->segment_count)
        return reader->segments[index + 1].first_seq - 1;
    return reader->drained ? reader->wanted - 1 : UINT64_MAX;
}
