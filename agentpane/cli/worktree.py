"""`worktree …`: the folders that cards work in, what they take on disk, and which of them may go."""

from __future__ import annotations

import sys
from pathlib import PurePath
from typing import Annotated, Any

import typer

from agentpane.api.commands import ListWorktrees, RemoveWorktree
from agentpane.cli import commands
from agentpane.cli.pane import Pane, line, project_ref, table
from agentpane.cli.recovery import size
from agentpane.domain.gitpaths import display_path
from agentpane.domain.health import WorktreeEntry
from agentpane.domain.limits import invalid

Ref = Annotated[str, typer.Argument(metavar="ID", help="A worktree: its id or the beginning of it.")]


def register(app: typer.Typer) -> None:
    noun = commands.group(app, "worktree", "The folders that cards work in: list, remove.")
    commands.add(noun, "list", list_, "worktree list", "worktree list shop --json")
    commands.add(noun, "remove", remove, "worktree remove k3x9", "worktree remove k3x9 --yes")


def list_(
    ctx: typer.Context,
    project: Annotated[
        str | None, typer.Argument(metavar="[P]", help="A project: its id, name or path; else all of them.")
    ] = None,
) -> None:
    """List worktrees, the oldest first, with what they take and why they may go."""
    pane: Pane = ctx.obj
    command = ListWorktrees(project_ref(project) if project else None)
    found = pane.call(lambda client: client.do(command))
    rows = (
        (
            each.status.value,
            "-" if each.size_bytes is None else size(each.size_bytes),
            each.last_used.astimezone().strftime("%Y-%m-%d %H:%M"),
            "in use" if each.in_use else ", ".join(each.stale) or "-",
            line(each.project),
            line(each.title or (f"restored from: {each.restored_from}" if each.restored_from else "-")),
            each.id,
            PurePath(each.path),
        )
        for each in found
    )
    headings = ("STATUS", "SIZE", "LAST USED", "MAY GO", "PROJECT", "CARD", "ID", "PATH")
    pane.result([shape(each) for each in found], table(rows, headings) or "There is no worktree.")


def remove(
    ctx: typer.Context,
    worktree: Ref,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Take a worktree away. What it holds goes into the recovery bin first, and its branch stays.

    A card that is not finished gets its worktree again, made from the branch, when it goes on.
    """
    pane: Pane = ctx.obj
    if not yes:
        if not pane.for_people or not sys.stdin.isatty():
            raise invalid("yes", "This takes a folder away.", "Give --yes. Nothing has changed.")
        typer.confirm(f"Take the worktree {worktree} away? What it holds goes into the bin.", abort=True, err=True)
    gone = pane.call(lambda client: client.do(RemoveWorktree(worktree)))
    pane.result(shape(gone), f"Removed {display_path(gone.path)}; {line(gone.branch)} stays. agentpane recovery list")


def shape(value: WorktreeEntry) -> dict[str, Any]:
    return {
        "id": value.id,
        "project_id": value.project_id,
        "project": value.project,
        "task_id": value.task_id,
        "title": value.title,
        "restored_from": value.restored_from or None,
        "path": value.path,
        "branch": value.branch,
        "status": value.status.value,
        "size_bytes": value.size_bytes,
        "last_used": value.last_used.isoformat(),
        "in_use": value.in_use,
        "stale": [reason.value for reason in value.stale],
    }
