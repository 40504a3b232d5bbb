/* See client.h.
 *
 * Open loop: the schedule says when each request is due. One that is due goes out on the connection
 * that has been ready longest; while none is ready it waits, and its intended time stays what it
 * was, so a stall of the server shows for every request that was due during it. How many wait needs
 * no queue: the schedule itself is what is left to send.
 *
 * A turn: what is due is written into connections' buffers, sales before clicks, one send for each
 * connection, then events. */
#include "loadtest/client.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "loadtest/connection.h"

#define TICK_US  (50 * US_PER_MS)
#define TURN_MAX 1024 /* requests before events are looked at again */

static bool is_over(const struct client *client, int64_t now)
{
    return now >= client->plan->length_us || *client->plan->stop;
}

static bool is_sale_due(const struct client *client, int64_t now)
{
    int64_t due = sales_due_us(client->sales);

    return due >= 0 && due <= now;
}

/* Sends what is due, as far as connections are ready. */
static void send_due(struct client *client)
{
    int64_t now = now_us(client);

    for (int i = 0; i < TURN_MAX && !TAILQ_EMPTY(&client->ready); i++) {
        if (is_sale_due(client, now)) {
            connection_send_sale(TAILQ_FIRST(&client->ready), now);
            continue;
        }
        if (client->plan->closed_loop && now >= 0)
            client->due_us = is_over(client, now) ? -1 : now;
        if (client->due_us < 0 || client->due_us > now)
            break;
        connection_send_click(TAILQ_FIRST(&client->ready), client->due_us, now);
        if (!client->plan->closed_loop)
            client->due_us = schedule_next(client->schedule);
    }
    connections_send(client);
}

/* Requests that are due and wait; a copy of the schedule says it. */
static int64_t count_waiting(const struct client *client, int64_t now, struct latency *into)
{
    struct schedule rest = *client->schedule;
    int64_t count = 0;

    if (client->plan->closed_loop)
        return 0;
    for (int64_t due = client->due_us; due >= 0 && due <= now; due = schedule_next(&rest)) {
        count++;
        if (into)
            latency_add(into, now - due);
    }
    return count;
}

static void look_after_connections(struct client *client, int64_t now)
{
    for (unsigned i = 0; i < client->plan->connections; i++) {
        struct connection *connection = &client->connections[i];

        if (connection->count > 0 &&
            now - connection->pending[connection->first].sent_us > client->plan->timeout_us)
            connection_close(connection, &client->figures->timed_out);
        if (connection->resting) {
            connection->resting = false;
            connection_set_ready(connection);
        }
    }
}

/* Upkeep, some times a second. */
static void tick(struct client *client)
{
    int64_t now = now_us(client);

    if (now - client->ticked_us < TICK_US)
        return;
    client->ticked_us = now;
    look_after_connections(client, now);
    client->figures->backlog = count_waiting(client, now, NULL);
    if (*client->plan->stop && client->due_us > now)
        client->due_us = -1;
}

static void on_timer(int fd, short what, void *owner)
{
    (void)fd;
    (void)what;
    (void)owner; /* it only ends the wait */
}

/* Waits for events: until the next request is due if it could be sent, at most for a tick. */
static void wait_for_events(struct client *client)
{
    int64_t wait = TICK_US, due = client->due_us, sale = sales_due_us(client->sales);
    struct timeval time;

    if (client->plan->closed_loop)
        due = TAILQ_EMPTY(&client->ready) ? -1 : client->due_us;
    if (sale >= 0 && (due < 0 || sale < due))
        due = sale;
    if (due >= 0 && !TAILQ_EMPTY(&client->ready) && due - now_us(client) < wait)
        wait = due - now_us(client);
    if (wait > 0) {
        time = (struct timeval){0, wait};
        event_add(&client->timer, &time);
    }
    event_base_loop(client->base, EVLOOP_ONCE | (wait > 0 ? 0 : EVLOOP_NONBLOCK));
}

static void turn_until_done(struct client *client)
{
    const struct client_plan *plan = client->plan;
    int64_t end = plan->length_us + client->sales->plan->delay_us + plan->timeout_us, now;

    for (;;) {
        send_due(client);
        wait_for_events(client);
        tick(client);
        now = now_us(client);
        if (*plan->stop && now + plan->timeout_us < end)
            end = now + plan->timeout_us;
        if (client->figures->busy == 0 && client->due_us < 0 &&
            (*plan->stop || (now > 0 && sales_due_us(client->sales) < 0)))
            break;
        if (now > end)
            break;
    }
    client->figures->not_sent = count_waiting(client, now, &client->figures->intended);
    client->figures->backlog = 0;
}

static bool open_client(struct client *client, struct error *error)
{
    const struct client_plan *plan = client->plan;
    struct event_config *config = event_config_new();

    assert(config && plan->connections > 0 && plan->pipeline > 0);
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_PRECISE_TIMER);
    client->base = event_base_new_with_config(config);
    event_config_free(config);
    if (!client->base)
        return error_set(error, "no event loop");
    event_assign(&client->timer, client->base, -1, 0, on_timer, NULL);
    client->connections = calloc(plan->connections, sizeof *client->connections);
    client->dirty = calloc(plan->connections, sizeof(struct connection *));
    assert(client->connections && client->dirty);
    TAILQ_INIT(&client->ready);
    for (unsigned i = 0; i < plan->connections; i++) {
        struct connection *connection = &client->connections[i];
        connection->client = client;
        connection->pending = calloc(plan->pipeline, sizeof *connection->pending);
        assert(connection->pending);
        connection_set_ready(connection);
    }
    return true;
}

static void close_client(struct client *client)
{
    for (unsigned i = 0; client->connections && i < client->plan->connections; i++) {
        struct connection *connection = &client->connections[i];
        connection_close(connection, &client->figures->timed_out);
        free(connection->pending);
        free(connection->out);
    }
    free(client->connections);
    free(client->dirty);
    if (client->base)
        event_base_free(client->base);
    free(client);
}

bool client_run(const struct client_plan *plan, struct schedule *schedule, struct traffic *traffic,
                struct figures *figures, struct answers *answers, struct sales *sales,
                struct error *error)
{
    struct client *client = calloc(1, sizeof *client);
    bool good;

    assert(client);
    client->plan = plan;
    client->schedule = schedule;
    client->traffic = traffic;
    client->figures = figures;
    client->answers = answers;
    client->sales = sales;
    client->param_length = strlen(plan->click_id_param);
    good = open_client(client, error);
    if (good) {
        client->due_us = plan->closed_loop ? 0 : schedule_next(schedule);
        turn_until_done(client);
    }
    close_client(client);
    return good;
}
