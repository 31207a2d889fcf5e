"""`demo`: the sample project, played by the recorded model. Its replies are recorded; everything else is real."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from agentpane.api.client import Client
from agentpane.api.commands import Approve, GetDiff, PrepareDemo, StartRun
from agentpane.cli import commands, words
from agentpane.cli.exits import DETACHED
from agentpane.cli.pane import Pane, model_environment, table
from agentpane.cli.shapes import task_code
from agentpane.cli.waiting import DetachedError, Waiting
from agentpane.domain.board import Column
from agentpane.domain.demo import DemoReady
from agentpane.domain.review import ApproveOutcome, ApproveResult, DiffSummary
from agentpane.domain.tasks import Task
from agentpane.errors import AgentPaneError, ErrorCode


def register(app: typer.Typer) -> None:
    commands.add(app, "demo", demo, "demo", "demo --headless --json")


def demo(
    ctx: typer.Context,
    headless: Annotated[
        bool, typer.Option("--headless", help="Play it here: run, diff, approve, without a window.")
    ] = False,
) -> None:
    """Make the sample project and play it; needs no key."""
    pane: Pane = ctx.obj
    if headless or pane.open_window is None:
        _play(pane)
        return
    ready = pane.call(lambda client: client.do(PrepareDemo()))
    pane.status = pane.open_window(["--project", ready.project_id])


def _play(pane: Pane) -> None:
    ready = pane.call(lambda client: client.do(PrepareDemo(fresh=True)))
    pane.note(f"The sample project is in {ready.path}. The model's replies are recorded; the rest is real.")
    try:
        task = asyncio.run(Waiting(pane).run(StartRun(ready.task_id, environment=model_environment())))
    except DetachedError:
        pane.status = DETACHED
        pane.note(f"Detached; the run goes on. See it: agentpane session show {ready.task_id} --follow")
        if pane.as_json:
            pane.document({"project": ready.project_id, "task": ready.task_id, "merge_commit": None})
        return
    if task.card.column is not Column.WAITING_APPROVAL:
        raise _did_not_finish(task)
    diff, outcome = pane.call(lambda client: _approve(client, ready))
    if outcome.result is not ApproveResult.MERGED:
        raise AgentPaneError(ErrorCode(outcome.code or ErrorCode.INTERNAL), outcome.message, outcome.hint)
    files = table((file.status, file.path, f"+{file.added or 0}", f"−{file.removed or 0}") for file in diff.files)
    pane.result(
        {"project": ready.project_id, "task": ready.task_id, "merge_commit": outcome.merge_commit},
        f"{files}\n{outcome.message}\nSee it: git -C {ready.path} show {outcome.merge_commit}",
    )


async def _approve(client: Client, ready: DemoReady) -> tuple[DiffSummary, ApproveOutcome]:
    diff = await client.do(GetDiff(ready.task_id))
    return diff, await client.do(Approve(ready.task_id, sha=diff.snapshot))


def _did_not_finish(task: Task) -> AgentPaneError:
    code = task_code(task)
    hint = f"See what happened: agentpane session show {task.card.id}"
    known = ErrorCode(code) if code in set(ErrorCode) else ErrorCode.AGENT_EXECUTION_ERROR
    message = f"The demo did not come to its end. {words.outcome(task)}"
    return AgentPaneError(known, message, hint, {"task": task.card.id})
