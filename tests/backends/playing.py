"""Playing a run to its end, and what has to hold of every one."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from contextlib import aclosing

import psutil

from agentpane.orchestrator.backends import base
from agentpane.orchestrator.backends.base import Backend, BackendEvent, Brief
from tests.backends.conformance import (
    Host,
)

BOUND = 60.0


async def follow(backend: Backend, brief: Brief, host: Host | None = None) -> list[BackendEvent]:
    events: list[BackendEvent] = []
    try:
        async with asyncio.timeout(BOUND), aclosing(backend.play(brief, host or Host())) as told:
            async for event in told:
                events.append(event)
    finally:
        await backend.close()
    return events


def fresh_token() -> str:
    """Digits that no other process has among its arguments: a fraction of the seconds that it sleeps."""
    return str(10**15 + secrets.randbelow(10**15))


def survivors(token: str) -> list[str]:
    """Processes with this token among their arguments."""
    found = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
            if token in line and process.status() != psutil.STATUS_ZOMBIE:
                found.append(line)
        except psutil.Error:
            continue
    return found


def check_order(events: Sequence[BackendEvent]) -> None:
    """Turns are opened and closed, calls are announced, started and finished, each in its order."""
    turn, is_open = 0, False
    announced: set[str] = set()
    started: set[str] = set()
    for event in events:
        match event:
            case base.TurnStarted(number):
                assert not is_open and number > turn, event
                turn, is_open = number, True
            case base.TurnFinished(number):
                assert is_open and number == turn, event
                is_open = False
            case base.ToolCalled(number, call):
                assert is_open and number == turn, event
                announced.add(call.id)
            case base.ToolStarted(_, call):
                assert call.id in announced, event
                started.add(call.id)
            case base.ToolFinished(_, call, denied=denied):
                assert call.id in (announced if denied else started), event
            case base.Ended():
                assert event is events[-1]
            case _:
                pass
    assert not is_open
