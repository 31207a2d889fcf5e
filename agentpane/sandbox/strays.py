"""What is left of a command that has killed its own helper, or whose engine died: found by a mark in its environment.

The mark names the engine. A process that has given itself another environment is not found.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
import uuid

MARK = "AGENTPANE_COMMAND"
GIVE_UP_S = 10.0
LAP_S = 0.002
_WHOSE = re.compile(r"([0-9]{1,10})\.([0-9]{1,20})\.[0-9a-f]{32}")


def new_mark() -> str:
    """For one command of this process."""
    return f"{os.getpid()}.{_began(os.getpid())}.{uuid.uuid4().hex}"


def end_orphans() -> None:
    """Kill what engines have left that were killed: bubblewrap, for one, until it has bound itself to its parent.

    Blocks; does nothing where there is no /proc. What carries the mark that this process carries itself stays.
    """
    own = _mark_of(os.getpid())
    for pid in _processes():
        mark = _mark_of(pid)
        if mark and mark != own and (found := _WHOSE.fullmatch(mark)) and _began(int(found[1])) != int(found[2]):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)


def end_marked(mark: str) -> None:
    """Kill whatever carries the mark until nothing does. Blocks; does nothing where there is no /proc."""
    needle = f"{MARK}={mark}".encode()
    deadline = time.monotonic() + GIVE_UP_S
    while (found := _carrying(needle)) and time.monotonic() < deadline:
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in found:
                with contextlib.suppress(OSError):
                    os.kill(pid, number)
        time.sleep(LAP_S)


def _carrying(needle: bytes) -> list[int]:
    return [pid for pid in _processes() if needle in _environment(pid)]


def _processes() -> list[int]:
    """All but this one."""
    with contextlib.suppress(OSError):
        return [int(name) for name in os.listdir("/proc") if name.isdecimal() and int(name) != os.getpid()]
    return []


def _mark_of(pid: int) -> str:
    begins = f"{MARK}=".encode()
    found = next((entry for entry in _environment(pid) if entry.startswith(begins)), begins)
    return found.removeprefix(begins).decode("ascii", "replace")


def _environment(pid: int) -> list[bytes]:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        return file.read().split(b"\0")
    return []


def _began(pid: int) -> int:
    """When a process was started, in ticks since the system was; 0 where there is none."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[19])
    return 0
