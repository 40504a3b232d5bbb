/* See run.h. Children share nothing but the memory made before the fork, each its own part; they
 * die with their parent. */
#include "loadtest/run.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loadtest/client.h"
#include "loadtest/memory.h"
#include "loadtest/traffic.h"
#include "shared/clock.h"

#define START_US     (100 * US_PER_MS) /* for all processes to be there */
#define PROGRESS_US  US_PER_SECOND
#define PAUSE_US     (20 * US_PER_MS)
#define FILES_SPARE  64
#define EXIT_NO_LOAD 3

static volatile sig_atomic_t signalled;

static void on_signal(int number)
{
    signalled = number;
}

static bool allow_files(int64_t connections, struct error *error)
{
    rlim_t wanted = (rlim_t)connections + FILES_SPARE;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return error_set(error, "getrlimit: %s", strerror(errno));
    if (limit.rlim_cur >= wanted)
        return true;
    limit.rlim_cur = wanted;
    return (wanted <= limit.rlim_max && setrlimit(RLIMIT_NOFILE, &limit) == 0) ||
           error_set(error, "%lld connections need %lld descriptors; the limit is %lld",
                     (long long)connections, (long long)wanted, (long long)limit.rlim_max);
}

static bool open_answers(struct run *run, struct error *error)
{
    unsigned count = (unsigned)run->options->processes;

    for (unsigned i = 0; i < count; i++) {
        run->answers[i] =
            answers_open((size_t)run->options->ids_max / count, run->links.count, error);
        if (!run->answers[i])
            return false;
        for (size_t link = 0; run->links.ids && link < run->links.count; link++)
            answers_expect(run->answers[i], link, run->links.ids[link]);
    }
    return true;
}

static bool open_sales(struct run *run, struct error *error)
{
    const struct options *options = run->options;
    size_t count = (size_t)options->processes;

    run->selling = (struct sales_plan){
        .host = *options->host ? options->host : options->address_host,
        .prefix = options->orders,
        .currency = options->currency,
        .delay_us = options->sales > 0 ? (int64_t)(options->sale_delay * 1e6) : 0,
        .by_code = options->by_code,
    };
    if (!sales_plan_read(&run->selling, options->token_file, options->codes, error))
        return false;
    for (size_t i = 0; i < count; i++) {
        run->sales[i] = sales_open(&run->selling, (size_t)options->sales_max / count,
                                   (uint64_t)options->seed, (unsigned)i, error);
        if (!run->sales[i])
            return false;
    }
    return true;
}

bool run_open(struct run *run, const struct options *options, struct error *error)
{
    memset(run, 0, sizeof *run);
    run->options = options;
    links_open(&run->links, options->address_host, options->host, (size_t)options->links_max);
    if (!(*options->links ? links_read(&run->links, options->links, error)
                          : links_fetch(&run->links, &options->admin_address, options->admin_host,
                                        options->key_file, error)) ||
        !mix_open(&run->mix, options->agents, options->referrers, options->countries, error) ||
        !allow_files((options->connections + options->processes - 1) / options->processes, error) ||
        !open_answers(run, error) || !open_sales(run, error))
        return false;
    run->stop = memory_share(sizeof *run->stop);
    run->figures = memory_share((size_t)options->processes * sizeof *run->figures);
    return (run->stop && run->figures) || error_set(error, "no shared memory");
}

void run_close(struct run *run)
{
    links_close(&run->links);
    mix_close(&run->mix);
}

/* The life of one process. */
static bool run_client(const struct run *run, unsigned number, int64_t begin_us,
                       struct error *error)
{
    const struct options *options = run->options;
    unsigned count = (unsigned)options->processes, connections = (unsigned)options->connections;
    struct traffic_plan traffic_plan = {
        options->zipf,           options->bots,  options->repeats, options->keepalive,
        options->new_connection, options->sales, !options->direct};
    struct client_plan plan = {
        .address = &options->address,
        .connections = connections / count + (number < connections % count),
        .pipeline = (unsigned)options->pipeline,
        .closed_loop = options->closed,
        .length_us = schedule_length_us(&options->schedule),
        .timeout_us = options->timeout_ms * US_PER_MS,
        .begin_us = begin_us,
        .click_id_param = options->click_id_param,
        .stop = run->stop,
    };
    struct schedule schedule = options->schedule;
    struct traffic traffic;

    schedule_begin(&schedule, strcmp(options->arrivals, "poisson") == 0, (uint64_t)options->seed,
                   number, count);
    traffic_open(&traffic, &traffic_plan, &run->links, &run->mix, (uint64_t)options->seed, number);
    return client_run(&plan, &schedule, &traffic, &run->figures[number], run->answers[number],
                      run->sales[number], error);
}

static pid_t start_client(const struct run *run, unsigned number, int64_t begin_us)
{
    pid_t parent = getpid(), pid = fork();
    struct error error;

    if (pid != 0)
        return pid;
    (void)signal(SIGINT, SIG_IGN); /* the parent tells us */
    (void)signal(SIGTERM, SIG_DFL);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
        _exit(EXIT_NO_LOAD);
    if (!run_client(run, number, begin_us, &error)) {
        fprintf(stderr, "kudos-loadtest: %s\n", error.text);
        _exit(EXIT_NO_LOAD);
    }
    _exit(0);
}

static void add_up(const struct run *run, struct figures *total)
{
    memset(total, 0, sizeof *total);
    for (int64_t i = 0; i < run->options->processes; i++)
        figures_merge(total, &run->figures[i]);
}

/* One line about the time since `before`, which becomes now. */
static void print_progress(struct run *run, struct figures *before, int64_t now_us, int64_t span_us)
{
    struct latency latest;

    add_up(run, &run->total);
    latency_since(&run->total.intended, &before->intended, &latest);
    fprintf(stderr, "%5.0f s  %8.0f/s", (double)now_us / 1e6,
            (double)(run->total.answered - before->answered) * 1e6 / (double)span_us);
    if (!run->options->closed)
        fprintf(stderr, " of %8.0f/s", schedule_rate_at(&run->options->schedule, now_us - 1));
    fprintf(stderr, "   errors %lld   p50 %.2f ms   p99 %.2f ms   backlog %lld\n",
            (long long)(figures_errors(&run->total) - figures_errors(before)),
            (double)latency_quantile_us(&latest, 0.5) / 1e3,
            (double)latency_quantile_us(&latest, 0.99) / 1e3, (long long)run->total.backlog);
    *before = run->total;
}

/* Until all have ended; false if one of them did badly. */
static bool watch(struct run *run, unsigned started, int64_t begin_us)
{
    struct figures *before = calloc(1, sizeof *before);
    int64_t printed_us = begin_us, now;
    bool good = true;
    int status;

    assert(before);
    while (started > 0) {
        pid_t ended = waitpid(-1, &status, WNOHANG);

        if (ended > 0) {
            good = good && WIFEXITED(status) && WEXITSTATUS(status) == 0;
            started--;
            continue;
        }
        if (signalled)
            *run->stop = run->stopped = true;
        now = clock_mono_us();
        if (now - printed_us >= PROGRESS_US) {
            if (!run->options->quiet)
                print_progress(run, before, now - begin_us, now - printed_us);
            printed_us = now;
        }
        usleep(PAUSE_US);
    }
    free(before);
    return good;
}

bool run_load(struct run *run, struct error *error)
{
    struct sigaction action = {.sa_handler = on_signal};
    int64_t begin_us = clock_mono_us() + START_US;
    unsigned started = 0;
    bool good = true;

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    fflush(NULL);
    for (int64_t i = 0; i < run->options->processes && good; i++) {
        good = start_client(run, (unsigned)i, begin_us) > 0;
        started += good;
    }
    if (!good)
        *run->stop = true;
    good = watch(run, started, begin_us) && good;
    run->took_us = clock_mono_us() - begin_us;
    if (run->took_us < 1)
        run->took_us = 1;
    add_up(run, &run->total);
    return good || error_set(error, "a process of the load failed");
}

bool run_write_ids(const struct run *run, struct error *error)
{
    const char *path = run->options->ids;
    FILE *file = fopen(path, "we");
    bool good = file != NULL;

    for (int64_t i = 0; good && i < run->options->processes; i++)
        for (size_t n = 0; good && n < run->answers[i]->count; n++)
            good = fprintf(file, "%.*s\n", ANSWERS_ID_LENGTH, run->answers[i]->ids[n]) > 0;
    if (file)
        good = fclose(file) == 0 && good;
    return good || error_set(error, "cannot write %s: %s", path, strerror(errno));
}
