"""Tier C's helper: a small process that starts one command and leaves nothing of it behind.

Run as a file of its own, by `python -I -S reaper.py CONTROL STATUS SHELL SCRIPT`, with the standard library only.
As a subreaper it inherits whatever double-forks away from the command. It kills it all when the command
ends, and when CONTROL, a pipe that only the engine holds, closes: killing the engine closes it too.
What it then writes to STATUS is the command's exit code and the number of processes that it was not allowed to kill.

Where the system has no subreapers (macOS), processes that have changed both their parent and their session are out of
its reach. A command that runs as the same user can kill the helper itself: tier C is no confinement.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import sys
import time

PR_SET_CHILD_SUBREAPER = 36
GIVE_UP_S = 10.0  # only what belongs to another user survives so long
LAP_S = 0.002


def main() -> None:
    control, status = int(sys.argv[1]), int(sys.argv[2])
    shell, script = sys.argv[3], sys.argv[4]
    for descriptor in (control, status):
        os.set_inheritable(descriptor, False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    _become_subreaper()
    wake_out, wake_in = os.pipe()
    os.set_blocking(wake_in, False)
    signal.set_wakeup_fd(wake_in)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    child = _start(shell, script)
    _let_go_of_the_pipes()
    exit_code = _wait(child, control, wake_out)
    left = _sweep(child)
    os.write(status, b"%d %d\n" % (exit_code, left))


def _become_subreaper() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _start(shell: str, script: str) -> int:
    """The command, in a session of its own, with default signals and no descriptor but the three."""
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        _limit()
        os.execv(shell, [shell, "-c", "--", script])
    except (OSError, ValueError) as error:
        os.write(2, f"{shell}: {error}\n".encode("utf-8", "replace"))
    finally:
        os._exit(127)


def _limit() -> None:
    """The limits that the engine has handed over as KIND:VALUE; never above what there is."""
    for pair in sys.argv[5:]:
        kind, _, value = pair.partition(":")
        wanted, hard = int(value), resource.getrlimit(int(kind))[1]
        if hard != resource.RLIM_INFINITY:
            wanted = min(wanted, hard)
        resource.setrlimit(int(kind), (wanted, wanted))


def _let_go_of_the_pipes() -> None:
    """The command's input and output belong to the command alone, so that their end can be seen."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)


def _wait(child: int, control: int, wake: int) -> int:
    """Until the command has ended, or the engine wants or needs its end. -1: it had not ended by itself."""
    while True:
        ready, _, _ = select.select([control, wake], [], [])
        if wake in ready:
            os.read(wake, 512)
            ended, _ = _reap(child)
            if ended is not None:
                return ended
        if control in ready:
            return -1


def _reap(child: int) -> tuple[int | None, bool]:
    """Take in what has died: the exit code of `child` if it is among it, and whether there are children left."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found, False
        if pid == 0:
            return found, True
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            found = code if code >= 0 else 128 - code


def _sweep(child: int) -> int:
    """Kill everything below this process until it has no child; how many could not be killed."""
    deadline = time.monotonic() + GIVE_UP_S
    while True:
        below = _descendants(child)
        for number in (signal.SIGSTOP, signal.SIGKILL):  # stopped first: nobody forks away from the killing
            for pid in below:
                with contextlib.suppress(OSError):  # it is gone, or it belongs to somebody else
                    os.kill(pid, number)
        _, children = _reap(child)
        if not children and (sys.platform == "linux" or not below):
            return 0
        if time.monotonic() > deadline:
            return len(below)
        time.sleep(LAP_S)


def _descendants(child: int) -> list[int]:
    """Everything below this process, and everything in the command's session."""
    own = os.getpid()
    table = _processes_linux() if sys.platform == "linux" else _processes_ps()
    below = {own}
    grew = True
    while grew:
        grew = False
        for pid, parent, session in table:
            if pid not in below and pid != own and (parent in below or session == child):
                below.add(pid)
                grew = True
    return sorted(below - {own})


def _processes_linux() -> list[tuple[int, int, int]]:
    """(pid, parent, session) of every process."""
    table = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            table.append((int(name), int(fields[1]), int(fields[3])))
    return table


def _processes_ps() -> list[tuple[int, int, int]]:
    """The same from ps(1), which knows the process group in the place of the session."""
    with os.popen("/bin/ps -A -o pid=,ppid=,pgid=") as listing:
        return [(int(a), int(b), int(c)) for a, b, c in (line.split() for line in listing if line.strip())]


if __name__ == "__main__":
    main()
