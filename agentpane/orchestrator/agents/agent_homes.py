"""What agents that are programs keep for a card, copies of sign-in files among it: removed when the card leaves them.

Nothing is followed out of the data folder, and of its `agents/` only what is named like a card's is touched: a person's
own files lie there too.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from agentpane.db import tasks
from agentpane.domain.board import Column
from agentpane.domain.ids import TaskId
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.mounts import mounted_in
from agentpane.orchestrator.core import Core

log = logging.getLogger(__name__)

ID = re.compile(r"[a-z][a-z0-9]{23}")
AT_WORK = frozenset({Column.IN_PROGRESS, Column.WAITING_APPROVAL})  # a card there may still be sent to its agent


async def remove(core: Core, task_id: TaskId) -> None:
    """Forget what the card's agents keep. What cannot be removed is tried again by the next engine."""
    await asyncio.to_thread(_remove, core.folder.agents, task_id)


async def sweep(core: Core) -> None:
    """Remove what is left of cards that no agent works on any more."""
    for name in await asyncio.to_thread(_listed, core.folder.agents):
        async with core.task_locks.of(name):
            if not await _at_work(core, TaskId(name)):
                await remove(core, TaskId(name))


async def _at_work(core: Core, task_id: TaskId) -> bool:
    try:
        return (await core.db.read(tasks.card, task_id)).column in AT_WORK
    except AgentPaneError as error:
        if error.code is ErrorCode.TASK_NOT_FOUND:
            return False
        raise


def _listed(folder: Path) -> list[str]:
    with _opened(folder) as root:
        return [] if root is None else [name for name in os.listdir(root) if _is_a_cards(name, root)]


def _is_a_cards(name: str, root: int) -> bool:
    """Whether it is a folder named like a card, with nothing in it but folders named like agents."""
    if ID.fullmatch(name) is None:
        return False
    try:
        folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root)
    except OSError:
        return False
    try:
        return all(ID.fullmatch(inner) for inner in os.listdir(folder))
    finally:
        os.close(folder)


def _remove(folder: Path, name: str) -> None:
    with _opened(folder) as root:
        if root is None or not _is_a_cards(name, root):
            return
        if mounted_in(folder / name):
            log.warning("what the agents of card %s keep stays: something is mounted in %s", name, folder / name)
            return
        try:
            _open_up(name, root)
            shutil.rmtree(name, dir_fd=root)
        except OSError as error:
            log.warning("what the agents of card %s keep stays: %s", name, error)


def _open_up(name: str, root: int) -> None:
    """A program may have closed folders of its own against its user."""
    for _, folders, _, here in os.fwalk(name, dir_fd=root, follow_symlinks=False):
        for inner in folders:
            with contextlib.suppress(OSError):  # a link to a folder is one
                opened = os.open(inner, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
                try:
                    os.chmod(f"/proc/self/fd/{opened}", 0o700)
                finally:
                    os.close(opened)


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int | None]:
    try:
        root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        yield root
    finally:
        os.close(root)
