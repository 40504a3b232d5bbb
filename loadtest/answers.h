#pragma once
/* What was answered, kept for comparing with what was stored: each click id, up to a bound, and how
 * many there were of each link.
 *
 * One for each process, in shared memory that is taken up as it is filled; made before the fork,
 * written by the process, read by its parent after the end. Whatever is to happen with an answered
 * click later starts at answers_add(). */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/error.h"
#include "shared/text.h"

#define ANSWERS_ID_LENGTH 64

struct answers_link {
    uint64_t id;         /* as the first click id said; 0: none came */
    uint32_t answered;   /* with a click id */
    uint32_t without_id; /* redirected without one, or with one that was not found */
    uint32_t unanswered; /* sent, and no answer came */
};

struct answers {
    char (*ids)[ANSWERS_ID_LENGTH];
    size_t count, most; /* ids kept, room for ids */
    struct answers_link *links;
    size_t link_count;
    int64_t with_id;           /* answers with a click id, kept or not */
    int64_t without_id;        /* redirects without one */
    int64_t not_an_id;         /* the parameter was there and was no click id */
    int64_t other_link;        /* the id named another link than answers before */
    int64_t first_us, last_us; /* times in the ids */
};

/* NULL with the reason. */
struct answers *answers_open(size_t ids_max, size_t link_count, struct error *error) MUST_CHECK;

/* Tells what the ids of a link's clicks have to say. */
void answers_expect(struct answers *answers, size_t link, uint64_t id);

/* A redirect of link number `link` came with `id` (empty: with none). */
void answers_add(struct answers *answers, size_t link, struct text id);

/* A request for it was sent, and no answer came: there may be a row of it, or not. */
void answers_miss(struct answers *answers, size_t link);
