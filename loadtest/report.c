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

/* What became of the sales, told and not. */
struct sold {
    int64_t told, taken, refused, unheard, forgotten;
};

static struct sold add_up_sales(const struct run *run)
{
    struct sold sum = {0};

    for (int64_t i = 0; i < run->options->processes; i++) {
        const struct sales *sales = run->sales[i];

        sum.told += (int64_t)sales->told;
        sum.forgotten += sales->forgotten;
        for (size_t n = 0; n < sales->told; n++) {
            sum.taken += sales->list[n].state == SALE_TAKEN;
            sum.refused += sales->list[n].state == SALE_REFUSED;
            sum.unheard += sales->list[n].state == SALE_UNHEARD;
        }
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

static void print_clicks(const struct verify_result *verified, FILE *out)
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
}

static void print_sales(const struct verify_sales_result *sales, FILE *out)
{
    int64_t faults = sales->missing + sales->wrong;

    fprintf(out,
            "sales    %" PRId64 " told: %" PRId64 " stored once with their amount, %" PRId64
            " missing, %" PRId64 " wrong; money told %" PRId64 ", stored %" PRId64
            " (minor units)\n         %" PRId64 " credited, %" PRId64 " unattributed, %" PRId64
            " unverified\n",
            sales->told, sales->stored, sales->missing, sales->wrong, sales->told_minor,
            sales->stored_minor, sales->credited, sales->unattributed, sales->unverified);
    if (sales->others)
        fprintf(out, "         %" PRId64 " are stored whose answers never arrived here\n",
                sales->others);
    for (unsigned i = 0; i < sales->shown; i++)
        fprintf(out, "  %s\n", sales->faults[i]);
    if (faults > sales->shown)
        fprintf(out, "  and %" PRId64 " more\n", faults - sales->shown);
}

bool report_passed(const struct verified *verified)
{
    return verify_passed(&verified->clicks) && verify_sales_passed(&verified->sales);
}

static void print_told(const struct run *run, FILE *out)
{
    struct sold sold = add_up_sales(run);

    if (run->options->sales <= 0)
        return;
    fprintf(out,
            "sales    %" PRId64 " told: %" PRId64 " taken, %" PRId64 " refused, %" PRId64
            " without an answer",
            sold.told, sold.taken, sold.refused, sold.unheard);
    if (sold.forgotten)
        fprintf(out, "; %" PRId64 " more than --sales-max", sold.forgotten);
    fputc('\n', out);
}

void report_print(const struct run *run, const struct verified *verified, FILE *out)
{
    print_answers(run, out);
    print_kept(run, out);
    print_told(run, out);
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
        print_clicks(&verified->clicks, out);
        if (verified->sales.told + verified->sales.others > 0)
            print_sales(&verified->sales, out);
        fputs(report_passed(verified) ? "PASS\n" : "FAIL\n", out);
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

static json_t *faults_json(const char faults[][160], unsigned count)
{
    json_t *array = json_array();

    for (unsigned i = 0; i < count; i++)
        json_array_append_new(array, json_string(faults[i]));
    return array;
}

static json_t *sales_verified_json(const struct verify_sales_result *sales)
{
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "told", (json_int_t)sales->told,
        "stored", (json_int_t)sales->stored, "missing", (json_int_t)sales->missing, "wrong",
        (json_int_t)sales->wrong, "others_stored", (json_int_t)sales->others, "told_minor",
        (json_int_t)sales->told_minor, "stored_minor", (json_int_t)sales->stored_minor, "credited",
        (json_int_t)sales->credited, "unattributed", (json_int_t)sales->unattributed, "unverified",
        (json_int_t)sales->unverified, "faults", faults_json(sales->faults, sales->shown));
}

static json_t *verified_json(const struct verified *all)
{
    const struct verify_result *verified = &all->clicks;

    return json_pack(
        "{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "pass", report_passed(all),
        "ids", (json_int_t)verified->ids, "stored", (json_int_t)verified->stored, "missing",
        (json_int_t)verified->missing, "twice", (json_int_t)verified->twice, "given_twice",
        (json_int_t)verified->given_twice, "astray", (json_int_t)verified->astray, "links",
        (json_int_t)verified->links, "wrong_totals", (json_int_t)verified->wrong_totals,
        "others_stored", (json_int_t)verified->others_stored, "faults",
        faults_json(verified->faults, verified->shown), "sales", sales_verified_json(&all->sales));
}

bool report_json(const struct run *run, const struct verified *verified, FILE *out)
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
    struct sold sold = add_up_sales(run);
    bool good;

    assert(document);
    json_object_set_new(document, "sales",
                        json_pack("{s:I, s:I, s:I, s:I, s:I}", "told", (json_int_t)sold.told,
                                  "taken", (json_int_t)sold.taken, "refused",
                                  (json_int_t)sold.refused, "unheard", (json_int_t)sold.unheard,
                                  "forgotten", (json_int_t)sold.forgotten));
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
