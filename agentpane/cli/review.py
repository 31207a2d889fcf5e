"""`diff`, `approve`, `reject`, `undo`: a person's review of a snapshot."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Annotated

import typer

from agentpane.api.client import Client
from agentpane.api.commands import Approve, GetDiff, GetPatch, GetTask, ReadSession, Reject, Undo
from agentpane.cli import commands, notes, shapes, words
from agentpane.cli.exits import CONFLICT, DONE, REFUSED
from agentpane.cli.pane import Pane, line, model_environment, table
from agentpane.cli.task import Ref
from agentpane.cli.waiting import start_and_wait
from agentpane.domain.gitpaths import display_path
from agentpane.domain.review import ApproveOutcome, ApproveResult, DiffSummary, FileDiff, MergeStrategy
from agentpane.domain.sessions import EventKind
from agentpane.domain.tasks import Task
from agentpane.errors import AgentPaneError, ErrorCode

EXITS = {ApproveResult.MERGED: DONE, ApproveResult.REFUSED: REFUSED, ApproveResult.CONFLICTED: CONFLICT}

# Errors of approving that are an outcome of it: the card is there and stays as it is.
REFUSALS = frozenset(
    {
        ErrorCode.TASK_NO_DIFF,
        ErrorCode.TASK_ALREADY_APPROVED,
        ErrorCode.TASK_NOT_WAITING_APPROVAL,
        ErrorCode.MERGE_CONFLICT,
        ErrorCode.MERGE_BASE_MOVED,
        ErrorCode.MERGE_CHECKOUT_DIRTY,
        ErrorCode.MERGE_REVIEW_STALE,
        ErrorCode.MERGE_CHECKS_FAILED,
    }
)


def register(app: typer.Typer) -> None:
    commands.add(app, "diff", diff, "diff k3x9", "diff k3x9 --patch | git apply --stat")
    commands.add(app, "approve", approve, "approve k3x9", "approve k3x9 --sha 1a2b3c4 --strategy squash --json")
    commands.add(app, "reject", reject, 'reject k3x9 --reason "Keep the old name." --wait')
    commands.add(app, "undo", undo, "undo k3x9")


def undo(ctx: typer.Context, task: Ref) -> None:
    """Take an approval back; the card waits for approval again.

    Where nothing came after the merge the branch is as it was before, else a commit reverts it. A branch that was
    moved away from the merge, by your own reset for example, is left as it is.
    """
    pane: Pane = ctx.obj

    async def carry_out(client: Client) -> tuple[Task, str]:
        undone = await client.do(Undo(task))
        said, after = "", 0
        while page := await client.do(ReadSession(undone.card.id, after)):
            told = [each.data for each in page if each.kind is EventKind.STATE and each.data.get("state") == "undone"]
            said, after = notes.state(told[-1]) if told else said, page[-1].seq
        return undone, said

    undone, how = pane.call(carry_out)
    pane.result(shapes.task(undone), f"{words.task(undone)}\n{how}")


def diff(
    ctx: typer.Context,
    task: Ref,
    stat: Annotated[bool, typer.Option("--stat", help="The files and their counts (also without any option).")] = False,
    patch: Annotated[bool, typer.Option("--patch", help="git's patch, byte for byte.")] = False,
) -> None:
    """Show what a card's snapshot changes against its merge base."""
    pane: Pane = ctx.obj
    if patch and not stat:
        asyncio.run(_print_patch(pane, task))
        return
    found = pane.call(lambda client: client.do(GetDiff(task)))
    pane.result(shapes.diff(found), _stat(found))


def approve(
    ctx: typer.Context,
    task: Ref,
    sha: Annotated[str | None, typer.Option(help="The snapshot that was reviewed; another one is refused.")] = None,
    strategy: Annotated[MergeStrategy | None, typer.Option(help="How to merge; else as the settings say.")] = None,
) -> None:
    """Merge exactly the reviewed snapshot into its base branch."""
    pane: Pane = ctx.obj
    outcome = pane.call(lambda client: _approve(client, Approve(task, sha, strategy)))
    pane.status = EXITS[outcome.result]
    if not pane.for_people:
        pane.document(shapes.approve(outcome))
    if outcome.result is ApproveResult.MERGED:
        if pane.for_people:
            pane.say(line(outcome.message))
        if pane.for_people and outcome.recovery is not None:
            pane.say(
                "What the worktree held beyond what was merged is in the recovery bin: "
                f"agentpane recovery restore {outcome.recovery}"
            )
        return
    paths = "".join(f"\n  {display_path(path)}" for path in outcome.paths)
    pane.note(f"{outcome.code}: {line(outcome.message)}{paths}\n{line(outcome.hint)}".rstrip())


def reject(
    ctx: typer.Context,
    task: Ref,
    reason: Annotated[str, typer.Option(help="What the agent should do instead; 1 to 1,000 characters.")],
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the next diff, as run does.")] = False,
) -> None:
    """Send a card back to its agent with a reason."""
    pane: Pane = ctx.obj
    command = Reject(task, reason, environment=model_environment())
    if wait:
        start_and_wait(pane, command)
        return
    sent_back = pane.call(lambda client: client.do(command))
    pane.result(shapes.task(sent_back), words.task(sent_back))


async def _approve(client: Client, command: Approve) -> ApproveOutcome:
    task = await client.do(GetTask(command.task))
    try:
        return await client.do(Approve(task.card.id, command.sha, command.strategy))
    except AgentPaneError as error:
        if error.code not in REFUSALS:
            raise
        result = ApproveResult.CONFLICTED if error.code is ErrorCode.MERGE_CONFLICT else ApproveResult.REFUSED
        given = error.details.get("paths")
        paths = tuple(str(path) for path in given) if isinstance(given, list | tuple) else ()
        return ApproveOutcome(task.card.id, result, None, paths, error.code.value, error.message, error.hint)


async def _print_patch(pane: Pane, task: str) -> None:
    client = await pane.connect()
    try:
        summary = await client.do(GetDiff(task))
        chunks = _patch(client, task, summary.snapshot)
        if pane.as_json:
            whole = b"".join([chunk async for chunk in chunks])
            pane.document({**shapes.diff(summary), "patch_b64": base64.b64encode(whole).decode("ascii")})
            return
        async for chunk in chunks:
            pane.raw(chunk)
    finally:
        await client.close()


async def _patch(client: Client, task: str, snapshot: str) -> AsyncIterator[bytes]:
    offset: int | None = 0
    while offset is not None:
        chunk = await client.do(GetPatch(task, snapshot, offset))
        yield chunk.data
        offset = chunk.next_offset


def _stat(summary: DiffSummary) -> str:
    rows = [
        (each.status, _name(each), _count("+", each.added), _count("−", each.removed), _notes(each))
        for each in summary.files
    ]
    added = sum(each.added or 0 for each in summary.files)
    removed = sum(each.removed or 0 for each in summary.files)
    total = f"{len(summary.files)} file(s), +{added} −{removed}"
    below = [f"\n  {line(sha[:10] + ' ' + subject)}" for sha, _, subject in (c.partition(" ") for c in summary.commits)]
    number = f"{len(below)}{'+' if summary.more_commits else ''}"
    kept = f"\nwith {number} commit(s) below it, which merge and ff bring in as they are:" if below else ""
    return f"{table(rows)}\n{total}, snapshot {summary.snapshot[:10]} against {summary.base[:10]}{kept}{''.join(below)}"


def _name(file: FileDiff) -> str:
    shown = display_path(file.path)
    return shown if file.old_path in (None, file.path) else f"{display_path(str(file.old_path))} → {shown}"


def _notes(file: FileDiff) -> str:
    return ", ".join(f"! {note.text}" if note.attention else note.text for note in file.notes)


def _count(sign: str, number: int | None) -> str:
    return "binary" if number is None else f"{sign}{number}"
