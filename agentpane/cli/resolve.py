"""`resolve`: what becomes of a card that conflicts with its base branch."""

from __future__ import annotations

from typing import Annotated

import typer

from agentpane.api.client import Client
from agentpane.api.command import Command
from agentpane.api.commands import AbandonResolution, HandOverConflict, TakeResolution, WriteConflict
from agentpane.cli import commands, shapes, words
from agentpane.cli.pane import Pane, block, line, model_environment
from agentpane.cli.task import Ref
from agentpane.cli.waiting import start_and_wait
from agentpane.domain.gitpaths import display_path
from agentpane.domain.limits import invalid
from agentpane.domain.resolving import what_to_do
from agentpane.domain.tasks import Task


def register(app: typer.Typer) -> None:
    commands.add(
        app, "resolve", resolve, "resolve k3x9 --wait", "resolve k3x9 --by-hand", "resolve k3x9 --done",
        "resolve k3x9 --abandon",
    )  # fmt: skip


def resolve(
    ctx: typer.Context,
    task: Ref,
    by_hand: Annotated[bool, typer.Option("--by-hand", help="Write the conflict into the worktree, for you.")] = False,
    done: Annotated[bool, typer.Option("--done", help="Take what you have made of it in the worktree.")] = False,
    abandon: Annotated[
        bool, typer.Option("--abandon", help="Set the worktree back to the card's snapshot; nothing is lost.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the agent's diff, as run does.")] = False,
) -> None:
    """Resolve a card's conflict: by its agent, unless an option says otherwise.

    Both sides are written into the card's worktree. The result is a commit on top of both, and waits for approval.
    """
    pane: Pane = ctx.obj
    if by_hand + done + abandon + wait > 1:
        raise invalid("options", "Give one of --by-hand, --done, --abandon and --wait.", "Nothing has changed.")
    if not (by_hand or done or abandon):
        hand_over = HandOverConflict(task, model_environment())
        if wait:
            start_and_wait(pane, hand_over)
            return
        _ask(pane, hand_over)
        return
    _ask(pane, WriteConflict(task) if by_hand else TakeResolution(task) if done else AbandonResolution(task))


def _ask(pane: Pane, command: Command[Task]) -> None:
    async def work(client: Client) -> Task:
        return await client.do(command)

    changed = pane.call(work)
    pane.result(shapes.task(changed), _to_do(changed) or words.task(changed))


def _to_do(task: Task) -> str:
    """What a person has to do in the worktree; empty where nobody resolves by hand."""
    resolving = task.card.resolving
    if resolving is None or not resolving.by_hand:
        return ""
    todo = "\n".join(f"  {block(what_to_do(laid, resolving.target))}" for laid in resolving.paths)
    if resolving.more:
        todo += f"\n  and {resolving.more} more"
    name = task.card.id
    return (
        f"{line(resolving.target)} is merged into {display_path(task.worktree or '')}. "
        f"To decide there, unless you have:\n{todo}\n"
        f"Then: agentpane resolve {name} --done. To give up: agentpane resolve {name} --abandon"
    )
