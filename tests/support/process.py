"""Processes as /proc shows them."""

import os
import signal

from .wait import wait_until

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def _stat(pid):
    """Fields of /proc/PID/stat from the third on (state is [0]); None if it has gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return None


def alive(pid):
    """True while it runs; a zombie does not."""
    fields = _stat(pid)
    return bool(fields) and fields[0] not in "ZX"


def state(pid):
    """One letter, as in ps(1); "" when it has gone."""
    fields = _stat(pid)
    return fields[0] if fields else ""


def comm(pid):
    """Its name; "" when it has gone."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def title(pid):
    """Its command line; PostgreSQL says there what a process is for."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def children(pid):
    """Its live children, in the order of their start."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = _stat(name)
            if fields and fields[0] not in "ZX" and int(fields[1]) == pid:
                found.append((int(fields[19]), int(name)))
    return [child for _, child in sorted(found)]


def cpu_seconds(pid):
    """User and system time that it has used, its ended and awaited children not included."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS if fields else 0.0


def rss_anon_kib(pid):
    """Private memory (RssAnon)."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        for line in file:
            if line.startswith("RssAnon:"):
                return int(line.split()[1])
    return 0


def send(pid, number):
    """Sends a signal; False if the process has gone."""
    try:
        os.kill(pid, number)
        return True
    except ProcessLookupError:
        return False


def freeze(pid, timeout=10):
    """SIGSTOP; returns when it has stopped (or gone)."""
    if send(pid, signal.SIGSTOP):
        wait_until(lambda: state(pid) in ("T", "t", "Z", ""), timeout, f"{pid} stops")


def wake(pid):
    """SIGCONT."""
    return send(pid, signal.SIGCONT)


def kill(pid):
    """SIGKILL; a frozen process dies of it too."""
    return send(pid, signal.SIGKILL)


def cpu_seconds_with_ended(pid):
    """As cpu_seconds(), and that of children that have ended and been awaited."""
    fields = _stat(pid)
    return sum(map(int, fields[11:15])) / CLOCK_TICKS if fields else 0.0
