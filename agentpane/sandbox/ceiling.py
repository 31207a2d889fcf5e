"""A hard limit on how many tasks a command may have, where the kernel lets us make a control group for it.

The watchdog ends what has too many processes, but only looks now and then; this keeps a fork bomb small until then.
Root makes a group under either version of control groups; a person does under version 2, beside the engine's own group,
where the session has handed that over. Elsewhere there is no such limit but RLIMIT_NPROC, which root is exempt from.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

MOUNTED = Path("/sys/fs/cgroup")
NAME = "agentpane-"
FRESH_S = 60.0


def make(tasks: int) -> Path | None:
    """An empty group of at most so many tasks, threads among them; None where none can be made. Blocks."""
    for place in _places():
        with contextlib.suppress(OSError):
            _clear(place)
            group = place / f"{NAME}{uuid.uuid4().hex}"
            group.mkdir()
            try:
                (group / "pids.max").write_text(str(tasks))
            except OSError:
                group.rmdir()
                continue
            return group
    return None


def join(group: Path | None, pid: int) -> None:
    """Put a process into the group; what it starts is in it too. One that has ended already is left out."""
    if group is not None:
        with contextlib.suppress(OSError):
            (group / "cgroup.procs").write_text(str(pid))


def remove(group: Path | None) -> None:
    if group is not None:
        with contextlib.suppress(OSError):  # a process is just being taken in; `make` removes it another time
            group.rmdir()


def _clear(place: Path) -> None:
    """Remove what killed engines have left. A group in use cannot be removed; a fresh one is about to be used."""
    for left in place.glob(f"{NAME}*"):
        if time.time() - left.stat().st_mtime > FRESH_S:
            remove(left)


def _places() -> Iterator[Path]:
    """Where a group may be made, the better first."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            own = path.lstrip("/")
            if "pids" in controllers.split(","):
                yield from (place for place in (MOUNTED / "pids" / own,) if os.access(place, os.W_OK))
            elif not controllers:
                beside = (MOUNTED / own).parent
                with contextlib.suppress(OSError):
                    handed_on = (beside / "cgroup.subtree_control").read_text().split()
                    if "pids" in handed_on and os.access(beside, os.W_OK):
                        yield beside
