#pragma once
/* Random numbers that a seed repeats on every machine (SplitMix64). A value: copying it copies the
 * sequence. Nothing here is fit for secrets. */
#include <stdbool.h>
#include <stdint.h>

struct draw {
    uint64_t state;
};

static inline uint64_t draw_mix(uint64_t value)
{
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
    return value ^ (value >> 31);
}

static inline uint64_t draw_next(struct draw *draw)
{
    draw->state += 0x9e3779b97f4a7c15u;
    return draw_mix(draw->state);
}

/* From 0 to below 1. */
static inline double draw_unit(struct draw *draw)
{
    return (double)(draw_next(draw) >> 11) * 0x1p-53;
}

/* From 0 to below `limit`, which is above 0. */
static inline uint64_t draw_below(struct draw *draw, uint64_t limit)
{
    return (uint64_t)(((unsigned __int128)draw_next(draw) * limit) >> 64);
}

/* True for this share of the calls. */
static inline bool draw_chance(struct draw *draw, double share)
{
    return draw_unit(draw) < share;
}

/* An independent sequence: the `number`-th of a seed. */
static inline struct draw draw_open(uint64_t seed, uint64_t number)
{
    return (struct draw){draw_mix(seed ^ draw_mix(number + 0x9e3779b97f4a7c15u))};
}
