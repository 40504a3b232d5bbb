/* See report.h. */
#include "loadtest/report.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

static const struct {
    const char *name;
    double fraction;
} percentiles[] = {
    {"p50", 0.5}, {"p75", 0.75}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"p99.99", 0.9999},
};
#define PERCENTILES (sizeof percentiles / sizeof percentiles[0])

/* What the processes kept of their answers, added up. */
struct kept {
    int64_t with_id, kept, without_id, not_an_id, other_link;
};

static struct kept add_up(const struct run *run)
{
    struct kept sum = {0};

    for (int64_t i = 0; i < run->options->processes; i++) {
        const struct answers *answers = run->answers[i];
        sum.with_id += answers->with_id;
        sum.kept += (int64_t)answers->count;
        sum.without_id += answers->without_id;
        sum.not_an_id += answers->not_an_id;
        sum.other_link += answers->other_link;
    }
    return sum;
}

static double rate(const struct run *run)
{
    return (double)run->total.answered * 1e6 / (double)run->took_us;
}

/* For people ----------------------------------------------------------------------------------- */

static void print_latency(const char *name, const struct latency *latency, FILE *out)
{
    fprintf(out, "  %-22s", name);
    for (size_t i = 0; i < PERCENTILES; i++)
        fprintf(out, " %9.3f", (double)latency_quantile_us(latency, percentiles[i].fraction) / 1e3);
    fprintf(out, " %9.3f\n", (double)latency->most_us / 1e3);
}

static void print_answers(const struct run *run, FILE *out)
{
    const struct figures *total = &run->total;

    fprintf(out, "answers  %" PRId64 " in %.1f s: %.0f a second;", total->answered,
            (double)run->took_us / 1e6, rate(run));
    for (int i = 0; i < FIGURES_STATUSES; i++)
        if (total->statuses[i])
            fprintf(out, " %d: %" PRId64, i, total->statuses[i]);
    fprintf(out,
            "\nerrors   %" PRId64 ": not connected %" PRId64 ", broken %" PRId64
            ", timed out %" PRId64 ", never sent %" PRId64 "\n",
            figures_errors(total), total->not_connected, total->broken, total->timed_out,
            total->not_sent);
    fprintf(out, "network  %" PRId64 " connections, %.1f MB out, %.1f MB in\n", total->connections,
            (double)total->bytes_out / 1e6, (double)total->bytes_in / 1e6);
}

static void print_kept(const struct run *run, FILE *out)
{
    struct kept kept = add_up(run);

    fprintf(out, "ids      %" PRId64 " click ids", kept.with_id);
    if (kept.kept < kept.with_id)
        fprintf(out, " (%" PRId64 " kept, the others counted only)", kept.kept);
    fprintf(out, ", %" PRId64 " redirects without one", kept.without_id);
    if (kept.not_an_id)
        fprintf(out, ", %" PRId64 " THAT ARE NONE", kept.not_an_id);
    if (kept.other_link)
        fprintf(out, ", %" PRId64 " OF ANOTHER LINK THAN BEFORE", kept.other_link);
    fputc('\n', out);
}

static void print_verified(const struct verify_result *verified, FILE *out)
{
    int64_t faults = verified->ids - verified->stored + verified->wrong_totals;

    fprintf(out,
            "verify   %" PRId64 " ids: %" PRId64 " stored once, %" PRId64 " missing, %" PRId64
            " twice, %" PRId64 " given twice, %" PRId64 " astray; %" PRId64 " links: %" PRId64
            " wrong totals\n",
            verified->ids, verified->stored, verified->missing, verified->twice,
            verified->given_twice, verified->astray, verified->links, verified->wrong_totals);
    if (verified->others_stored)
        fprintf(out, "         %" PRId64 " clicks are stored whose ids never arrived here\n",
                verified->others_stored);
    for (unsigned i = 0; i < verified->shown; i++)
        fprintf(out, "  %s\n", verified->faults[i]);
    if (faults > verified->shown)
        fprintf(out, "  and %" PRId64 " more\n", faults - verified->shown);
    if (verified->ids == 0)
        fputs("  there was no click id to compare\n", out);
    fputs(verify_passed(verified) ? "PASS\n" : "FAIL\n", out);
}

void report_print(const struct run *run, const struct verify_result *verified, FILE *out)
{
    print_answers(run, out);
    print_kept(run, out);
    fprintf(out, "\n  %-22s", "latency, ms");
    for (size_t i = 0; i < PERCENTILES; i++)
        fprintf(out, " %9s", percentiles[i].name);
    fprintf(out, " %9s\n", "most");
    if (!run->options->closed)
        print_latency("from the intended time", &run->total.intended, out);
    print_latency("from the actual send", &run->total.sent_at, out);
    if (run->stopped)
        fputs("\nstopped before its time\n", out);
    if (verified) {
        fputc('\n', out);
        print_verified(verified, out);
    }
}

/* For machines --------------------------------------------------------------------------------- */

static json_t *latency_json(const struct latency *latency)
{
    json_t *object = json_object();

    for (size_t i = 0; i < PERCENTILES; i++)
        json_object_set_new(object, percentiles[i].name,
                            json_integer(latency_quantile_us(latency, percentiles[i].fraction)));
    json_object_set_new(object, "most", json_integer(latency->most_us));
    json_object_set_new(
        object, "mean",
        json_real(latency->count ? (double)latency->sum_us / (double)latency->count : 0));
    json_object_set_new(object, "count", json_integer(latency->count));
    return object;
}

static json_t *statuses_json(const struct figures *total)
{
    json_t *object = json_object();
    char name[16];

    for (int i = 0; i < FIGURES_STATUSES; i++) {
        if (!total->statuses[i])
            continue;
        snprintf(name, sizeof name, "%d", i);
        json_object_set_new(object, name, json_integer(total->statuses[i]));
    }
    return object;
}

static json_t *verified_json(const struct verify_result *verified)
{
    json_t *faults = json_array();

    for (unsigned i = 0; i < verified->shown; i++)
        json_array_append_new(faults, json_string(verified->faults[i]));
    return json_pack(
        "{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "pass", verify_passed(verified),
        "ids", (json_int_t)verified->ids, "stored", (json_int_t)verified->stored, "missing",
        (json_int_t)verified->missing, "twice", (json_int_t)verified->twice, "given_twice",
        (json_int_t)verified->given_twice, "astray", (json_int_t)verified->astray, "links",
        (json_int_t)verified->links, "wrong_totals", (json_int_t)verified->wrong_totals,
        "others_stored", (json_int_t)verified->others_stored, "faults", faults);
}

bool report_json(const struct run *run, const struct verify_result *verified, FILE *out)
{
    const struct figures *total = &run->total;
    struct kept kept = add_up(run);
    json_t *errors =
        json_pack("{s:I, s:I, s:I, s:I}", "not_connected", (json_int_t)total->not_connected,
                  "broken", (json_int_t)total->broken, "timed_out", (json_int_t)total->timed_out,
                  "not_sent", (json_int_t)total->not_sent);
    json_t *ids =
        json_pack("{s:I, s:I, s:I, s:I, s:I}", "with_id", (json_int_t)kept.with_id, "kept",
                  (json_int_t)kept.kept, "without_id", (json_int_t)kept.without_id, "not_an_id",
                  (json_int_t)kept.not_an_id, "other_link", (json_int_t)kept.other_link);
    json_t *document =
        json_pack("{s:f, s:b, s:I, s:I, s:f, s:o, s:o, s:I, s:I, s:I, s:o, s:o, s:o}", "seconds",
                  (double)run->took_us / 1e6, "stopped", run->stopped, "sent",
                  (json_int_t)total->sent, "answered", (json_int_t)total->answered, "rate",
                  rate(run), "statuses", statuses_json(total), "errors", errors, "connections",
                  (json_int_t)total->connections, "bytes_out", (json_int_t)total->bytes_out,
                  "bytes_in", (json_int_t)total->bytes_in, "ids", ids, "intended_us",
                  latency_json(&total->intended), "sent_us", latency_json(&total->sent_at));
    bool good;

    assert(document);
    if (verified)
        json_object_set_new(document, "verify", verified_json(verified));
    good = json_dumpf(document, out, JSON_INDENT(2) | JSON_PRESERVE_ORDER) == 0 &&
           fputc('\n', out) != EOF;
    json_decref(document);
    return good;
}

bool report_histogram(const struct run *run, const char *path, struct error *error)
{
    const struct latency *intended = &run->total.intended, *sent = &run->total.sent_at;
    const struct latency *longer = intended->most_us > sent->most_us ? intended : sent;
    FILE *file = fopen(path, "we");
    bool good = file && fputs("up_to_us,intended,sent\n", file) >= 0;

    for (int i = 0; good && i < LATENCY_BUCKETS; i++)
        if (intended->counts[i] || sent->counts[i])
            good = fprintf(file, "%" PRId64 ",%" PRId64 ",%" PRId64 "\n",
                           latency_bucket_us(longer, i), intended->counts[i], sent->counts[i]) > 0;
    if (file)
        good = fclose(file) == 0 && good;
    return good || error_set(error, "cannot write %s: %s", path, strerror(errno));
}
