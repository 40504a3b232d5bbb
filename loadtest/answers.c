/* See answers.h. */
#include "loadtest/answers.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "loadtest/memory.h"
#include "server/conversions/click_id.h"

static_assert(ANSWERS_ID_LENGTH == CLICK_ID_LENGTH, "a click id");

struct answers *answers_open(size_t ids_max, size_t link_count, struct error *error)
{
    struct answers *answers = memory_share(sizeof *answers);

    assert(link_count > 0);
    if (answers) {
        answers->ids = memory_share((ids_max + 1) * sizeof *answers->ids);
        answers->links = memory_share(link_count * sizeof *answers->links);
        answers->most = ids_max;
        answers->link_count = link_count;
        if (answers->ids && answers->links)
            return answers;
    }
    error_set(error, "no memory for %zu click ids: %s", ids_max, strerror(errno));
    return NULL;
}

void answers_expect(struct answers *answers, size_t link, uint64_t id)
{
    assert(link < answers->link_count);
    answers->links[link].id = id;
}

void answers_add(struct answers *answers, size_t link, struct text id)
{
    struct answers_link *of = &answers->links[link];
    struct click_id read;

    assert(link < answers->link_count);
    if (id.length == 0) {
        answers->without_id++;
        of->without_id++;
        return;
    }
    if (!click_id_read(id.bytes, id.length, &read)) {
        answers->not_an_id++;
        of->without_id++;
        return;
    }
    if (of->id == 0)
        of->id = read.link;
    answers->other_link += of->id != read.link;
    of->answered++;
    answers->with_id++;
    if (answers->first_us == 0 || read.time_us < answers->first_us)
        answers->first_us = read.time_us;
    if (read.time_us > answers->last_us)
        answers->last_us = read.time_us;
    if (answers->count < answers->most)
        memcpy(answers->ids[answers->count++], id.bytes, CLICK_ID_LENGTH);
}

void answers_miss(struct answers *answers, size_t link)
{
    assert(link < answers->link_count);
    answers->links[link].unanswered++;
}
