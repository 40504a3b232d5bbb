"""One folder for one run of pytest, and what makes sure that nothing outlives it."""

import atexit
import os
import pwd
import shutil
import socket
import subprocess
import tempfile

# Kills whatever works below the folder, then removes it, once our end of the pipe is closed: at
# exit, and also when pytest itself is killed.
WATCHDOG = r"""
trap '' INT TERM HUP
read -r _
for try in 1 2 3 4 5; do
    found=
    for process in /proc/[0-9]*; do
        case $(readlink "$process/cwd" 2>/dev/null) in
        "$1" | "$1"/*) found=1; kill -9 "${process#/proc/}" 2>/dev/null ;;
        esac
    done
    [ -n "$found" ] || break
    sleep 0.1
done
[ -n "$2" ] || rm -rf -- "$1"
"""


def store_user():
    """Whom Redis and PostgreSQL run as: None for ourselves, or a name when we are root."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise RuntimeError("no ordinary user to run PostgreSQL as")


def as_user():
    """Arguments for subprocess that drop to the stores' user."""
    name = store_user()
    if name is None:
        return {}
    entry = pwd.getpwnam(name)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


class Session:
    """The folder of this run: short (unix sockets), and reachable for the stores' user."""

    def __init__(self):
        self.keep = bool(os.environ.get("KUDOS_TEST_KEEP"))
        self.path = tempfile.mkdtemp(prefix="kt-", dir="/tmp")
        os.chmod(self.path, 0o755)
        self.count = 0
        watchdog = subprocess.Popen(
            ["/bin/sh", "-c", WATCHDOG, "-", self.path, "1" if self.keep else ""],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            cwd="/", start_new_session=True)

        def end():
            watchdog.stdin.close()
            watchdog.wait(30)

        atexit.register(end)

    def folder(self, name):
        """A new folder below this one, for the caller alone."""
        self.count += 1
        path = os.path.join(self.path, f"{self.count}-{name}"[:24])
        os.mkdir(path, 0o755)
        return path


_session = None


def session():
    """The session of this process; made at the first call."""
    global _session  # pylint: disable=global-statement
    if _session is None:
        _session = Session()
    return _session


def remove(path):
    """Removes a folder unless KUDOS_TEST_KEEP is set."""
    if not session().keep:
        shutil.rmtree(path, ignore_errors=True)


# Below the kernel's ephemeral range, so that no outgoing connection takes one first; each xdist
# worker and each test process starts elsewhere.
_next_port = 10000 + (os.getpid() * 97) % 20000


def free_port():
    """A TCP port on 127.0.0.1 that is free now, and not handed out twice."""
    global _next_port  # pylint: disable=global-statement
    while True:
        _next_port = 10000 + (_next_port - 9999) % 20000
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", _next_port))
            except OSError:
                continue
            return _next_port
