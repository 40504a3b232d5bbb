/* The link replica: what the writer stored is what readers find, through changes, swaps, crashes
 * and damage. Each test has a folder of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/links/replica.h"
#include "server/links/replica_write.h"
#include "shared/clock.h"

#define MAP_BYTES (1LL << 30)

static char folder[64];
static struct error error;

static struct text text(const char *string)
{
    return (struct text){string, strlen(string)};
}

static int make_folder(void **state)
{
    error.text[0] = 0;
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/kudos-replica-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static struct replica_writer *open_writer(void)
{
    struct replica_writer *writer = replica_writer_open(folder, MAP_BYTES, &error);

    if (!writer)
        fail_msg("%s", error.text);
    return writer;
}

static struct replica *open_reader(void)
{
    struct replica *replica = replica_open(folder, &error);

    if (!replica)
        fail_msg("%s", error.text);
    return replica;
}

#define must(call)                                 \
    do {                                           \
        if (!(call))                               \
            fail_msg("%s: %s", #call, error.text); \
    } while (0)

static struct link link_of(uint64_t id, const char *slug, const char *destination)
{
    return (struct link){.id = id,
                         .workspace = 1,
                         .domain = 7,
                         .redirect_status = 302,
                         .slug = text(slug),
                         .destination = text(destination),
                         .fragment_offset = (uint32_t)strlen(destination)};
}

static void put(struct replica_writer *writer, uint64_t id, const char *slug,
                const char *destination, int64_t expected_changes)
{
    struct link link = link_of(id, slug, destination);
    int64_t changes = 0;

    must(replica_put_link(writer, &link, link.slug, &changes, &error));
    assert_int_equal(changes, expected_changes);
}

/* A snapshot with domain 7 (go.example, the default) and links l1 … lN of ids 1 … N. */
static void build(struct replica_writer *writer, unsigned links, const char *destination,
                  const char *snapshot)
{
    struct domain domain = {
        .id = 7, .workspace = 1, .is_default = true, .host = TEXT("go.example")};
    char slug[16];

    must(replica_build_begin(writer, &error));
    must(replica_build_domain(writer, &domain, &error));
    for (unsigned i = 1; i <= links; i++) { /* not in key order from l10 on */
        snprintf(slug, sizeof slug, "l%u", i);
        struct link link = link_of(i, slug, destination);
        must(replica_build_link(writer, &link, link.slug, &error));
        must(replica_build_link_id(writer, i, 7, link.slug, &error));
    }
    must(replica_build_finish(writer, "source", snapshot, &error));
}

/* What a slug leads to in a round of its own; "" for a miss. Checks both ways to find a link. */
static const char *lookup(struct replica *replica, const char *slug)
{
    static char found[LINK_DESTINATION_MAX + 1];
    struct link link, again;

    found[0] = '\0';
    replica_begin(replica);
    if (replica_find_link(replica, 7, slug, strlen(slug), &link)) {
        snprintf(found, sizeof found, "%.*s", (int)link.destination.length, link.destination.bytes);
        assert_true(replica_find_link_by_id(replica, link.id, &again));
        assert_int_equal(again.slug.length, link.slug.length);
        assert_memory_equal(again.slug.bytes, link.slug.bytes, link.slug.length);
    }
    replica_end(replica);
    return found;
}

static void nothing_there_is_a_miss_until_it_appears(void **state)
{
    struct replica *replica = open_reader();
    struct replica_writer *writer;
    struct domain domain;

    (void)state;
    assert_false(replica_complete(replica));
    assert_string_equal(lookup(replica, "l1"), "");
    replica_begin(replica);
    assert_false(replica_find_domain(replica, "go.example", 10, &domain));
    assert_false(replica_default_domain(replica, &domain));
    replica_end(replica);
    writer = open_writer();
    assert_false(replica_writer_usable(writer));
    build(writer, 30, "https://a.example/", "1:2:");
    assert_string_equal(lookup(replica, "l1"), "https://a.example/");
    assert_string_equal(lookup(replica, "l30"), "https://a.example/");
    assert_string_equal(lookup(replica, "l31"), "");
    assert_true(replica_complete(replica));
    assert_int_equal(replica_writer_links(writer), 30);
    replica_close(replica);
    replica_writer_close(writer);
}

static void domains(void **state)
{
    struct replica_writer *writer = open_writer();
    struct domain other = {.id = 8, .workspace = 2, .case_sensitive = true}, out;
    struct replica *replica;
    int64_t changes = 0;

    (void)state;
    build(writer, 1, "https://a.example/", "1:2:");
    replica = open_reader();
    must(replica_change_begin(writer, &error));
    other.host = text("b.example");
    must(replica_put_domain(writer, &other, &changes, &error));
    other.host = text("c.example"); /* renamed */
    must(replica_put_domain(writer, &other, &changes, &error));
    must(replica_put_domain(writer, &other, &changes, &error));
    assert_int_equal(changes, 2);
    must(replica_change_commit(writer, &error));
    replica_begin(replica);
    for (int i = 0; i < 2; i++) { /* the second time from memory */
        assert_true(replica_find_domain(replica, "c.example", 9, &out));
        assert_int_equal(out.id, 8);
        assert_int_equal(out.workspace, 2);
        assert_true(out.case_sensitive);
        assert_false(out.is_default);
        assert_false(replica_find_domain(replica, "b.example", 9, &out));
        assert_false(replica_find_domain(replica, "b.example", 9, &out));
    }
    assert_true(replica_default_domain(replica, &out));
    assert_int_equal(out.id, 7);
    assert_memory_equal(out.host.bytes, "go.example", out.host.length);
    replica_end(replica);
    must(replica_change_begin(writer, &error));
    must(replica_remove_domain(writer, 8, &changes, &error));
    must(replica_change_commit(writer, &error));
    replica_begin(replica);
    assert_false(replica_find_domain(replica, "c.example", 9, &out));
    replica_end(replica);
    replica_close(replica);
    replica_writer_close(writer);
}

static void salts(void **state)
{
    static const unsigned char one[REPLICA_SALT_BYTES] = "one", two[REPLICA_SALT_BYTES] = "two";
    struct replica_writer *writer = open_writer();
    struct domain domain = {.id = 7, .workspace = 1, .host = TEXT("go.example")};
    unsigned char salt[REPLICA_SALT_BYTES];
    struct replica *replica;
    int64_t changes = 0;

    (void)state;
    must(replica_build_begin(writer, &error));
    must(replica_build_domain(writer, &domain, &error));
    must(replica_build_salt(writer, 20000, one, &error));
    must(replica_build_finish(writer, "source", "1:2:", &error));
    replica = open_reader();
    assert_false(replica_salt(replica, 20000, salt)); /* outside a round */
    replica_begin(replica);
    assert_true(replica_salt(replica, 20000, salt));
    assert_memory_equal(salt, one, sizeof salt);
    assert_false(replica_salt(replica, 20001, salt));
    replica_end(replica);
    must(replica_change_begin(writer, &error));
    must(replica_put_salt(writer, 20000, one, &changes, &error));
    assert_int_equal(changes, 0);
    must(replica_put_salt(writer, 20000, two, &changes, &error));
    must(replica_put_salt(writer, 20001, one, &changes, &error));
    assert_int_equal(changes, 2);
    must(replica_change_commit(writer, &error));
    replica_begin(replica);
    assert_true(replica_salt(replica, 20000, salt));
    assert_memory_equal(salt, two, sizeof salt);
    assert_true(replica_salt(replica, 20001, salt));
    replica_end(replica);
    must(replica_change_begin(writer, &error));
    must(replica_remove_salts(writer, 20001, &changes, &error));
    must(replica_remove_salts(writer, 20001, &changes, &error));
    assert_int_equal(changes, 3);
    must(replica_change_commit(writer, &error));
    replica_begin(replica);
    assert_false(replica_salt(replica, 20000, salt));
    assert_true(replica_salt(replica, 20001, salt));
    replica_end(replica);
    replica_close(replica);
    replica_writer_close(writer);
}

static void changes_are_seen_whole_and_at_the_next_round(void **state)
{
    struct replica_writer *writer = open_writer();
    struct replica *replica;
    struct link link;

    (void)state;
    build(writer, 3, "https://a.example/", "1:2:");
    replica = open_reader();
    replica_begin(replica);
    must(replica_change_begin(writer, &error));
    put(writer, 1, "l1", "https://b.example/", 1);
    put(writer, 2, "l2", "https://a.example/", 0);
    put(writer, 4, "new", "https://n.example/", 1);
    must(replica_put_state(writer, "source", "3:4:", &error));
    must(replica_change_commit(writer, &error));
    assert_true(replica_find_link(replica, 7, "l1", 2, &link)); /* this round began before */
    assert_memory_equal(link.destination.bytes, "https://a.example/", link.destination.length);
    assert_false(replica_find_link(replica, 7, "new", 3, &link));
    replica_end(replica);
    assert_string_equal(lookup(replica, "l1"), "https://b.example/");
    assert_string_equal(lookup(replica, "new"), "https://n.example/");
    must(replica_change_begin(writer, &error));
    put(writer, 4, "new", "https://never.example/", 1);
    replica_change_abort(writer);
    assert_string_equal(lookup(replica, "new"), "https://n.example/");
    replica_writer_close(writer);
    writer = open_writer();
    assert_true(replica_writer_usable(writer));
    assert_string_equal(replica_writer_snapshot(writer), "3:4:");
    assert_string_equal(replica_writer_source(writer), "source");
    replica_close(replica);
    replica_writer_close(writer);
}

static void slugs_move_between_links(void **state)
{
    struct replica_writer *writer = open_writer();
    struct replica *replica;
    int64_t changes = 0;
    uint64_t id;

    (void)state;
    build(writer, 3, "https://a.example/", "1:2:");
    replica = open_reader();
    must(replica_change_begin(writer, &error)); /* 1 and 2 swap, 3 takes a new name */
    put(writer, 1, "l2", "https://one.example/", 1);
    put(writer, 2, "l1", "https://two.example/", 1);
    put(writer, 3, "l4", "https://three.example/", 1);
    must(replica_change_commit(writer, &error));
    assert_string_equal(lookup(replica, "l1"), "https://two.example/");
    assert_string_equal(lookup(replica, "l2"), "https://one.example/");
    assert_string_equal(lookup(replica, "l3"), "");
    assert_string_equal(lookup(replica, "l4"), "https://three.example/");
    assert_int_equal(replica_writer_links(writer), 3);
    must(replica_change_begin(writer, &error)); /* 1 takes l1; only then 2, whose it was, goes */
    put(writer, 1, "l1", "https://one.example/", 1);
    changes = 0;
    must(replica_remove_link(writer, 2, &changes, &error));
    must(replica_remove_link(writer, 99, &changes, &error));
    assert_int_equal(changes, 1);
    must(replica_change_commit(writer, &error));
    assert_string_equal(lookup(replica, "l1"), "https://one.example/");
    assert_string_equal(lookup(replica, "l2"), "");
    must(replica_change_begin(writer, &error));
    must(replica_next_link(writer, 0, &id, &error));
    assert_int_equal(id, 1);
    must(replica_next_link(writer, 1, &id, &error));
    assert_int_equal(id, 3);
    must(replica_next_link(writer, 3, &id, &error));
    assert_int_equal(id, 0);
    must(replica_next_link(writer, UINT64_MAX, &id, &error));
    assert_int_equal(id, 0);
    replica_change_abort(writer);
    replica_close(replica);
    replica_writer_close(writer);
}

static int snapshots_on_disk(void)
{
    char path[128];
    struct dirent *entry;
    DIR *listing;
    int count = 0;

    snprintf(path, sizeof path, "%s/replica", folder);
    listing = opendir(path);
    assert_non_null(listing);
    while ((entry = readdir(listing)))
        count += strncmp(entry->d_name, "s-", 2) == 0;
    closedir(listing);
    return count;
}

static void a_swap_is_seen_at_the_next_round(void **state)
{
    struct replica_writer *writer = open_writer();
    struct replica *replica;
    struct link link;

    (void)state;
    build(writer, 3, "https://a.example/", "1:2:");
    replica = open_reader();
    assert_string_equal(lookup(replica, "l1"), "https://a.example/");
    replica_begin(replica);
    build(writer, 4, "https://b.example/", "2:3:");
    assert_true(replica_find_link(replica, 7, "l3", 2, &link)); /* the old one still can be read */
    assert_memory_equal(link.destination.bytes, "https://a.example/", link.destination.length);
    replica_end(replica);
    assert_string_equal(lookup(replica, "l4"), "https://b.example/");
    assert_int_equal(snapshots_on_disk(), 1);
    assert_true(replica_writer_in_place(writer));
    replica_close(replica);
    replica_writer_close(writer);
}

/* Somebody removed the folder, and a snapshot is built anew: no mark in the old file tells. */
static void a_swap_without_a_mark_is_seen_by_maintenance(void **state)
{
    struct replica_writer *writer = open_writer();
    struct replica *replica;
    int64_t now_us = clock_mono_us();
    char command[128];

    (void)state;
    build(writer, 3, "https://a.example/", "1:2:");
    replica = open_reader();
    replica_maintain(replica, now_us);
    snprintf(command, sizeof command, "rm -rf %s/replica", folder);
    assert_int_equal(system(command), 0);
    assert_false(replica_writer_in_place(writer));
    replica_maintain(replica, now_us += 2 * US_PER_SECOND);
    assert_string_equal(lookup(replica, "l1"), "https://a.example/"); /* better than nothing */
    replica_writer_close(writer);
    writer = open_writer();
    assert_false(replica_writer_usable(writer));
    build(writer, 3, "https://b.example/", "1:2:");
    assert_string_equal(lookup(replica, "l1"), "https://a.example/");
    replica_maintain(replica, now_us += 2 * US_PER_SECOND);
    assert_string_equal(lookup(replica, "l1"), "https://b.example/");
    replica_close(replica);
    replica_writer_close(writer);
}

static void one_writer_at_a_time(void **state)
{
    struct replica_writer *writer = open_writer();

    (void)state;
    assert_null(replica_writer_open(folder, MAP_BYTES, &error));
    assert_non_null(strstr(error.text, "another process"));
    replica_writer_close(writer);
    replica_writer_close(open_writer());
}

/* Runs `body` in a child that then dies as if by kill -9. */
static void in_killed_child(void (*body)(void))
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        body();
        raise(SIGKILL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void die_reading(void)
{
    struct replica *replica = open_reader();

    replica_begin(replica);
}

static void killed_readers_do_not_fill_the_table(void **state)
{
    struct replica_writer *writer = open_writer();
    struct replica *replica;

    (void)state;
    build(writer, 1, "https://a.example/", "1:2:");
    replica_writer_close(writer);
    for (int i = 0; i < 1100; i++)
        in_killed_child(die_reading);
    replica = open_reader();
    assert_string_equal(lookup(replica, "l1"), "https://a.example/");
    replica_close(replica);
}

static void die_building(void)
{
    struct replica_writer *writer = open_writer();

    must(replica_build_begin(writer, &error));
}

static void die_changing(void)
{
    struct replica_writer *writer = open_writer();

    must(replica_change_begin(writer, &error));
    put(writer, 1, "l1", "https://never.example/", 1);
}

static void killed_writers_leave_the_last_commit(void **state)
{
    struct replica_writer *writer = open_writer();
    struct replica *replica;

    (void)state;
    build(writer, 1, "https://a.example/", "1:2:");
    replica_writer_close(writer);
    replica = open_reader();
    in_killed_child(die_changing);
    in_killed_child(die_building);
    assert_int_equal(snapshots_on_disk(), 2);
    assert_string_equal(lookup(replica, "l1"), "https://a.example/");
    writer = open_writer(); /* the write lock of the dead is recovered, its rubbish removed */
    assert_int_equal(snapshots_on_disk(), 1);
    assert_true(replica_writer_usable(writer));
    must(replica_change_begin(writer, &error));
    put(writer, 1, "l1", "https://b.example/", 1);
    must(replica_change_commit(writer, &error));
    assert_string_equal(lookup(replica, "l1"), "https://b.example/");
    replica_close(replica);
    replica_writer_close(writer);
}

/* A reader that sleeps between rounds must not keep old pages alive: the file would grow. */
static void a_sleeping_reader_does_not_make_the_file_grow(void **state)
{
    struct replica_writer *writer = open_writer();
    struct replica *replica;
    struct stat before, after;
    char path[128], destination[1024];

    (void)state;
    build(writer, 100, "https://a.example/", "1:2:");
    replica = open_reader();
    assert_string_equal(lookup(replica, "l1"), "https://a.example/");
    snprintf(path, sizeof path, "%s/replica/current/data.mdb", folder);
    for (int round = 0; round < 600; round++) {
        memset(destination, 'a' + round % 26, sizeof destination);
        destination[sizeof destination - 1] = '\0';
        must(replica_change_begin(writer, &error));
        put(writer, (uint64_t)(round % 100) + 1, "moving", destination, 1);
        must(replica_change_commit(writer, &error));
        if (round == 100)
            assert_int_equal(stat(path, &before), 0);
    }
    assert_int_equal(stat(path, &after), 0);
    assert_in_range(after.st_size, 0, before.st_size + 256 * 1024);
    replica_close(replica);
    replica_writer_close(writer);
}

static void a_full_map_is_an_error_and_keeps_what_was(void **state)
{
    struct replica_writer *writer = replica_writer_open(folder, 1 << 20, &error);
    struct replica *replica;
    char destination[2000], slug[16];
    bool stored = true;
    int64_t changes = 0;

    (void)state;
    assert_non_null(writer);
    build(writer, 10, "https://a.example/", "1:2:");
    replica = open_reader();
    memset(destination, 'd', sizeof destination);
    must(replica_change_begin(writer, &error));
    for (unsigned i = 1; stored && i < 10000; i++) {
        snprintf(slug, sizeof slug, "l%u", i);
        struct link link = link_of(i, slug, "");
        link.destination = (struct text){destination, sizeof destination};
        stored = replica_put_link(writer, &link, link.slug, &changes, &error);
    }
    assert_false(stored);
    assert_non_null(strstr(error.text, "replica_map_bytes"));
    assert_true(replica_writer_damaged(writer));
    replica_writer_close(writer);
    assert_string_equal(lookup(replica, "l1"), "https://a.example/");
    writer = open_writer(); /* with a larger map it goes on */
    assert_true(replica_writer_usable(writer));
    must(replica_change_begin(writer, &error));
    for (unsigned i = 1; i < 2000; i++) {
        snprintf(slug, sizeof slug, "l%u", i);
        struct link link = link_of(i, slug, "");
        link.destination = (struct text){destination, sizeof destination};
        must(replica_put_link(writer, &link, link.slug, &changes, &error));
    }
    must(replica_change_commit(writer, &error));
    assert_int_equal(strlen(lookup(replica, "l1999")), sizeof destination);
    replica_close(replica);
    replica_writer_close(writer);
}

/* Bytes of the file turn to rubbish: the writer rebuilds, the reader misses; neither dies. */
static void damage_is_a_miss_and_a_rebuild(void **state)
{
    struct replica_writer *writer = open_writer();
    struct replica *replica;
    char path[128];
    int fd;

    (void)state;
    build(writer, 10, "https://a.example/", "1:2:");
    replica_writer_close(writer);
    snprintf(path, sizeof path, "%s/replica/current/data.mdb", folder);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    for (off_t at = 0; at < 2 * 4096; at += 16) /* both meta pages */
        assert_int_equal(pwrite(fd, "0123456789abcdef", 16, at), 16);
    close(fd);
    replica = open_reader();
    assert_false(replica_complete(replica));
    assert_string_equal(lookup(replica, "l1"), "");
    writer = open_writer();
    assert_false(replica_writer_usable(writer));
    build(writer, 10, "https://b.example/", "1:2:");
    replica_maintain(replica, clock_mono_us());
    assert_string_equal(lookup(replica, "l1"), "https://b.example/");
    replica_close(replica);
    replica_writer_close(writer);
}

static void long_and_empty_keys_are_misses(void **state)
{
    struct replica_writer *writer = open_writer();
    struct replica *replica;
    struct domain domain;
    struct link link;
    char slug[LINK_HOST_MAX + 2];

    (void)state;
    build(writer, 1, "https://a.example/", "1:2:");
    replica = open_reader();
    memset(slug, 'l', sizeof slug);
    replica_begin(replica);
    for (size_t length = 0; length < sizeof slug; length++) {
        assert_false(replica_find_link(replica, 7, slug, length, &link));
        assert_false(replica_find_domain(replica, slug, length, &domain));
    }
    assert_false(replica_find_link(replica, 8, "l1", 2, &link));
    assert_false(replica_find_link_by_id(replica, 0, &link));
    replica_end(replica);
    assert_false(replica_find_link(replica, 7, "l1", 2, &link)); /* outside a round */
    replica_close(replica);
    replica_writer_close(writer);
}

#define REPLICA_TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REPLICA_TEST(nothing_there_is_a_miss_until_it_appears),
        REPLICA_TEST(domains),
        REPLICA_TEST(salts),
        REPLICA_TEST(changes_are_seen_whole_and_at_the_next_round),
        REPLICA_TEST(slugs_move_between_links),
        REPLICA_TEST(a_swap_is_seen_at_the_next_round),
        REPLICA_TEST(a_swap_without_a_mark_is_seen_by_maintenance),
        REPLICA_TEST(one_writer_at_a_time),
        REPLICA_TEST(killed_readers_do_not_fill_the_table),
        REPLICA_TEST(killed_writers_leave_the_last_commit),
        REPLICA_TEST(a_sleeping_reader_does_not_make_the_file_grow),
        REPLICA_TEST(a_full_map_is_an_error_and_keeps_what_was),
        REPLICA_TEST(damage_is_a_miss_and_a_rebuild),
        REPLICA_TEST(long_and_empty_keys_are_misses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
