/* See journal_lost.h. Every change is one pwrite of a block smaller than a sector, so that a crash
 * leaves the old or the new one; its CRC tells if a power cut left neither. */
#include "server/clicks/journal_lost.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#include "server/clicks/journal_format.h"
#include "shared/clock.h"
#include "shared/log.h"

#define FILE_BYTES 4096

struct entry {
    uint64_t episode;
    uint64_t count; /* 0: no loss */
    int64_t from_us;
    int64_t until_us;
};

struct block {
    uint64_t magic;
    struct entry telling;  /* may be in a journal already */
    struct entry counting; /* is in none */
    uint32_t reserved;
    uint32_t crc; /* of all before it */
};
static_assert(sizeof(struct block) <= 512, "a block fits into a sector");

struct journal_lost {
    struct block block;
    int fd; /* -1: not taken over yet */
    int64_t retry_us;
    char path[];
};

static bool save(struct journal_lost *lost)
{
    struct block *block = &lost->block;

    if (lost->fd < 0)
        return true; /* nobody can inherit it */
    block->magic = JOURNAL_MAGIC;
    block->crc = crc32c(0, block, offsetof(struct block, crc));
    return pwrite(lost->fd, block, sizeof *block, 0) == (ssize_t)sizeof *block;
}

static void add(struct entry *entry, uint64_t clicks, int64_t from_us, int64_t until_us)
{
    if (entry->count == 0) {
        if (getrandom(&entry->episode, sizeof entry->episode, 0) != sizeof entry->episode)
            abort(); /* cannot happen for 8 bytes; a repeated episode would hide a loss */
        entry->episode = entry->episode >> 1 | 1; /* a positive bigint */
        entry->from_us = from_us;
        entry->until_us = until_us;
    }
    entry->count += clicks;
    entry->from_us = from_us < entry->from_us ? from_us : entry->from_us;
    entry->until_us = until_us > entry->until_us ? until_us : entry->until_us;
}

/* Reads what a predecessor left in the file into `out`; zeros if that is nothing. */
static void read_block(int fd, const char *path, struct block *out)
{
    static const struct block empty;
    ssize_t size = pread(fd, out, sizeof *out, 0);

    if (size == (ssize_t)sizeof *out && out->magic == JOURNAL_MAGIC &&
        out->crc == crc32c(0, out, offsetof(struct block, crc)))
        return;
    if (size == (ssize_t)sizeof *out && memcmp(out, &empty, sizeof empty) != 0)
        log_error("journal_lost_unreadable", "path=%s", path);
    *out = empty;
}

/* Opens, locks and preallocates the file; -1 if that cannot be done now. */
static int take_file(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return -1;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0 || posix_fallocate(fd, 0, FILE_BYTES) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void take_over(struct journal_lost *lost)
{
    int64_t now_us = clock_mono_us();
    struct block left;

    /* A loss that is being told out of memory is finished first. */
    if (lost->fd >= 0 || now_us < lost->retry_us || lost->block.telling.count)
        return;
    lost->retry_us = now_us + US_PER_SECOND;
    lost->fd = take_file(lost->path);
    if (lost->fd < 0)
        return;
    read_block(lost->fd, lost->path, &left);
    lost->block.telling = left.telling;
    if (left.counting.count) {
        struct entry mine = lost->block.counting;

        lost->block.counting = left.counting;
        if (mine.count)
            add(&lost->block.counting, mine.count, mine.from_us, mine.until_us);
    }
    if (!save(lost))
        log_error("journal_lost_unwritable", "path=%s errno=%s", lost->path, strerror(errno));
}

struct journal_lost *journal_lost_open(const char *path)
{
    struct journal_lost *lost = calloc(1, sizeof *lost + strlen(path) + 1);

    if (!lost)
        abort();
    memcpy(lost->path, path, strlen(path) + 1);
    lost->fd = -1;
    lost->retry_us = INT64_MIN;
    take_over(lost);
    return lost;
}

void journal_lost_close(struct journal_lost *lost)
{
    if (lost->fd >= 0)
        close(lost->fd);
    else if (journal_lost_pending(lost))
        log_error("clicks_lost_untold", "clicks=%llu",
                  (unsigned long long)(lost->block.telling.count + lost->block.counting.count));
    free(lost);
}

void journal_lost_add(struct journal_lost *lost, uint64_t clicks, int64_t now_us)
{
    assert(clicks > 0);
    take_over(lost);
    add(&lost->block.counting, clicks, now_us, now_us);
    (void)save(lost); /* counted in memory at least; said when it is told */
}

bool journal_lost_begin(struct journal_lost *lost, struct lost *out)
{
    struct block *block = &lost->block;
    struct block before;

    take_over(lost);
    if (block->telling.count == 0 && block->counting.count > 0) {
        before = *block;
        block->telling = block->counting;
        memset(&block->counting, 0, sizeof block->counting);
        if (!save(lost)) {
            *block = before; /* a successor would go on adding to it */
            return false;
        }
    }
    out->episode = block->telling.episode;
    out->count = block->telling.count;
    out->from_us = block->telling.from_us;
    out->until_us = block->telling.until_us;
    return out->count > 0;
}

void journal_lost_told(struct journal_lost *lost)
{
    assert(lost->block.telling.count > 0);
    memset(&lost->block.telling, 0, sizeof lost->block.telling);
    (void)save(lost); /* if it fails, a successor tells the same episode again */
}

bool journal_lost_pending(const struct journal_lost *lost)
{
    return lost->block.telling.count > 0 || lost->block.counting.count > 0;
}
