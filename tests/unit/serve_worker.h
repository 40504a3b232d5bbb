#pragma once
/* A worker without its loop, for tests: connections over socket pairs, a real replica, a real
 * journal, and rounds that the test turns itself. Everything is static: each test has its own. */
#include "server/redirect/serve.h"

#include <glob.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/conversions/click_id.h"
#include "server/links/replica_write.h"
#include "server/links/rules.h"
#include "server/metrics.h"
#include "server/redirect/tell.h"
#include "server/redirect/visit.h"

/* Not every test uses all of it. */
#pragma GCC diagnostic ignored "-Wunused-function"

#define GET(slug)   "GET /" slug " HTTP/1.1\r\nHost: h\r\nUser-Agent: Mozilla/5.0\r\n\r\n"
#define DESTINATION "https://shop.example/p?a=1#top"

static char folder[] = "/tmp/kudos-serve-XXXXXX";
static struct role_context context;
static struct worker *worker;
static int client; /* our end of the connection */

/* A link that goes to a or b by halves. */
static void build_split(struct replica_writer *writer)
{
    static const char json[] = "[{\"if\": {}, \"then\": {\"split\": ["
                               "{\"weight\": 50, \"destination\": \"https://a.example/\"},"
                               "{\"weight\": 50, \"destination\": \"https://b.example/\"}]}}]";
    struct link link = {.id = 8, .workspace = 1, .domain = 1, .flags = LINK_NO_CLICK_ID};
    unsigned char program[RULES_BYTES_MAX];
    struct rules_problem problem;
    struct error error;
    int length =
        rules_compile((struct text){json, sizeof json - 1}, NULL, NULL, NULL, program, &problem);

    assert_true(length > 0);
    link.slug = TEXT("split");
    link.destination = TEXT("https://c.example/");
    link.fragment_offset = (uint32_t)link.destination.length;
    link.rules = (struct text){(const char *)program, (size_t)length};
    assert_true(replica_build_link(writer, &link, link.slug, &error));
}

/* A link that has its click id in three places. */
static void build_template(struct replica_writer *writer)
{
    struct link link = {.id = 9, .workspace = 1, .domain = 1, .flags = LINK_TEMPLATE};
    struct error error;

    link.slug = TEXT("tpl");
    link.destination = TEXT("https://t.example/{click_id}/{click_id}#{click_id}.");
    link.fragment_offset = (uint32_t)link.destination.length - 12;
    assert_true(replica_build_link(writer, &link, link.slug, &error));
}

static void build_salts(struct replica_writer *writer)
{
    int64_t day = clock_wall_us() / (86400 * US_PER_SECOND);
    struct error error;

    for (int i = 0; i < 3; i++) {
        unsigned char salt[REPLICA_SALT_BYTES] = {(unsigned char)i};

        assert_true(replica_build_salt(writer, day + i, salt, &error));
    }
}

static void make_replica(void)
{
    static const struct domain domain = {.id = 1,
                                         .workspace = 1,
                                         .is_default = true,
                                         .click_id = true,
                                         .redirect_status = 302,
                                         .host = {"h", 1}};
    struct link link = {.id = 7, .workspace = 1, .domain = 1, .redirect_status = 302};
    struct replica_writer *writer;
    struct error error;

    link.flags = LINK_HAS_QUERY;
    link.slug = TEXT("abc");
    link.destination = TEXT(DESTINATION);
    link.fragment_offset = sizeof "https://shop.example/p?a=1" - 1;
    writer = replica_writer_open(folder, 1 << 24, &error);
    assert_non_null(writer);
    assert_true(replica_build_begin(writer, &error));
    assert_true(replica_build_link(writer, &link, link.slug, &error));
    assert_true(replica_build_link_id(writer, link.id, 1, link.slug, &error));
    build_split(writer);
    build_template(writer);
    build_salts(writer);
    assert_true(replica_build_domain(writer, &domain, &error));
    assert_true(replica_build_finish(writer, "test", "1:1:", &error));
    replica_writer_close(writer);
}

static int set_up(void **state)
{
    struct error error;

    (void)state;
    assert_non_null(mkdtemp(folder));
    make_replica();
    assert_true(settings_load(NULL, &context.settings, &error));
    worker = calloc(1, sizeof *worker);
    assert_non_null(worker);
    worker->context = &context;
    worker->loop = loop_open();
    worker->replica = replica_open(folder, &error);
    worker->classifier = classifier_open(&context.settings, &error);
    worker->journal = journal_open(folder, 0, 0, 1 << 20, &error);
    assert_true(worker->loop && worker->replica && worker->classifier && worker->journal);
    worker->limits = (struct http_limits){2048, 1024, 20};
    worker->read_size = 2048;
    worker->read_bytes = malloc(worker->read_size);
    worker->reply_bytes_max = reply_max(1024);
    worker->round.size = 4 * worker->reply_bytes_max;
    worker->round.bytes = malloc(worker->round.size);
    worker->connections_max = 100;
    buffer_pool_open(&worker->buffers, worker->read_size + POSTBACK_BODY_MAX);
    reply_open(&worker->replies, "kudos_id");
    tell_open(worker);
    return 0;
}

static int tear_down(void **state)
{
    char command[128];

    (void)state;
    connections_close(worker);
    loop_close(worker->loop);
    journal_close(worker->journal);
    classifier_close(worker->classifier);
    replica_close(worker->replica);
    buffer_pool_close(&worker->buffers);
    free(worker->round.bytes);
    free(worker->read_bytes);
    free(worker);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

/* Opens a connection on which `text` has been sent already. */
static void connect_and_send(const char *text)
{
    union peer_address peer = {.any.sa_family = AF_INET};
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    client = pair[0];
    assert_int_equal(write(client, text, strlen(text)), strlen(text));
    worker_begin_round(worker);
    assert_true(connection_accept(worker, pair[1], &peer));
}

static void turn(void)
{
    if (worker->lists[CONNECTION_PENDING].count > 0) {
        worker_begin_round(worker);
        connections_serve_pending(worker);
    }
    loop_turn(worker->loop, false);
    worker_finish_round(worker);
}

/* What has arrived at our end so far. */
static const char *received(void)
{
    static char text[65536];
    ssize_t got = read(client, text, sizeof text - 1);

    text[got > 0 ? got : 0] = '\0';
    return text;
}

static int count(const char *text, const char *what)
{
    int found = 0;

    for (; (text = strstr(text, what)); text++)
        found++;
    return found;
}

static bool is_closed(void)
{
    char byte;

    return read(client, &byte, 1) == 0;
}

static struct connection_list *in_state(enum connection_state state)
{
    return &worker->lists[state];
}

/* Tries again, as the tick does, until the journal takes clicks. */
static void heal_journal(void)
{
    for (int i = 0; i < 1000 && journal_next_seq(worker->journal) == 0; i++) {
        usleep(10000);
        (void)journal_commit(worker->journal);
    }
    assert_true(journal_next_seq(worker->journal) != 0);
}
