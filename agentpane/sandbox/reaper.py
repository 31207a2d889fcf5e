"""The helper of tiers B and C: a small process that starts one command and leaves nothing of it behind.

Run as a file of its own, by `python -I -S reaper.py CONTROL STATUS ORDER SHELL SCRIPT`, with the standard library only.
As a subreaper it inherits whatever double-forks away from the command. It kills it all when the command
ends, and when CONTROL, a pipe that only the engine holds, closes: killing the engine closes it too.
What it then writes to STATUS is the command's exit code, the number of processes that it was not allowed to kill,
and whether the guarded file had been changed.

ORDER is a descriptor with a JSON object: `limits` (pairs of a kind and a value), and all the rest null or absent
unless the command is confined: `confine` (the arguments of landlock.confine, the filter in hexadecimal), `guard`
(a folder, a file's name in it and its content in hexadecimal: put back afterwards), `private` (a folder to remove).
`group` is a control group for the command, as a folder.

Where the system has no subreapers (macOS), processes that have changed both their parent and their session are out of
its reach. A command of tier C can kill the helper itself, which runs as the same user; in tier B Landlock's scope of
signals keeps it from that, where the kernel has it (6.12).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import runpy
import select
import shutil
import signal
import stat
import sys
import time
from collections.abc import Callable
from typing import Any

PR_SET_CHILD_SUBREAPER = 36
GIVE_UP_S = 10.0  # only what belongs to another user survives so long
GIVE_UP_FIGHTING_S = 60.0  # what forks faster than it is killed
LAP_S = 0.002
NOT_ENDED = -1  # the command had not ended by itself
NOT_CONFINED = -2  # it was not run


def main() -> None:
    control, status, ordered = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    shell, script = sys.argv[4], sys.argv[5]
    with open(ordered, "rb") as file:
        order = json.load(file)
    for descriptor in (control, status):
        os.set_inheritable(descriptor, False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    _become_subreaper()
    wake_out, wake_in = os.pipe()
    os.set_blocking(wake_in, False)
    signal.set_wakeup_fd(wake_in)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    guarded = os.open(order["guard"][0], os.O_PATH | os.O_CLOEXEC) if order.get("guard") else None
    refused, refusing = os.pipe()
    child = _start(shell, script, order, refusing)
    os.close(refusing)
    _let_go_of_the_pipes()
    exit_code = _wait(child, control, wake_out)
    if exit_code >= 0 and os.read(refused, 1):
        exit_code = NOT_CONFINED
    left = _sweep(child, order.get("group"))
    changed = 0 if guarded is None else _put_back(guarded, order["guard"][1], bytes.fromhex(order["guard"][2]))
    if order.get("group"):
        with contextlib.suppress(OSError):
            os.rmdir(order["group"])
    if order.get("private"):
        shutil.rmtree(order["private"], ignore_errors=True)
    os.write(status, b"%d %d %d\n" % (exit_code, left, changed))


def _become_subreaper() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _start(shell: str, script: str, order: dict[str, Any], refusing: int) -> int:
    """The command, in a session of its own, with default signals and no descriptor but the three."""
    confine = (
        runpy.run_path(os.path.join(os.path.dirname(__file__), "landlock.py"))["confine"]
        if order.get("confine")
        else None
    )
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        _join(order.get("group"))
        _limit(order["limits"])
        if confine is not None:
            _confine(confine, order["confine"], refusing)
        os.execv(shell, [shell, "-c", "--", script])
    except (OSError, ValueError) as error:
        os.write(2, f"{shell}: {error}\n".encode("utf-8", "replace"))
    finally:
        os._exit(127)


def _confine(confine: Callable[..., None], order: dict[str, Any], refusing: int) -> None:
    """Or tell the helper that the command is not run."""
    try:
        confine(**{**order, "program": bytes.fromhex(order["program"])})
    except BaseException:
        os.write(refusing, b"!")
        raise


def _join(group: str | None) -> None:
    if group:
        with contextlib.suppress(OSError), open(os.path.join(group, "cgroup.procs"), "w") as file:
            file.write("0")


def _limit(limits: list[tuple[int, int]]) -> None:
    """Never above what there is."""
    for kind, value in limits:
        hard = resource.getrlimit(kind)[1]
        wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (wanted, wanted))


def _let_go_of_the_pipes() -> None:
    """The command's input and output belong to the command alone, so that their end can be seen."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)


def _wait(child: int, control: int, wake: int) -> int:
    """Until the command has ended, or the engine wants or needs its end."""
    while True:
        ready, _, _ = select.select([control, wake], [], [])
        if wake in ready:
            os.read(wake, 512)
            ended, _ = _reap(child)
            if ended is not None:
                return ended
        if control in ready:
            return NOT_ENDED


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


def _sweep(child: int, group: str | None) -> int:
    """Kill everything below this process until it has no child; how many could not be killed."""
    _forbid_forks(group)
    began = time.monotonic()
    while True:
        below = _kill_groups(child)
        others = 0  # processes of another user, which this one may not kill
        for number in (signal.SIGSTOP, signal.SIGKILL):  # stopped first: nobody forks away from the killing
            others = 0
            for pid in below:
                try:
                    os.kill(pid, number)
                except PermissionError:
                    others += 1
                except OSError:  # it is gone
                    continue
        _, children = _reap(child)
        if not children and (sys.platform == "linux" or not below):
            return 0
        if time.monotonic() > began + (GIVE_UP_S if others == len(below) else GIVE_UP_FIGHTING_S):
            return len(below)
        time.sleep(LAP_S)


def _forbid_forks(group: str | None) -> None:
    """Where there is a control group, what is in it can become no more; where the kernel can, it is killed whole."""
    for name, content in (("pids.max", "0"), ("cgroup.kill", "1")):
        if group and os.path.exists(os.path.join(group, name)):
            with contextlib.suppress(OSError), open(os.path.join(group, name), "w") as file:
                file.write(content)


def _kill_groups(child: int) -> list[int]:
    """Kill the process groups of everything below: the kernel kills a group whole, whatever forks in it meanwhile.

    Returns what was below. A group that this process itself belongs to is none of the command's.
    """
    below = _descendants(child)
    for group in {child, *_groups(below)} - {os.getpgrp()}:
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGKILL)
    return below


def _groups(pids: list[int]) -> set[int]:
    found = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            found.add(os.getpgid(pid))
    return found


def _put_back(folder: int, name: str, content: bytes) -> int:
    """Give a file its content again, whatever has come in its place; whether that was needed. Nobody runs any more."""
    with contextlib.suppress(OSError):
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        if stat.S_ISREG(mode) and mode & stat.S_IRUSR:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
            with open(descriptor, "rb") as file:
                if file.read(len(content) + 1) == content:
                    return 0
    with contextlib.suppress(OSError):
        os.unlink(name, dir_fd=folder)
    shutil.rmtree(name, ignore_errors=True, dir_fd=folder)
    with open(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=folder), "wb") as file:
        file.write(content)
    return 1


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
