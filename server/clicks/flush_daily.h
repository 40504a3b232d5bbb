#pragma once
/* Daily figures: kudos.clicks_daily and kudos.uniques_daily, of days that are over; what is known of
 * the clicks of conversions; and sums of earnings. The flusher of partition 0 has them made, on a
 * connection of its own and without ever waiting for it, so that clicks never do.
 *
 * Each statement is one transaction about one day, some hundred conversions, or a second's work; of
 * several machines one is at work (an advisory lock). What to do is kept in PostgreSQL, so a crash anywhere, here or
 * there, leaves a statement undone or done, and the next one goes on. */
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#define FLUSH_DAILY_EVERY_S 10

/* Zeroed memory is one that has not begun. */
struct flush_daily {
    PGconn *connection; /* NULL: none */
    bool asked;         /* an answer is awaited */
    bool found;         /* something was done in this round, so that there may be more */
    unsigned next;      /* which statement comes next */
    int64_t due_us;
    bool failing; /* said so already */
};

/* Takes an answer that has come, and asks for the next piece of work when it is time. Blocks only
 * while it connects. Failing holds up nothing: it is said, and tried again. */
void flush_daily_step(struct flush_daily *daily, const char *database_url);

/* What becomes readable when an answer comes; -1: none is awaited. */
int flush_daily_socket(const struct flush_daily *daily);

/* Asks PostgreSQL to give up what is under way, and disconnects. */
void flush_daily_close(struct flush_daily *daily);
