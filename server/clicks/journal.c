/* The journal's writer. What it promises is in journal.h, what it writes in journal_format.h.
 *
 * States: usable (folder and lock held, records may be gathered) or degraded (a write failed; no
 * seqs are handed out; once a second it is tried again). A segment is opened by the first round
 * that needs one, so an idle worker leaves nothing behind.
 *
 * After a failed write nothing is ever appended to the same segment: its torn rest is cut off and
 * the next round opens a new segment, so that a byte which a reader has seen as part of a record
 * never changes. If the rest cannot be cut off, or the folder has been taken away, the origin is
 * abandoned and a new one made: its seqs start at 1 and cannot collide with what may still be there.
 *
 * On a crash: whatever write(2) took is in the page cache and is read by ship. The writer never
 * syncs while it serves; ship does, for all journals at once. */
#include "server/clicks/journal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/clicks/journal_format.h"
#include "server/clicks/journal_lost.h"
#include "server/metrics.h"
#include "shared/clock.h"
#include "shared/crash.h"
#include "shared/log.h"

#define HEADER_BYTES sizeof(struct journal_segment_header)
#define ROUND_BYTES  (256 * 1024)
#define RETRY_US     US_PER_SECOND /* between attempts while degraded */
#define CHECK_US     US_PER_SECOND /* between looks whether the files are still there */
#define LOST_SETTLE_US \
    (3 * US_PER_SECOND) /* until ship has synced a told loss, in all likelihood */
#define NAME_BYTES 64

struct journal {
    unsigned slot;
    unsigned partition;
    uint64_t segment_bytes;
    uint64_t origin;
    int root_fd;    /* <data_dir>/journal */
    int folder_fd;  /* the origin's folder, flocked; -1: none yet */
    int segment_fd; /* -1: the next round opens one */
    uint64_t segment_length;
    uint64_t segment_first;
    uint64_t stored; /* highest seq in the files */
    bool degraded;
    bool said;        /* that it is, until a write works again */
    int64_t retry_us; /* monotonic; when degraded */
    int64_t check_us; /* monotonic; next look after the files */
    struct journal_lost *lost;
    int64_t told_us; /* monotonic; 0: no loss is being told */
    unsigned gathered;
    size_t used; /* of the buffer, always > HEADER_BYTES when gathered > 0 */
    _Alignas(8) unsigned char buffer
        [ROUND_BYTES]; /* a segment header in reserve, then this round's records */
};

static uint64_t random_origin(void)
{
    uint64_t origin;

    if (getrandom(&origin, sizeof origin, 0) != sizeof origin)
        abort(); /* cannot happen for 8 bytes; guessing would break the identity of events */
    origin >>= 1;
    return origin ? origin : 1;
}

static void origin_name(uint64_t origin, char out[NAME_BYTES])
{
    snprintf(out, NAME_BYTES, JOURNAL_ORIGIN_FORMAT, (unsigned long long)origin);
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Says in a folder how the journal ended, as far as that can still be written. */
static bool write_closed(const struct journal *journal, int folder_fd)
{
    struct journal_closed closed = {.magic = JOURNAL_MAGIC,
                                    .origin = journal->origin,
                                    .last_seq = journal->stored,
                                    .partition = journal->partition};
    int fd = openat(folder_fd, JOURNAL_CLOSED, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool written;

    if (fd < 0)
        return false;
    closed.crc = journal_closed_crc(&closed);
    written = write(fd, &closed, sizeof closed) == (ssize_t)sizeof closed;
    if (!written)
        unlinkat(folder_fd, JOURNAL_CLOSED, 0);
    close(fd);
    return written;
}

static void hidden_name(uint64_t origin, char out[NAME_BYTES])
{
    snprintf(out, NAME_BYTES, "." JOURNAL_ORIGIN_FORMAT ".new", (unsigned long long)origin);
}

/* Puts a folder that only says how the journal ended in place of the one that was removed, so that
 * ship can tell what is missing. */
static void bury(const struct journal *journal)
{
    char name[NAME_BYTES], hidden[NAME_BYTES];
    int fd = -1;

    if (journal->stored == 0)
        return;
    origin_name(journal->origin, name);
    hidden_name(journal->origin, hidden);
    if (mkdirat(journal->root_fd, hidden, 0700) == 0)
        fd = openat(journal->root_fd, hidden, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || !write_closed(journal, fd) ||
        renameat(journal->root_fd, hidden, journal->root_fd, name) < 0)
        log_error("journal_end_untold", "origin=%llu seq=%llu error=%s",
                  (unsigned long long)journal->origin, (unsigned long long)journal->stored,
                  strerror(errno));
    close_fd(&fd);
}

/* Makes a folder for a new origin: locked before it gets its name, so that ship never meets a young
 * journal that looks dead. Returns 0 or errno. */
static int make_folder(struct journal *journal)
{
    char name[NAME_BYTES], hidden[NAME_BYTES];
    int fd, failure = 0;

    assert(journal->folder_fd < 0 && journal->segment_fd < 0 && journal->gathered == 0);
    journal->origin = random_origin();
    journal->stored = 0;
    origin_name(journal->origin, name);
    hidden_name(journal->origin, hidden);
    if (mkdirat(journal->root_fd, hidden, 0700) < 0)
        return errno;
    fd = openat(journal->root_fd, hidden, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 ||
        renameat(journal->root_fd, hidden, journal->root_fd, name) < 0)
        failure = errno;
    if (failure) {
        close_fd(&fd);
        unlinkat(journal->root_fd, hidden, AT_REMOVEDIR);
        return failure;
    }
    journal->folder_fd = fd;
    return 0;
}

/* Leaves the folder for good. One that never held a record goes away. */
static void leave_folder(struct journal *journal)
{
    char name[NAME_BYTES];

    close_fd(&journal->segment_fd);
    if (journal->folder_fd < 0)
        return;
    origin_name(journal->origin, name);
    if (journal->stored > 0)
        (void)write_closed(journal, journal->folder_fd); /* it is a help, not a need */
    else
        unlinkat(journal->root_fd, name, AT_REMOVEDIR);
    close_fd(&journal->folder_fd); /* and with it the lock */
}

static int make_segment(struct journal *journal)
{
    struct journal_segment_header *header = (void *)journal->buffer;
    char name[NAME_BYTES];

    journal->segment_first = journal->stored + 1;
    snprintf(name, sizeof name, JOURNAL_SEGMENT_FORMAT, (unsigned long long)journal->segment_first);
    journal->segment_fd =
        openat(journal->folder_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
    if (journal->segment_fd < 0)
        return errno;
    journal->segment_length = 0;
    *header = (struct journal_segment_header){
        .magic = JOURNAL_MAGIC,
        .version = JOURNAL_VERSION,
        .partition = journal->partition,
        .origin = journal->origin,
        .first_seq = journal->segment_first,
        .created_us = clock_wall_us(),
    };
    header->crc = journal_header_crc(header);
    CRASH_POINT("journal_between_segments");
    return 0;
}

static void degrade(struct journal *journal, int failure)
{
    if (!journal->said)
        log_error("journal_write_failed", "origin=%llu seq=%llu errno=%s",
                  (unsigned long long)journal->origin, (unsigned long long)journal->stored,
                  strerror(failure));
    metrics->journal_errors_total++;
    journal->said = true;
    journal->degraded = true;
    journal->retry_us = clock_mono_us() + RETRY_US;
    journal->gathered = 0;
    journal->used = HEADER_BYTES;
}

/* Counts the records that lie wholly in the first `size` bytes written from buffer + `start`, and
 * the bytes up to the last of them. */
static size_t whole_records(const struct journal *journal, size_t start, size_t size,
                            unsigned *records)
{
    size_t at = HEADER_BYTES, end = start + size, whole = 0;
    struct journal_record_header header;

    *records = 0;
    while (at + sizeof header <= end) {
        memcpy(&header, journal->buffer + at, sizeof header);
        at += sizeof header + header.length;
        if (at > end)
            break;
        whole = at - start;
        ++*records;
    }
    return whole;
}

/* After a write that took only `size` bytes: keeps the whole records, makes sure that nothing else
 * can be taken for one, and gives up the segment. */
static void keep_whole(struct journal *journal, size_t start, size_t size)
{
    unsigned records;
    size_t whole = whole_records(journal, start, size, &records);
    char name[NAME_BYTES];
    bool clean;

    assert(whole <= size && records < journal->gathered);
    journal->stored += records;
    metrics->journal_records_total += records;
    if (journal->stored >= journal->segment_first) {
        clean = ftruncate(journal->segment_fd, (off_t)(journal->segment_length + whole)) == 0;
    } else {
        snprintf(name, sizeof name, JOURNAL_SEGMENT_FORMAT,
                 (unsigned long long)journal->segment_first);
        clean = unlinkat(journal->folder_fd, name, 0) == 0;
    }
    close_fd(&journal->segment_fd);
    if (!clean)
        leave_folder(journal); /* a new origin when it is tried again */
}

/* Writes the round. Either everything is stored, or the journal is degraded and `stored` says how
 * far it came. */
static bool write_round(struct journal *journal)
{
    size_t start = HEADER_BYTES, size;
    ssize_t written;
    int failure;

    assert(!journal->degraded && journal->folder_fd >= 0 && journal->gathered > 0);
    if (journal->segment_fd >= 0 && journal->stored >= journal->segment_first &&
        journal->segment_length + journal->used - HEADER_BYTES > journal->segment_bytes)
        close_fd(&journal->segment_fd);
    if (journal->segment_fd < 0) {
        failure = make_segment(journal);
        if (failure) {
            leave_folder(journal); /* whatever the reason, a new folder is as good */
            degrade(journal, failure);
            if (failure == ENOENT) { /* somebody removed it: a new one can be had at once */
                bury(journal);
                journal->retry_us = 0;
            }
            return false;
        }
        start = 0;
    }
    size = journal->used - start;
    written = write(journal->segment_fd, journal->buffer + start, size);
    CRASH_POINT("journal_after_write");
    if (written != (ssize_t)size) {
        failure = written < 0 ? errno : ENOSPC;
        keep_whole(journal, start, written < 0 ? 0 : (size_t)written);
        degrade(journal, failure);
        return false;
    }
    journal->segment_length += size;
    journal->stored += journal->gathered;
    metrics->journal_records_total += journal->gathered;
    metrics->journal_bytes_total += (int64_t)size;
    journal->gathered = 0;
    journal->used = HEADER_BYTES;
    if (journal->said)
        log_info("journal_usable", "origin=%llu", (unsigned long long)journal->origin);
    journal->said = false;
    return true;
}

/* Tells one loss, if there is one and none is under way. False if writing failed. */
static bool tell_lost(struct journal *journal, int64_t now_us)
{
    struct event event = {.kind = EVENT_LOST};
    unsigned char payload[EVENT_PAYLOAD_MAX];

    assert(journal->gathered == 0);
    if (journal->told_us && now_us >= journal->told_us + LOST_SETTLE_US) {
        journal_lost_told(journal->lost);
        journal->told_us = 0;
    }
    if (journal->told_us || !journal_lost_pending(journal->lost) ||
        !journal_lost_begin(journal->lost, &event.lost))
        return true;
    if (!journal_append(journal, payload, event_encode(&event, payload)) || !write_round(journal))
        return false;
    CRASH_POINT("journal_lost_told");
    journal->told_us = now_us;
    log_warn("clicks_lost", "origin=%llu episode=%llu clicks=%llu",
             (unsigned long long)journal->origin, (unsigned long long)event.lost.episode,
             (unsigned long long)event.lost.count);
    return true;
}

/* Tries whether the disk takes something again; the loss to tell is a good trial. */
static int heal(struct journal *journal, int64_t now_us)
{
    int failure = journal->folder_fd < 0 ? make_folder(journal) : 0;

    if (failure) {
        degrade(journal, failure);
        return failure;
    }
    journal->degraded = false;
    (void)tell_lost(journal, now_us);
    return 0;
}

/* Whether somebody removed the files under us. What is in them is gone but for a ship that has them
 * open; what comes must not follow it. */
static bool has_vanished(const struct journal *journal)
{
    struct stat status;

    if (fstat(journal->folder_fd, &status) < 0 || status.st_nlink == 0)
        return true;
    if (journal->segment_fd < 0)
        return false;
    return fstat(journal->segment_fd, &status) < 0 || status.st_nlink == 0;
}

static void maintain(struct journal *journal, int64_t now_us)
{
    int failure;

    if (journal->degraded) {
        if (now_us >= journal->retry_us)
            (void)heal(journal, now_us);
        return;
    }
    if (now_us < journal->check_us)
        return;
    journal->check_us = now_us + CHECK_US;
    if (!tell_lost(journal, now_us) || !has_vanished(journal))
        return;
    log_error("journal_vanished", "origin=%llu seq=%llu", (unsigned long long)journal->origin,
              (unsigned long long)journal->stored);
    leave_folder(journal);
    bury(journal);
    failure = make_folder(journal);
    if (failure)
        degrade(journal, failure);
}

/* Opens <data_dir>/journal, making it if need be. */
static int open_root(const char *data_dir, struct error *error)
{
    char path[4096];
    int fd;

    snprintf(path, sizeof path, "%s/" JOURNAL_FOLDER, data_dir);
    if (mkdir(path, 0700) < 0 && errno != EEXIST) {
        error_set(error, "cannot make %s: %s", path, strerror(errno));
        return -1;
    }
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        error_set(error, "cannot open %s: %s", path, strerror(errno));
    return fd;
}

static bool heals_by_itself(int failure)
{
    return failure == ENOSPC || failure == EDQUOT || failure == EMFILE || failure == ENFILE ||
           failure == EIO || failure == ENOMEM;
}

struct journal *journal_open(const char *data_dir, unsigned slot, unsigned partition,
                             uint64_t segment_bytes, struct error *error)
{
    struct journal *journal;
    char path[4096];
    int root_fd = open_root(data_dir, error), failure;

    if (root_fd < 0)
        return NULL;
    journal = calloc(1, sizeof *journal);
    if (!journal) {
        close(root_fd);
        error_set(error, "out of memory");
        return NULL;
    }
    journal->slot = slot;
    journal->partition = partition;
    journal->segment_bytes = segment_bytes;
    journal->root_fd = root_fd;
    journal->folder_fd = journal->segment_fd = -1;
    journal->used = HEADER_BYTES;
    snprintf(path, sizeof path, "%s/" JOURNAL_FOLDER "/lost.%u", data_dir, slot);
    journal->lost = journal_lost_open(path);
    failure = heal(journal, clock_mono_us());
    if (failure && !heals_by_itself(failure)) {
        error_set(error, "cannot make a journal in %s: %s", data_dir, strerror(failure));
        journal_close(journal);
        return NULL;
    }
    return journal;
}

/* Forgets the told loss if the disk has it for certain; else the next journal tells it again. */
static void settle_lost(struct journal *journal)
{
    if (!journal->told_us || journal->segment_fd < 0 || fdatasync(journal->segment_fd) < 0)
        return;
    journal_lost_told(journal->lost);
    journal->told_us = 0;
}

void journal_close(struct journal *journal)
{
    if (!journal)
        return;
    journal_commit(journal);
    if (journal->degraded)
        (void)heal(journal, clock_mono_us());
    settle_lost(journal);
    if (!journal->degraded)
        (void)tell_lost(journal, clock_mono_us());
    settle_lost(journal);
    leave_folder(journal);
    journal_lost_close(journal->lost);
    close(journal->root_fd);
    free(journal);
}

uint64_t journal_origin(const struct journal *journal)
{
    return journal->origin;
}

uint64_t journal_next_seq(const struct journal *journal)
{
    if (journal->degraded || journal->gathered == JOURNAL_ROUND_MAX ||
        journal->used + JOURNAL_RECORD_MAX > sizeof journal->buffer)
        return 0;
    return journal->stored + journal->gathered + 1;
}

uint64_t journal_append(struct journal *journal, const void *payload, size_t length)
{
    uint64_t seq = journal_next_seq(journal);
    struct journal_record_header header = {.length = (uint32_t)length, .seq = seq};

    assert(length > 0 && length <= EVENT_PAYLOAD_MAX);
    if (seq == 0)
        return 0;
    header.crc = journal_record_crc(journal->origin, header.length, seq, payload);
    memcpy(journal->buffer + journal->used, &header, sizeof header);
    memcpy(journal->buffer + journal->used + sizeof header, payload, length);
    journal->used += sizeof header + length;
    journal->gathered++;
    return seq;
}

uint64_t journal_commit(struct journal *journal)
{
    uint64_t stored;

    if (journal->gathered > 0)
        (void)write_round(journal);
    stored = journal->stored;
    maintain(journal, clock_mono_us());
    return stored;
}

void journal_count_lost(struct journal *journal, uint64_t clicks, int64_t now_us)
{
    if (clicks == 0)
        return;
    metrics->clicks_lost_total += (int64_t)clicks;
    journal_lost_add(journal->lost, clicks, now_us);
}
