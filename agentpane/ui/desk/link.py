"""The window's end of the door: it connects, hands events on, and comes back by itself when the engine has died.

What `do` raises is an AgentPaneError. While there is no engine, commands wait for it a moment before they give up.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Protocol, TypeVar

from PySide6.QtCore import QObject, Signal

from agentpane.api.command import Command
from agentpane.api.events import CatchUp, EngineStopping
from agentpane.api.workbench import Workbench
from agentpane.domain.acp_presets import is_model_variable
from agentpane.errors import AgentPaneError, ErrorCode

R = TypeVar("R")

PATIENCE_S = 20.0  # how long a command waits for an engine that is being started
PAUSES_S = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)


class Connection(Workbench, Protocol):
    """A workbench that can be let go of."""

    async def close(self) -> None: ...


class LinkState(StrEnum):
    CONNECTING = "connecting"
    READY = "ready"
    LOST = "lost"
    STOPPED = "stopped"  # somebody stopped the engine: it is not started again unasked
    REFUSED = "refused"  # an engine answered that it cannot serve this window


class Link(QObject):
    """Keeps one connection up and emits what comes over it. Whoever hears READY reads what is shown anew."""

    changed = Signal(object)  # LinkState
    published = Signal(object)  # one of the events of agentpane.api.events
    stale = Signal()  # events were missed: read what is shown anew

    def __init__(self, connect: Callable[[], Awaitable[Connection]], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._connect = connect
        self._bench: Connection | None = None
        self._ready = asyncio.Event()
        self._again = asyncio.Event()
        self._stopping = False  # the engine has said that it ends
        self.state = LinkState.CONNECTING
        self.error: AgentPaneError | None = None

    async def run(self) -> None:
        """Connect, pump events, and connect again, until cancelled. After a wanted stop it waits to be asked."""
        tries = 0
        while True:
            try:
                bench = await self._connect()
            except AgentPaneError as error:
                await self._wait_after(error, tries)
                tries += 1
                continue
            tries = 0
            try:
                await self._pump(bench)
            finally:
                self._bench = None
                self._ready.clear()
                await _close(bench)
            await self._wait_if_stopped()
            self._enter(LinkState.LOST)

    async def do(self, command: Command[R]) -> R:
        """Carry out a command. Raises AgentPaneError, ENGINE_UNREACHABLE when no engine comes up."""
        if self.state is LinkState.STOPPED:
            raise stopped()
        if self._bench is None:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await self._ready.wait()
            except TimeoutError:
                raise self.error or unreachable() from None
        if self._bench is None:
            raise unreachable()
        return await self._bench.do(command)

    def try_again(self) -> None:
        """Do not wait for the next try; after a stop, start the engine."""
        self._again.set()

    async def _pump(self, bench: Connection) -> None:
        stream = bench.events()
        self._bench = bench
        self.error = None
        self._stopping = False
        self._ready.set()
        self._enter(LinkState.READY)
        try:
            async for item in stream:
                if isinstance(item, CatchUp):
                    self.stale.emit()
                else:
                    self._stopping = self._stopping or isinstance(item.event, EngineStopping)
                    self.published.emit(item.event)
        except AgentPaneError as error:
            self.error = error

    async def _wait_if_stopped(self) -> None:
        if self._stopping:
            self._again.clear()
            self._enter(LinkState.STOPPED)
            await self._again.wait()

    async def _wait_after(self, error: AgentPaneError, tries: int) -> None:
        self.error = error
        refused = error.code is not ErrorCode.ENGINE_UNREACHABLE
        self._enter(LinkState.REFUSED if refused else LinkState.LOST)
        self._again.clear()
        try:
            async with asyncio.timeout(PAUSES_S[min(tries + 1, len(PAUSES_S) - 1)]):
                await self._again.wait()
        except TimeoutError:
            return

    def _enter(self, state: LinkState) -> None:
        if state is not self.state:
            self.state = state
            self.changed.emit(state)


async def _close(bench: Connection) -> None:
    try:
        await bench.close()
    except (AgentPaneError, OSError):
        return


def unreachable() -> AgentPaneError:
    return AgentPaneError(
        ErrorCode.ENGINE_UNREACHABLE,
        "The engine does not answer.",
        hint="It is being started again. Nothing has been lost; try once more in a moment.",
    )


def stopped() -> AgentPaneError:
    return AgentPaneError(
        ErrorCode.ENGINE_UNREACHABLE,
        "The engine was stopped.",
        hint="Press Start above the board. Nothing has been lost.",
    )


def model_environment() -> dict[str, str]:
    """The person's own variables about models and their keys, which go with the commands that may start a run."""
    return {name: value for name, value in os.environ.items() if is_model_variable(name)}
