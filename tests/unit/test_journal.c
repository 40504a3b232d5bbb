/* The journal's writer: what it leaves on disk, byte for byte, and what it does on a full disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/clicks/journal.h"
#include "server/clicks/journal_format.h"

static char data_dir[64];

static int make_data_dir(void **state)
{
    (void)state;
    snprintf(data_dir, sizeof data_dir, "/tmp/kudos-journal-XXXXXX");
    return mkdtemp(data_dir) ? 0 : -1;
}

static int remove_data_dir(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", data_dir);
    return system(command);
}

static struct journal *open_journal(uint64_t segment_bytes)
{
    struct error error = {""};
    struct journal *journal = journal_open(data_dir, 0, 7, segment_bytes, &error);

    if (!journal)
        fail_msg("%s", error.text);
    return journal;
}

/* A writer that vanishes as by kill -9: files as they are, lock gone. */
static void forget(struct journal *journal)
{
    (void)journal; /* its descriptors go with the child process */
    _exit(0);
}

static size_t read_file(const char *path, unsigned char *out, size_t size)
{
    FILE *file = fopen(path, "rb");
    size_t length;

    assert_non_null(file);
    length = fread(out, 1, size, file);
    fclose(file);
    return length;
}

static void segment_path(uint64_t origin, uint64_t first, char out[256])
{
    snprintf(out, 256, "%s/journal/%016llx/%020llu.seg", data_dir, (unsigned long long)origin,
             (unsigned long long)first);
}

/* Checks one segment byte for byte; returns the seq behind its last record. */
static uint64_t check_segment(uint64_t origin, uint64_t first)
{
    static unsigned char bytes[1 << 20];
    struct journal_segment_header header;
    struct journal_record_header record;
    uint64_t seq = first;
    char path[256];
    size_t length, at = sizeof header;

    segment_path(origin, first, path);
    length = read_file(path, bytes, sizeof bytes);
    assert_true(length >= sizeof header);
    memcpy(&header, bytes, sizeof header);
    assert_true(header.magic == JOURNAL_MAGIC && header.origin == origin);
    assert_int_equal(header.partition, 7);
    assert_int_equal(header.first_seq, first);
    assert_int_equal(header.crc, journal_header_crc(&header));
    while (at < length) {
        assert_true(at + sizeof record < length);
        memcpy(&record, bytes + at, sizeof record);
        at += sizeof record;
        assert_true(at + record.length <= length);
        assert_int_equal(record.seq, seq);
        assert_int_equal(record.crc, journal_record_crc(origin, record.length, seq, bytes + at));
        at += record.length;
        seq++;
    }
    return seq;
}

static void records_are_in_the_file_after_commit(void **state)
{
    struct journal *journal = open_journal(1 << 20);
    uint64_t origin = journal_origin(journal);

    (void)state;
    assert_true(origin > 0 && origin <= INT64_MAX);
    assert_int_equal(journal_next_seq(journal), 1);
    assert_int_equal(journal_append(journal, "abc", 3), 1);
    assert_int_equal(journal_append(journal, "defg", 4), 2);
    assert_int_equal(journal_commit(journal), 2);
    assert_int_equal(check_segment(origin, 1), 3);
    assert_int_equal(journal_append(journal, "h", 1), 3);
    assert_int_equal(check_segment(origin, 1), 3); /* gathered is not written */
    assert_int_equal(journal_commit(journal), 3);
    assert_int_equal(check_segment(origin, 1), 4);
    journal_close(journal);
}

static void close_commits_and_says_how_it_ended(void **state)
{
    struct journal *journal = open_journal(1 << 20);
    uint64_t origin = journal_origin(journal);
    struct journal_closed closed;
    char path[256];
    int fd;

    (void)state;
    snprintf(path, sizeof path, "%s/journal/%016llx", data_dir, (unsigned long long)origin);
    fd = open(path, O_RDONLY | O_DIRECTORY);
    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_SH | LOCK_NB), -1); /* its writer lives */
    assert_int_equal(journal_append(journal, "x", 1), 1);
    journal_close(journal);
    assert_int_equal(flock(fd, LOCK_SH | LOCK_NB), 0);
    close(fd);
    assert_int_equal(check_segment(origin, 1), 2);
    strcat(path, "/closed");
    assert_int_equal(read_file(path, (unsigned char *)&closed, sizeof closed), sizeof closed);
    assert_true(closed.origin == origin && closed.last_seq == 1);
    assert_int_equal(closed.crc, journal_closed_crc(&closed));
}

static void an_unused_journal_leaves_nothing(void **state)
{
    struct journal *journal = open_journal(1 << 20);
    char path[256];

    (void)state;
    snprintf(path, sizeof path, "%s/journal/%016llx", data_dir,
             (unsigned long long)journal_origin(journal));
    assert_int_equal(access(path, F_OK), 0);
    journal_close(journal);
    assert_int_equal(access(path, F_OK), -1);
}

static void segments_roll(void **state)
{
    struct journal *journal = open_journal(4096);
    uint64_t origin = journal_origin(journal), next = 1;
    unsigned char payload[1000] = "payload";
    char path[256];
    int segments = 0;

    (void)state;
    for (uint64_t i = 1; i <= 20; i++) {
        assert_int_equal(journal_append(journal, payload, sizeof payload), i);
        assert_int_equal(journal_commit(journal), i);
    }
    while (next <= 20) {
        struct stat status;

        segment_path(origin, next, path);
        assert_int_equal(stat(path, &status), 0);
        assert_true(status.st_size <= 4096);
        next = check_segment(origin, next);
        segments++;
    }
    assert_int_equal(next, 21);
    assert_int_equal(segments, 7); /* three records of 1016 bytes each */
    journal_close(journal);
}

static void a_full_round_hands_out_no_seq(void **state)
{
    struct journal *journal = open_journal(1 << 20);
    unsigned char payload[EVENT_PAYLOAD_MAX] = "";
    uint64_t accepted = 0;

    (void)state;
    for (uint64_t i = 1; i <= JOURNAL_ROUND_MAX; i++)
        assert_int_equal(journal_append(journal, "x", 1), i);
    assert_int_equal(journal_next_seq(journal), 0);
    assert_int_equal(journal_append(journal, "x", 1), 0);
    assert_int_equal(journal_commit(journal), JOURNAL_ROUND_MAX);
    assert_int_equal(journal_next_seq(journal), JOURNAL_ROUND_MAX + 1);
    while (journal_next_seq(journal)) {
        assert_true(journal_append(journal, payload, sizeof payload) > 0);
        accepted++;
    }
    assert_true(accepted > 10 && accepted < JOURNAL_ROUND_MAX); /* its bytes are full */
    assert_int_equal(journal_append(journal, "x", 1), 0);
    assert_int_equal(journal_commit(journal), JOURNAL_ROUND_MAX + accepted);
    journal_close(journal);
}

/* A limit on file size makes write(2) short, then fail: as a full disk does. */
static void limit_file_bytes(rlim_t bytes)
{
    struct rlimit limit;

    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_short_write_keeps_whole_records(void **state)
{
    struct journal *journal = open_journal(1 << 20);
    uint64_t origin = journal_origin(journal);
    unsigned char payload[1000] = "payload";
    struct stat status;
    char path[256];

    (void)state;
    assert_int_equal(journal_append(journal, payload, sizeof payload), 1);
    assert_int_equal(journal_commit(journal), 1);
    for (uint64_t i = 2; i <= 10; i++)
        assert_int_equal(journal_append(journal, payload, sizeof payload), i);
    limit_file_bytes(48 + 4 * 1016 + 500); /* in the middle of the fifth record */
    assert_int_equal(journal_commit(journal), 4);
    limit_file_bytes(RLIM_INFINITY);
    assert_int_equal(journal_next_seq(journal), 0);
    assert_int_equal(journal_append(journal, payload, 1), 0);
    segment_path(origin, 1, path);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_size, 48 + 4 * 1016); /* the torn rest is gone */
    assert_int_equal(check_segment(origin, 1), 5);

    /* What was lost is told, as the first record of a new segment, when writing works again. */
    journal_count_lost(journal, 6, 1000);
    journal_count_lost(journal, 1, 2000);
    journal_close(journal);
    assert_int_equal(check_segment(origin, 5), 6);
}

static void the_first_write_may_fail_too(void **state)
{
    struct journal *journal = open_journal(1 << 20);
    uint64_t origin = journal_origin(journal);
    char path[256];

    (void)state;
    assert_int_equal(journal_append(journal, "x", 1), 1);
    limit_file_bytes(20);
    assert_int_equal(journal_commit(journal), 0);
    limit_file_bytes(RLIM_INFINITY);
    segment_path(origin, 1, path);
    assert_int_equal(access(path, F_OK), -1);
    journal_count_lost(journal, 1, 5);
    journal_close(journal);
    assert_int_equal(check_segment(origin, 1), 2);
}

/* Reads the EVENT_LOST that record `seq` (first of its segment) holds. */
static struct lost lost_at(uint64_t origin, uint64_t seq)
{
    static unsigned char bytes[4096];
    struct journal_record_header record;
    struct event event;
    struct error error = {""};
    char path[256];

    segment_path(origin, seq, path);
    assert_true(read_file(path, bytes, sizeof bytes) > sizeof(struct journal_segment_header));
    memcpy(&record, bytes + sizeof(struct journal_segment_header), sizeof record);
    assert_int_equal(record.seq, seq);
    assert_true(event_decode(bytes + sizeof(struct journal_segment_header) + sizeof record,
                             record.length, &event, &error));
    assert_int_equal(event.kind, EVENT_LOST);
    return event.lost;
}

static void run_and_die(void (*body)(void))
{
    int status;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        body();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void lose_three_and_die(void)
{
    struct journal *journal = open_journal(1 << 20);

    journal_count_lost(journal, 2, 500);
    journal_count_lost(journal, 1, 300);
    forget(journal);
}

static void a_successor_tells_what_was_left(void **state)
{
    struct journal *journal;
    struct lost first, again;
    uint64_t origin;

    (void)state;
    run_and_die(lose_three_and_die);
    journal = open_journal(1 << 20);
    first = lost_at(journal_origin(journal), 1);
    assert_int_equal(first.count, 3);
    assert_int_equal(first.from_us, 300);
    assert_int_equal(first.until_us, 500);
    assert_true(first.episode > 0 && first.episode <= INT64_MAX);
    assert_int_equal(journal_next_seq(journal), 2);

    /* It is told but not yet known to be on disk: what comes now is another episode. */
    journal_count_lost(journal, 5, 900);
    origin = journal_origin(journal);
    journal_close(journal);
    assert_int_equal(check_segment(origin, 1), 3);
    again = lost_at(origin, 1);
    assert_true(again.episode == first.episode && again.count == 3);

    journal = open_journal(1 << 20);
    assert_int_equal(journal_next_seq(journal), 1); /* nothing is left */
    journal_close(journal);
}

static void tell_and_die(void)
{
    struct journal *journal = open_journal(1 << 20);

    assert_int_equal(journal_next_seq(journal), 2); /* told */
    journal_count_lost(journal, 1, 700);
    forget(journal);
}

static void told_twice_is_the_same_episode(void **state)
{
    struct journal *journal;

    (void)state;
    run_and_die(lose_three_and_die);
    run_and_die(tell_and_die);
    journal = open_journal(1 << 20);
    assert_int_equal(lost_at(journal_origin(journal), 1).count, 3); /* without the later one */
    journal_close(journal);
}

static void bad_folders_are_refused(void **state)
{
    struct error error = {""};

    (void)state;
    assert_null(journal_open("/nonexistent/kudos", 0, 0, 4096, &error));
    assert_non_null(strstr(error.text, "/nonexistent/kudos"));
    assert_null(journal_open("/proc", 0, 0, 4096, &error));
}

static void crc_is_castagnoli(void **state)
{
    unsigned char bytes[300];

    (void)state;
    assert_int_equal(crc32c(0, "123456789", 9), 0xE3069283);
    assert_int_equal(crc32c_by_table(0, "123456789", 9), 0xE3069283);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 7);
    for (size_t length = 0; length < sizeof bytes; length++) {
        uint32_t whole = crc32c(0, bytes, length), part = crc32c(0, bytes, length / 3);

        assert_int_equal(whole, crc32c_by_table(0, bytes, length));
        assert_int_equal(whole, crc32c(part, bytes + length / 3, length - length / 3));
    }
}

#define JOURNAL_TEST(name) cmocka_unit_test_setup_teardown(name, make_data_dir, remove_data_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        JOURNAL_TEST(records_are_in_the_file_after_commit),
        JOURNAL_TEST(close_commits_and_says_how_it_ended),
        JOURNAL_TEST(an_unused_journal_leaves_nothing),
        JOURNAL_TEST(segments_roll),
        JOURNAL_TEST(a_full_round_hands_out_no_seq),
        JOURNAL_TEST(a_short_write_keeps_whole_records),
        JOURNAL_TEST(the_first_write_may_fail_too),
        JOURNAL_TEST(a_successor_tells_what_was_left),
        JOURNAL_TEST(told_twice_is_the_same_episode),
        cmocka_unit_test(bad_folders_are_refused),
        cmocka_unit_test(crc_is_castagnoli),
    };

    signal(SIGXFSZ, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
