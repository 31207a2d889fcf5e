"""Attempts by a file tool: the engine itself reads and writes what an agent names, without any tier around it.

With the protection off it is what a plain program would do with the same path: open it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import glob
import os
import re
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager as Context
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from agentpane.domain.sandbox import NO_NETWORK, Tier
from agentpane.sandbox import Sandbox, tool_environment

from .commands import Oracle, Ran, thread
from .scene import Scene

HELD_UP_S, ANSWERED_S = 0.3, 10.0
ENOUGH = 4000  # calls until a race that can be won has been won

Inputs = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """An attempt by calls of one tool.

    path: as the agent names it. prepare: lays what the agent would have laid in the worktree before. beside: runs in
    the background meanwhile. calls: how often the tool is called.
    """

    name: str
    tool: str
    path: str
    seen: Oracle
    prepare: Callable[[Scene], object] | None = None
    beside: Callable[[Scene], Context[object]] | None = None
    calls: int = 1
    needs: tuple[str, ...] = ("tools",)
    gaps: Mapping[Tier, str] = field(default_factory=dict)
    held: frozenset[Tier] = frozenset()
    scoped: bool = False

    async def unprotected(self, scene: Scene) -> bool:
        async def plainly(tool: str, path: str) -> str:
            return await asyncio.to_thread(PLAIN[tool], scene.worktree, path)

        return await self._tried(scene, plainly, ENOUGH if self.beside else 1)

    async def confined(self, scene: Scene, sandbox: Sandbox) -> bool:
        return await self._tried(scene, _caller(scene, sandbox), self.calls)

    async def _tried(self, scene: Scene, call: Callable[[str, str], Awaitable[str]], calls: int) -> bool:
        if self.prepare is not None:
            self.prepare(scene)
        path, before = scene.filled(self.path), scene.outside()
        with self.beside(scene) if self.beside is not None else nullcontext():
            for _ in range(calls):
                if self.seen(scene, Ran((await call(self.tool, path)).encode()), before):
                    return True
        return False


@dataclass(frozen=True, slots=True)
class Waiting:
    """An attempt to hold up the engine: a FIFO without another end, in a file's place."""

    name: str
    tool: str
    needs: tuple[str, ...] = ("tools",)
    gaps: Mapping[Tier, str] = field(default_factory=dict)
    held: frozenset[Tier] = frozenset()
    scoped: bool = False

    async def unprotected(self, scene: Scene) -> bool:
        fifo = scene.worktree / "fifo"
        os.mkfifo(fifo)
        caller = threading.Thread(target=PLAIN[self.tool], args=(scene.worktree, "fifo"))
        caller.start()
        await asyncio.to_thread(caller.join, HELD_UP_S)
        held_up = caller.is_alive()
        while caller.is_alive():  # let it go, whichever end it waits for
            _other_end(fifo)
            await asyncio.to_thread(caller.join, 0.01)
        return held_up

    async def confined(self, scene: Scene, sandbox: Sandbox) -> bool:
        fifo = scene.worktree / "fifo"
        os.mkfifo(fifo)
        call = asyncio.ensure_future(_caller(scene, sandbox)(self.tool, "fifo"))
        done, _ = await asyncio.wait([call], timeout=ANSWERED_S)
        while not call.done():
            _other_end(fifo)
            await asyncio.wait([call], timeout=0.01)
        return not done


def flipping(scene: Scene) -> Context[None]:
    """`link` leads to a folder inside, to one outside, to the one inside, as fast as it goes."""
    inside, link = scene.worktree / "inside", scene.worktree / "link"
    inside.mkdir()
    (inside / "secret.txt").write_text("harmless\n")
    link.symlink_to(inside)

    def flip(over: threading.Event) -> None:
        spare = scene.worktree / "spare"
        while not over.is_set():
            for target in (scene.out, inside):
                spare.symlink_to(target)
                spare.rename(link)
                time.sleep(0)

    return thread(flip)


def _caller(scene: Scene, sandbox: Sandbox) -> Callable[[str, str], Awaitable[str]]:
    """Call a tool as an agent's run does, and get what the agent would read."""
    from agentpane.orchestrator.tools import TOOL_NAMES, ToolContext, toolbox

    tools = toolbox(TOOL_NAMES)
    environment = tool_environment(scene.worktree)
    context = ToolContext(scene.worktree, sandbox, (scene.common,), environment, network=NO_NETWORK)

    async def call(tool: str, path: str) -> str:
        if tool in ("Edit", "MultiEdit"):  # which want the file to have been read
            await tools["Read"].run({"file_path": path}, context, None)
        return (await tools[tool].run(INPUTS[tool](path), context, None)).content

    return call


def _inputs(**inputs: object) -> Callable[[str], Inputs]:
    return lambda path: {name: path if value is ... else value for name, value in inputs.items()}


CHANGE = {"old_string": "secret", "new_string": "theirs"}
INPUTS: Mapping[str, Callable[[str], Inputs]] = {
    "Read": _inputs(file_path=...),
    "Write": _inputs(file_path=..., content="theirs\n"),
    "Edit": _inputs(file_path=..., **CHANGE),
    "MultiEdit": _inputs(file_path=..., edits=[CHANGE]),
    "Glob": _inputs(pattern=...),
    "Grep": _inputs(pattern="secret", path=..., output_mode="content"),
}


def _plain_read(worktree: Path, path: str) -> str:
    with contextlib.suppress(OSError, ValueError):
        return (worktree / path).read_text()
    return ""


def _plain_write(worktree: Path, path: str) -> str:
    with contextlib.suppress(OSError, ValueError):
        (worktree / path).parent.mkdir(parents=True, exist_ok=True)
        (worktree / path).write_text("theirs\n")
    return ""


def _plain_edit(worktree: Path, path: str) -> str:
    with contextlib.suppress(OSError, ValueError):
        (worktree / path).write_text((worktree / path).read_text().replace("secret", "theirs"))
    return ""


def _plain_glob(worktree: Path, path: str) -> str:
    return "\n".join(glob.glob(path, root_dir=worktree, recursive=True, include_hidden=True))


def _plain_grep(worktree: Path, path: str) -> str:
    top = worktree / path
    files = [top] if top.is_file() else [Path(folder) / name for folder, _, names in os.walk(top) for name in names]
    return "\n".join(line for file in files for line in _plain_read(worktree, str(file)).splitlines() if _named(line))


_named = partial(re.search, "secret")
PLAIN: Mapping[str, Callable[[Path, str], str]] = {
    "Read": _plain_read,
    "Write": _plain_write,
    "Edit": _plain_edit,
    "MultiEdit": _plain_edit,
    "Glob": _plain_glob,
    "Grep": _plain_grep,
}


def _other_end(fifo: Path) -> None:
    for flags in (os.O_RDONLY, os.O_WRONLY):
        try:
            os.close(os.open(fifo, flags | os.O_NONBLOCK))
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
