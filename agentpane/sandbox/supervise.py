"""The part of running a command that is the same in every tier: feed it, read it, time it, and see its end.

A tier says how its child ends by itself (`finished`) and how to end all of it (`end`); whatever happens here,
cancellation included, `end` has come back before the caller goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from agentpane.sandbox.command import Outcome, SandboxCommand
from agentpane.sandbox.ring import Ring

CHUNK = 64 * 1024
FLOOD_PAUSE_S = 0.002  # after the output's limit, between two chunks: a flood must not take the loop
LAST_OUTPUT_S = 5.0  # nobody can write any more; what is in the pipe is read at once

T = TypeVar("T")


class Child(Protocol):
    """A started command as its tier sees it."""

    process: asyncio.subprocess.Process

    async def finished(self) -> int:
        """Wait until the command itself has ended; its exit code."""
        ...

    async def end(self) -> None:
        """Kill everything that the command started and wait until nothing is left. May be called at any time, often."""
        ...


async def uninterrupted(work: Awaitable[T]) -> T:
    """Let `work` finish even when this job is cancelled meanwhile; the cancellation follows afterwards."""
    job = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not job.done():
        try:
            await asyncio.wait([job])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not job.cancelled():
            job.exception()  # seen, so that the loop does not report it as lost
        raise cancelled
    return job.result()


async def supervise(
    start: Callable[[], Awaitable[Child]], command: SandboxCommand, on_output: Callable[[bytes], None] | None
) -> Outcome:
    """Start a child and bring it to its end."""
    began = time.monotonic()
    child = await started(start)
    ring = Ring(command.output_limit)
    feeding = asyncio.create_task(_feed(child.process, command.stdin))
    reading = asyncio.create_task(_read(child.process, ring, command.output_limit, on_output))
    exit_code: int | None = None
    try:
        try:
            async with asyncio.timeout(command.timeout_s):
                exit_code = await _finished(child, reading)
        except TimeoutError:
            exit_code = None
        await uninterrupted(child.end())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_OUTPUT_S):
                await reading
    finally:
        await uninterrupted(_close(child, feeding, reading))
    elapsed = round((time.monotonic() - began) * 1000)
    return Outcome(exit_code, ring.content(), ring.truncated, exit_code is None, elapsed)


async def started(start: Callable[[], Awaitable[Child]]) -> Child:
    """Start to the end even when cancelled meanwhile, so that there is always something that can be ended."""
    starting = asyncio.ensure_future(start())
    try:
        return await uninterrupted(starting)
    except asyncio.CancelledError:
        if not starting.cancelled() and starting.exception() is None:
            child = starting.result()
            await uninterrupted(child.end())
            close_pipes(child.process)
        raise


async def _finished(child: Child, reading: asyncio.Task[None]) -> int | None:
    """The command's exit code; None when its output can no longer be read."""
    finishing = asyncio.create_task(child.finished())
    try:
        while not finishing.done():
            waiting: set[asyncio.Task[None] | asyncio.Task[int]] = {finishing}
            if not reading.done():
                waiting.add(reading)
            elif reading.exception() is not None:
                return None
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        return finishing.result()
    finally:
        finishing.cancel()


async def _close(child: Child, *jobs: asyncio.Task[None]) -> None:
    await child.end()
    for job in jobs:
        job.cancel()
    await asyncio.gather(*jobs, return_exceptions=True)
    close_pipes(child.process)


def close_pipes(process: asyncio.subprocess.Process) -> None:
    """Let go of the pipes at once, and not when the transport is collected."""
    transport = getattr(process, "_transport", None)
    if transport is not None:
        transport.close()


async def _feed(process: asyncio.subprocess.Process, data: bytes) -> None:
    if process.stdin is None:
        return
    with contextlib.suppress(OSError):  # the command does not care for its input
        process.stdin.write(data)
        await process.stdin.drain()
    process.stdin.close()


async def _read(
    process: asyncio.subprocess.Process, ring: Ring, limit: int, on_output: Callable[[bytes], None] | None
) -> None:
    assert process.stdout is not None
    seen = 0
    while chunk := await process.stdout.read(CHUNK):
        ring.add(chunk)
        seen += len(chunk)
        if on_output is not None:
            on_output(chunk)
        if seen > limit:
            await asyncio.sleep(FLOOD_PAUSE_S)
