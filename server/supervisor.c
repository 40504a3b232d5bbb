/* The supervisor: `kudos serve`. It opens the listening sockets, forks one process per slot, starts
 * again what dies, and stops everything in the order that loses nothing.
 *
 * Guarantees: a redirect socket outlives its worker, so connections that were queued when a worker
 * died are served by its successor. The first restart of a slot is at once; only after three deaths
 * within 10 s do delays grow (to 5 s), and the socket of a redirect slot that is held back is closed
 * so that its share goes to the others, unless it is the last. On SIGTERM or SIGINT: redirect, sync
 * and admin finish what is in flight and leave, then ship empties the journal, then flush empties
 * Redis; what has not ended after stop_timeout_ms is killed, and the journal keeps what is left.
 *
 * The supervisor itself touches no store and no click. If it is killed, its children get SIGTERM
 * from the kernel and stop by themselves. */
#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/http.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/admin/health.h"
#include "server/commands.h"
#include "server/priority.h"
#include "server/role.h"
#include "shared/address.h"
#include "shared/clock.h"
#include "shared/log.h"

#define LISTEN_BACKLOG       4096
#define DEATHS_REMEMBERED    3
#define DEATHS_WINDOW_US     (10 * US_PER_SECOND)
#define RESTART_DELAY_MIN_US (100 * US_PER_MS)
#define RESTART_DELAY_MAX_US (5 * US_PER_SECOND)
#define TICK_MS              20
#define HOOKS_LISTEN_DEFAULT "127.0.0.1:8082" /* as in settings_table.h */

/* In the order in which they are stopped; `phase` says together with whom. */
static const struct role {
    const char *name;
    int (*run)(struct role_context *);
    int stop_phase;
    bool exclusive; /* one process tree per data_dir may run it */
    enum priority priority;
} roles[] = {
    {"redirect", redirect_run, 0, true, PRIORITY_VISITORS},
    {"sync", sync_run, 0, true, PRIORITY_PEOPLE},
    {"admin", admin_run, 0, false, PRIORITY_PEOPLE},
    {"ship", ship_run, 1, true, PRIORITY_LATER},
    {"flush", flush_run, 2, false, PRIORITY_LATER},
};
#define ROLE_COUNT  ((int)(sizeof roles / sizeof roles[0]))
#define STOP_PHASES 3

/* One child process and its place; lives as long as the supervisor. */
struct child {
    const struct role *role;
    unsigned number; /* among those of its role */
    pid_t pid;       /* 0: not running */
    int listen_fd;   /* -1: none, or closed while held back */
    int64_t deaths_us[DEATHS_REMEMBERED];
    int64_t delay_us;
    int64_t start_at_us; /* when held back; 0: not */
    struct metrics_slot *slot;
};

struct supervisor {
    struct role_context context;
    bool wanted[ROLE_COUNT];
    struct child *children;
    size_t child_count;
    int admin_fd;
    int hooks_fd; /* -1: this machine does not run admin */
    int signals;
    int stop_phase; /* -1: serving */
    int64_t stop_deadline_us;
    struct event_base *base;
};

static bool parse_roles(const char *list, bool wanted[ROLE_COUNT], struct error *error)
{
    char copy[128], *rest = copy, *name;

    snprintf(copy, sizeof copy, "%s", list);
    while ((name = strsep(&rest, ","))) {
        int i = 0;

        while (i < ROLE_COUNT && strcmp(roles[i].name, name) != 0)
            i++;
        if (i == ROLE_COUNT)
            return error_set(error, "--roles: \"%s\" is none of redirect, sync, ship, flush, admin",
                             name);
        wanted[i] = true;
    }
    return true;
}

static unsigned count_of(const struct role *role, const struct settings *settings)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);

    if (role->run == redirect_run)
        return settings->workers > 0 ? (unsigned)settings->workers
                                     : (unsigned)(processors > 0 ? processors : 1);
    return role->run == flush_run ? (unsigned)settings->partitions : 1;
}

/* Two supervisors with one data_dir would fight over replica and journals. */
static bool lock_roles(struct supervisor *supervisor, struct error *error)
{
    const char *data_dir = supervisor->context.settings.data_dir;

    for (int i = 0; i < ROLE_COUNT; i++) {
        char path[SETTING_TEXT_MAX + 32];
        int fd;

        if (!supervisor->wanted[i] || !roles[i].exclusive)
            continue;
        snprintf(path, sizeof path, "%s/lock.%s", data_dir, roles[i].name);
        fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0640);
        if (fd < 0)
            return error_set(error, "%s: %s", path, strerror(errno));
        if (flock(fd, LOCK_EX | LOCK_NB) < 0)
            return error_set(error, "data_dir %s: another kudos runs role %s there", data_dir,
                             roles[i].name);
        /* Held, and never closed, for the supervisor's life; children close their copies. */
    }
    return true;
}

static bool make_data_dir(const char *path, struct error *error)
{
    char partial[SETTING_TEXT_MAX];

    snprintf(partial, sizeof partial, "%s", path);
    for (char *slash = strchr(partial + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(partial, 0755); /* what is missing shows in the last one */
        *slash = '/';
    }
    if (mkdir(path, 0750) < 0 && errno != EEXIST)
        return error_set(error, "data_dir %s: %s", path, strerror(errno));
    return true;
}

static void add_children(struct supervisor *supervisor)
{
    struct metrics_board *board;
    size_t count = 0;

    for (int i = 0; i < ROLE_COUNT; i++)
        if (supervisor->wanted[i])
            count += count_of(&roles[i], &supervisor->context.settings);
    board = metrics_board_new(count);
    supervisor->children = calloc(count, sizeof *supervisor->children);
    assert(board && supervisor->children);
    supervisor->context.board = board;
    for (int i = 0; i < ROLE_COUNT; i++) {
        unsigned processes =
            supervisor->wanted[i] ? count_of(&roles[i], &supervisor->context.settings) : 0;

        for (unsigned number = 0; number < processes; number++) {
            struct child *child = &supervisor->children[supervisor->child_count];

            *child = (struct child){.role = &roles[i], .number = number, .listen_fd = -1};
            child->slot = &board->slots[supervisor->child_count++];
            snprintf(child->slot->role, sizeof child->slot->role, "%s", roles[i].name);
        }
    }
}

/* SO_REUSEPORT would let a second service share the port without a word: ask without it first. */
static bool open_redirect_sockets(struct supervisor *supervisor, struct error *error)
{
    const char *listen = supervisor->context.settings.listen;
    int probe = address_listen(listen, false, 1, error);

    if (probe < 0)
        return false;
    close(probe);
    for (size_t i = 0; i < supervisor->child_count; i++) {
        struct child *child = &supervisor->children[i];

        if (child->role->run != redirect_run)
            continue;
        child->listen_fd = address_listen(listen, true, LISTEN_BACKLOG, error);
        if (child->listen_fd < 0)
            return false;
    }
    return true;
}

/* Webhooks are answered by admin alone. Where nobody chose the address, and somebody else has it, the
 * rest of the service matters more, as after an upgrade from a version that took none. */
static bool open_hooks_socket(struct supervisor *supervisor, struct error *error)
{
    const char *address = supervisor->context.settings.hooks_listen;
    bool wanted = false;

    for (int i = 0; i < ROLE_COUNT; i++)
        wanted = wanted || (supervisor->wanted[i] && roles[i].run == admin_run);
    supervisor->hooks_fd = wanted ? address_listen(address, false, LISTEN_BACKLOG, error) : -1;
    if (!wanted || supervisor->hooks_fd >= 0)
        return true;
    if (strcmp(address, HOOKS_LISTEN_DEFAULT) != 0)
        return error_prefix(error, "hooks_listen");
    log_error("hooks_not_taken", "error=%s", error->text);
    return true;
}

static bool open_sockets(struct supervisor *supervisor, struct error *error)
{
    if (supervisor->wanted[0] && !open_redirect_sockets(supervisor, error))
        return error_prefix(error, "listen");
    supervisor->admin_fd =
        address_listen(supervisor->context.settings.admin_listen, false, LISTEN_BACKLOG, error);
    if (supervisor->admin_fd < 0)
        return error_prefix(error, "admin_listen");
    for (size_t i = 0; i < supervisor->child_count; i++)
        if (supervisor->children[i].role->run == admin_run)
            supervisor->children[i].listen_fd = supervisor->admin_fd;
    return open_hooks_socket(supervisor, error);
}

/* Everything from `from` up to `keep` (-1: to the end). Returns what follows. */
static unsigned close_up_to(unsigned from, int keep)
{
    if (keep < 0)
        close_range(from, ~0u, 0);
    else if ((unsigned)keep > from)
        close_range(from, (unsigned)keep - 1, 0);
    return (unsigned)keep + 1;
}

/* Everything but standard streams, `keep` and `also` (-1: none): a child must not hold another's
 * socket or a lock. */
static void close_others(int keep, int also)
{
    int first = also >= 0 && also < keep ? also : keep, second = first == keep ? also : keep;
    unsigned from = 3;

    if (first >= 0)
        from = close_up_to(from, first);
    if (second >= 0)
        from = close_up_to(from, second);
    close_up_to(from, -1);
}

static _Noreturn void become(struct supervisor *supervisor, struct child *child, pid_t parent)
{
    char name[16];
    sigset_t blocked;
    int hooks_fd;

    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(0); /* the supervisor died before the line above */
    snprintf(name, sizeof name, "kudos-%s", child->role->name);
    prctl(PR_SET_NAME, name);
    signal(SIGINT, SIG_IGN); /* Ctrl-C goes to the whole group; the supervisor decides */
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGHUP);
    sigprocmask(SIG_SETMASK, &blocked, NULL);
    hooks_fd = child->role->run == admin_run ? supervisor->hooks_fd : -1;
    close_others(child->listen_fd, hooks_fd);
    log_open(child->role->name, settings_log_level(&supervisor->context.settings));
    metrics_use(child->slot);
    priority_set(child->role->priority);
    supervisor->context.slot = child->number;
    supervisor->context.listen_fd = child->listen_fd;
    supervisor->context.hooks_fd = hooks_fd;
    exit(child->role->run(&supervisor->context));
}

static void start(struct supervisor *supervisor, struct child *child)
{
    struct error error;
    pid_t parent = getpid(), pid;

    if (child->role->run == redirect_run && child->listen_fd < 0) {
        child->listen_fd =
            address_listen(supervisor->context.settings.listen, true, LISTEN_BACKLOG, &error);
        if (child->listen_fd < 0) {
            log_error("listen_failed", "error=%s", error.text);
            child->start_at_us = clock_mono_us() + RESTART_DELAY_MAX_US;
            return;
        }
    }
    child->start_at_us = 0;
    pid = fork();
    if (pid == 0)
        become(supervisor, child, parent);
    if (pid < 0) {
        log_error("fork_failed", "child=%s error=%s", child->role->name, strerror(errno));
        child->start_at_us = clock_mono_us() + RESTART_DELAY_MIN_US;
        return;
    }
    child->pid = pid;
    child->slot->pid = pid;
    log_debug("started", "child=%s number=%u pid=%d", child->role->name, child->number, pid);
}

static bool is_last_redirect(const struct supervisor *supervisor, const struct child *child)
{
    for (size_t i = 0; i < supervisor->child_count; i++) {
        const struct child *other = &supervisor->children[i];

        if (other != child && other->role == child->role && other->pid && other->listen_fd >= 0)
            return false;
    }
    return true;
}

/* Decides when a dead child starts again: at once, unless it keeps dying. */
static void schedule_restart(struct supervisor *supervisor, struct child *child)
{
    int64_t now = clock_mono_us();
    bool keeps_dying = child->deaths_us[DEATHS_REMEMBERED - 2] != 0 &&
                       now - child->deaths_us[DEATHS_REMEMBERED - 2] < DEATHS_WINDOW_US;

    memmove(&child->deaths_us[1], &child->deaths_us[0],
            (DEATHS_REMEMBERED - 1) * sizeof child->deaths_us[0]);
    child->deaths_us[0] = now;
    if (!keeps_dying)
        child->delay_us = 0;
    else if (child->delay_us == 0)
        child->delay_us = RESTART_DELAY_MIN_US;
    else if ((child->delay_us *= 2) > RESTART_DELAY_MAX_US)
        child->delay_us = RESTART_DELAY_MAX_US;
    child->slot->restarts++;
    child->start_at_us = now + child->delay_us;
    if (child->delay_us == 0) {
        start(supervisor, child);
    } else if (child->role->run == redirect_run && !is_last_redirect(supervisor, child)) {
        close(child->listen_fd);
        child->listen_fd = -1;
    }
}

static struct child *find_child(struct supervisor *supervisor, pid_t pid)
{
    for (size_t i = 0; i < supervisor->child_count; i++)
        if (supervisor->children[i].pid == pid)
            return &supervisor->children[i];
    return NULL;
}

static void reap(struct supervisor *supervisor)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct child *child = find_child(supervisor, pid);

        if (!child)
            continue;
        child->pid = 0;
        child->slot->pid = 0;
        child->slot->ready = 0;
        if (supervisor->stop_phase >= 0)
            continue;
        log_warn("child_died", "child=%s number=%u pid=%d signal=%d status=%d", child->role->name,
                 child->number, pid, WIFSIGNALED(status) ? WTERMSIG(status) : 0,
                 WIFEXITED(status) ? WEXITSTATUS(status) : 0);
        schedule_restart(supervisor, child);
    }
}

static void signal_children(struct supervisor *supervisor, int phase, int signal_number)
{
    for (size_t i = 0; i < supervisor->child_count; i++) {
        struct child *child = &supervisor->children[i];

        if (child->pid && (phase < 0 || child->role->stop_phase == phase))
            kill(child->pid, signal_number);
    }
}

static bool phase_is_over(const struct supervisor *supervisor, int phase)
{
    for (size_t i = 0; i < supervisor->child_count; i++)
        if (supervisor->children[i].pid && supervisor->children[i].role->stop_phase <= phase)
            return false;
    return true;
}

static void begin_stop(struct supervisor *supervisor)
{
    if (supervisor->stop_phase >= 0) {
        log_warn("stop_forced");
        supervisor->stop_deadline_us = 0; /* asked twice: do not wait */
        return;
    }
    log_info("stopping");
    supervisor->stop_phase = 0;
    supervisor->stop_deadline_us =
        clock_mono_us() + supervisor->context.settings.stop_timeout_ms * US_PER_MS;
    signal_children(supervisor, 0, SIGTERM);
}

static void continue_stop(struct supervisor *supervisor)
{
    while (supervisor->stop_phase < STOP_PHASES &&
           phase_is_over(supervisor, supervisor->stop_phase)) {
        supervisor->stop_phase++;
        signal_children(supervisor, supervisor->stop_phase, SIGTERM);
    }
    if (supervisor->stop_phase == STOP_PHASES) {
        event_base_loopbreak(supervisor->base);
    } else if (clock_mono_us() > supervisor->stop_deadline_us) {
        log_warn("stop_timeout", "phase=%d", supervisor->stop_phase);
        signal_children(supervisor, -1, SIGKILL);
    }
}

static void reload(struct supervisor *supervisor)
{
    role_reload(&supervisor->context); /* says why if they are bad; children find the same */
    signal_children(supervisor, -1, SIGHUP);
}

static void on_signal(evutil_socket_t fd, short what, void *argument)
{
    struct supervisor *supervisor = argument;
    struct signalfd_siginfo info;

    (void)what;
    while (read((int)fd, &info, sizeof info) == sizeof info) {
        switch (info.ssi_signo) {
        case SIGCHLD: reap(supervisor); break;
        case SIGHUP: reload(supervisor); break;
        default: begin_stop(supervisor);
        }
    }
    if (supervisor->stop_phase >= 0)
        continue_stop(supervisor);
}

/* Starts what was held back; watches the deadline of a stop. */
static void on_tick(evutil_socket_t fd, short what, void *argument)
{
    struct supervisor *supervisor = argument;
    int64_t now = clock_mono_us();

    (void)fd;
    (void)what;
    if (supervisor->stop_phase >= 0) {
        continue_stop(supervisor);
        return;
    }
    for (size_t i = 0; i < supervisor->child_count; i++) {
        struct child *child = &supervisor->children[i];

        if (!child->pid && child->start_at_us && now >= child->start_at_us)
            start(supervisor, child);
    }
}

static int open_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

/* Where no admin process answers on admin_listen, the supervisor does, for its own children. */
static bool serve_health(struct supervisor *supervisor)
{
    struct evhttp *http;

    if (supervisor->admin_fd < 0)
        return true;
    for (int i = 0; i < ROLE_COUNT; i++)
        if (supervisor->wanted[i] && roles[i].run == admin_run)
            return true;
    http = evhttp_new(supervisor->base);
    if (!http || evhttp_accept_socket(http, supervisor->admin_fd) < 0)
        return false;
    health_register(http, supervisor->context.board);
    return true;
}

static int supervise(struct supervisor *supervisor)
{
    struct event *signals, *tick;
    struct timeval interval = {.tv_usec = TICK_MS * 1000};

    supervisor->base = event_base_new();
    assert(supervisor->base);
    signals = event_new(supervisor->base, supervisor->signals, EV_READ | EV_PERSIST, on_signal,
                        supervisor);
    tick = event_new(supervisor->base, -1, EV_PERSIST, on_tick, supervisor);
    if (!serve_health(supervisor)) {
        log_error("health_failed");
        return 1;
    }
    event_add(signals, NULL);
    event_add(tick, &interval);
    for (size_t i = 0; i < supervisor->child_count; i++)
        start(supervisor, &supervisor->children[i]);
    log_info("serving", "version=%s listen=%s admin_listen=%s data_dir=%s", KUDOS_VERSION,
             supervisor->context.settings.listen, supervisor->context.settings.admin_listen,
             supervisor->context.settings.data_dir);
    event_base_dispatch(supervisor->base);
    log_info("stopped");
    return 0;
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static bool prepare(struct supervisor *supervisor, struct error *error)
{
    struct role_context *context = &supervisor->context;
    char secret_path[SETTING_TEXT_MAX + 16];

    if (!make_data_dir(context->settings.data_dir, error) || !lock_roles(supervisor, error))
        return false;
    snprintf(secret_path, sizeof secret_path, "%s/secret", context->settings.data_dir);
    if (!click_id_load_secret(context->settings.secret_file[0] ? context->settings.secret_file
                                                               : secret_path,
                              context->secret, error))
        return false;
    add_children(supervisor);
    return open_sockets(supervisor, error);
}

int serve_command(int argc, char **argv, const struct settings *settings)
{
    static struct supervisor supervisor = {.admin_fd = -1, .stop_phase = -1};
    static const struct option options[] = {{"roles", required_argument, NULL, 'r'}, {0}};
    const char *list = "redirect,sync,ship,flush,admin";
    struct error error;
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option != 'r')
            return 2;
        list = optarg;
    }
    supervisor.context.settings = *settings;
    supervisor.context.settings_path = settings_path();
    log_open("supervisor", settings_log_level(settings));
    raise_descriptor_limit();
    if (!parse_roles(list, supervisor.wanted, &error) || !prepare(&supervisor, &error)) {
        fprintf(stderr, "kudos: %s\n", error.text);
        return 2;
    }
    supervisor.signals = open_signals();
    return supervise(&supervisor);
}
