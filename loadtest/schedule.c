/* See schedule.h. How many requests are due until a time is the integral of the rate: a parabola in
 * each part, so the time at which the n-th is due is the root of one. No sum of small steps is
 * taken, so a long run does not drift. */
#include "loadtest/schedule.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "shared/clock.h"

static double part_requests(const struct schedule_part *part)
{
    return (part->from + part->to) / 2 * part->length_s;
}

/* One number; `text` moves behind it. */
static bool take_number(const char **text, double lowest, double highest, double *out)
{
    char *end;

    if ((**text < '0' || **text > '9') && **text != '.')
        return false;
    *out = strtod(*text, &end);
    if (end == *text || !(*out >= lowest && *out <= highest))
        return false;
    *text = end;
    return true;
}

static bool take_part(const char **text, struct schedule_part *part)
{
    if (!take_number(text, 0, SCHEDULE_RATE_MAX, &part->from))
        return false;
    part->to = part->from;
    if (**text == '-') {
        ++*text;
        if (!take_number(text, 0, SCHEDULE_RATE_MAX, &part->to))
            return false;
    }
    if (**text != '@')
        return false;
    ++*text;
    return take_number(text, 0.001, SCHEDULE_SECONDS_MAX, &part->length_s);
}

bool schedule_parse(struct schedule *schedule, const char *profile, struct error *error)
{
    const char *at = profile;
    double begin_s = 0, before = 0;

    memset(schedule, 0, sizeof *schedule);
    for (;;) {
        struct schedule_part *part = &schedule->parts[schedule->part_count];

        if (schedule->part_count == SCHEDULE_PARTS_MAX)
            return error_set(error, "a profile has at most %d parts", SCHEDULE_PARTS_MAX);
        if (!take_part(&at, part) || (*at != ',' && *at != '\0'))
            return error_set(error,
                             "\"%.40s\" is no part of a profile: RATE@SECONDS or FROM-TO@SECONDS, "
                             "rates up to %.0f a second, up to %.0f s",
                             profile, SCHEDULE_RATE_MAX, SCHEDULE_SECONDS_MAX);
        part->begin_s = begin_s;
        part->before = before;
        begin_s += part->length_s;
        before += part_requests(part);
        schedule->part_count++;
        if (*at == '\0')
            break;
        profile = ++at;
    }
    if (begin_s > SCHEDULE_SECONDS_MAX)
        return error_set(error, "a profile lasts at most %.0f s", SCHEDULE_SECONDS_MAX);
    return before >= 1 || error_set(error, "by this profile not one request is due");
}

void schedule_begin(struct schedule *schedule, bool poisson, uint64_t seed, unsigned number,
                    unsigned count)
{
    assert(schedule->part_count > 0 && number < count);
    schedule->part = 0;
    schedule->poisson = poisson;
    schedule->draw = draw_open(seed, number);
    schedule->step = count;
    schedule->share = 1.0 / count;
    schedule->due = poisson ? 0 : (double)number + 1 - (double)count;
}

/* Seconds into the part after which `wanted` requests of it are due. */
static double root(const struct schedule_part *part, double wanted)
{
    double slope = (part->to - part->from) / part->length_s;

    if (fabs(slope) < 1e-9)
        return wanted / part->from;
    /* the smaller root in the form that does not subtract two near numbers */
    return 2 * wanted / (part->from + sqrt(fmax(0, part->from * part->from + 2 * slope * wanted)));
}

int64_t schedule_next(struct schedule *schedule)
{
    const struct schedule_part *part;

    schedule->due +=
        schedule->poisson ? -log1p(-draw_unit(&schedule->draw)) / schedule->share : schedule->step;
    for (; schedule->part < schedule->part_count; schedule->part++) {
        part = &schedule->parts[schedule->part];
        if (schedule->due - part->before <= part_requests(part) && part->from + part->to > 0)
            return (int64_t)((part->begin_s + root(part, schedule->due - part->before)) * 1e6);
    }
    return -1;
}

static const struct schedule_part *last_part(const struct schedule *schedule)
{
    assert(schedule->part_count > 0);
    return &schedule->parts[schedule->part_count - 1];
}

int64_t schedule_length_us(const struct schedule *schedule)
{
    const struct schedule_part *last = last_part(schedule);

    return (int64_t)((last->begin_s + last->length_s) * 1e6);
}

double schedule_total(const struct schedule *schedule)
{
    const struct schedule_part *last = last_part(schedule);

    return last->before + part_requests(last);
}

double schedule_rate_at(const struct schedule *schedule, int64_t us)
{
    double s = (double)us / (double)US_PER_SECOND;

    for (unsigned i = 0; i < schedule->part_count; i++) {
        const struct schedule_part *part = &schedule->parts[i];

        if (s < part->begin_s + part->length_s)
            return part->from + (part->to - part->from) * (s - part->begin_s) / part->length_s;
    }
    return 0;
}
