/* See crash.h. Empty in the product. */
#include "shared/crash.h"

#ifdef KUDOS_CRASH_POINTS

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CRASH_POINTS_MAX 16

struct point {
    char name[64];
    long left;
    bool stop;
};

static struct point points[CRASH_POINTS_MAX];
static size_t point_count;

static void parse_points(void)
{
    const char *environment = getenv("KUDOS_CRASH_AT");
    char *copy, *rest, *item;

    if (!environment || !(copy = strdup(environment)))
        return;
    rest = copy;
    while ((item = strsep(&rest, ",")) && point_count < CRASH_POINTS_MAX) {
        struct point *point = &points[point_count];
        char mode[16] = "";

        if (sscanf(item, "%63[^:]:%ld:%15s", point->name, &point->left, mode) >= 2) {
            point->stop = strcmp(mode, "stop") == 0;
            point_count++;
        }
    }
    free(copy);
}

/* With KUDOS_CRASH_ONCE, exactly one process of the stack takes the point. */
static bool may_fire(const char *name)
{
    const char *once = getenv("KUDOS_CRASH_ONCE");
    char path[512];
    int fd;

    if (!once)
        return true;
    snprintf(path, sizeof path, "%s.%s", once, name);
    fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

void crash_point(const char *name)
{
    static bool parsed;

    if (!parsed)
        parse_points();
    parsed = true;
    for (size_t i = 0; i < point_count; i++) {
        if (strcmp(points[i].name, name) != 0 || --points[i].left != 0)
            continue;
        if (may_fire(name))
            raise(points[i].stop ? SIGSTOP : SIGKILL);
    }
}

#endif
