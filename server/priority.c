/* See priority.h.
 *
 * A process that wakes up may have to let the one that runs finish its slice (3 ms by default), and
 * PostgreSQL and Redis run in bursts of that length. Since Linux 6.12 a process that asks for a
 * shorter slice interrupts those with longer ones; it gets no more time by it, only sooner. Older
 * kernels ignore the wish. */
#include "server/priority.h"

#include <linux/sched.h>
#include <linux/sched/types.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shared/log.h"

#define VISITORS_SLICE_NS 100000 /* the least that the kernel takes */
#define LATER_NICE        10

static void ask_for_short_slices(void)
{
    struct sched_attr attributes = {.size = sizeof attributes,
                                    .sched_policy = SCHED_NORMAL,
                                    .sched_nice = getpriority(PRIO_PROCESS, 0),
                                    .sched_runtime = VISITORS_SLICE_NS};

    if (syscall(SYS_sched_setattr, 0, &attributes, 0) != 0)
        log_debug("no_short_slices", "advice=%s", "the kernel or a system call filter refuses");
}

void priority_set(enum priority priority)
{
    switch (priority) {
    case PRIORITY_VISITORS: ask_for_short_slices(); break;
    case PRIORITY_PEOPLE: break;
    case PRIORITY_LATER:
        if (getpriority(PRIO_PROCESS, 0) < LATER_NICE)
            (void)!setpriority(PRIO_PROCESS, 0, LATER_NICE);
        break;
    }
}
