#pragma once
/* A role is one single-threaded child process of the supervisor. Its entry function runs after
 * fork in a process of its own; it returns the exit status when it has stopped.
 *
 * Signals of a role: SIGTERM: stop in order and return 0; SIGHUP: settings were reloaded. Both are
 * blocked at entry; role_signals() gives a signalfd that a loop can watch. A role also gets SIGTERM
 * when its supervisor dies. */
#include <stdbool.h>
#include <stdint.h>

#include "server/conversions/click_id.h"
#include "server/metrics.h"
#include "server/settings.h"

struct role_context {
    struct settings settings;  /* this process' own copy; role_reload() renews it */
    const char *settings_path; /* NULL: none */
    unsigned slot; /* 0 … among processes of the same role (worker number, partition) */
    int listen_fd; /* redirect, admin: the inherited listening socket; else -1 */
    int hooks_fd;  /* admin: the inherited socket for webhooks; else -1 */
    unsigned char secret[CLICK_ID_SECRET_BYTES];
    struct metrics_board *board;
};

int redirect_run(struct role_context *context);
int sync_run(struct role_context *context);
int ship_run(struct role_context *context);
int flush_run(struct role_context *context);
int admin_run(struct role_context *context);

/* Tells the supervisor that this process serves (idempotent). */
void role_ready(void);

/* What a pending signal asks for. */
enum role_order { ROLE_CONTINUE, ROLE_RELOAD, ROLE_STOP };

/* The signalfd (non-blocking) for SIGTERM and SIGHUP; made at the first call. */
int role_signals(void);

/* Reads one pending order without blocking; ROLE_CONTINUE if there is none. After ROLE_STOP has
 * been read it stays ROLE_STOP. */
enum role_order role_poll(void);

/* Sleeps at most `ms`, or until an order is pending or `fd` (-1: none) is readable. Returns the
 * order, as role_poll(). */
enum role_order role_sleep(int64_t ms, int fd);

/* Reads the settings again after ROLE_RELOAD; keeps the old ones and logs why if they are bad. */
void role_reload(struct role_context *context);
