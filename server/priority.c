/* See priority.h.
 *
 * Visitors are served first where the kernel allows it: by a higher weight (a limit of the service
 * manager, RLIMIT_NICE, is enough; no privilege is needed), and by short slices. A process that wakes
 * up may otherwise have to let the one that runs finish its slice (3 ms by default), and PostgreSQL
 * and Redis run in bursts of that length. Since Linux 6.12 a process that asks for a shorter slice
 * interrupts those with longer ones; it gets no more time by it, only sooner. Older kernels ignore
 * the wish. */
#include "server/priority.h"

#include <linux/sched.h>
#include <linux/sched/types.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shared/log.h"

#define VISITORS_SLICE_NS 100000 /* the least that the kernel takes */
#define VISITORS_NICE     (-10)
#define LATER_NICE        10

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
