/* The role `ship` as a process of its own, between real journals and a real Redis: everything
 * arrives, once and in order, whatever happens to either. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "server/clicks/event.h"
#include "server/clicks/journal.h"
#include "server/clicks/partition.h"
#include "server/role.h"
#include "server/stores/redis.h"
#include "shared/clock.h"
#include "tests/unit/redis_server.h"

#define PATIENCE_US (15 * US_PER_SECOND)

static struct redis_server server;
static struct redis *redis;
static char data_dir[64];
static pid_t ship;
static struct settings settings;
static rlim_t descriptors; /* that ship may have; 0: as many as we */

/* As under the supervisor: a role's signals are blocked when it begins. */
static pid_t start_ship(void)
{
    sigset_t blocked, before;
    pid_t pid;

    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGHUP);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    pid = fork();
    if (pid != 0)
        sigprocmask(SIG_SETMASK, &before, NULL);
    assert_true(pid >= 0);
    if (pid == 0) {
        static struct role_context context;

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close_range(3, ~0u, 0); /* else it would hold the journals' locks, too */
        signal(SIGPIPE, SIG_IGN);
        if (descriptors)
            setrlimit(RLIMIT_NOFILE, &(struct rlimit){descriptors, descriptors});
        context.settings = settings;
        context.listen_fd = context.hooks_fd = -1;
        _exit(ship_run(&context));
    }
    return pid;
}

static void end_ship(int signal_number)
{
    int status;

    if (ship <= 0)
        return;
    kill(ship, signal_number);
    assert_int_equal(waitpid(ship, &status, 0), ship);
    if (signal_number == SIGTERM)
        assert_int_equal(status, 0);
    ship = 0;
}

/* Runs a command of up to 12 words; the reply's text, or of an array's last element. */
static const char *call(const char *command)
{
    static char text[256];
    char copy[512], *rest = copy, *word;
    const char *argv[12];
    size_t lengths[12];
    struct error error = {""};
    redisReply *reply, *last;
    int argc = 0;

    snprintf(copy, sizeof copy, "%s", command);
    while ((word = strsep(&rest, " ")) && argc < 12) {
        argv[argc] = word;
        lengths[argc++] = strlen(word);
    }
    reply = redis_call(redis, argc, argv, lengths, &error);
    if (!reply)
        return "";
    last = reply->type == REDIS_REPLY_ARRAY && reply->elements ? reply->element[reply->elements - 1]
                                                               : reply;
    if (last->type == REDIS_REPLY_INTEGER)
        snprintf(text, sizeof text, "%lld", last->integer);
    else
        snprintf(text, sizeof text, "%s", last->str ? last->str : "");
    freeReplyObject(reply);
    return text;
}

/* Settings are the defaults, whatever the caller's environment says. */
static void clearenv_kudos(void)
{
    for (char **each = environ; *each;) {
        char name[128];

        if (strncmp(*each, "KUDOS_", 6) != 0) {
            each++;
            continue;
        }
        snprintf(name, sizeof name, "%.*s", (int)strcspn(*each, "="), *each);
        unsetenv(name); /* which moves the others up */
    }
}

static int set_up(void **state)
{
    struct error error = {""};

    (void)state;
    clearenv_kudos();
    if (!settings_load(NULL, &settings, &error)) {
        print_error("%s\n", error.text);
        return -1;
    }
    snprintf(data_dir, sizeof data_dir, "/tmp/kudos-ship-XXXXXX");
    if (!mkdtemp(data_dir) || !redis_server_start(&server))
        return -1;
    redis = redis_open(server.url, 1000, &error);
    if (!redis)
        return -1;
    snprintf(settings.data_dir, sizeof settings.data_dir, "%s", data_dir);
    snprintf(settings.redis_url, sizeof settings.redis_url, "%s", server.url);
    settings.journal_sync_ms = 5;
    settings.ship_interval_ms = 5;
    settings.flush_interval_ms = 20;
    settings.redis_timeout_ms = 300;
    settings.journal_keep_s = 3600;
    assert_string_equal(call("SET kudos:{0}:ready 1"), "OK");
    return 0;
}

static int tear_down(void **state)
{
    char command[128];

    (void)state;
    end_ship(SIGKILL);
    redis_close(redis);
    redis_server_stop(&server);
    snprintf(command, sizeof command, "rm -rf %s", data_dir);
    return system(command);
}

static struct journal *open_journal(unsigned slot, uint64_t segment_bytes)
{
    struct error error = {""};
    struct journal *journal = journal_open(data_dir, slot, 0, segment_bytes, &error);

    if (!journal)
        fail_msg("%s", error.text);
    return journal;
}

/* Journals `count` clicks on link 1000 + seq % 7; every fifth is a bot. */
static void click(struct journal *journal, unsigned count)
{
    unsigned char payload[EVENT_PAYLOAD_MAX];
    struct event event = {.kind = EVENT_CLICK};

    for (unsigned i = 0; i < count; i++) {
        uint64_t seq = journal_next_seq(journal);

        event.click.link = 1000 + seq % 7;
        event.click.time_us = clock_wall_us();
        event.click.verdict = seq % 5 ? VERDICT_HUMAN : VERDICT_BOT;
        assert_int_equal(journal_append(journal, payload, event_encode(&event, payload)), seq);
        if (i % 20 == 19 || i + 1 == count)
            assert_int_equal(journal_commit(journal), seq);
    }
}

static uint64_t last_seq(uint64_t origin)
{
    char command[128];

    snprintf(command, sizeof command, "HGET kudos:{0}:last_seq %llu", (unsigned long long)origin);
    return strtoull(call(command), NULL, 10);
}

/* Waits until Redis has the origin up to `seq`. */
static void await(uint64_t origin, uint64_t seq)
{
    int64_t begin = clock_mono_us();

    while (last_seq(origin) != seq) {
        if (clock_mono_us() - begin > PATIENCE_US)
            fail_msg("Redis has %llu, not %llu", (unsigned long long)last_seq(origin),
                     (unsigned long long)seq);
        usleep(2000);
    }
}

/* Reads the whole stream: of `origin`, entries must follow each other without a hole or overlap, and
 * each payload must decode. Returns the last seq; `gap_seqs` counts those declared missing. */
static uint64_t check_stream(uint64_t origin, uint64_t *gap_seqs)
{
    const char *argv[] = {"XRANGE", "kudos:{0}:events", "-", "+"};
    const size_t lengths[] = {6, 16, 1, 1};
    struct error error = {""};
    redisReply *reply = redis_call(redis, 4, argv, lengths, &error);
    uint64_t seq = 0;

    assert_non_null(reply);
    *gap_seqs = 0;
    for (size_t i = 0; i < reply->elements; i++) {
        redisReply *fields = reply->element[i]->element[1];
        const unsigned char *bytes = (const unsigned char *)fields->element[7]->str;
        uint32_t length;

        if (strtoull(fields->element[1]->str, NULL, 10) != origin)
            continue;
        assert_int_equal(strtoull(fields->element[3]->str, NULL, 10), seq + 1);
        for (size_t at = 0; at < fields->element[7]->len; at += sizeof length + length) {
            struct event event;

            memcpy(&length, bytes + at, sizeof length);
            assert_true(event_decode(bytes + at + sizeof length, length, &event, &error));
            if (event.kind == EVENT_GAP) {
                assert_int_equal(event.gap.first, seq + 1);
                *gap_seqs += event.gap.last - seq;
                seq = event.gap.last;
            } else {
                seq++;
                if (event.kind == EVENT_CLICK)
                    assert_int_equal(event.click.link, 1000 + seq % 7);
            }
        }
        assert_int_equal(strtoull(fields->element[5]->str, NULL, 10), seq);
    }
    freeReplyObject(reply);
    return seq;
}

static void assert_stream(uint64_t origin, uint64_t seq)
{
    uint64_t gap_seqs;

    assert_int_equal(check_stream(origin, &gap_seqs), seq);
    assert_int_equal(gap_seqs, 0);
}

static void clicks_arrive_and_are_counted(void **state)
{
    struct journal *journal = open_journal(0, 1 << 20);
    uint64_t origin = journal_origin(journal);

    (void)state;
    ship = start_ship();
    click(journal, 700);
    await(origin, 700);
    click(journal, 300);
    await(origin, 1000);
    assert_stream(origin, 1000);
    assert_string_equal(call("HGET kudos:{0}:totals 1003"), "143");
    assert_string_equal(call("HGET kudos:{0}:totals 1003:x"), "29");
    assert_true(atoll(call("GET kudos:{0}:bytes")) > 30000);
    journal_close(journal);
}

static void a_backlog_of_many_origins_arrives(void **state)
{
    enum { COUNT = 20 };
    struct journal *journals[COUNT];
    uint64_t origins[COUNT];

    (void)state;
    for (unsigned i = 0; i < COUNT; i++) {
        journals[i] = open_journal(i, 65536);
        origins[i] = journal_origin(journals[i]);
        click(journals[i], 6000 + i);
        if (i % 2)
            journal_close(journals[i]);
    }
    ship = start_ship();
    for (unsigned i = 0; i < COUNT; i++)
        await(origins[i], 6000 + i);
    for (unsigned i = 0; i < COUNT; i++) {
        assert_stream(origins[i], 6000 + i);
        if (i % 2 == 0)
            journal_close(journals[i]);
    }
}

static void it_goes_on_after_every_kill(void **state)
{
    struct journal *journal = open_journal(0, 16384);
    uint64_t origin = journal_origin(journal);

    (void)state;
    for (unsigned round = 1; round <= 30; round++) {
        ship = start_ship();
        click(journal, 200);
        usleep((unsigned)(rand() % 20000));
        end_ship(SIGKILL);
    }
    ship = start_ship();
    await(origin, 6000);
    assert_stream(origin, 6000);
    journal_close(journal);
}

static void it_waits_until_the_partition_is_ready(void **state)
{
    struct journal *journal = open_journal(0, 1 << 20);
    uint64_t origin = journal_origin(journal);

    (void)state;
    assert_string_equal(call("DEL kudos:{0}:ready"), "1");
    ship = start_ship();
    click(journal, 10);
    usleep(200000);
    assert_string_equal(call("EXISTS kudos:{0}:events kudos:{0}:last_seq"), "0");
    assert_string_equal(call("SET kudos:{0}:ready 1"), "OK");
    await(origin, 10);
    journal_close(journal);
}

static void an_idle_shipper_notices_that_redis_went_back(void **state)
{
    struct journal *journal = open_journal(0, 1 << 20);
    uint64_t origin = journal_origin(journal);
    char command[128];

    (void)state;
    ship = start_ship();
    click(journal, 100);
    await(origin, 100);
    /* Emptied, then recovered at a watermark of 40. */
    assert_string_equal(call("FLUSHALL"), "OK");
    usleep(50000);
    snprintf(command, sizeof command, "HSET kudos:{0}:last_seq %llu 40",
             (unsigned long long)origin);
    assert_string_equal(call(command), "1");
    assert_string_equal(call("SET kudos:{0}:ready 1"), "OK");
    await(origin, 100);
    assert_string_equal(call("XLEN kudos:{0}:events"), "1");

    /* Ahead of the journal's position, too. */
    snprintf(command, sizeof command, "HSET kudos:{0}:last_seq %llu 105",
             (unsigned long long)origin);
    assert_string_equal(call(command), "0");
    click(journal, 10);
    await(origin, 110);
    assert_string_equal(call("XLEN kudos:{0}:events"), "2");
    journal_close(journal);
}

static void a_full_stream_makes_it_wait(void **state)
{
    struct journal *journal = open_journal(0, 1 << 20);
    uint64_t origin = journal_origin(journal);

    (void)state;
    settings.redis_backlog_bytes = 65536;
    ship = start_ship();
    for (int i = 0; i < 8; i++) {
        uint64_t before = last_seq(origin);
        int64_t begin = clock_mono_us();

        click(journal, 500);
        while (last_seq(origin) == before && clock_mono_us() - begin < 300 * US_PER_MS)
            usleep(1000);
    }
    assert_true(last_seq(origin) < 4000);
    assert_true(atoll(call("GET kudos:{0}:bytes")) >= 65536);
    assert_string_equal(call("SET kudos:{0}:bytes 0"), "OK");
    usleep(100000);
    assert_string_equal(call("SET kudos:{0}:bytes 0"), "OK");
    await(origin, 4000);
    assert_stream(origin, 4000);
    journal_close(journal);
}

static void redis_may_die_hang_or_forget_the_scripts(void **state)
{
    struct journal *journal = open_journal(0, 1 << 20);
    uint64_t origin = journal_origin(journal);

    (void)state;
    ship = start_ship();
    click(journal, 100);
    await(origin, 100);
    kill(server.pid, SIGSTOP);
    click(journal, 100);
    usleep(900000); /* three time limits */
    kill(server.pid, SIGCONT);
    await(origin, 200);
    assert_string_equal(call("SCRIPT FLUSH"), "OK");
    click(journal, 100);
    await(origin, 300);
    assert_stream(origin, 300);

    redis_server_kill(&server);
    click(journal, 100);
    usleep(100000);
    assert_true(redis_server_launch(&server));
    while (strcmp(call("SET kudos:{0}:ready 1"), "OK") != 0)
        usleep(5000);
    await(origin, 400); /* an empty Redis: everything again */
    assert_stream(origin, 400);
    journal_close(journal);
}

static void error_replies_lose_nothing(void **state)
{
    struct journal *journal = open_journal(0, 1 << 20);
    uint64_t origin = journal_origin(journal);

    (void)state;
    ship = start_ship();
    click(journal, 10);
    await(origin, 10);
    assert_string_equal(call("CONFIG SET maxmemory 1"), "OK"); /* OOM */
    click(journal, 10);
    usleep(200000);
    assert_int_equal(last_seq(origin), 10);
    assert_string_equal(call("CONFIG SET maxmemory 0"), "OK");
    await(origin, 20);

    assert_string_equal(call("REPLICAOF 127.0.0.1 1"), "OK"); /* READONLY */
    click(journal, 10);
    usleep(200000);
    assert_int_equal(last_seq(origin), 20);
    assert_string_equal(call("REPLICAOF NO ONE"), "OK");
    await(origin, 30);

    assert_string_equal(call("CONFIG SET min-replicas-to-write 3"), "OK"); /* NOREPLICAS */
    click(journal, 10);
    usleep(200000);
    assert_int_equal(last_seq(origin), 30);
    assert_string_equal(call("CONFIG SET min-replicas-to-write 0"), "OK");
    await(origin, 40);
    assert_stream(origin, 40);
    journal_close(journal);
}

static void a_redis_that_evicts_is_refused(void **state)
{
    struct journal *journal = open_journal(0, 1 << 20);
    uint64_t origin = journal_origin(journal);

    (void)state;
    assert_string_equal(call("CONFIG SET maxmemory-policy allkeys-lru"), "OK");
    ship = start_ship();
    click(journal, 10);
    usleep(300000);
    assert_int_equal(last_seq(origin), 0);
    assert_string_equal(call("CONFIG SET maxmemory-policy noeviction"), "OK");
    await(origin, 10);
    journal_close(journal);
}

static unsigned count_entries(const char *path)
{
    DIR *folder = opendir(path);
    struct dirent *entry;
    unsigned count = 0;

    if (!folder)
        return 0;
    while ((entry = readdir(folder)))
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count;
}

/* Bytes of the files in `path`. */
static off_t count_bytes(const char *path)
{
    DIR *folder = opendir(path);
    struct dirent *entry;
    struct stat status;
    off_t bytes = 0;

    assert_non_null(folder);
    while ((entry = readdir(folder)))
        if (entry->d_name[0] != '.' && fstatat(dirfd(folder), entry->d_name, &status, 0) == 0)
            bytes += status.st_size;
    closedir(folder);
    return bytes;
}

/* Waits until `path` has `count` entries. */
static void await_entries(const char *path, unsigned count)
{
    int64_t begin = clock_mono_us();

    while (count_entries(path) != count) {
        if (clock_mono_us() - begin > PATIENCE_US)
            fail_msg("%s has %u entries, not %u", path, count_entries(path), count);
        usleep(2000);
    }
}

static void only_flushed_segments_are_deleted(void **state)
{
    struct journal *journal = open_journal(0, 4096);
    uint64_t origin = journal_origin(journal);
    char folder[256], root[128], command[128];
    unsigned all;

    (void)state;
    settings.journal_keep_s = 1;
    snprintf(root, sizeof root, "%s/journal", data_dir);
    snprintf(folder, sizeof folder, "%s/%016llx", root, (unsigned long long)origin);
    ship = start_ship();
    click(journal, 1000);
    await(origin, 1000);
    all = count_entries(folder);
    assert_true(all > 10);
    usleep(1300000);
    assert_int_equal(count_entries(folder), all); /* PostgreSQL has nothing */
    snprintf(command, sizeof command, "HSET kudos:{0}:flushed %llu 500",
             (unsigned long long)origin);
    assert_string_equal(call(command), "1");
    usleep(500000);
    assert_int_equal(count_entries(folder), all); /* not long enough */
    usleep(1000000);
    assert_in_range(count_entries(folder), all / 2 - 2, all / 2 + 2);
    assert_stream(origin, 1000);
    snprintf(command, sizeof command, "HSET kudos:{0}:flushed %llu 1000",
             (unsigned long long)origin);
    assert_string_equal(call(command), "0");
    await_entries(folder, 1); /* the live writer's last one stays */
    click(journal, 10);
    await(origin, 1010);
    journal_close(journal);
    snprintf(command, sizeof command, "HSET kudos:{0}:flushed %llu 1010",
             (unsigned long long)origin);
    assert_string_equal(call(command), "0");
    await_entries(root, 1); /* lost.0 */
}

static void above_the_limit_flushed_segments_go_early(void **state)
{
    struct journal *journal = open_journal(0, 4096);
    uint64_t origin = journal_origin(journal);
    char folder[256], command[128];
    int64_t begin = clock_mono_us();

    (void)state;
    settings.journal_max_bytes = 65536;
    snprintf(folder, sizeof folder, "%s/journal/%016llx", data_dir, (unsigned long long)origin);
    ship = start_ship();
    click(journal, 2000);
    await(origin, 2000);
    usleep(100000);
    assert_true(count_entries(folder) > 20); /* never what is not flushed */
    snprintf(command, sizeof command, "HSET kudos:{0}:flushed %llu 2000",
             (unsigned long long)origin);
    assert_string_equal(call(command), "1");
    while (count_bytes(folder) > 65536) {
        assert_true(clock_mono_us() - begin < PATIENCE_US);
        usleep(2000);
    }
    usleep(100000);
    assert_in_range(count_bytes(folder), 65536 - 2 * 4096, 65536); /* and no more than needed */
    journal_close(journal);
}

static void stopping_ships_the_rest(void **state)
{
    struct journal *journal = open_journal(0, 1 << 20);
    uint64_t origin = journal_origin(journal);
    int64_t begin;

    (void)state;
    settings.journal_sync_ms = settings.ship_interval_ms = 60000;
    ship = start_ship();
    usleep(100000);
    click(journal, 20000);
    journal_close(journal);
    end_ship(SIGTERM);
    assert_int_equal(last_seq(origin), 20000);
    assert_stream(origin, 20000);

    /* Without Redis it gives up soon; the journal keeps. */
    journal = open_journal(0, 1 << 20);
    origin = journal_origin(journal);
    click(journal, 10);
    ship = start_ship();
    usleep(100000);
    redis_server_kill(&server);
    click(journal, 10);
    begin = clock_mono_us();
    end_ship(SIGTERM);
    assert_true(clock_mono_us() - begin < 3 * US_PER_SECOND);
    assert_true(redis_server_launch(&server));
    while (strcmp(call("SET kudos:{0}:ready 1"), "OK") != 0)
        usleep(5000);
    settings.journal_sync_ms = settings.ship_interval_ms = 5;
    ship = start_ship();
    await(origin, 20);
    journal_close(journal);
}

static void a_removed_journal_is_read_to_its_end(void **state)
{
    struct journal *journal = open_journal(0, 1 << 20);
    uint64_t origin = journal_origin(journal), again;
    char command[128];
    int64_t begin = clock_mono_us();

    (void)state;
    ship = start_ship();
    click(journal, 10);
    await(origin, 10);
    snprintf(command, sizeof command, "rm -rf %s/journal/*", data_dir);
    assert_int_equal(system(command), 0);
    click(journal, 10);
    await(origin, 20);
    while (journal_origin(journal) == origin && clock_mono_us() - begin < PATIENCE_US) {
        usleep(100000);
        journal_commit(journal);
    }
    again = journal_origin(journal);
    assert_true(again != origin);
    click(journal, 10);
    await(again, 10);
    assert_stream(origin, 20);
    assert_stream(again, 10);
    journal_close(journal);
}

static void what_begins_later_waits_for_recovery(void **state)
{
    struct journal *journal = open_journal(0, 4096);
    uint64_t origin = journal_origin(journal), gap_seqs;
    char command[200];

    (void)state;
    click(journal, 500);
    snprintf(command, sizeof command, "rm %s/journal/%016llx/%020d.seg", data_dir,
             (unsigned long long)origin, 1);
    assert_int_equal(system(command), 0);
    ship = start_ship();
    usleep(300000);
    assert_int_equal(last_seq(origin), 0); /* no gap is declared */
    assert_int_equal(check_stream(origin, &gap_seqs), 0);
    snprintf(command, sizeof command, "HSET kudos:{0}:last_seq %llu 250",
             (unsigned long long)origin);
    assert_string_equal(call(command), "1");
    await(origin, 500);
    journal_close(journal);
}

/* A port that nobody uses now. */
static unsigned free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static void over_tcp_with_password_and_database(void **state)
{
    struct journal *journal = open_journal(0, 1 << 20);
    uint64_t origin = journal_origin(journal);
    unsigned port = free_port();
    char command[128];

    (void)state;
    snprintf(command, sizeof command, "CONFIG SET port %u", port);
    assert_string_equal(call(command), "OK");
    assert_string_equal(call("CONFIG SET requirepass pass@word"), "OK");
    assert_string_equal(call("FLUSHALL"), "OK");
    assert_string_equal(call("SELECT 3"), "OK");
    assert_string_equal(call("SET kudos:{0}:ready 1"), "OK");
    snprintf(settings.redis_url, sizeof settings.redis_url, "redis://:wrong@127.0.0.1:%u/3", port);
    click(journal, 10);
    ship = start_ship();
    usleep(200000);
    assert_int_equal(last_seq(origin), 0);
    end_ship(SIGTERM);
    snprintf(settings.redis_url, sizeof settings.redis_url, "redis://:pass%%40word@127.0.0.1:%u/3",
             port);
    ship = start_ship();
    await(origin, 10);
    journal_close(journal);
}

/* More dead journals than a process may have descriptors. */
static void a_graveyard_costs_no_descriptors(void **state)
{
    enum { COUNT = 400 };
    static uint64_t origins[COUNT];

    (void)state;
    for (unsigned i = 0; i < COUNT; i++) {
        struct journal *journal = open_journal(0, 1 << 20);

        origins[i] = journal_origin(journal);
        click(journal, 3);
        journal_close(journal);
    }
    descriptors = 64;
    ship = start_ship();
    descriptors = 0;
    for (unsigned i = 0; i < COUNT; i++)
        await(origins[i], 3);
}

#define SHIP_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        SHIP_TEST(clicks_arrive_and_are_counted),
        SHIP_TEST(a_backlog_of_many_origins_arrives),
        SHIP_TEST(it_goes_on_after_every_kill),
        SHIP_TEST(it_waits_until_the_partition_is_ready),
        SHIP_TEST(an_idle_shipper_notices_that_redis_went_back),
        SHIP_TEST(a_full_stream_makes_it_wait),
        SHIP_TEST(redis_may_die_hang_or_forget_the_scripts),
        SHIP_TEST(error_replies_lose_nothing),
        SHIP_TEST(a_redis_that_evicts_is_refused),
        SHIP_TEST(only_flushed_segments_are_deleted),
        SHIP_TEST(above_the_limit_flushed_segments_go_early),
        SHIP_TEST(stopping_ships_the_rest),
        SHIP_TEST(a_removed_journal_is_read_to_its_end),
        SHIP_TEST(what_begins_later_waits_for_recovery),
        SHIP_TEST(over_tcp_with_password_and_database),
        SHIP_TEST(a_graveyard_costs_no_descriptors),
    };

    signal(SIGPIPE, SIG_IGN);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
