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
from agentpane.sandbox.watchdog import Watchdog

CHUNK = 64 * 1024
FLOOD_PAUSE_S = 0.002  # after the output's limit, between two chunks: a flood must not take the loop
LAST_OUTPUT_S = 5.0  # nobody can write any more; what is in the pipe is read at once

KILLED = 128 + 9  # the exit code of what was ended because it took too much

T = TypeVar("T")


class Child(Protocol):
    """A started command as its tier sees it."""

    process: asyncio.subprocess.Process

    @property
    def root(self) -> int | None:
        """The process below which all of the command's are; None when there is none."""
        ...

    @property
    def refused(self) -> tuple[str, ...]:
        """The hosts that it asked for in vain."""
        ...

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
    start: Callable[[], Awaitable[Child]],
    command: SandboxCommand,
    on_output: Callable[[bytes], None] | None,
    watchdog: Watchdog,
) -> Outcome:
    """Start a child and bring it to its end."""
    began = time.monotonic()
    child = await started(start)
    ring = Ring(command.output_limit)
    feeding = asyncio.create_task(_feed(child.process, command.stdin))
    reading = asyncio.create_task(_read(child.process, ring, command.output_limit, on_output))
    watching = asyncio.create_task(_watch(child, command, watchdog))
    exit_code: int | None = None
    try:
        try:
            async with asyncio.timeout(command.timeout_s):
                exit_code = await _finished(child, reading, watching)
        except TimeoutError:
            exit_code = None
        await uninterrupted(child.end())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_OUTPUT_S):
                await reading
    finally:
        killed_for = watching.result() if _succeeded(watching) else None
        await uninterrupted(_close(child, feeding, reading, watching))
    elapsed = round((time.monotonic() - began) * 1000)
    output = ring.content()
    if killed_for is not None and exit_code is None:
        exit_code, output = KILLED, output + f"\n[{killed_for}]\n".encode()
    return Outcome(exit_code, output, ring.truncated, exit_code is None, elapsed, child.refused, killed_for)


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


async def _watch(child: Child, command: SandboxCommand, watchdog: Watchdog) -> str:
    if child.root is None:
        await asyncio.Event().wait()
    assert child.root is not None
    return await watchdog.watch(child.root, command.worktree)


def _succeeded(job: asyncio.Task[str]) -> bool:
    return job.done() and not job.cancelled() and job.exception() is None


async def _finished(child: Child, reading: asyncio.Task[None], watching: asyncio.Task[str]) -> int | None:
    """The command's exit code; None when its output can no longer be read, or when it takes too much."""
    finishing = asyncio.create_task(child.finished())
    try:
        while not finishing.done():
            waiting: set[asyncio.Task[None] | asyncio.Task[int] | asyncio.Task[str]] = {finishing}
            if not watching.done():
                waiting.add(watching)
            elif _succeeded(watching):
                return None
            if not reading.done():
                waiting.add(reading)
            elif reading.exception() is not None:
                return None
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        return finishing.result()
    finally:
        finishing.cancel()


async def _close(child: Child, *jobs: asyncio.Task[None] | asyncio.Task[str]) -> None:
    await child.end()
    for job in jobs:
        job.cancel()
    await asyncio.gather(*jobs, return_exceptions=True)
    close_pipes(child.process)


def stop_listening(process: asyncio.subprocess.Process) -> None:
    """Let go of what the process says; a full pipe that nobody reads would hold up the news of its end."""
    transport = getattr(process, "_transport", None)
    if transport is not None:
        for number in (1, 2):
            pipe = transport.get_pipe_transport(number)
            if pipe is not None:
                pipe.close()


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
