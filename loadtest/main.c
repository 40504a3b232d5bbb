/* kudos-loadtest: clicks links as visitors would, measures, and proves that every click was
 * counted. Exit status: 0 done (and PASS, where --verify was asked for), 1 FAIL or nothing was
 * answered, 2 wrong use, or it could not run or look. */
#include <stdio.h>
#include <string.h>

#include "loadtest/mix.h"
#include "loadtest/options.h"
#include "loadtest/plot.h"
#include "loadtest/report.h"
#include "loadtest/run.h"
#include "shared/clock.h"
#include "shared/log.h"

static bool verify(const struct run *run, struct verified *verified, struct error *error)
{
    const struct options *options = run->options;
    struct verify_plan plan = {
        .database = options->database,
        .answers = run->answers,
        .count = (unsigned)options->processes,
        .wait_us = options->verify_wait_s * US_PER_SECOND,
        .not_alone = options->not_alone,
        .quiet = options->quiet,
    };

    struct verify_sales_plan sales = {
        .database = options->database,
        .sales = run->sales,
        .count = plan.count,
        .wait_us = plan.wait_us,
        .quiet = options->quiet,
    };

    return (verify_run(&plan, &verified->clicks, error) &&
            verify_sales(&sales, &verified->sales, error)) ||
           error_prefix(error, "--verify");
}

static bool write_files(const struct run *run, struct error *error)
{
    const struct options *options = run->options;

    return (*options->ids == '\0' || run_write_ids(run, error)) &&
           (*options->histogram == '\0' || report_histogram(run, options->histogram, error)) &&
           (*options->plot == '\0' ||
            plot_write(&run->total, options->closed, options->plot, error));
}

/* The exit status, or -1 with the reason. */
static int load(struct run *run, const struct options *options, struct error *error)
{
    struct verified result;

    if (!run_open(run, options, error) || !run_load(run, error) || !write_files(run, error) ||
        (options->verify && !verify(run, &result, error)))
        return -1;
    if (!options->json)
        report_print(run, options->verify ? &result : NULL, stdout);
    else if (!report_json(run, options->verify ? &result : NULL, stdout)) {
        (void)error_set(error, "cannot write the summary");
        return -1;
    }
    return run->total.answered == 0 || (options->verify && !report_passed(&result));
}

static int show(const char *name)
{
    if (mix_show(name, stdout))
        return 0;
    fprintf(stderr, "kudos-loadtest: --show: agents, referrers or countries, not \"%.40s\"\n",
            name);
    return 2;
}

int main(int argc, char **argv)
{
    static struct run run;
    struct options options;
    struct error error;
    int status;

    log_open("loadtest", LOG_LEVEL_WARN);
    if (!options_parse(argc, argv, &options, &error)) {
        fprintf(stderr, "kudos-loadtest: %s\nkudos-loadtest --help tells all options\n",
                error.text);
        return 2;
    }
    if (options.help) {
        options_help(stdout);
        return 0;
    }
    if (*options.show)
        return show(options.show);
    status = load(&run, &options, &error);
    if (status < 0)
        fprintf(stderr, "kudos-loadtest: %s\n", error.text);
    run_close(&run);
    return status < 0 ? 2 : status;
}
