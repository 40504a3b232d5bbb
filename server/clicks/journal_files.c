/* See journal_files.h and journal_read.h.
 *
 * Order that durability and ends depend on: first the lock (is the writer gone?), then the listing,
 * then each file's size, then fdatasync; what was seen before is covered after. So the segments
 * before the last of a listing, and all segments of a journal whose lock could be had, are final.
 *
 * A live journal keeps its folder and last segment open, so that it can be read to its end even if
 * somebody removes it; a dead one keeps nothing open between calls, so that thousands of dead
 * journals cost no descriptors. */
#include "server/clicks/journal_files.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "shared/clock.h"
#include "shared/log.h"

#define PATH_BYTES    80
#define SEGMENTS_MAX  (1u << 20)
#define HEADERS_TRIED 16 /* to learn the partition */
#define NS_PER_S      1000000000LL
/* A folder that changed this recently may change again without its time stamp moving on. */
#define STAMP_SETTLED_NS NS_PER_S
#define LIST_AT_LEAST_US (10 * US_PER_SECOND) /* whatever its time stamp says */
#define SAY_AT_MOST_US   US_PER_SECOND

static void folder_path(const struct journal_reader *reader, char out[PATH_BYTES])
{
    snprintf(out, PATH_BYTES, JOURNAL_ORIGIN_FORMAT, (unsigned long long)reader->origin);
}

/* The path of an entry of the folder, below the descriptor that is returned. */
static int entry_path(const struct journal_reader *reader, const char *name, char out[PATH_BYTES])
{
    if (reader->folder_fd >= 0) {
        snprintf(out, PATH_BYTES, "%s", name);
        return reader->folder_fd;
    }
    snprintf(out, PATH_BYTES, JOURNAL_ORIGIN_FORMAT "/%s", (unsigned long long)reader->origin,
             name);
    return reader->root_fd;
}

static int segment_path(const struct journal_reader *reader, const struct journal_segment *segment,
                        char out[PATH_BYTES])
{
    char name[JOURNAL_SEGMENT_NAME + 1];

    snprintf(name, sizeof name, JOURNAL_SEGMENT_FORMAT, (unsigned long long)segment->first_seq);
    return entry_path(reader, name, out);
}

/* For want of descriptors or rights; by far too often to say it each time. */
static void say_open_failed(const struct journal_reader *reader,
                            const struct journal_segment *segment)
{
    static int64_t said_us;
    int64_t now_us = clock_mono_us();

    if (now_us < said_us + SAY_AT_MOST_US)
        return;
    said_us = now_us;
    log_error("journal_open_failed", "origin=%llu segment=%llu error=%s",
              (unsigned long long)reader->origin, (unsigned long long)segment->first_seq,
              strerror(errno));
}

int journal_files_segment(struct journal_reader *reader, struct journal_segment *segment)
{
    char path[PATH_BYTES];
    struct stat status;
    int at;

    if (segment->fd >= 0)
        return segment->fd;
    at = segment_path(reader, segment, path);
    segment->fd = openat(at, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (segment->fd >= 0 && fstat(segment->fd, &status) == 0) {
        segment->inode = status.st_ino;
    } else if (segment->fd < 0 && errno == ENOENT) {
        segment->size = segment->covered = 0;
        segment->final = true;
    } else {
        say_open_failed(reader, segment);
    }
    return segment->fd;
}

void journal_files_rest(const struct journal_reader *reader, struct journal_segment *segment)
{
    if (!reader->live && !reader->vanished)
        journal_files_close_segment(segment);
}

void journal_files_close_segment(struct journal_segment *segment)
{
    if (segment->fd >= 0)
        close(segment->fd);
    segment->fd = -1;
}

bool journal_files_read_header(struct journal_reader *reader, struct journal_segment *segment,
                               struct journal_segment_header *out)
{
    int fd = journal_files_segment(reader, segment);

    return fd >= 0 && pread(fd, out, sizeof *out, 0) == (ssize_t)sizeof *out &&
           out->magic == JOURNAL_MAGIC && out->version == JOURNAL_VERSION &&
           out->crc == journal_header_crc(out) && out->origin == reader->origin &&
           out->first_seq == segment->first_seq;
}

/* Parses "00000000000000000001.seg"; 0 for any other name. */
static uint64_t parse_segment_name(const char *name)
{
    uint64_t seq = 0;

    if (strlen(name) != JOURNAL_SEGMENT_NAME ||
        strcmp(name + JOURNAL_SEGMENT_NAME - 4, ".seg") != 0)
        return 0;
    for (size_t i = 0; i < JOURNAL_SEGMENT_NAME - 4; i++) {
        if (name[i] < '0' || name[i] > '9' || seq > INT64_MAX / 10)
            return 0;
        seq = seq * 10 + (uint64_t)(name[i] - '0');
    }
    return seq;
}

static size_t find_segment(const struct journal_reader *reader, uint64_t first_seq)
{
    size_t low = 0, high = reader->segment_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (reader->segments[middle].first_seq < first_seq)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void take_status(struct journal_segment *segment, const struct stat *status)
{
    segment->size = (uint64_t)status->st_size;
    segment->written_us = status->st_mtim.tv_sec * US_PER_SECOND +
                          status->st_mtim.tv_nsec / (NS_PER_S / US_PER_SECOND);
}

/* Puts a segment into its place, unless it is known. */
static void add_segment(struct journal_reader *reader, uint64_t first_seq)
{
    size_t at = find_segment(reader, first_seq);
    char path[PATH_BYTES];
    struct stat status;
    int folder;
    struct journal_segment *grown;

    if (at < reader->segment_count && reader->segments[at].first_seq == first_seq)
        return;
    if (reader->segment_count == SEGMENTS_MAX)
        return; /* the rest is seen once these are gone */
    if (reader->segment_count == reader->segment_room) {
        size_t room = reader->segment_room ? 2 * reader->segment_room : 4;

        grown = realloc(reader->segments, room * sizeof *grown);
        if (!grown)
            return;
        reader->segments = grown;
        reader->segment_room = room;
    }
    memmove(&reader->segments[at + 1], &reader->segments[at],
            (reader->segment_count - at) * sizeof *reader->segments);
    reader->segments[at] = (struct journal_segment){.first_seq = first_seq, .fd = -1};
    folder = segment_path(reader, &reader->segments[at], path);
    if (fstatat(folder, path, &status, AT_SYMLINK_NOFOLLOW) == 0)
        take_status(&reader->segments[at], &status);
    reader->segment_count++;
    reader->entries_unsynced = true;
    if (at < reader->index || (at == reader->index && reader->offset > 0))
        reader->index++;
}

/* Reads `closed`, if it is there and good. */
static void read_closed(struct journal_reader *reader)
{
    struct journal_closed closed;
    char path[PATH_BYTES];
    int at = entry_path(reader, JOURNAL_CLOSED, path);
    int fd = openat(at, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0)
        return;
    if (pread(fd, &closed, sizeof closed, 0) == (ssize_t)sizeof closed &&
        closed.magic == JOURNAL_MAGIC && closed.origin == reader->origin &&
        closed.crc == journal_closed_crc(&closed)) {
        reader->closed_seq = closed.last_seq;
        if (reader->partition < 0)
            reader->partition = closed.partition;
    }
    close(fd);
}

/* Forgets a segment whose file was removed by somebody else, unless it is open. */
static void drop_missing(struct journal_reader *reader)
{
    size_t kept = 0;

    for (size_t i = 0; i < reader->segment_count; i++) {
        struct journal_segment *segment = &reader->segments[i];
        char path[PATH_BYTES];
        int at = segment_path(reader, segment, path);

        if (segment->fd < 0 && faccessat(at, path, F_OK, 0) < 0 && errno == ENOENT) {
            log_error("journal_segment_missing", "origin=%llu segment=%llu",
                      (unsigned long long)reader->origin, (unsigned long long)segment->first_seq);
            if (kept < reader->index)
                reader->index--;
            else if (kept == reader->index)
                reader->offset = 0;
            continue;
        }
        reader->segments[kept++] = *segment;
    }
    reader->segment_count = kept;
}

static void list_segments(struct journal_reader *reader)
{
    char path[PATH_BYTES];
    size_t before = reader->segment_count, found = 0;
    struct dirent *entry;
    int at = entry_path(reader, ".", path);
    int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;

    if (!folder) {
        if (fd >= 0)
            close(fd);
        return;
    }
    while ((entry = readdir(folder))) {
        uint64_t first_seq = parse_segment_name(entry->d_name);

        if (first_seq > 0) {
            add_segment(reader, first_seq);
            found++;
        }
    }
    closedir(folder);
    reader->listed = true;
    if (found < reader->segment_count && before > 0 && !reader->vanished)
        drop_missing(reader);
}

/* Whether the folder may have entries that the last listing did not show. */
static bool has_changed(struct journal_reader *reader)
{
    struct timespec now;
    struct stat status;
    int64_t changed_ns, now_us = clock_mono_us();

    if (!reader->listed)
        return true;
    if (reader->folder_fd < 0 || fstat(reader->folder_fd, &status) < 0)
        return false;
    if (status.st_nlink == 0) {
        reader->vanished = true;
        return false;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    changed_ns = status.st_mtim.tv_sec * NS_PER_S + status.st_mtim.tv_nsec;
    if (changed_ns == reader->folder_changed_ns &&
        now.tv_sec * NS_PER_S + now.tv_nsec - changed_ns > STAMP_SETTLED_NS &&
        now_us < reader->listed_us + LIST_AT_LEAST_US)
        return false;
    reader->folder_changed_ns = changed_ns;
    reader->listed_us = now_us;
    return true;
}

static void learn_partition(struct journal_reader *reader)
{
    struct journal_segment_header header;

    for (size_t i = 0; i < reader->segment_count && i < HEADERS_TRIED && reader->partition < 0;
         i++) {
        struct journal_segment *segment = &reader->segments[i];
        bool was_open = segment->fd >= 0;

        if (journal_files_read_header(reader, segment, &header))
            reader->partition = header.partition;
        if (!was_open)
            journal_files_close_segment(segment);
    }
}

void journal_reader_scan(struct journal_reader *reader)
{
    bool died = reader->live && flock(reader->folder_fd, LOCK_SH | LOCK_NB) == 0;
    bool changed = has_changed(reader);

    if (died) {
        flock(reader->folder_fd, LOCK_UN);
        reader->live = false;
        read_closed(reader);
    }
    if (changed || died)
        list_segments(reader);
    if (reader->partition < 0)
        learn_partition(reader);
    if (!reader->live && !reader->vanished && reader->folder_fd >= 0) {
        close(reader->folder_fd);
        reader->folder_fd = -1;
    }
}

/* A segment that was removed and made again under its name (its writer could not write the first
 * record) is another file. */
static void renew_if_replaced(struct journal_reader *reader, struct journal_segment *segment)
{
    size_t index = (size_t)(segment - reader->segments);
    char path[PATH_BYTES];
    struct stat status;
    int at;

    if (segment->fd < 0 || segment->final || fstat(segment->fd, &status) < 0 || status.st_nlink > 0)
        return;
    at = segment_path(reader, segment, path);
    if (fstatat(at, path, &status, AT_SYMLINK_NOFOLLOW) < 0 || status.st_ino == segment->inode ||
        (index == reader->index && reader->wanted > segment->first_seq))
        return;
    journal_files_close_segment(segment);
    segment->size = segment->covered = 0;
    segment->header_read = false;
    if (index == reader->index)
        reader->offset = 0;
}

/* Covers what is in one segment now. Returns whether that took an fdatasync. */
static bool sync_segment(struct journal_reader *reader, size_t index)
{
    struct journal_segment *segment = &reader->segments[index];
    const bool final = index + 1 < reader->segment_count || !reader->live;
    bool synced = false;
    struct stat status;
    int fd;

    renew_if_replaced(reader, segment);
    fd = journal_files_segment(reader, segment);
    if (fd < 0 || fstat(fd, &status) < 0)
        return false;
    take_status(segment, &status);
    if (segment->size != segment->covered) {
        synced = true;
        if (fdatasync(fd) < 0) {
            log_error("journal_sync_failed", "origin=%llu segment=%llu error=%s",
                      (unsigned long long)reader->origin, (unsigned long long)segment->first_seq,
                      strerror(errno));
            journal_files_rest(reader, segment);
            return synced; /* tried again next time */
        }
        segment->covered = segment->size;
    }
    segment->final = final;
    if (final && index != reader->index && !reader->vanished)
        journal_files_close_segment(segment);
    journal_files_rest(reader, segment);
    return synced;
}

/* A new segment's name must be on the disk before its records count as covered. */
static bool sync_entries(struct journal_reader *reader)
{
    char path[PATH_BYTES];
    int at, fd;

    if (!reader->entries_unsynced || reader->vanished)
        return false;
    at = entry_path(reader, ".", path);
    fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    reader->entries_unsynced = fsync(fd) < 0;
    close(fd);
    return true;
}

unsigned journal_reader_sync(struct journal_reader *reader)
{
    unsigned calls = sync_entries(reader), segments = 0;

    for (size_t i = reader->index; i < reader->segment_count && segments < JOURNAL_SYNC_SEGMENTS;
         i++) {
        if (reader->segments[i].final)
            continue;
        calls += sync_segment(reader, i);
        segments++;
    }
    return calls;
}

struct journal_reader *journal_reader_open(int root_fd, uint64_t origin, struct error *error)
{
    struct journal_reader *reader = calloc(1, sizeof *reader);
    char path[PATH_BYTES];
    struct stat status;

    if (!reader) {
        error_set(error, "out of memory");
        return NULL;
    }
    *reader = (struct journal_reader){.origin = origin,
                                      .partition = -1,
                                      .live = true,
                                      .closed_seq = UINT64_MAX,
                                      .root_fd = root_fd,
                                      .wanted = 1};
    folder_path(reader, path);
    reader->folder_fd = openat(root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (reader->folder_fd < 0 || fstat(reader->folder_fd, &status) < 0) {
        error_set(error, "cannot open journal %s: %s", path, strerror(errno));
        journal_reader_close(reader);
        return NULL;
    }
    reader->folder_inode = status.st_ino;
    journal_reader_scan(reader);
    return reader;
}

void journal_reader_close(struct journal_reader *reader)
{
    if (!reader)
        return;
    for (size_t i = 0; i < reader->segment_count; i++)
        journal_files_close_segment(&reader->segments[i]);
    if (reader->folder_fd >= 0)
        close(reader->folder_fd);
    free(reader->segments);
    free(reader);
}

bool journal_reader_delete_oldest(struct journal_reader *reader, struct error *error)
{
    struct journal_segment *segment = &reader->segments[0];
    char path[PATH_BYTES];
    int at;

    assert(reader->segment_count > 0 && (reader->segment_count > 1 || !reader->live));
    at = segment_path(reader, segment, path);
    if (unlinkat(at, path, 0) < 0 && errno != ENOENT)
        return error_set(error, "cannot delete %s: %s", path, strerror(errno));
    journal_files_close_segment(segment);
    reader->segment_count--;
    memmove(segment, segment + 1, reader->segment_count * sizeof *segment);
    if (reader->index > 0)
        reader->index--;
    else
        reader->offset = 0;
    return true;
}

bool journal_reader_remove_folder(struct journal_reader *reader, struct error *error)
{
    char path[PATH_BYTES];
    int at = entry_path(reader, JOURNAL_CLOSED, path);

    assert(!reader->live && reader->segment_count == 0);
    if (unlinkat(at, path, 0) < 0 && errno != ENOENT)
        return error_set(error, "cannot delete %s: %s", path, strerror(errno));
    folder_path(reader, path);
    if (unlinkat(reader->root_fd, path, AT_REMOVEDIR) < 0 && errno != ENOENT)
        return error_set(error, "cannot delete %s: %s", path, strerror(errno));
    return true;
}
