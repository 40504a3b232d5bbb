/* See role.h: signals of a child process as readable orders, and its settings.
 *
 * Signals stay blocked all the time and are read from a signalfd, so no code runs in a handler. */
#include "server/role.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "shared/clock.h"
#include "shared/log.h"

static int signal_fd = -1;
static bool stopping;

void role_ready(void)
{
    if (!metrics_slot->ready)
        log_info("ready");
    __atomic_store_n(&metrics_slot->ready, 1, __ATOMIC_RELEASE);
}

int role_signals(void)
{
    sigset_t set;

    if (signal_fd >= 0)
        return signal_fd;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    assert(signal_fd >= 0);
    return signal_fd;
}

enum role_order role_poll(void)
{
    struct signalfd_siginfo info;

    if (stopping)
        return ROLE_STOP;
    if (read(role_signals(), &info, sizeof info) != sizeof info)
        return ROLE_CONTINUE;
    if (info.ssi_signo == SIGHUP)
        return ROLE_RELOAD;
    stopping = true;
    return ROLE_STOP;
}

enum role_order role_sleep(int64_t ms, int fd)
{
    struct pollfd fds[2] = {{.fd = role_signals(), .events = POLLIN}, {.fd = fd, .events = POLLIN}};

    if (stopping)
        return ROLE_STOP;
    if (poll(fds, fd >= 0 ? 2 : 1, ms > 0 ? (int)ms : 0) < 0 && errno != EINTR)
        log_warn("poll_failed", "error=%s", strerror(errno));
    return role_poll();
}

void role_reload(struct role_context *context)
{
    struct settings renewed;
    struct error error;
    char names[512];

    if (!settings_load(context->settings_path, &renewed, &error)) {
        log_error("reload_refused", "error=%s", error.text);
        return;
    }
    if (settings_restart_needed(&context->settings, &renewed, names, sizeof names) > 0)
        log_warn("reload_needs_restart", "settings=%s", names);
    context->settings = renewed;
    log_set_level(settings_log_level(&renewed));
    log_info("reloaded");
}
