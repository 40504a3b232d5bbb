/* The round of a redirect process; see worker.h.
 *
 * A click is in the journal's file before its reply is handed to the kernel. Where that fails (the
 * disk is full) the visitor is sent on all the same, but without a click id, and the loss is
 * counted. A conversion that is not stored is no success: its answer is replaced by one that says to
 * tell it again. A crash between the write and the sending leaves clicks that were recorded and not
 * answered, never the other way round. */
#include <assert.h>
#include <string.h>

#include "server/metrics.h"
#include "server/redirect/connection.h"
#include "server/redirect/visit.h"
#include "shared/crash.h"

void worker_begin_round(struct worker *worker)
{
    struct round *round = &worker->round;

    if (round->open)
        return;
    assert(round->used == 0 && round->connection_count == 0 && round->click_count == 0);
    round->open = true;
    round->mono_us = clock_mono_us();
    round->wall_us = clock_wall_us();
    reply_set_time(&worker->replies, round->wall_us);
    replica_begin(worker->replica);
    visit_follow_day(worker);
}

bool worker_has_room(const struct worker *worker)
{
    const struct round *round = &worker->round;

    return round->size - round->used >= worker->reply_bytes_max &&
           round->connection_count < ROUND_CONNECTIONS_MAX &&
           (round->click_count == 0 || journal_next_seq(worker->journal) != 0);
}

/* Takes the click's id out of the reply that is waiting to be sent. */
static void strip_id(struct round *round, const struct round_click *click)
{
    struct connection *connection = click->connection;
    size_t end = connection->out_at + connection->out_length;
    size_t left;

    assert(click->mark.at > connection->out_at && end <= round->used);
    left = location_strip(&click->mark, round->bytes, end);
    connection->out_length -= end - left;
}

/* Puts "tell it again" in the place of the answer to a conversion; it is never longer. */
static void take_back(struct worker *worker, const struct round_click *told)
{
    const struct decision decision = {.answer = ANSWER_TOLD_LOST};
    struct round *round = &worker->round;
    struct connection *connection = told->connection;
    size_t end = connection->out_at + connection->out_length;
    size_t behind = told->mark.at + told->mark.length, length;
    char reply[REPLY_HEAD_MAX];
    struct location_mark mark;

    length = reply_write(&worker->replies, &decision, (enum reply_connection)told->said, false,
                         NULL, reply, &mark);
    assert(length <= told->mark.length && behind <= end);
    memcpy(round->bytes + told->mark.at, reply, length);
    memmove(round->bytes + told->mark.at + length, round->bytes + behind, end - behind);
    connection->out_length -= told->mark.length - length;
    metrics->requests_total[metrics_status_index(answer_status((enum answer)told->answer))]--;
    metrics->requests_total[metrics_status_index(answer_status(ANSWER_TOLD_LOST))]++;
    metrics->conversions_told_total--;
    metrics->conversions_unavailable_total++;
}

/* Writes the journal; makes sure that nobody gets the id of a click that is not in it. */
static void commit(struct worker *worker)
{
    struct round *round = &worker->round;
    uint64_t stored = journal_commit(worker->journal);

    /* from the last to the first, so that the places of those before stay right */
    for (unsigned i = round->click_count; i > 0 && round->clicks[i - 1].seq > stored; i--) {
        const struct round_click *click = &round->clicks[i - 1];

        if (click->told)
            take_back(worker, click);
        else if (click->mark.length > 0)
            strip_id(round, click);
        round->lost += !click->told;
    }
    journal_count_lost(worker->journal, round->lost, round->wall_us);
}

static void send_all(struct worker *worker)
{
    struct round *round = &worker->round;
    int64_t now_us;

    for (unsigned i = 0; i < round->connection_count; i++)
        connection_send(round->connections[i]);
    now_us = round->connection_count > 0 ? clock_mono_us() : 0;
    for (unsigned i = 0; i < round->connection_count; i++)
        connection_count_answers(round->connections[i], now_us);
}

void worker_finish_round(struct worker *worker)
{
    struct round *round = &worker->round;

    if (!round->open)
        return;
    if (round->click_count > 0 || round->lost > 0) {
        CRASH_POINT("redirect_before_commit");
        commit(worker);
        CRASH_POINT("redirect_after_commit");
    }
    send_all(worker);
    if (round->click_count > 0)
        CRASH_POINT("redirect_after_send");
    round->open = false;
    round->used = 0;
    round->connection_count = round->click_count = 0;
    round->lost = 0;
    connections_free_retired(worker);
    replica_end(worker->replica);
}
