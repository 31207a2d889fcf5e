"""`session …`: the record of what happened to a task."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated

import typer

from agentpane.api.client import Client, Watch
from agentpane.api.commands import GetTask, ReadOutput, ReadSession
from agentpane.api.events import CatchUp, Published, SessionAppended
from agentpane.cli import commands, shapes, turns, words
from agentpane.cli.pane import Pane, block, line
from agentpane.cli.task import Ref
from agentpane.domain.sessions import EventKind, SessionEvent
from agentpane.domain.tasks import Task
from agentpane.errors import AgentPaneError, ErrorCode

PAGE = 500


class Format(StrEnum):
    JSONL = "jsonl"
    MD = "md"


def register(app: typer.Typer) -> None:
    noun = commands.group(app, "session", "The record of what happened to a task: show, turns, export.")
    commands.add(noun, "show", show, "session show k3x9", "session show k3x9 --from 40 --follow --jsonl", lines=True)
    commands.add(noun, "turns", turns.turns, "session turns k3x9")
    commands.add(noun, "export", export, "session export k3x9 --format md > session.md")


def show(
    ctx: typer.Context,
    task: Ref,
    start: Annotated[int, typer.Option("--from", metavar="SEQ", min=1, help="Begin with this number.")] = 1,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what happens, until Ctrl-C.")] = False,
) -> None:
    """Show a task's session."""
    pane: Pane = ctx.obj
    if pane.as_json:
        if follow:
            raise AgentPaneError(
                ErrorCode.VALIDATION_ERROR,
                "--follow never ends, so it cannot be one JSON document.",
                "Use --jsonl.",
                {"field": "follow"},
            )
        pane.document([shapes.event(each) for each in _read_all(pane, task, start)])
        return
    asyncio.run(_show(pane, task, start - 1, follow))


def export(
    ctx: typer.Context,
    task: Ref,
    format_: Annotated[Format, typer.Option("--format", help="JSON Lines, or Markdown to read.")] = Format.JSONL,
) -> None:
    """Write a task's whole session to stdout."""
    pane: Pane = ctx.obj
    if format_ is Format.MD:
        found = pane.call(lambda client: client.do(GetTask(task)))
        text = markdown(found, _read_all(pane, found.card.id, 1, whole=True))
        pane.result({"markdown": text}, text)
        return
    events = [shapes.event(each) for each in _read_all(pane, task, 1, whole=True)]
    if pane.as_json:
        pane.document(events)
        return
    for each in events:
        pane.document(each)


def markdown(task: Task, events: list[SessionEvent]) -> str:
    """The session as a document; what the model and the tools wrote stands in fences, where it can format nothing."""
    parts = [f"# {line(task.card.title)}", f"Task `{task.card.id}`, session `{task.session_id}`"]
    for event in events:
        if event.kind is EventKind.TURN_STARTED:
            parts.append(f"## Turn {event.turn}")
            continue
        told = words.event(event)
        if told is None:
            continue
        heading = f"**{event.seq}. {event.kind.value.replace('_', ' ')}** {event.at.isoformat(timespec='seconds')}"
        content = event.data.get("content")
        body = f"{told}\n{block(content)}" if isinstance(content, str) and event.kind is EventKind.TOOL_RESULT else told
        parts.append(f"{heading}\n\n{_fenced(body)}")
    return "\n\n".join(parts)


def _fenced(text: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text}\n{fence}"


def _read_all(pane: Pane, task: str, start: int, *, whole: bool = False) -> list[SessionEvent]:
    """whole: with the long outputs that are stored beside their events put back."""

    async def read(client: Client) -> list[SessionEvent]:
        events = [event async for event in _stored(client, task, start - 1)]
        return [await _whole(client, task, event) for event in events] if whole else events

    return pane.call(read)


async def _stored(client: Client, task: str, after: int) -> AsyncIterator[SessionEvent]:
    while page := await client.do(ReadSession(task, after, PAGE)):
        for event in page:
            yield event
        after = page[-1].seq


async def _whole(client: Client, task: str, event: SessionEvent) -> SessionEvent:
    moved = event.data.get("blobs")
    if not isinstance(moved, dict):
        return event
    data = {key: value for key, value in event.data.items() if key != "blobs"}
    for key, where in moved.items():
        if isinstance(where, dict):
            text = (await _output(client, task, str(where["id"]))).decode("utf-8", "surrogatepass")
            data[key] = json.loads(text) if where["json"] else text
    return replace(event, data=data)


async def _output(client: Client, task: str, blob: str) -> bytes:
    parts: list[bytes] = []
    offset: int | None = 0
    while offset is not None:
        chunk = await client.do(ReadOutput(task, blob, offset))
        parts.append(chunk.data)
        offset = chunk.next_offset
    return b"".join(parts)


async def _show(pane: Pane, task: str, after: int, follow: bool) -> None:
    """Print what is stored, and with `follow` what comes, over the engine's death as well."""
    client = await pane.connect()
    shown = Shown(after)
    try:
        while True:
            watch = client.events()
            try:
                task = (await client.do(GetTask(task))).card.id
                await _show_stored(pane, client, task, shown)
                if not follow:
                    return
                await _follow(pane, client, watch, task, shown)
            except AgentPaneError as error:
                if error.code is not ErrorCode.ENGINE_UNREACHABLE or not follow:
                    raise
            pane.note("The engine has ended. It is started again.")
            await client.close()
            client = await pane.connect()
    finally:
        await client.close()


@dataclass(slots=True)
class Shown:
    """How far a session has been printed."""

    last: int


async def _follow(pane: Pane, client: Client, watch: Watch, task: str, shown: Shown) -> None:
    async for item in watch:
        match item:
            case Published(event=SessionAppended(task_id=name, events=events)) if name == task:
                for event in events:
                    if event.seq > shown.last:
                        shown.last = event.seq
                        _print(pane, event)
            case CatchUp():
                await _show_stored(pane, client, task, shown)


async def _show_stored(pane: Pane, client: Client, task: str, shown: Shown) -> None:
    async for event in _stored(client, task, shown.last):
        _print(pane, event)
        shown.last = event.seq


def _print(pane: Pane, event: SessionEvent) -> None:
    if pane.as_lines:
        pane.document(shapes.event(event))
    elif text := words.event(event):
        pane.say(f"{words.clock(event.at)}  " + text.replace("\n", "\n          "))
