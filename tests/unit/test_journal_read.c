/* The journal's reader on journals that were cut, flipped, robbed and copied: what can be read is
 * read, exactly what cannot is declared, and nothing is handed out twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/clicks/journal.h"
#include "server/clicks/journal_format.h"
#include "server/clicks/journal_read.h"

#define HEADER  ((long)sizeof(struct journal_segment_header))
#define RECORD  (16 + 34) /* one EVENT_LOST with its record header */
#define PER_SEG 20        /* records in a segment of SEGMENT bytes */
#define SEGMENT (HEADER + PER_SEG * RECORD)

static char data_dir[64];
static int root_fd = -1;
static unsigned char batch_bytes[BATCH_BYTES_MAX];

static int set_up(void **state)
{
    char path[128];

    (void)state;
    snprintf(data_dir, sizeof data_dir, "/tmp/kudos-read-XXXXXX");
    if (!mkdtemp(data_dir))
        return -1;
    snprintf(path, sizeof path, "%s/journal", data_dir);
    if (mkdir(path, 0700) < 0)
        return -1;
    root_fd = open(path, O_RDONLY | O_DIRECTORY);
    return root_fd < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
    char command[128];

    (void)state;
    close(root_fd);
    snprintf(command, sizeof command, "rm -rf %s", data_dir);
    return system(command);
}

static struct journal *open_journal(void)
{
    struct error error = {""};
    struct journal *journal = journal_open(data_dir, 0, 3, SEGMENT, &error);

    if (!journal)
        fail_msg("%s", error.text);
    return journal;
}

/* Journals `count` events whose `count` field is their seq. */
static void append(struct journal *journal, unsigned count)
{
    unsigned char payload[EVENT_PAYLOAD_MAX];
    struct event event = {.kind = EVENT_LOST, .lost = {.episode = 7}};

    while (count--) {
        uint64_t seq = journal_next_seq(journal);

        event.lost.count = seq;
        assert_int_equal(journal_append(journal, payload, event_encode(&event, payload)), seq);
        assert_int_equal(journal_commit(journal), seq);
    }
}

/* A closed journal of `count` events; `marked` keeps the file that says how it ended. */
static uint64_t make_journal(unsigned count, bool marked)
{
    struct journal *journal = open_journal();
    uint64_t origin = journal_origin(journal);
    char path[256];

    append(journal, count);
    journal_close(journal);
    snprintf(path, sizeof path, "%s/journal/%016llx/closed", data_dir, (unsigned long long)origin);
    if (!marked)
        assert_int_equal(unlink(path), 0);
    return origin;
}

static struct journal_reader *open_reader(uint64_t origin)
{
    struct error error = {""};
    struct journal_reader *reader = journal_reader_open(root_fd, origin, &error);

    if (!reader)
        fail_msg("%s", error.text);
    return reader;
}

/* What a reader handed out. */
struct harvest {
    uint64_t seq; /* the last one */
    uint64_t events;
    uint64_t gaps;
    uint64_t gap_first, gap_last; /* of the last gap */
};

static void take(struct harvest *harvest, const unsigned char *payload, uint32_t length)
{
    struct event event;
    struct error error = {""};

    assert_true(event_decode(payload, length, &event, &error));
    if (event.kind == EVENT_GAP) {
        assert_int_equal(event.gap.first, harvest->seq + 1);
        assert_true(event.gap.reason.length > 0);
        harvest->seq = event.gap.last;
        harvest->gap_first = event.gap.first;
        harvest->gap_last = event.gap.last;
        harvest->gaps++;
        return;
    }
    assert_int_equal(event.lost.count, harvest->seq + 1); /* itself, in order, once */
    harvest->seq++;
    harvest->events++;
}

/* Takes all that can be had now. */
static void reap(struct journal_reader *reader, struct harvest *harvest)
{
    struct journal_batch batch = {.bytes = batch_bytes};
    uint32_t length;
    bool more = true;

    journal_reader_scan(reader);
    journal_reader_sync(reader);
    while (more) {
        journal_batch_reset(&batch, harvest->seq + 1);
        more = journal_reader_fill(reader, &batch);
        for (size_t at = 0; at < batch.used; at += sizeof length + length) {
            memcpy(&length, batch.bytes + at, sizeof length);
            take(harvest, batch.bytes + at + sizeof length, length);
        }
        assert_int_equal(batch.last, harvest->seq);
    }
}

static struct harvest reap_all(uint64_t origin)
{
    struct journal_reader *reader = open_reader(origin);
    struct harvest harvest = {0};

    reap(reader, &harvest);
    assert_true(reader->drained);
    assert_int_equal(reader->partition, 3);
    assert_int_equal(journal_reader_backlog_bytes(reader), 0);
    journal_reader_close(reader);
    return harvest;
}

static void segment_path(uint64_t origin, uint64_t first, char out[256])
{
    snprintf(out, 256, "%s/journal/%016llx/%020llu.seg", data_dir, (unsigned long long)origin,
             (unsigned long long)first);
}

/* Changes one byte. */
static void flip(uint64_t origin, uint64_t first, long offset)
{
    char path[256];
    unsigned char byte;
    int fd;

    segment_path(origin, first, path);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

static void cut(uint64_t origin, uint64_t first, long size)
{
    char path[256];

    segment_path(origin, first, path);
    assert_int_equal(truncate(path, size), 0);
}

static void assert_gap(struct harvest harvest, uint64_t seq, uint64_t first, uint64_t last)
{
    assert_int_equal(harvest.seq, seq);
    assert_int_equal(harvest.gaps, 1);
    assert_int_equal(harvest.gap_first, first);
    assert_int_equal(harvest.gap_last, last);
    assert_int_equal(harvest.events, seq - (last - first + 1));
}

static void a_whole_journal(void **state)
{
    struct harvest harvest = reap_all(make_journal(3 * PER_SEG + 5, true));

    (void)state;
    assert_int_equal(harvest.seq, 3 * PER_SEG + 5);
    assert_int_equal(harvest.gaps, 0);
}

static void a_live_journal_is_followed(void **state)
{
    struct journal *journal = open_journal();
    struct journal_reader *reader = open_reader(journal_origin(journal));
    struct harvest harvest = {0};

    (void)state;
    reap(reader, &harvest);
    assert_int_equal(harvest.seq, 0);
    for (uint64_t i = 1; i <= 5 * PER_SEG; i++) {
        append(journal, 1);
        reap(reader, &harvest);
        assert_int_equal(harvest.seq, i);
        assert_false(reader->drained);
    }
    journal_close(journal);
    reap(reader, &harvest);
    assert_true(reader->drained && !reader->live);
    assert_int_equal(journal_reader_last_seq(reader, reader->segment_count - 1), 5 * PER_SEG);
    journal_reader_close(reader);
}

static void only_what_is_synced_is_handed_out(void **state)
{
    struct journal *journal = open_journal();
    struct journal_reader *reader = open_reader(journal_origin(journal));
    struct journal_batch batch = {.bytes = batch_bytes};

    (void)state;
    append(journal, 3);
    journal_reader_scan(reader);
    journal_batch_reset(&batch, 1);
    assert_false(journal_reader_fill(reader, &batch));
    assert_int_equal(batch.count, 0);
    assert_int_equal(journal_reader_sync(reader), 2); /* the folder and the segment */
    assert_int_equal(journal_reader_sync(reader), 0); /* nothing new */
    append(journal, 2);
    assert_false(journal_reader_fill(reader, &batch));
    assert_int_equal(batch.last, 3);
    assert_true(journal_reader_backlog_bytes(reader) == 0); /* as far as it has looked */
    assert_int_equal(journal_reader_sync(reader), 1);
    assert_int_equal(journal_reader_backlog_bytes(reader), 2 * RECORD);
    assert_false(journal_reader_fill(reader, &batch));
    assert_int_equal(batch.last, 5);
    journal_reader_close(reader);
    journal_close(journal);
}

/* Every single byte of a segment, flipped: no more than the record it lies in is lost. */
static void any_flipped_byte_costs_one_record(void **state)
{
    uint64_t origin = make_journal(3 * PER_SEG, true);

    (void)state;
    for (long offset = 0; offset < SEGMENT; offset++) {
        struct harvest harvest;

        flip(origin, 1 + PER_SEG, offset);
        harvest = reap_all(origin);
        if (offset < HEADER) {
            assert_int_equal(harvest.seq, 3 * PER_SEG);
            assert_int_equal(harvest.gaps, 0);
        } else {
            uint64_t seq = 1 + PER_SEG + (uint64_t)((offset - HEADER) / RECORD);

            assert_gap(harvest, 3 * PER_SEG, seq, seq);
        }
        flip(origin, 1 + PER_SEG, offset);
    }
}

static void damage_across_segments(void **state)
{
    uint64_t origin = make_journal(4 * PER_SEG, true);
    char path[256];

    (void)state;
    cut(origin, 1 + PER_SEG, HEADER + 3 * RECORD + 5);
    assert_gap(reap_all(origin), 4 * PER_SEG, PER_SEG + 4, 2 * PER_SEG);
    cut(origin, 1 + PER_SEG, 10);
    assert_gap(reap_all(origin), 4 * PER_SEG, PER_SEG + 1, 2 * PER_SEG);
    segment_path(origin, 1 + PER_SEG, path);
    assert_int_equal(unlink(path), 0);
    assert_gap(reap_all(origin), 4 * PER_SEG, PER_SEG + 1, 2 * PER_SEG);
    segment_path(origin, 1 + 2 * PER_SEG, path);
    assert_int_equal(unlink(path), 0);
    assert_gap(reap_all(origin), 4 * PER_SEG, PER_SEG + 1, 3 * PER_SEG);
}

/* Cut at every length: what is whole is read, the rest is nothing, unless `closed` knows better. */
static void any_torn_tail(void **state)
{
    uint64_t origin = make_journal(PER_SEG, false), marked = make_journal(PER_SEG, true);

    (void)state;
    for (long size = SEGMENT - 1; size >= 0; size--) {
        uint64_t whole = size < HEADER ? 0 : (uint64_t)((size - HEADER) / RECORD);
        struct journal_reader *reader;
        struct harvest harvest = {0};

        cut(origin, 1, size);
        reader = open_reader(origin);
        reap(reader, &harvest);
        assert_true(reader->drained);
        journal_reader_close(reader);
        assert_int_equal(harvest.seq, whole);
        assert_int_equal(harvest.gaps, 0);

        cut(marked, 1, size);
        memset(&harvest, 0, sizeof harvest);
        reader = open_reader(marked);
        reap(reader, &harvest);
        journal_reader_close(reader);
        assert_gap(harvest, PER_SEG, whole + 1, PER_SEG);
    }
}

static void zeros_behind_the_last_record(void **state)
{
    uint64_t origin = make_journal(PER_SEG / 2, false);
    struct harvest harvest;

    (void)state;
    cut(origin, 1,
        HEADER + PER_SEG / 2 * RECORD + 9000); /* as some file systems do on power loss */
    harvest = reap_all(origin);
    assert_int_equal(harvest.seq, PER_SEG / 2);
    assert_int_equal(harvest.gaps, 0);
}

static void a_record_behind_a_damaged_last_but_one(void **state)
{
    uint64_t origin = make_journal(PER_SEG, false);

    (void)state;
    flip(origin, 1, HEADER + (PER_SEG - 2) * RECORD + 1); /* its length now leads past the end */
    assert_gap(reap_all(origin), PER_SEG, PER_SEG - 1, PER_SEG - 1);
}

static void damage_in_a_live_journal_is_told_when_its_end_is_known(void **state)
{
    struct journal *journal = open_journal();
    struct journal_reader *reader = open_reader(journal_origin(journal));
    struct harvest harvest = {0};

    (void)state;
    append(journal, 5);
    flip(journal_origin(journal), 1, HEADER + 3 * RECORD + 20);
    flip(journal_origin(journal), 1, HEADER + 4 * RECORD + 2);
    reap(reader, &harvest);
    assert_int_equal(harvest.seq, 3); /* 4 is bad, 5 might be incomplete: not known yet */
    append(journal, 1);
    reap(reader, &harvest);
    assert_gap(harvest, 6, 4, 5);
    journal_close(journal);
    journal_reader_close(reader);
}

static void seeking(void **state)
{
    uint64_t origin = make_journal(5 * PER_SEG, true);
    struct journal_reader *reader = open_reader(origin);

    (void)state;
    srand(1);
    for (int i = 0; i < 500; i++) {
        uint64_t seq = 1 + (uint64_t)rand() % (5 * PER_SEG);
        struct harvest harvest = {.seq = seq - 1};

        journal_reader_seek(reader, seq);
        reap(reader, &harvest);
        assert_int_equal(harvest.seq, 5 * PER_SEG);
        assert_int_equal(harvest.events, 5 * PER_SEG - seq + 1);
    }
    journal_reader_seek(reader, 6 * PER_SEG); /* Redis is ahead of a restored copy */
    reap(reader, &(struct harvest){.seq = 6 * PER_SEG - 1});
    assert_true(reader->drained);
    journal_reader_close(reader);
}

static void what_lies_before_the_oldest_is_no_gap(void **state)
{
    uint64_t origin = make_journal(3 * PER_SEG, true);
    struct journal_reader *reader = open_reader(origin);
    struct harvest harvest = {0};
    struct error error = {""};

    (void)state;
    reap(reader, &harvest);
    assert_true(journal_reader_delete_oldest(reader, &error));
    memset(&harvest, 0, sizeof harvest);
    journal_reader_seek(reader, 1);
    reap(reader, &harvest);
    assert_int_equal(harvest.seq, 0);
    assert_true(reader->stuck);
    harvest.seq = PER_SEG + 3;
    journal_reader_seek(reader, PER_SEG + 4);
    reap(reader, &harvest);
    assert_int_equal(harvest.seq, 3 * PER_SEG);
    assert_false(reader->stuck);
    assert_true(journal_reader_delete_oldest(reader, &error));
    assert_true(journal_reader_delete_oldest(reader, &error));
    assert_true(journal_reader_remove_folder(reader, &error));
    journal_reader_close(reader);
    assert_null(journal_reader_open(root_fd, origin, &error));
}

static void deleting_behind_the_position_changes_nothing(void **state)
{
    struct journal *journal = open_journal();
    struct journal_reader *reader = open_reader(journal_origin(journal));
    struct harvest harvest = {0};
    struct error error = {""};

    (void)state;
    for (int round = 0; round < 10; round++) {
        append(journal, PER_SEG);
        reap(reader, &harvest);
        while (reader->segment_count > 1)
            assert_true(journal_reader_delete_oldest(reader, &error));
        append(journal, 3);
        reap(reader, &harvest);
        assert_int_equal(harvest.seq, (uint64_t)(round + 1) * (PER_SEG + 3));
    }
    assert_int_equal(harvest.gaps, 0);
    journal_close(journal);
    journal_reader_close(reader);
}

/* A folder under the name of another origin: none of its records is one of that origin. */
static void a_folder_under_another_name(void **state)
{
    uint64_t origin = make_journal(PER_SEG, false);
    struct journal_reader *reader;
    struct harvest harvest = {0};
    char from[256], to[256];

    (void)state;
    snprintf(from, sizeof from, "%s/journal/%016llx", data_dir, (unsigned long long)origin);
    snprintf(to, sizeof to, "%s/journal/%016llx", data_dir, (unsigned long long)(origin ^ 1));
    assert_int_equal(rename(from, to), 0);
    reader = open_reader(origin ^ 1);
    reap(reader, &harvest);
    assert_int_equal(harvest.seq, 0);
    assert_int_equal(reader->partition, -1);
    journal_reader_close(reader);
}

/* A journal that was given up with records in doubt says where it ends; what follows is nothing. */
static void phantoms_behind_the_stated_end(void **state)
{
    uint64_t origin = make_journal(PER_SEG, true);
    struct journal_closed closed = {
        .magic = JOURNAL_MAGIC, .origin = origin, .last_seq = PER_SEG - 3, .partition = 3};
    char path[256];
    FILE *file;

    (void)state;
    closed.crc = journal_closed_crc(&closed);
    snprintf(path, sizeof path, "%s/journal/%016llx/closed", data_dir, (unsigned long long)origin);
    file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(&closed, sizeof closed, 1, file), 1);
    fclose(file);
    assert_int_equal(reap_all(origin).seq, PER_SEG - 3);
}

#define READ_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        READ_TEST(a_whole_journal),
        READ_TEST(a_live_journal_is_followed),
        READ_TEST(only_what_is_synced_is_handed_out),
        READ_TEST(any_flipped_byte_costs_one_record),
        READ_TEST(damage_across_segments),
        READ_TEST(any_torn_tail),
        READ_TEST(zeros_behind_the_last_record),
        READ_TEST(a_record_behind_a_damaged_last_but_one),
        READ_TEST(damage_in_a_live_journal_is_told_when_its_end_is_known),
        READ_TEST(seeking),
        READ_TEST(what_lies_before_the_oldest_is_no_gap),
        READ_TEST(deleting_behind_the_position_changes_nothing),
        READ_TEST(a_folder_under_another_name),
        READ_TEST(phantoms_behind_the_stated_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
