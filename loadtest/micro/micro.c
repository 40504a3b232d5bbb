/* What each step of a redirect costs by itself: `make bench-micro`.
 *
 *   bench_micro               ns per call of every step, the best of some repetitions
 *   bench_micro STEP ROUNDS   runs one step, for callgrind, which collects counted()
 *   bench_micro --list        the steps' names
 *
 * Requests are those of the load generator, people only, the same 256 every time; what a step needs
 * of the steps before it is made beforehand. A real replica and a real journal, in a folder of
 * their own that is removed. */
#include <assert.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "loadtest/traffic.h"
#include "server/clicks/event.h"
#include "server/clicks/journal.h"
#include "server/conversions/click_id.h"
#include "server/links/replica.h"
#include "server/links/replica_write.h"
#include "server/links/slug.h"
#include "server/redirect/reply.h"
#include "server/redirect/request.h"
#include "shared/clock.h"
#include "shared/log.h"

#define REQUESTS    256
#define LINKS       10000
#define REPETITIONS 7
#define ROUNDS      200
#define ROUND       32 /* clicks of one journal_commit() */
#ifdef __clang__
#define NOT_COPIED __attribute__((noinline))
#else
#define NOT_COPIED __attribute__((noinline, noclone))
#endif
#define DESTINATION "https://shop.example.com/p/%d?from=kudos"

/* A request with all that the steps make of it. */
struct sample {
    char bytes[2048];
    size_t length;
    struct http_head head;
    struct request request;
    struct sockaddr_in address;
    struct link link;
    struct click click;
    struct classify_scratch scratch;
    struct decision decision;
    unsigned char payload[EVENT_PAYLOAD_MAX];
    size_t payload_length;
    char id[CLICK_ID_LENGTH];
};

static struct sample samples[REQUESTS];
static char folder[] = "/tmp/kudos-micro-XXXXXX";
static const struct http_limits limits = {16384, 8192, 100};
static const unsigned char secret[CLICK_ID_SECRET_BYTES] = {1, 2, 3};
static struct settings settings;
static struct replica *replica;
static struct classifier *classifier;
static struct journal *journal;
static struct reply_writer replies;
static struct domain domain;
static int64_t now_us;

/* Steps: each returns something that depends on its work, so that none is optimised away. */

static uint64_t parse_head(struct sample *sample)
{
    return (uint64_t)http_head_parse(sample->bytes, sample->length, 0, &limits, &sample->head);
}

static uint64_t read_request(struct sample *sample)
{
    request_read(&sample->head, &sample->request);
    return sample->request.host_length;
}

static uint64_t look_up(struct sample *sample)
{
    const struct request *request = &sample->request;
    char slug[LINK_SLUG_MAX];
    struct domain found;
    size_t length = slug_from_path(request->path.bytes, request->path.length, true, slug);

    if (!replica_find_domain(replica, request->host, request->host_length, &found) ||
        !replica_find_link(replica, found.id, slug, length, &sample->link))
        return 0;
    return sample->link.id;
}

static uint64_t classify_visitor(struct sample *sample)
{
    classify(classifier, &sample->request.visitor, &sample->scratch, &sample->click);
    return 1 + (uint64_t)sample->click.verdict;
}

static uint64_t decide(struct sample *sample)
{
    static const struct decision_policy policy = {.refuse_prefetch = true};
    struct click click;

    decide_link(&sample->request, &domain, &sample->link, now_us, &sample->decision, &click);
    decide_visitor(&sample->request, &sample->link, &policy, &sample->decision, &sample->click);
    return (uint64_t)sample->decision.answer + 1;
}

static uint64_t encode_event(struct sample *sample)
{
    struct event event = {.kind = EVENT_CLICK, .click = sample->click};

    sample->payload_length = event_encode(&event, sample->payload);
    return sample->payload_length;
}

static uint64_t decode_event(struct sample *sample)
{
    struct event event;

    return event_decode(sample->payload, sample->payload_length, &event, NULL);
}

static uint64_t append_to_journal(struct sample *sample)
{
    uint64_t seq = journal_append(journal, sample->payload, sample->payload_length);

    return seq % ROUND == 0 ? journal_commit(journal) : seq;
}

static uint64_t encode_click_id(struct sample *sample)
{
    struct click_id id = {.origin = 1, .seq = 2, .link = sample->link.id, .time_us = now_us};

    click_id_encode(&id, secret, sample->id);
    return (uint64_t)sample->id[0];
}

static uint64_t decode_click_id(struct sample *sample)
{
    struct click_id id;

    return click_id_decode(sample->id, CLICK_ID_LENGTH, secret, &id) ? id.seq : 0;
}

static uint64_t build_reply(struct sample *sample)
{
    static char out[8192];
    struct location_mark mark;

    return reply_write(&replies, &sample->decision, REPLY_STAYS, true, sample->id, out, &mark);
}

/* In the order in which a request goes through them. */
static const struct step {
    const char *name;
    uint64_t (*run)(struct sample *sample);
} steps[] = {
    {"parse_head", parse_head},
    {"read_request", read_request},
    {"look_up", look_up},
    {"classify", classify_visitor},
    {"decide", decide},
    {"encode_event", encode_event},
    {"journal_append", append_to_journal},
    {"encode_click_id", encode_click_id},
    {"build_reply", build_reply},
    {"decode_event", decode_event},
    {"decode_click_id", decode_click_id},
};
#define STEPS (sizeof steps / sizeof steps[0])

static inline void run(const struct step *step)
{
    for (size_t i = 0; i < REQUESTS; i++) {
        uint64_t result = step->run(&samples[i]);

        assert(result > 0);
    }
}

/* What callgrind looks at. */
NOT_COPIED static void counted(const struct step *step, int rounds)
{
    for (int round = 0; round < rounds; round++)
        run(step);
}

/* What the steps need -----------------------------------------------------------------------------
 * */

static void need(bool good, const struct error *error)
{
    if (good)
        return;
    fprintf(stderr, "bench_micro: %s\n", error->text);
    exit(1);
}

static void make_replica(struct error *error)
{
    struct replica_writer *writer = replica_writer_open(folder, 1 << 26, error);
    struct link link = {.workspace = 1, .domain = 1, .redirect_status = 302};
    char slug[16], destination[96];

    domain = (struct domain){.id = 1,
                             .workspace = 1,
                             .is_default = true,
                             .click_id = true,
                             .redirect_status = 302,
                             .host = TEXT("go.brand.example")};
    need(writer && replica_build_begin(writer, error), error);
    for (int i = 0; i < LINKS; i++) {
        link.id = (uint64_t)i + 1;
        link.flags = LINK_HAS_QUERY;
        link.slug = (struct text){slug, (size_t)snprintf(slug, sizeof slug, "n%d", i)};
        link.destination = (struct text){
            destination, (size_t)snprintf(destination, sizeof destination, DESTINATION, i)};
        link.fragment_offset = (uint32_t)link.destination.length;
        need(replica_build_link(writer, &link, link.slug, error), error);
    }
    need(replica_build_domain(writer, &domain, error) &&
             replica_build_finish(writer, "micro", "1:1:", error),
         error);
    replica_writer_close(writer);
}

static void make_requests(struct error *error)
{
    static const struct traffic_plan plan = {.zipf = 0, .keepalive = 1};
    static char out[TRAFFIC_REQUEST_MAX];
    struct traffic_request request;
    struct traffic traffic;
    struct links links;
    struct mix mix;
    char slug[16];

    links_open(&links, "go.brand.example", "", LINKS);
    for (int i = 0; i < LINKS; i++) {
        snprintf(slug, sizeof slug, "n%d", i);
        need(links_add(&links, slug, error), error);
    }
    need(mix_open(&mix, "", "", "", error), error);
    traffic_open(&traffic, &plan, &links, &mix, 1, 0);
    for (size_t i = 0; i < REQUESTS; i++) {
        struct sample *sample = &samples[i];
        traffic_next(&traffic, out, &request);
        assert(request.length <= sizeof sample->bytes);
        memcpy(sample->bytes, out, request.length);
        sample->length = request.length;
        sample->address.sin_family = AF_INET;
        sample->address.sin_addr.s_addr = htonl(0x0a000000u + (uint32_t)i);
    }
    links_close(&links);
    mix_close(&mix);
}

static void set_up(void)
{
    struct error error = {""};

    log_open("bench", LOG_LEVEL_WARN);
    need(settings_load(NULL, &settings, &error), &error);
    need(mkdtemp(folder) != NULL, &error);
    now_us = clock_wall_us();
    make_replica(&error);
    make_requests(&error);
    replica = replica_open(folder, &error);
    need(replica != NULL, &error);
    replica_begin(replica);
    classifier = classifier_open(&settings, &error);
    need(classifier != NULL, &error);
    journal = journal_open(folder, 0, 0, 1 << 30, &error);
    need(journal != NULL, &error);
    reply_open(&replies, "kudos_id");
    reply_set_time(&replies, now_us);
    for (size_t i = 0; i < STEPS; i++) {
        run(&steps[i]);
        if (i == 1)
            for (size_t n = 0; n < REQUESTS; n++) {
                samples[n].request.visitor.address =
                    (const struct sockaddr *)(const void *)&samples[n].address;
                samples[n].click.time_us = now_us;
            }
    }
}

static void tear_down(void)
{
    char command[64];

    replica_end(replica);
    replica_close(replica);
    journal_close(journal);
    classifier_close(classifier);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    if (system(command) != 0)
        fprintf(stderr, "bench_micro: %s is left\n", folder);
}

static int64_t cpu_ns(void)
{
    struct timespec time;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void time_step(const struct step *step)
{
    double best = 1e18;

    for (int i = 0; i < REPETITIONS; i++) {
        int64_t began = cpu_ns();
        double ns;

        counted(step, ROUNDS);
        ns = (double)(cpu_ns() - began) / (ROUNDS * REQUESTS);
        best = ns < best ? ns : best;
    }
    printf("%s %.1f\n", step->name, best);
}

int main(int argc, char **argv)
{
    int status = argc == 3 ? 2 : 0;

    if (argc == 2) {
        for (size_t i = 0; i < STEPS; i++)
            printf("%s\n", steps[i].name);
        return 0;
    }
    set_up();
    for (size_t i = 0; i < STEPS; i++) {
        if (argc == 1)
            time_step(&steps[i]);
        else if (strcmp(argv[1], steps[i].name) == 0) {
            counted(&steps[i], atoi(argv[2]));
            printf("%d\n", atoi(argv[2]) * REQUESTS);
            status = 0;
        }
    }
    tear_down();
    return status;
}
