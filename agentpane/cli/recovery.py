"""`recovery …`: the bin of what worktrees held before something of it was discarded."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from agentpane.api.client import Client
from agentpane.api.commands import DeleteRecovery, ListRecoveries, RestoreRecovery
from agentpane.cli import commands
from agentpane.cli.pane import Pane, block, line, project_ref, table
from agentpane.domain.gitpaths import display_path
from agentpane.domain.limits import invalid
from agentpane.domain.recoveries import Beside, RecoverySnapshot, RestoredWork, days_left, ways_to

Ref = Annotated[str, typer.Argument(metavar="ID", help="A recovery snapshot: its id or the beginning of it.")]
TITLE_WIDTH = 40


def register(app: typer.Typer) -> None:
    noun = commands.group(app, "recovery", "What was discarded and is kept for 30 days: list, restore, delete.")
    commands.add(noun, "list", list_, "recovery list", "recovery list shop --json")
    commands.add(noun, "restore", restore, "recovery restore k3x9")
    commands.add(noun, "delete", delete, "recovery delete k3x9 --yes")


def list_(
    ctx: typer.Context,
    project: Annotated[
        str | None, typer.Argument(metavar="[P]", help="A project: its id, name or path; else all of them.")
    ] = None,
) -> None:
    """List what is kept, newest first, with its size and when it goes."""
    pane: Pane = ctx.obj
    command = ListRecoveries(project_ref(project) if project else None, shown=True)
    kept = pane.call(lambda client: client.do(command))
    now = datetime.now(UTC)
    rows = (
        (
            each.created_at.astimezone().strftime("%Y-%m-%d %H:%M"),
            each.reason,
            size(each.size_bytes),
            each.files,
            f"{days_left(each.expires_at, now)} day(s)",
            line(each.project),
            line(_title(each) if len(_title(each)) <= TITLE_WIDTH else _title(each)[: TITLE_WIDTH - 1] + "…"),
            each.id,
            ", ".join(besides(each.beside)) or "-",
        )
        for each in kept
    )
    headings = ("AT", "WHY", "SIZE", "FILES", "GOES IN", "PROJECT", "CARD", "ID", "ALSO KEPT")
    seen = "".join(_seen(f"{each.id}, in {line(each.repository)}", each.ref, each.beside) for each in kept)
    pane.result([shape(each) for each in kept], table(rows, headings) + seen or "Nothing was discarded.")


def restore(ctx: typer.Context, recovery: Ref) -> None:
    """Lay it out as uncommitted files: in its card's worktree if that is gone, else in a worktree of its own.

    It stays in the bin.
    """
    pane: Pane = ctx.obj
    work = pane.call(lambda client: client.do(RestoreRecovery(recovery)))
    pane.result(restored_shape(work), _restored(work))


def delete(
    ctx: typer.Context,
    recovery: Ref,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Take it out of the bin before its time. This cannot be undone."""
    pane: Pane = ctx.obj
    if not yes and not (pane.for_people and sys.stdin.isatty()):
        raise invalid("yes", "Nobody can be asked whether it may go.", "Give --yes. Nothing has changed.")
    if not yes:
        found = pane.call(lambda client: _named(client, recovery))
        question = f"{found} is deleted for good. Go on?"
        typer.confirm(question, abort=True, err=True)
    gone = pane.call(lambda client: client.do(DeleteRecovery(recovery)))
    pane.result(shape(gone), f"Deleted {gone.id}, {size(gone.size_bytes)}.")


async def _named(client: Client, recovery: str) -> str:
    """What a reference means, for a question; the engine says what is wrong with one that means nothing."""
    for each in await client.do(ListRecoveries()):
        if each.id.startswith(recovery):
            return f"“{line(_title(each))}” ({each.reason}, {size(each.size_bytes)})"
    return line(recovery)


def _title(kept: RecoverySnapshot) -> str:
    return kept.title or kept.branch or "a worktree that was kept ready"


def _restored(work: RestoredWork) -> str:
    where = f"Laid out in {block(work.path)}, uncommitted, on branch {line(work.branch)}."
    whose = "It belongs to no card; look at it there, and take what you need."
    if work.task_id is not None:
        whose = f"The card goes on with it: agentpane run {work.task_id}"
    also = ", ".join(besides(work.beside))
    return f"{where}\n{whose}" + _seen(f"Also kept, not laid out: {also}", work.ref, work.beside)


def besides(beside: Beside) -> tuple[str, ...]:
    """What is kept besides files, and the repositories inside whose history is not, in a few words each."""
    found: list[str] = []
    if beside.commits:
        found.append(f"{beside.commits} {'commit' if beside.commits == 1 else 'commits'} that no branch holds")
    if beside.staged:
        found.append("what was staged")
    for names, words in (
        (beside.bundles, "the history of {0}"),
        (beside.partly, "not all of the history of {0}"),
        (beside.closed, "not the history of {0}"),
    ):
        if names:
            found.append(words.format(", ".join(map(display_path, names))))
    return tuple(found)


def _seen(about: str, ref: str, beside: Beside) -> str:
    """The commands that bring up what is kept besides files, below a line of their own; empty where nothing is."""
    if not besides(beside):
        return ""
    return f"\n\n{about}" + "".join(f"\n  {way}" for way in ways_to(ref, beside))


def size(count: int) -> str:
    """Bytes in words, with at most one decimal."""
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def shape(value: RecoverySnapshot) -> Mapping[str, Any]:
    return {
        "id": value.id,
        "project_id": value.project_id,
        "project": value.project,
        "repository": value.repository,
        "task_id": value.task_id,
        "title": value.title,
        "branch": value.branch,
        "reason": value.reason,
        "ref": value.ref,
        "sha": value.sha,
        "parent": value.parent,
        "files": value.files,
        "size_bytes": value.size_bytes,
        "created_at": value.created_at.isoformat(),
        "expires_at": value.expires_at.isoformat(),
        "beside": beside_shape(value.ref, value.beside),
    }


def beside_shape(ref: str, value: Beside) -> Mapping[str, Any]:
    """What is kept besides files; `see` are commands for it. `without`: of these not all of the history is kept."""
    return {
        "commits": value.commits,
        "staged": bool(value.staged),
        "histories": [display_path(name) for name in value.bundles],
        "without": [display_path(name) for name in (*value.closed, *value.partly)],
        "see": list(ways_to(ref, value)),
    }


def restored_shape(value: RestoredWork) -> Mapping[str, Any]:
    return {
        "recovery": value.recovery,
        "path": value.path,
        "branch": value.branch,
        "task_id": value.task_id,
        "ref": value.ref,
        "also_kept": beside_shape(value.ref, value.beside),
    }
