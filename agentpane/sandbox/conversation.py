"""A started command that is spoken with: its three streams, and the same end as any other command's.

The streams are read by whoever started it. Nothing here keeps, cuts or times what is said; what takes too much of the
machine is ended here as elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from agentpane.sandbox.command import SandboxCommand
from agentpane.sandbox.supervise import Child, close_pipes, started, stop_listening, uninterrupted
from agentpane.sandbox.watchdog import Watchdog

LINE_LIMIT = 16 * 1024 * 1024  # bytes of one line, and half of what is read ahead of its reader


class Conversation:
    """One command, from its start to the end of everything that it started."""

    def __init__(self, child: Child, folder: Path, watchdog: Watchdog) -> None:
        self._child = child
        stdin, stdout, stderr = child.process.stdin, child.process.stdout, child.process.stderr
        assert stdin is not None and stdout is not None and stderr is not None
        self._stdin, self._stdout, self._stderr = stdin, stdout, stderr
        self._killed_for: str | None = None
        self._watching = asyncio.create_task(self._watch(watchdog, folder))
        self.on_end: Callable[[], None] | None = None  # called once, when nothing is left

    @property
    def stdin(self) -> asyncio.StreamWriter:
        return self._stdin

    @property
    def stdout(self) -> asyncio.StreamReader:
        return self._stdout

    @property
    def stderr(self) -> asyncio.StreamReader:
        return self._stderr

    @property
    def refused_hosts(self) -> tuple[str, ...]:
        return self._child.refused

    @property
    def killed_for(self) -> str | None:
        return self._killed_for

    async def wait(self) -> int:
        """See Process.wait. What was said before the end can still be read."""
        code = await self._child.finished()
        await uninterrupted(self._end())
        return code

    async def end(self) -> None:
        """See Process.end. What has not been read by then is lost."""
        stop_listening(self._child.process)
        await uninterrupted(self._end())
        close_pipes(self._child.process)

    async def _end(self) -> None:
        self._watching.cancel()
        await self._child.end()
        await asyncio.gather(self._watching, return_exceptions=True)
        on_end, self.on_end = self.on_end, None
        if on_end is not None:
            on_end()

    async def _watch(self, watchdog: Watchdog, folder: Path) -> None:
        if self._child.root is not None:
            self._killed_for = await watchdog.watch(self._child.root, folder)
            await uninterrupted(self._child.end())


async def converse(start: Callable[[], Awaitable[Child]], command: SandboxCommand, watchdog: Watchdog) -> Conversation:
    """Start a child to speak with. Cancelled meanwhile, nothing of it is left."""
    return Conversation(await started(start), command.worktree, watchdog)
