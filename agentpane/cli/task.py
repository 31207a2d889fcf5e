"""`task …`: the cards of a project."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from agentpane.api.client import Client
from agentpane.api.command import Command
from agentpane.api.commands import AddTask, ArchiveTask, GetTask, ListRecoveries, ListTasks, MoveTask, UnarchiveTask
from agentpane.cli import commands, shapes, turns, words
from agentpane.cli.asking import put_back
from agentpane.cli.pane import Pane, line, model_environment, project_ref, table
from agentpane.cli.project import Ref as ProjectRef
from agentpane.domain.board import COLUMN_TITLES, Column
from agentpane.domain.tasks import Task, TaskCard
from agentpane.errors import AgentPaneError

Ref = Annotated[str, typer.Argument(metavar="T", help="A task: its id or the beginning of it.")]
Refs = Annotated[list[str], typer.Argument(metavar="T", help="Tasks: their ids or the beginnings of them.")]

AT_ONCE = 50


def register(app: typer.Typer) -> None:
    noun = commands.group(app, "task", "The cards of a project: add, list, show, move, reset, archive.")
    commands.add(
        noun,
        "add",
        add,
        'task add shop "Fix the flaky test" --label bug',
        'task add . "Tidy up" -d - < notes.md',
    )
    commands.add(noun, "list", list_, "task list shop", "task list shop --column waiting_approval --json")
    commands.add(noun, "archive", archive, "task archive k3x9", "task archive k3x9 p0q2 z8w1")
    commands.add(noun, "unarchive", unarchive, "task unarchive k3x9")
    commands.add(noun, "show", show, "task show k3x9")
    commands.add(noun, "move", move, "task move k3x9 in_progress", "task move k3x9 backlog --position 0 --yes")
    commands.add(noun, "reset", turns.reset, "task reset k3x9 1a2b3c4d")


def add(
    ctx: typer.Context,
    project: ProjectRef,
    title: Annotated[str, typer.Argument(metavar="TITLE", help="One line that says what is wanted.")],
    description: Annotated[
        str, typer.Option("--description", "-d", help="What the agent should know; - reads it from stdin.")
    ] = "",
    label: Annotated[list[str] | None, typer.Option(help="A label; may be given several times.")] = None,
    agent: Annotated[str | None, typer.Option(help="Who will do it; else the project's default agent.")] = None,
    start: Annotated[bool, typer.Option("--start", help="Start it, and return at once.")] = False,
) -> None:
    """Put a card in the backlog."""
    pane: Pane = ctx.obj
    text = _standard_input() if description == "-" else description
    environment = model_environment() if start else {}
    command = AddTask(project_ref(project), title, text, tuple(label or ()), agent, start, environment)
    added = pane.call(lambda client: client.do(command))
    pane.result(shapes.task(added), words.task(added))


def list_(
    ctx: typer.Context,
    project: ProjectRef,
    column: Annotated[Column | None, typer.Option(help="Only this column.")] = None,
    archived: Annotated[bool, typer.Option("--archived", help="The archived ones instead, the newest first.")] = False,
) -> None:
    """List a project's cards, by column and position."""
    pane: Pane = ctx.obj
    command = ListTasks(project_ref(project), column, archived)
    if pane.for_people:
        pane.say(_board(pane.call(lambda client: client.do(command))))
        return
    found = pane.call(lambda client: _whole_tasks(client, command))
    pane.document([shapes.task(each) for each in found])


def show(ctx: typer.Context, task: Ref) -> None:
    """Show a card with its runs."""
    pane: Pane = ctx.obj

    async def find(client: Client) -> tuple[Task, str]:
        found = await client.do(GetTask(task))
        if not pane.for_people or found.card.column not in {Column.BACKLOG, Column.VERIFIED} or found.is_restored:
            return found, ""
        kept = await client.do(ListRecoveries(found.card.project_id))
        newest = next((each.id for each in kept if each.task_id == found.card.id), None)
        held = "\nWhat its worktree held is in the recovery bin: agentpane recovery restore "
        return found, "" if newest is None else held + newest

    found, kept = pane.call(find)
    pane.result(shapes.task(found), words.task(found) + kept)


def move(
    ctx: typer.Context,
    task: Ref,
    column: Annotated[Column, typer.Argument(metavar="COLUMN", help="backlog or in_progress.")],
    position: Annotated[
        int | None,
        typer.Option(help="0 is the top; else the end, of the backlog the top when a card comes back to it."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask, even when a diff waits for approval.")] = False,
) -> None:
    """Move a card as a drag does: into In Progress starts a run, back to the backlog is what cancel does."""
    pane: Pane = ctx.obj
    found = pane.call(lambda client: client.do(GetTask(task)))
    if column is Column.BACKLOG and found.card.column in {Column.IN_PROGRESS, Column.WAITING_APPROVAL}:
        put_back(pane, found, yes, position)
        return
    command = MoveTask(found.card.id, column, position, model_environment(), yes)
    moved = pane.call(lambda client: client.do(command))
    pane.result(shapes.task(moved), words.task(moved))


def archive(ctx: typer.Context, tasks: Refs) -> None:
    """Take cards of the backlog or of Verified off the board; their sessions stay."""
    _each(ctx.obj, "Archived", [ArchiveTask(ref) for ref in tasks])


def unarchive(ctx: typer.Context, tasks: Refs) -> None:
    """Put archived cards back on the board, each into the column that it was in."""
    _each(ctx.obj, "Back on the board", [UnarchiveTask(ref) for ref in tasks])


def _each(pane: Pane, said: str, wanted: Sequence[Command[Task]]) -> None:
    """Carry these out one after the other. The first that is refused ends it, and the error says which were done."""
    done: list[Task] = []

    async def act(client: Client) -> None:
        for command in wanted:
            try:
                done.append(await client.do(command))
            except AgentPaneError as error:
                before = f" {said} before that: {', '.join(task.card.id for task in done)}." if done else ""
                raise AgentPaneError(error.code, error.message, error.hint + before, error.details) from error

    pane.call(act)
    lines = [f"{said}: {line(task.card.title)} ({task.card.id})" for task in done]
    pane.result([shapes.task(task) for task in done], "\n".join(lines))


def _standard_input() -> str:
    return sys.stdin.buffer.read().decode("utf-8", "surrogateescape")


async def _whole_tasks(client: Client, command: ListTasks) -> list[Task]:
    """The cards' tasks, in the cards' order."""
    cards = await client.do(command)
    whole: list[Task] = []
    for start in range(0, len(cards), AT_ONCE):
        whole += await asyncio.gather(*(client.do(GetTask(card.id)) for card in cards[start : start + AT_ONCE]))
    return whole


def _board(cards: tuple[TaskCard, ...]) -> str:
    rows = (
        (
            COLUMN_TITLES[card.column],
            card.title if len(card.title) <= 60 else card.title[:59] + "…",
            words.run_state(card),
            words.counts(card),
            card.id,
        )
        for card in cards
    )
    return table(rows, ("COLUMN", "TITLE", "STATE", "CHANGES", "ID")) or "No card here."
