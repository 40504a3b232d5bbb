/* See ship_origins.h. */
#include "server/clicks/ship_origins.h"

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

#include "server/clicks/journal_format.h"
#include "server/metrics.h"
#include "shared/clock.h"
#include "shared/crash.h"
#include "shared/log.h"

#define NS_PER_S         1000000000LL
#define STAMP_SETTLED_NS NS_PER_S             /* see journal_files.c */
#define LIST_AT_LEAST_US (10 * US_PER_SECOND) /* whatever the folder's time stamp says */
#define UNMADE_AGE_S     60                   /* of a folder that nobody finished making */
#define DELETES_MAX      256                  /* in one go */

bool ship_origins_open(struct ship_origins *origins, const char *data_dir, struct error *error)
{
    char path[4096];

    memset(origins, 0, sizeof *origins);
    snprintf(path, sizeof path, "%s/" JOURNAL_FOLDER, data_dir);
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return error_set(error, "cannot make %s: %s", path, strerror(errno));
    origins->root_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (origins->root_fd < 0)
        return error_set(error, "cannot open %s: %s", path, strerror(errno));
    origins->root_unsynced = true;
    return true;
}

void ship_origins_close(struct ship_origins *origins)
{
    for (size_t i = 0; i < origins->count; i++) {
        journal_reader_close(origins->origins[i]->reader);
        free(origins->origins[i]);
    }
    free(origins->origins);
    close(origins->root_fd);
}

/* Where `origin` is, or would be. */
static size_t place_of(const struct ship_origins *origins, uint64_t origin)
{
    size_t low = 0, high = origins->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (origins->origins[middle]->reader->origin < origin)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct ship_origin *ship_origins_find(const struct ship_origins *origins, uint64_t origin)
{
    size_t at = place_of(origins, origin);

    if (at == origins->count || origins->origins[at]->reader->origin != origin)
        return NULL;
    return origins->origins[at];
}

static void remove_at(struct ship_origins *origins, size_t at)
{
    struct ship_origin *origin = origins->origins[at];

    journal_reader_close(origin->reader);
    free(origin);
    origins->count--;
    memmove(&origins->origins[at], &origins->origins[at + 1],
            (origins->count - at) * sizeof(void *));
}

static bool make_room(struct ship_origins *origins)
{
    size_t room = origins->room ? 2 * origins->room : 16;
    struct ship_origin **grown;

    if (origins->count == SHIP_ORIGINS_MAX)
        return false; /* the rest is found once some of these are gone */
    if (origins->count < origins->room)
        return true;
    grown = realloc(origins->origins, room * sizeof(void *));
    if (!grown)
        return false;
    origins->origins = grown;
    origins->room = room;
    return true;
}

/* Takes up a folder. Returns whether it is served now and was not before. */
static bool add_origin(struct ship_origins *origins, uint64_t number)
{
    size_t at = place_of(origins, number);
    struct ship_origin *origin;
    struct error error = {""};

    if (!make_room(origins))
        return false;
    origin = calloc(1, sizeof *origin);
    if (!origin)
        return false;
    origin->reader = journal_reader_open(origins->root_fd, number, &error);
    if (!origin->reader) {
        log_error("journal_open_failed", "error=%s", error.text);
        free(origin);
        return false;
    }
    origin->due = true;
    memmove(&origins->origins[at + 1], &origins->origins[at],
            (origins->count - at) * sizeof(void *));
    origins->origins[at] = origin;
    origins->count++;
    return true;
}

/* "0123456789abcdef" as a number; 0 for any other name. */
static uint64_t parse_origin(const char *name)
{
    char *end, again[JOURNAL_ORIGIN_DIGITS + 1];
    unsigned long long origin = strtoull(name, &end, 16);

    if (*end != '\0' || end - name != JOURNAL_ORIGIN_DIGITS || origin > INT64_MAX)
        return 0;
    snprintf(again, sizeof again, JOURNAL_ORIGIN_FORMAT, origin);
    return strcmp(name, again) == 0 ? origin : 0;
}

/* Removes ".<origin>.new" that a writer which died left behind. */
static void remove_unmade(const struct ship_origins *origins, const char *name)
{
    struct stat status;
    int fd;

    if (name[0] != '.' || strlen(name) != JOURNAL_ORIGIN_DIGITS + 5)
        return;
    fd = openat(origins->root_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (fstat(fd, &status) == 0 && time(NULL) - status.st_mtime > UNMADE_AGE_S &&
        flock(fd, LOCK_EX | LOCK_NB) == 0)
        unlinkat(origins->root_fd, name, AT_REMOVEDIR);
    close(fd);
}

/* Compares a known origin with the folder that bears its name now. Returns whether to drop it. */
static bool is_gone(const struct ship_origins *origins, struct ship_origin *origin)
{
    struct journal_reader *reader = origin->reader;
    char name[JOURNAL_ORIGIN_DIGITS + 1];
    struct stat status;
    bool there;

    snprintf(name, sizeof name, JOURNAL_ORIGIN_FORMAT, (unsigned long long)reader->origin);
    there = fstatat(origins->root_fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0;
    if (there && status.st_ino == reader->folder_inode)
        return false;
    /* A writer that never wrote takes its folder away when it leaves. */
    if (!reader->vanished && journal_reader_disk_bytes(reader) > 0)
        log_error("journal_removed", "origin=%llu wanted=%llu", (unsigned long long)reader->origin,
                  (unsigned long long)reader->wanted);
    reader->vanished = true;
    /* What is open is read to its end; after that a folder that took its place may be served. */
    return !origin->in_flight && !reader->live &&
           (reader->drained || reader->folder_fd < 0 || reader->stuck);
}

static bool list_root(struct ship_origins *origins)
{
    int fd = openat(origins->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;
    bool news = false;

    if (!folder) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    for (size_t i = origins->count; i-- > 0;)
        if (is_gone(origins, origins->origins[i]))
            remove_at(origins, i);
    while ((entry = readdir(folder))) {
        uint64_t origin = parse_origin(entry->d_name);

        if (origin == 0)
            remove_unmade(origins, entry->d_name);
        else if (!ship_origins_find(origins, origin))
            news |= add_origin(origins, origin);
    }
    closedir(folder);
    return news;
}

/* Whether the root folder may have entries that the last listing did not show. */
static bool root_has_changed(struct ship_origins *origins)
{
    int64_t mono_us = clock_mono_us(), changed_ns;
    struct timespec now;
    struct stat status;

    if (fstat(origins->root_fd, &status) < 0)
        return false;
    clock_gettime(CLOCK_REALTIME, &now);
    changed_ns = status.st_mtim.tv_sec * NS_PER_S + status.st_mtim.tv_nsec;
    if (changed_ns == origins->root_changed_ns &&
        now.tv_sec * NS_PER_S + now.tv_nsec - changed_ns > STAMP_SETTLED_NS &&
        mono_us < origins->listed_us + LIST_AT_LEAST_US)
        return false;
    origins->root_changed_ns = changed_ns;
    origins->listed_us = mono_us;
    return true;
}

/* Whether a removed journal has been read to its end: what is under its name now may be served. */
static bool has_left(const struct ship_origins *origins)
{
    for (size_t i = 0; i < origins->count; i++)
        if (origins->origins[i]->reader->vanished && origins->origins[i]->reader->drained)
            return true;
    return false;
}

bool ship_origins_sync(struct ship_origins *origins)
{
    bool news = (root_has_changed(origins) || has_left(origins)) && list_root(origins);

    if (news)
        origins->root_unsynced = true;
    if (origins->root_unsynced)
        origins->root_unsynced = fsync(origins->root_fd) < 0;
    for (size_t i = 0; i < origins->count; i++) {
        struct journal_reader *reader = origins->origins[i]->reader;

        if (reader->live)
            journal_reader_scan(reader);
        if (!reader->drained)
            (void)journal_reader_sync(reader);
    }
    return news;
}

void ship_origin_flushed(struct ship_origin *origin, uint64_t flushed, int64_t now_us)
{
    struct journal_reader *reader = origin->reader;

    origin->flushed = flushed;
    for (size_t i = 0; i < reader->segment_count; i++) {
        struct journal_segment *segment = &reader->segments[i];

        if (journal_reader_last_seq(reader, i) > flushed)
            segment->flushed_since_us = 0;
        else if (segment->flushed_since_us == 0)
            segment->flushed_since_us = now_us;
    }
    if (reader->segment_count > 0)
        return;
    if (reader->closed_seq != UINT64_MAX && reader->closed_seq > flushed)
        origin->flushed_since_us = 0;
    else if (origin->flushed_since_us == 0)
        origin->flushed_since_us = now_us;
}

/* Whether the oldest segment may go, were it not for time. */
static bool oldest_is_flushed(const struct ship_origin *origin)
{
    const struct journal_reader *reader = origin->reader;

    return reader->segment_count > 0 && (reader->segment_count > 1 || !reader->live) &&
           !origin->in_flight && !reader->vanished && reader->segments[0].flushed_since_us > 0 &&
           journal_reader_last_seq(reader, 0) <= origin->flushed;
}

static bool delete_oldest(struct ship_origin *origin)
{
    struct error error = {""};

    origin->flushed_since_us = origin->reader->segments[0].flushed_since_us;
    CRASH_POINT("ship_before_delete");
    if (!journal_reader_delete_oldest(origin->reader, &error)) {
        log_error("journal_delete_failed", "error=%s", error.text);
        return false;
    }
    CRASH_POINT("ship_after_delete");
    metrics->journal_deletes_total++;
    return true;
}

static void delete_expired(struct ship_origins *origins, unsigned partition, int64_t keep_us,
                           int64_t now_us)
{
    unsigned deleted = 0;

    for (size_t i = 0; i < origins->count && deleted < DELETES_MAX; i++) {
        struct ship_origin *origin = origins->origins[i];

        while (origin->reader->partition == (int64_t)partition && oldest_is_flushed(origin) &&
               now_us - origin->reader->segments[0].flushed_since_us >= keep_us &&
               deleted < DELETES_MAX && delete_oldest(origin))
            deleted++;
    }
}

/* The flushed segment that was written first; NULL: none. */
static struct ship_origin *oldest_flushed(const struct ship_origins *origins, unsigned partition)
{
    struct ship_origin *oldest = NULL;

    for (size_t i = 0; i < origins->count; i++) {
        struct ship_origin *origin = origins->origins[i];

        if (origin->reader->partition != (int64_t)partition || !oldest_is_flushed(origin))
            continue;
        if (!oldest ||
            origin->reader->segments[0].written_us < oldest->reader->segments[0].written_us)
            oldest = origin;
    }
    return oldest;
}

static uint64_t disk_bytes(const struct ship_origins *origins)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < origins->count; i++)
        bytes += journal_reader_disk_bytes(origins->origins[i]->reader);
    return bytes;
}

static void delete_early(struct ship_origins *origins, unsigned partition, uint64_t max_bytes)
{
    uint64_t bytes = disk_bytes(origins);
    unsigned deleted = 0;

    while (bytes > max_bytes && deleted < DELETES_MAX) {
        struct ship_origin *origin = oldest_flushed(origins, partition);
        uint64_t size = origin ? origin->reader->segments[0].size : 0;

        if (!origin || !delete_oldest(origin))
            break;
        bytes -= size;
        deleted++;
        metrics->journal_early_deletes_total++;
    }
    if (deleted > 0)
        log_warn("journal_deleted_early", "segments=%u bytes=%llu max_bytes=%llu", deleted,
                 (unsigned long long)bytes, (unsigned long long)max_bytes);
}

/* Whether the folder holds nothing that anybody could still ask for. */
static bool is_empty(const struct ship_origin *origin, int64_t keep_us, int64_t now_us)
{
    const struct journal_reader *reader = origin->reader;

    if (reader->live || reader->vanished || origin->in_flight || !reader->listed ||
        reader->segment_count > 0)
        return false;
    return reader->closed_seq == UINT64_MAX ||
           (origin->flushed_since_us > 0 && now_us - origin->flushed_since_us >= keep_us);
}

static void remove_empty(struct ship_origins *origins, int64_t keep_us, int64_t now_us)
{
    struct error error = {""};

    for (size_t i = origins->count; i-- > 0;) {
        const struct ship_origin *origin = origins->origins[i];

        if (!is_empty(origin, keep_us, now_us))
            continue;
        if (journal_reader_remove_folder(origin->reader, &error))
            remove_at(origins, i);
        else
            log_error("journal_delete_failed", "error=%s", error.text);
    }
}

void ship_origins_delete(struct ship_origins *origins, unsigned partition,
                         const struct settings *settings, int64_t now_us)
{
    const int64_t keep_us = settings->journal_keep_s * US_PER_SECOND;

    assert(settings->journal_max_bytes > 0);
    delete_expired(origins, partition, keep_us, now_us);
    delete_early(origins, partition, (uint64_t)settings->journal_max_bytes);
    remove_empty(origins, keep_us, now_us);
}

void ship_origins_measure(const struct ship_origins *origins, double bytes_per_event)
{
    int64_t now_us = clock_wall_us(), bytes = 0, events = 0, stuck = 0, oldest_us = now_us;

    assert(bytes_per_event > 0);
    for (size_t i = 0; i < origins->count; i++) {
        const struct ship_origin *origin = origins->origins[i];
        const struct journal_reader *reader = origin->reader;
        int64_t behind = (int64_t)journal_reader_backlog_bytes(reader);
        int64_t since_us = origin->oldest_us;

        stuck += reader->stuck;
        events += origin->in_flight ? origin->sent_count : 0;
        if (behind > 0) {
            events += 1 + (int64_t)((double)(behind - 1) / bytes_per_event);
            if (since_us == 0)
                since_us = reader->segments[reader->index].written_us;
        }
        bytes += behind;
        if ((behind > 0 || origin->in_flight) && since_us > 0 && since_us < oldest_us)
            oldest_us = since_us;
    }
    metrics->journal_backlog_bytes = bytes;
    metrics->journal_backlog_events = events;
    metrics->journal_oldest_seconds = (now_us - oldest_us) / US_PER_SECOND;
    metrics->journal_disk_bytes = (int64_t)disk_bytes(origins);
    metrics->journal_origins = (int64_t)origins->count;
    metrics->ship_stuck_origins = stuck;
}
