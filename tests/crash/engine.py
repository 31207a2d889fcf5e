"""`python -m tests.crash.engine`: engines that may be killed, forked from a process that has everything imported.

Reads one JSON document a line and answers each with one: `start` forks a real engine (its process, its data folder,
its socket) and gives its pid, `wait` waits for its end, `others` names what lives on below. What a dead engine leaves
is handed to this process by the system, so nothing that outlives one is overlooked.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.crash import steps

BECOME_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER
EVERYTHING = (
    "agentpane.orchestrator.main",
    "agentpane.db.engine",
    "agentpane.orchestrator.backends.command",
    "alembic.command",
    "alembic.config",
    "alembic.runtime.migration",
    "alembic.autogenerate",
    "sqlalchemy.dialects.sqlite",
    "cuid2",
    "git",
    "mimetypes",
    "uvloop",
    "watchfiles.main",
)


def main() -> None:
    for module in EVERYTHING:
        importlib.import_module(module)
    ctypes.CDLL(None).prctl(BECOME_SUBREAPER, 1, 0, 0, 0)
    assert threading.active_count() == 1, "a process with threads cannot be forked"
    gc.freeze()
    for line in sys.stdin:
        request = json.loads(line)
        answer = ANSWERS[request.pop("do")](**request)
        print(json.dumps(answer), flush=True)
    for child in _children():  # nobody asks any more
        os.kill(child, signal.SIGKILL)


def _start(environment: Mapping[str, str], log: str, orders: str, entries: Mapping[str, str]) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        output = os.open(f"{log}.out", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for number, source in enumerate((nothing, output, output)):
            os.dup2(source, number)
        os.environ.clear()
        os.environ.update(environment)
        os.chdir("/")
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        steps.install(steps.Watch(descriptor, orders), entries)
        from agentpane.orchestrator.main import run_engine

        status = run_engine(True)
    finally:
        os._exit(status)


def _wait(pid: int) -> int:
    """The exit status of an engine, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _others(engine: int | None) -> list[str]:
    """What lives below this process beside the engine and its children."""
    found = []
    for child in _children():
        if child == engine:
            continue
        pid, _ = os.waitpid(child, os.WNOHANG)
        if pid == 0:
            words = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            found.append(f"{child} {words}")
    return found


def _children() -> list[int]:
    own = os.getpid()
    return [int(child) for child in Path(f"/proc/{own}/task/{own}/children").read_text().split()]


ANSWERS: Mapping[str, Callable[..., object]] = {"start": _start, "wait": _wait, "others": _others}

if __name__ == "__main__":
    main()
