/* See figures.h. */
#include "loadtest/figures.h"

void figures_merge(struct figures *into, const struct figures *from)
{
    into->sent += from->sent;
    into->answered += from->answered;
    for (int i = 0; i < FIGURES_STATUSES; i++)
        into->statuses[i] += from->statuses[i];
    into->bytes_out += from->bytes_out;
    into->bytes_in += from->bytes_in;
    into->connections += from->connections;
    into->busy += from->busy;
    into->backlog += from->backlog;
    into->not_connected += from->not_connected;
    into->broken += from->broken;
    into->timed_out += from->timed_out;
    into->not_sent += from->not_sent;
    latency_merge(&into->intended, &from->intended);
    latency_merge(&into->sent_at, &from->sent_at);
}

int64_t figures_errors(const struct figures *figures)
{
    return figures->not_connected + figures->broken + figures->timed_out + figures->not_sent;
}
