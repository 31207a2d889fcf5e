"""`engine status`, `engine stop`: the engine that runs, if one does. Neither starts one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Annotated

import typer

from agentpane import __version__
from agentpane.api.client import Client, ask_to_make_room
from agentpane.api.commands import GetStatus, StopEngine
from agentpane.api.launcher import engine_has_ended
from agentpane.api.protocol import ClientKind, unreachable
from agentpane.cli import commands, shapes
from agentpane.cli.pane import Pane, line, pairs
from agentpane.domain.engine import EngineStatus
from agentpane.errors import AgentPaneError, ErrorCode

NOT_RUNNING = EngineStatus(False, None, __version__, 0, 0)
STOP_S = 30.0


def register(app: typer.Typer) -> None:
    about = "The engine behind every window and command: status, stop. Without a command it runs in the foreground."
    noun = commands.group(app, "engine", about)
    commands.add(noun, "status", status, "engine status --json")
    commands.add(noun, "stop", stop, "engine stop", "engine stop --now")


def status(ctx: typer.Context) -> None:
    """Say whether an engine runs, and what it does. Does not start one."""
    pane: Pane = ctx.obj
    _show(pane, asyncio.run(_status(pane)))


def stop(
    ctx: typer.Context,
    now: Annotated[bool, typer.Option("--now", help="At once; runs show as interrupted, and can be resumed.")] = False,
) -> None:
    """Pause the runs and end the engine."""
    pane: Pane = ctx.obj
    _show(pane, asyncio.run(_stop(pane, now)))


def _show(pane: Pane, found: EngineStatus) -> None:
    if found.maintenance:
        pane.note(f"In maintenance, only doctor and db work: {line(found.maintenance)}")
    shown = {"engine": "running" if found.running else "not running", "pid": found.pid, "version": found.version}
    if found.running:
        shown |= {"clients": found.clients, "runs": found.runs}
    pane.result(shapes.engine_status(found), pairs(shown))


async def _status(pane: Pane) -> EngineStatus:
    try:
        client = await Client.connect(pane.folder, ClientKind.COMMAND, pane.name)
    except AgentPaneError as error:
        if error.code is ErrorCode.ENGINE_UNREACHABLE:
            return NOT_RUNNING
        raise
    try:
        found = await client.do(GetStatus())
        return replace(found, clients=max(0, found.clients - 1))  # whoever asks does not count
    finally:
        await client.close()


async def _stop(pane: Pane, now: bool) -> EngineStatus:
    try:
        client = await Client.connect(pane.folder, ClientKind.COMMAND, pane.name)
    except AgentPaneError as error:
        if error.code is ErrorCode.ENGINE_UNREACHABLE:
            return NOT_RUNNING
        if error.code is not ErrorCode.ENGINE_VERSION:
            raise
        await ask_to_make_room(pane.folder)
    else:
        try:
            await client.do(StopEngine(now))
        finally:
            await client.close()
    if not await engine_has_ended(pane.folder, STOP_S):
        raise unreachable("The engine was told to end and has not ended yet.", "Look again: agentpane engine status")
    return NOT_RUNNING
