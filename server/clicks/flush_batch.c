/* See flush_batch.h. The triggers of a recovery (flush_batch_trouble) are explained in
 * server/clicks/README.md; each was found to be needed. */
#include "server/clicks/flush_batch.h"

#include <assert.h>
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/clicks/copy.h"
#include "server/clicks/rollup.h"

/* Makes place for one more element and evaluates to it. Memory that is used up ends the process:
 * the batch is still in Redis. */
#define PUSH(array, count, room)                                                            \
    ((count) == (room)                                                                      \
         ? ((room) = 2 * (room) + 64, (array) = realloc((array), (room) * sizeof *(array)), \
            assert(array), &(array)[(count)++])                                             \
         : &(array)[(count)++])

/* Positions of the parts of read.lua's answer. */
enum {
    READ_READY,
    READ_LAST_SEQ,
    READ_FLUSHED,
    READ_BYTES,
    READ_ENTRIES,
    READ_COMPLETE,
    READ_PARTS
};
enum { ENTRY_ID, ENTRY_ORIGIN, ENTRY_FIRST, ENTRY_LAST, ENTRY_BATCH, ENTRY_PARTS };

void flush_batch_free(struct flush_batch *batch)
{
    flush_batch_clear(batch);
    flush_origins_free(&batch->origins);
    free(batch->rows);
    free(batch->told);
    free(batch->gaps);
    free(batch->refused);
    free(batch->done);
    memset(batch, 0, sizeof *batch);
}

void flush_batch_clear(struct flush_batch *batch)
{
    freeReplyObject(batch->reply);
    batch->reply = NULL;
    flush_origins_clear(&batch->origins);
    batch->ready = batch->complete = batch->unreadable = false;
    batch->row_count = batch->told_count = batch->gap_count = 0;
    batch->refused_count = batch->done_count = 0;
    batch->stream_bytes = batch->duplicates = batch->newest_us = 0;
}

void flush_batch_watermark(struct flush_batch *batch, uint64_t origin, uint64_t seq)
{
    struct flush_origin *known = flush_origins_get(&batch->origins, origin);

    assert(origin != 0 && seq != 0 && known->watermark == 0);
    known->watermark = known->reached = seq;
}

static bool is_list(const redisReply *reply, size_t multiple)
{
    return reply->type == REDIS_REPLY_ARRAY && reply->elements % multiple == 0;
}

/* One of the hashes: origin, seq, origin, seq … */
static bool take_hash(struct flush_batch *batch, const redisReply *hash, bool is_flushed)
{
    for (size_t i = 0; i < hash->elements; i += 2) {
        const redisReply *key = hash->element[i], *value = hash->element[i + 1];
        struct flush_origin *origin;
        uint64_t id, seq;
        if (!flush_parse_number(key->str, key->len, &id))
            return false;
        /* An origin of which nothing is known yet may stand at 0. */
        if (!flush_parse_number(value->str, value->len, &seq)) {
            if (value->len != 1 || value->str[0] != '0')
                return false;
            seq = 0;
        }
        origin = flush_origins_get(&batch->origins, id);
        if (is_flushed)
            origin->flushed = seq;
        else
            origin->last_seq = seq;
    }
    return true;
}

bool flush_batch_open(struct flush_batch *batch, redisReply *reply, int64_t now_us,
                      struct error *error)
{
    assert(!batch->reply);
    batch->reply = reply;
    batch->now_us = now_us;
    if (reply->type == REDIS_REPLY_ERROR)
        return error_set(error, "Redis: %s", reply->str);
    if (!is_list(reply, 1) || reply->elements < READ_PARTS ||
        !is_list(reply->element[READ_LAST_SEQ], 2) || !is_list(reply->element[READ_FLUSHED], 2) ||
        !is_list(reply->element[READ_ENTRIES], 1) ||
        reply->element[READ_BYTES]->type != REDIS_REPLY_STRING)
        return error_set(error, "Redis: read.lua answered in another shape");
    batch->ready = reply->element[READ_READY]->integer == 1;
    batch->complete = reply->element[READ_COMPLETE]->integer == 1;
    batch->stream_bytes = strtoll(reply->element[READ_BYTES]->str, NULL, 10);
    if (!take_hash(batch, reply->element[READ_LAST_SEQ], false) ||
        !take_hash(batch, reply->element[READ_FLUSHED], true))
        batch->unreadable = true;
    return true;
}

static void take_click(struct flush_batch *batch, const struct flush_row *where,
                       const struct click *click)
{
    int64_t time_us = copy_time_us(click->time_us, batch->now_us);
    struct flush_row *row = PUSH(batch->rows, batch->row_count, batch->row_room);

    *row = *where;
    row->link = click->link;
    row->hour = rollup_hour(time_us);
    row->verdict = click->verdict;
    if (time_us > batch->newest_us)
        batch->newest_us = time_us;
}

static void take_told(struct flush_batch *batch, const struct flush_row *where,
                      const struct conversion *conversion)
{
    int64_t time_us = copy_time_us(conversion->time_us, batch->now_us);
    struct flush_told *told = PUSH(batch->told, batch->told_count, batch->told_room);

    *told = (struct flush_told){where->payload, where->length, where->origin, where->seq, false};
    if (time_us > batch->newest_us)
        batch->newest_us = time_us;
}

static void take_gap(struct flush_batch *batch, const struct flush_row *where,
                     const struct flush_gap *what)
{
    struct flush_gap *gap = PUSH(batch->gaps, batch->gap_count, batch->gap_room);

    *gap = *what;
    gap->origin = where->origin;
}

static struct flush_refused *add_refused(struct flush_batch *batch, const struct flush_row *where,
                                         const char *reason)
{
    struct flush_refused *refused = PUSH(batch->refused, batch->refused_count, batch->refused_room);

    memset(refused, 0, sizeof *refused);
    refused->payload = where->payload;
    refused->length = where->length;
    refused->origin = where->origin;
    refused->seq = where->seq;
    snprintf(refused->reason, sizeof refused->reason, "%s", reason);
    return refused;
}

void flush_batch_refuse(struct flush_batch *batch, size_t index, const char *reason)
{
    struct flush_row *row = &batch->rows[index];
    struct flush_refused *refused = add_refused(batch, row, reason);

    assert(!row->refused);
    row->refused = true;
    refused->decoded = true;
    refused->link = row->link;
    refused->human = row->verdict == VERDICT_HUMAN;
}

void flush_batch_refuse_told(struct flush_batch *batch, size_t index, const char *reason)
{
    struct flush_told *told = &batch->told[index];
    const struct flush_row where = {
        .payload = told->payload, .length = told->length, .origin = told->origin, .seq = told->seq};

    assert(!told->refused);
    told->refused = true;
    add_refused(batch, &where, reason);
}

/* The last seq that a record at `seq` stands for; 0 if it makes no sense there. */
static uint64_t record_last(const struct event *event, bool decoded, uint64_t seq)
{
    if (!decoded || event->kind != EVENT_GAP)
        return seq;
    if (event->gap.first != seq || event->gap.last < seq || event->gap.last > INT64_MAX)
        return 0;
    return event->gap.last;
}

/* Takes one record, unless it has been taken over before. `where` says what and where it is; returns
 * the last seq that it stands for, or 0 if it makes no sense there. */
static uint64_t take_record(struct flush_batch *batch, struct flush_row *where)
{
    struct flush_origin *origin = &batch->origins.list[where->origin];
    struct event event;
    struct error error;
    bool decoded = event_decode(where->payload, where->length, &event, &error);
    uint64_t last = record_last(&event, decoded, where->seq);

    if (last <= origin->reached) {
        batch->duplicates += last != 0;
        return last;
    }
    if (decoded && event.kind == EVENT_GAP) {
        uint64_t first = origin->reached + 1;
        take_gap(batch, where,
                 &(struct flush_gap){.first = first,
                                     .last = last,
                                     .count = last - first + 1,
                                     .reason = event.gap.reason});
        origin->gaps += (int64_t)(last - first + 1);
    } else {
        if (!decoded)
            add_refused(batch, where, error.text);
        else if (event.kind == EVENT_CLICK)
            take_click(batch, where, &event.click);
        else if (event.kind == EVENT_CONVERSION)
            take_told(batch, where, &event.conversion);
        else
            take_gap(batch, where,
                     &(struct flush_gap){.lost = true,
                                         .first = last,
                                         .last = last,
                                         .count = event.lost.count,
                                         .episode = event.lost.episode,
                                         .from_us = event.lost.from_us,
                                         .until_us = event.lost.until_us});
        origin->applied++;
    }
    origin->reached = last;
    return last;
}

/* Walks the records of a batch, which must be exactly those of first … last. */
static bool take_records(struct flush_batch *batch, size_t origin, const redisReply *entry,
                         uint64_t first, uint64_t last)
{
    const unsigned char *bytes = (const unsigned char *)entry->element[ENTRY_BATCH]->str;
    size_t left = entry->element[ENTRY_BATCH]->len;
    uint64_t seq = first;

    while (left > 0) {
        struct flush_row where = {.origin = (uint32_t)origin, .seq = seq};
        uint32_t length;
        uint64_t end;
        if (left < sizeof length || seq > last)
            return false;
        memcpy(&length, bytes, sizeof length);
        length = le32toh(length);
        if (length > left - sizeof length)
            return false;
        where.payload = bytes + sizeof length;
        where.length = length;
        end = take_record(batch, &where);
        if (end == 0 || end > last)
            return false;
        seq = end + 1;
        bytes += sizeof length + length;
        left -= sizeof length + length;
    }
    return seq == last + 1;
}

/* Takes an entry that carries on from what was reached; all of it, or nothing of it. */
static void take_entry(struct flush_batch *batch, size_t index, const redisReply *entry,
                       uint64_t first, uint64_t last)
{
    struct flush_origin before = batch->origins.list[index];
    size_t rows = batch->row_count, gaps = batch->gap_count, refused = batch->refused_count;
    size_t told = batch->told_count;
    int64_t duplicates = batch->duplicates;

    if (take_records(batch, index, entry, first, last)) {
        assert(batch->origins.list[index].reached == last);
        return;
    }
    batch->row_count = rows;
    batch->told_count = told;
    batch->gap_count = gaps;
    batch->refused_count = refused;
    batch->duplicates = duplicates;
    batch->origins.list[index] = before;
    batch->origins.list[index].hole = true;
}

static void plan_entry(struct flush_batch *batch, const redisReply *entry)
{
    const redisReply *const *part = (const redisReply *const *)entry->element;
    struct flush_origin *origin;
    uint64_t id, first, last;
    size_t index;

    if (entry->type != REDIS_REPLY_ARRAY || entry->elements != ENTRY_PARTS ||
        !flush_parse_number(part[ENTRY_ORIGIN]->str, part[ENTRY_ORIGIN]->len, &id) ||
        !flush_parse_number(part[ENTRY_FIRST]->str, part[ENTRY_FIRST]->len, &first) ||
        !flush_parse_number(part[ENTRY_LAST]->str, part[ENTRY_LAST]->len, &last) || last < first) {
        batch->unreadable = true;
        return;
    }
    index = flush_origins_find(&batch->origins, id);
    origin = &batch->origins.list[index];
    if (origin->foreign)
        origin->hole = true;
    if (origin->hole)
        return;
    if (last <= origin->reached)
        batch->duplicates += (int64_t)(last - first + 1);
    else if (first > origin->reached + 1)
        origin->hole = true;
    else
        take_entry(batch, index, entry, first, last);
    if (last <= batch->origins.list[index].reached)
        *PUSH(batch->done, batch->done_count, batch->done_room) =
            (struct flush_done){entry, (uint32_t)index};
}

/* Back to what was known before the entries were looked at. */
static void forget_plan(struct flush_batch *batch)
{
    batch->row_count = batch->told_count = batch->gap_count = 0;
    batch->refused_count = batch->done_count = 0;
    batch->duplicates = batch->newest_us = 0;
    for (size_t i = 0; i < batch->origins.count; i++) {
        struct flush_origin *origin = &batch->origins.list[i];
        origin->reached = origin->watermark;
        origin->applied = origin->gaps = 0;
        origin->hole = origin->passed_over;
    }
}

void flush_batch_plan(struct flush_batch *batch)
{
    const redisReply *entries = batch->reply->element[READ_ENTRIES];

    forget_plan(batch);
    for (size_t i = 0; i < entries->elements; i++)
        plan_entry(batch, entries->element[i]);
}

const char *flush_batch_last_id(const struct flush_batch *batch)
{
    const redisReply *entries = batch->reply->element[READ_ENTRIES];

    if (entries->elements == 0)
        return NULL;
    return entries->element[entries->elements - 1]->element[ENTRY_ID]->str;
}

bool flush_batch_empty(const struct flush_batch *batch)
{
    return batch->row_count == 0 && batch->told_count == 0 && batch->gap_count == 0 &&
           batch->refused_count == 0;
}

static const char *origin_trouble(const struct flush_batch *batch,
                                  const struct flush_origin *origin)
{
    if (origin->foreign)
        return NULL;
    if (origin->watermark < origin->flushed)
        return "postgres_went_back";
    if (origin->last_seq < origin->watermark)
        return "redis_went_back";
    if (origin->blocked)
        return NULL;
    if (origin->hole)
        return "hole";
    if (batch->complete && origin->reached < origin->last_seq)
        return "stream_lacks_end";
    return NULL;
}

const char *flush_batch_trouble(const struct flush_batch *batch, uint64_t *origin)
{
    *origin = 0;
    if (!batch->ready)
        return "not_ready";
    if (batch->unreadable)
        return "unreadable";
    for (size_t i = 0; i < batch->origins.count; i++) {
        const char *trouble = origin_trouble(batch, &batch->origins.list[i]);
        if (!trouble)
            continue;
        *origin = batch->origins.list[i].id;
        return trouble;
    }
    return NULL;
}
