"""A started command that is spoken with: its three streams, and the same end as any other command's.

The streams are read by whoever started it. Nothing here keeps, cuts or times what is said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from agentpane.sandbox.supervise import Child, close_pipes, started, uninterrupted

LINE_LIMIT = 16 * 1024 * 1024  # bytes of one line, and half of what is read ahead of its reader


class Conversation:
    """One command, from its start to the end of everything that it started."""

    def __init__(self, child: Child) -> None:
        self._child = child
        stdin, stdout, stderr = child.process.stdin, child.process.stdout, child.process.stderr
        assert stdin is not None and stdout is not None and stderr is not None
        self._stdin, self._stdout, self._stderr = stdin, stdout, stderr

    @property
    def stdin(self) -> asyncio.StreamWriter:
        return self._stdin

    @property
    def stdout(self) -> asyncio.StreamReader:
        return self._stdout

    @property
    def stderr(self) -> asyncio.StreamReader:
        return self._stderr

    async def wait(self) -> int:
        """See Process.wait. What was said before the end can still be read."""
        code = await self._child.finished()
        await uninterrupted(self._child.end())
        return code

    async def end(self) -> None:
        """See Process.end. What has not been read by then is lost."""
        await uninterrupted(self._end())

    async def _end(self) -> None:
        await self._child.end()
        close_pipes(self._child.process)


async def converse(start: Callable[[], Awaitable[Child]]) -> Conversation:
    """Start a child to speak with. Cancelled meanwhile, nothing of it is left."""
    return Conversation(await started(start))
