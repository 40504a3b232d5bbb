/* See verify_totals.h. */
#include "server/clicks/verify_totals.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SIZE_MIN 1024

void verify_totals_free(struct verify_totals *totals)
{
    free(totals->slots);
    memset(totals, 0, sizeof *totals);
}

static struct verify_total *find(const struct verify_totals *totals, uint64_t link)
{
    size_t mask = totals->size - 1;

    assert(totals->used < totals->size);
    for (size_t i = (link * 0x9e3779b97f4a7c15u >> 20) & mask;; i = (i + 1) & mask) {
        struct verify_total *total = &totals->slots[i];
        if (!total->used || total->link == link)
            return total;
    }
}

static void grow(struct verify_totals *totals)
{
    struct verify_totals larger = {.size = totals->size ? 2 * totals->size : SIZE_MIN};

    larger.slots = calloc(larger.size, sizeof *larger.slots);
    assert(larger.slots);
    for (size_t i = 0; i < totals->size; i++) {
        if (!totals->slots[i].used)
            continue;
        *find(&larger, totals->slots[i].link) = totals->slots[i];
        larger.used++;
    }
    free(totals->slots);
    *totals = larger;
}

void verify_totals_add(struct verify_totals *totals, uint64_t link, int64_t clicks, int64_t other)
{
    struct verify_total *total;

    if (2 * (totals->used + 1) > totals->size)
        grow(totals);
    total = find(totals, link);
    if (!total->used) {
        *total = (struct verify_total){.link = link, .used = true};
        totals->used++;
    }
    total->clicks += clicks;
    total->other += other;
}

bool verify_totals_add_field(struct verify_totals *totals, const char *field, const char *value,
                             int sign)
{
    char *end;
    uint64_t link;
    int64_t count;

    errno = 0;
    count = strtoll(value, &end, 10);
    if (errno || end == value || *end)
        return false;
    link = strtoull(field, &end, 10);
    if (errno || end == field || (*end && strcmp(end, ":x") != 0))
        return false;
    verify_totals_add(totals, link, *end ? 0 : sign * count, *end ? sign * count : 0);
    return true;
}

size_t verify_totals_wrong(const struct verify_totals *totals, struct verify_total *out,
                           size_t room)
{
    size_t wrong = 0;

    for (size_t i = 0; i < totals->size; i++) {
        const struct verify_total *total = &totals->slots[i];
        if (!total->used || (total->clicks == 0 && total->other == 0))
            continue;
        if (wrong < room)
            out[wrong] = *total;
        wrong++;
    }
    return wrong;
}
