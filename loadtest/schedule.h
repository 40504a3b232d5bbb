#pragma once
/* When requests are to be sent, whatever the server does: the intended times of an open loop.
 *
 * A profile is a row of parts, each with a rate that stays or changes evenly: "1000@10" is 1,000 a
 * second for 10 s, "1000-5000@30" a ramp. Arrivals are constant (one each time another has become
 * due by the rate) or Poisson (independent visitors). Several processes share a profile: with
 * constant arrivals they take turns, with Poisson each has a share of the rate.
 *
 * The same profile, seed and process give the same times. A schedule is a value: a copy goes on
 * from the same place. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loadtest/draw.h"
#include "shared/error.h"

#define SCHEDULE_PARTS_MAX   64
#define SCHEDULE_RATE_MAX    1000000.0
#define SCHEDULE_SECONDS_MAX 86400.0

struct schedule_part {
    double begin_s, length_s;
    double from, to; /* requests a second */
    double before;   /* requests due before it begins */
};

struct schedule {
    struct schedule_part parts[SCHEDULE_PARTS_MAX];
    unsigned part_count, part; /* the part that the last time lay in */
    bool poisson;
    double due;  /* requests due at the last time, of the whole profile */
    double step; /* constant: between two of this process */
    double share;
    struct draw draw;
};

/* Reads a profile ("RATE@SECONDS" or "FROM-TO@SECONDS", separated by commas). False with the
 * reason. */
bool schedule_parse(struct schedule *schedule, const char *profile, struct error *error) MUST_CHECK;

/* Makes a parsed schedule that of process `number` of `count`, from the start. */
void schedule_begin(struct schedule *schedule, bool poisson, uint64_t seed, unsigned number,
                    unsigned count);

/* The next intended time in µs from the start; -1: there is none. Never goes back. */
int64_t schedule_next(struct schedule *schedule);

/* Length in µs, and how many requests the whole profile means to send. */
int64_t schedule_length_us(const struct schedule *schedule);
double schedule_total(const struct schedule *schedule);

/* The rate that is meant at a time. */
double schedule_rate_at(const struct schedule *schedule, int64_t us);
