/* The journal's reader on a valid journal that the input damages: cuts, flips, zeros, removed files,
 * bytes copied from elsewhere. Whatever happens, what is handed out is in order, without a hole, and
 * each event is the one that was written under its seq; a segment that nothing touched is read whole. */
#include <fcntl.h>
#include <sanitizer/common_interface_defs.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/clicks/journal_format.h"
#include "server/clicks/journal_read.h"

#define ORIGIN        0x0123456789ABCDEFull
#define SEGMENTS      3
#define PER_SEGMENT   8
#define RECORDS       (SEGMENTS * PER_SEGMENT)
#define SEGMENT_BYTES 4096

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct segment {
    unsigned char bytes[SEGMENT_BYTES];
    size_t size;
    bool removed, touched;
    unsigned harvested; /* events handed out that belong here */
};

static char root[64], folder[96];
static int root_fd, stderr_copy, null_fd;
static struct segment segments[SEGMENTS];
static unsigned char batch_bytes[BATCH_BYTES_MAX];

static void require(int condition)
{
    if (!condition)
        abort();
}

static void segment_path(unsigned i, char out[160])
{
    snprintf(out, 160, "%s/%020u.seg", folder, i * PER_SEGMENT + 1);
}

static void clean_up(void)
{
    char path[160];

    for (unsigned i = 0; i < SEGMENTS; i++) {
        segment_path(i, path);
        unlink(path);
    }
    rmdir(folder);
    rmdir(root);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{

    (void)argc;
    (void)argv;
    snprintf(root, sizeof root, "/dev/shm/kudos-fuzz-%d", (int)getpid());
    snprintf(folder, sizeof folder, "%s/%016llx", root, ORIGIN);
    require(mkdir(root, 0700) == 0 && mkdir(folder, 0700) == 0);
    atexit(clean_up);
    root_fd = open(root, O_RDONLY | O_DIRECTORY);
    null_fd = open("/dev/null", O_WRONLY);
    stderr_copy = dup(2); /* each damage is logged; reports of sanitizers are to be seen */
    require(root_fd >= 0 && null_fd >= 0 && stderr_copy >= 0);
    __sanitizer_set_report_fd((void *)(intptr_t)stderr_copy);
    return 0;
}

static void build(void)
{
    for (unsigned i = 0; i < SEGMENTS; i++) {
        struct segment *segment = &segments[i];
        struct journal_segment_header header = {.magic = JOURNAL_MAGIC,
                                                .version = JOURNAL_VERSION,
                                                .origin = ORIGIN,
                                                .first_seq = i * PER_SEGMENT + 1};

        header.crc = journal_header_crc(&header);
        memcpy(segment->bytes, &header, sizeof header);
        segment->size = sizeof header;
        segment->removed = segment->touched = false;
        segment->harvested = 0;
        for (unsigned j = 0; j < PER_SEGMENT; j++) {
            struct event event = {.kind = EVENT_LOST};
            struct journal_record_header record = {.seq = header.first_seq + j};
            unsigned char payload[EVENT_PAYLOAD_MAX];

            event.lost.count = record.seq;
            record.length = (uint32_t)event_encode(&event, payload);
            record.crc = journal_record_crc(ORIGIN, record.length, record.seq, payload);
            memcpy(segment->bytes + segment->size, &record, sizeof record);
            memcpy(segment->bytes + segment->size + sizeof record, payload, record.length);
            segment->size += sizeof record + record.length;
        }
    }
}

/* One step of damage takes five bytes: which segment and what, where (2), how much, value. */
static void damage(const uint8_t *step)
{
    struct segment *segment = &segments[step[0] % SEGMENTS];
    size_t at = (size_t)(step[1] << 8 | step[2]) % SEGMENT_BYTES, length = step[3];

    segment->touched = true;
    at = segment->size ? at % segment->size : 0;
    length = length < segment->size - at ? length : segment->size - at;
    switch (step[0] / SEGMENTS % 6) {
    case 0: segment->size = at; break;
    case 1: segment->bytes[at] ^= step[4]; break;
    case 2: memset(segment->bytes + at, step[4], length); break;
    case 3: segment->removed = true; break;
    case 4: /* a block of another segment */
        memcpy(segment->bytes + at, segments[step[4] % SEGMENTS].bytes + at, length);
        break;
    case 5: /* more behind the end */
        length = SEGMENT_BYTES - segment->size < length ? SEGMENT_BYTES - segment->size : length;
        memset(segment->bytes + segment->size, step[4], length);
        segment->size += length;
        break;
    }
}

static void write_segments(void)
{
    char path[160];

    for (unsigned i = 0; i < SEGMENTS; i++) {
        int fd;

        segment_path(i, path);
        unlink(path);
        if (segments[i].removed)
            continue;
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
        require(fd >= 0);
        require(write(fd, segments[i].bytes, segments[i].size) == (ssize_t)segments[i].size);
        close(fd);
    }
}

/* Checks what was handed out; returns the last seq. */
static uint64_t check(const struct journal_batch *batch, uint64_t seq)
{
    uint32_t length;

    require(batch->first == seq + 1);
    for (size_t at = 0; at < batch->used; at += sizeof length + length) {
        struct event event;
        struct error error;

        memcpy(&length, batch->bytes + at, sizeof length);
        require(event_decode(batch->bytes + at + sizeof length, length, &event, &error));
        if (event.kind == EVENT_GAP) {
            require(event.gap.first == seq + 1 && event.gap.last <= RECORDS);
            seq = event.gap.last;
        } else {
            require(event.kind == EVENT_LOST && event.lost.count == seq + 1 && seq < RECORDS);
            segments[seq / PER_SEGMENT].harvested++;
            seq++;
        }
    }
    require(batch->last == seq);
    return seq;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct journal_batch batch = {.bytes = batch_bytes};
    struct journal_reader *reader;
    struct error error;
    uint64_t seq = 0;
    bool more = true;

    build();
    for (; size >= 5; size -= 5, data += 5)
        damage(data);
    write_segments();
    dup2(null_fd, 2);
    reader = journal_reader_open(root_fd, ORIGIN, &error);
    require(reader != NULL);
    journal_reader_scan(reader);
    journal_reader_sync(reader);
    for (int calls = 0; more; calls++) {
        require(calls < 1000);
        journal_batch_reset(&batch, seq + 1);
        more = journal_reader_fill(reader, &batch);
        seq = check(&batch, seq);
    }
    require(reader->drained || reader->stuck);
    for (unsigned i = 0; i < SEGMENTS && !reader->stuck; i++)
        require(segments[i].touched || segments[i].harvested == PER_SEGMENT);
    journal_reader_close(reader);
    dup2(stderr_copy, 2);
    return 0;
}
