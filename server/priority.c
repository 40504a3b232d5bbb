/* See priority.h.
 *
 * Visitors are served first where the kernel allows it: by a higher weight (a limit of the service
 * manager, RLIMIT_NICE, is enough; no privilege is needed), and by short slices. A process that wakes
 * up may otherwise have to let the one that runs finish its slice (3 ms by default), and PostgreSQL
 * and Redis run in bursts of that length. Since Linux 6.12 a process that asks for a shorter slice
 * interrupts those with longer ones; it gets no more time by it, only sooner. Older kernels ignore
 * the wish.
 *
 * A weight counts only among the processes of a scheduling group. Where nobody has made groups (a
 * service manager with CPUWeight=, a container), Linux makes one for each session and gives all the
 * same share: Redis, each session of PostgreSQL, all of Kudos. So a process of visitors begins a
 * session of its own and asks for the weight of its group, too. */
#include "server/priority.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <linux/sched/types.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "shared/log.h"

#define VISITORS_SLICE_NS 100000 /* the least that the kernel takes */
#define VISITORS_NICE     (-15)  /* nine tenths beside three busy groups */
#define LATER_NICE        10

/* The kernel takes one such wish of the whole system in a tenth of a second, root's excepted. */
#define GROUP_TRIES    5
#define GROUP_PAUSE_NS 100000000L

/* False if it is to be tried again; a refusal is an answer. */
static bool write_group(const char *nice, int length)
{
    int fd = open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC);
    bool answered;

    if (fd < 0)
        return true; /* no such groups here */
    answered = write(fd, nice, (size_t)length) == length || errno != EAGAIN;
    close(fd);
    return answered;
}

/* Of the session's group. */
static void set_group(int nice)
{
    struct timespec pause = {.tv_nsec = GROUP_PAUSE_NS};
    char text[16];
    int length = snprintf(text, sizeof text, "%d", nice);

    if (setsid() < 0)
        return;
    for (int i = 0; i < GROUP_TRIES && !write_group(text, length); i++)
        nanosleep(&pause, NULL);
}

static void go_first(void)
{
    struct sched_attr attributes = {.size = sizeof attributes,
                                    .sched_policy = SCHED_NORMAL,
                                    .sched_runtime = VISITORS_SLICE_NS};

    if (getpriority(PRIO_PROCESS, 0) > VISITORS_NICE)
        (void)!setpriority(PRIO_PROCESS, 0, VISITORS_NICE);
    attributes.sched_nice = getpriority(PRIO_PROCESS, 0);
    if (syscall(SYS_sched_setattr, 0, &attributes, 0) != 0)
        log_debug("no_short_slices", "advice=%s", "the kernel or a system call filter refuses");
    set_group(VISITORS_NICE);
}

void priority_set(enum priority priority)
{
    switch (priority) {
    case PRIORITY_VISITORS: go_first(); break;
    case PRIORITY_PEOPLE: break;
    case PRIORITY_LATER:
        if (getpriority(PRIO_PROCESS, 0) < LATER_NICE)
            (void)!setpriority(PRIO_PROCESS, 0, LATER_NICE);
        break;
    }
}
