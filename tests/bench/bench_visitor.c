/* What classify() costs: nanoseconds per request over the user agents of the corpora folder given,
 * each met for the first time (cold), a hundred again and again (repeated), and drawn as traffic
 * draws them, the common ones most (traffic). Also what opening the lists costs, and the memory. */
#include <arpa/inet.h>
#include <assert.h>
#include <jansson.h>
#include <math.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/visitor/classify.h"
#include "shared/log.h"

#define AGENTS_MAX 20000
#define ROUNDS     400000
#define REPEATED   100

static struct text agents[AGENTS_MAX];
static size_t agent_count;

static void read_agents(const char *folder, const char *name)
{
    char path[1024], line[65536];
    FILE *file;

    snprintf(path, sizeof path, "%s/ua/%s", folder, name);
    file = fopen(path, "r");
    if (!file) {
        perror(path);
        exit(2);
    }
    while (fgets(line, sizeof line, file) && agent_count < AGENTS_MAX) {
        json_t *row = json_loads(line, 0, NULL);
        const char *agent = json_string_value(json_object_get(row, "ua"));

        if (agent)
            agents[agent_count++] = (struct text){strdup(agent), strlen(agent)};
        json_decref(row);
    }
    fclose(file);
}

/* Time of this process, not of its neighbours. */
static int64_t cpu_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static size_t in_turn(size_t round, uint64_t *state)
{
    (void)state;
    return round % agent_count;
}

static size_t few(size_t round, uint64_t *state)
{
    (void)state;
    return round % REPEATED * (agent_count / REPEATED);
}

/* Rank r comes up in proportion to 1/r, roughly. */
static size_t as_traffic(size_t round, uint64_t *state)
{
    double draw = (double)(next_random(state) >> 11) / 9007199254740992.0;

    (void)round;
    return (size_t)exp(draw * log((double)agent_count)) % agent_count;
}

/* With `is_new` each request says something that none before has said, and that nobody reads, so that
 * nothing is remembered. */
static void measure(struct classifier *classifier, const char *what,
                    size_t (*choose)(size_t, uint64_t *), bool is_new)
{
    char fresh[16];
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct visitor_request request = {
        .address = (struct sockaddr *)&address,
        .host = TEXT("go.brand.example"),
        .accept_language = TEXT("de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7"),
        .referrer = TEXT("https://l.instagram.com/"),
    };
    uint64_t state = 88172645463325252u, verdicts = 0;
    int64_t began;
    double ns;

    began = cpu_ns();
    for (size_t i = 0; i < ROUNDS; i++) {
        struct classify_scratch scratch;
        struct click click = {.verdict = VERDICT_HUMAN};

        request.user_agent = agents[choose(i, &state)];
        if (is_new)
            request.requested_with =
                (struct text){fresh, (size_t)snprintf(fresh, sizeof fresh, "%zu", i)};
        address.sin_addr.s_addr = (in_addr_t)next_random(&state);
        classify(classifier, &request, &scratch, &click);
        verdicts += click.verdict;
    }
    ns = (double)(cpu_ns() - began) / ROUNDS;
    printf("%-10s %7.0f ns per request   (%llu)\n", what, ns, (unsigned long long)verdicts);
}

int main(int argc, char **argv)
{
    static struct settings settings;
    struct classifier *classifier;
    struct error error;
    int64_t began;

    if (argc < 2) {
        fprintf(stderr, "use: bench_visitor CORPUS [GEOIP_CITY]\n");
        return 2;
    }
    log_open("bench", LOG_LEVEL_WARN);
    if (!settings_load(NULL, &settings, &error)) {
        fprintf(stderr, "%s\n", error.text);
        return 2;
    }
    snprintf(settings.data_dir, sizeof settings.data_dir, "/tmp");
    if (argc > 2)
        snprintf(settings.geoip_city, sizeof settings.geoip_city, "%s", argv[2]);
    read_agents(argv[1], "humans.jsonl");
    read_agents(argv[1], "bots.jsonl");
    assert(agent_count > REPEATED);
    began = cpu_ns();
    classifier = classifier_open(&settings, &error);
    if (!classifier) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    printf("%zu user agents; lists opened in %.1f ms\n", agent_count,
           (double)(cpu_ns() - began) / 1000000);
    measure(classifier, "cold", in_turn, true);
    measure(classifier, "repeated", few, false);
    measure(classifier, "traffic", as_traffic, false);
    classifier_close(classifier);
    return 0;
}
