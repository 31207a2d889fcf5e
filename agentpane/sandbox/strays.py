"""What is left of a command that has killed its own helper: found by a mark in the environment it was given.

A process that has given itself another environment as well is not found; nor is any when the engine has gone too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
import uuid

MARK = "AGENTPANE_COMMAND"
GIVE_UP_S = 10.0
LAP_S = 0.002


def new_mark() -> str:
    return uuid.uuid4().hex


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
    found = []
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):
            if name.isdecimal() and int(name) != os.getpid():
                with contextlib.suppress(OSError), open(f"/proc/{name}/environ", "rb") as file:
                    if needle in file.read().split(b"\0"):
                        found.append(int(name))
    return found
