#pragma once
/* Crash points: named places at which a test build dies as if by kill -9, so that every arrow of
 * the pipeline can be cut exactly there. KUDOS_CRASH_AT=name:n[,name:n…] in the environment: the
 * process calls raise(SIGKILL) on the n-th pass (per process) of CRASH_POINT("name"); with
 * `name:n:stop` it raises SIGSTOP instead, so that a test can freeze it there and wake it later.
 * Only the first process that gets there dies, not its successor, when KUDOS_CRASH_ONCE=FILE is
 * set: the file is made exclusively before dying, and its existence disarms that point.
 * Compiled to nothing in the product. */

#ifdef KUDOS_CRASH_POINTS
void crash_point(const char *name);
#define CRASH_POINT(name) crash_point(name)
#else
#define CRASH_POINT(name) ((void)0)
#endif
