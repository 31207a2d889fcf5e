"""`session turns` and `task reset`: what the turns of a card left, and its worktree set back to one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from agentpane.api.commands import ListTurns, ResetWorktree
from agentpane.cli import shapes, words
from agentpane.cli.pane import Pane, table
from agentpane.domain.gitpaths import display_path
from agentpane.domain.turns import TurnSnapshot

Ref = Annotated[str, typer.Argument(metavar="T", help="A task: its id or the beginning of it.")]


def turns(ctx: typer.Context, task: Ref) -> None:
    """List what the turns of a card left in its worktree, oldest first; a turn that changed nothing is not listed."""
    pane: Pane = ctx.obj
    kept = pane.call(lambda client: client.do(ListTurns(task)))
    rows = (
        (
            each.turn,
            each.at.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
            f"{each.files} file(s), +{each.added} −{each.removed}",
            each.sha[:12],
            f"without {', '.join(map(display_path, each.left_out))}" if each.left_out else "",
        )
        for each in kept
    )
    text = table(rows, ("TURN", "AT", "CHANGED", "SHA", "")) or "No turn of this card has changed anything."
    pane.result([shape(each) for each in kept], text)


def reset(
    ctx: typer.Context,
    task: Ref,
    sha: Annotated[str, typer.Argument(metavar="SHA", help="What a turn left, as session turns shows it.")],
) -> None:
    """Set a card's worktree back to what one of its turns left; what it holds now goes into the recovery bin."""
    pane: Pane = ctx.obj
    found = pane.call(lambda client: client.do(ResetWorktree(task, sha)))
    pane.result(shapes.task(found), words.task(found))


def shape(value: TurnSnapshot) -> Mapping[str, Any]:
    return {
        "run_id": value.run_id,
        "turn": value.turn,
        "sha": value.sha,
        "at": value.at.isoformat(),
        "files": value.files,
        "added": value.added,
        "removed": value.removed,
        "left_out": [display_path(path) for path in value.left_out],
    }
