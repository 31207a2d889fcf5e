"""`approvals`, `allow`, `deny`: tool calls that wait for a person."""

from __future__ import annotations

from typing import Annotated

import typer

from agentpane.api.commands import DecideApproval, ListApprovals
from agentpane.cli import commands, shapes
from agentpane.cli.pane import Pane, model_environment, table
from agentpane.domain.approvals import Approval

Ref = Annotated[str, typer.Argument(metavar="APPROVAL", help="An approval: its id or the beginning of it.")]


def register(app: typer.Typer) -> None:
    commands.add(app, "approvals", approvals, "approvals", "approvals k3x9 --json")
    commands.add(app, "allow", allow, "allow a8f2", "allow a8f2 --always")
    commands.add(app, "deny", deny, 'deny a8f2 --message "Do not touch the lock file."')


def approvals(
    ctx: typer.Context,
    task: Annotated[str | None, typer.Argument(metavar="[T]", help="Only those of this task.")] = None,
) -> None:
    """List the tool calls that wait for a decision, oldest first."""
    pane: Pane = ctx.obj
    found = pane.call(lambda client: client.do(ListApprovals(task)))
    rows = ((each.tool, each.summary, each.task_id, each.id) for each in found)
    pane.result(
        [shapes.approval(each) for each in found], table(rows, ("TOOL", "CALL", "TASK", "ID")) or "Nothing waits."
    )


def allow(
    ctx: typer.Context,
    approval: Ref,
    always: Annotated[bool, typer.Option("--always", help="Allow this tool in this project from now on.")] = False,
) -> None:
    """Allow a tool call; its run goes on by itself."""
    _decide(ctx.obj, DecideApproval(approval, True, always, environment=model_environment()))


def deny(
    ctx: typer.Context,
    approval: Ref,
    message: Annotated[str, typer.Option(help="What the agent reads instead of a result.")] = "",
) -> None:
    """Deny a tool call; its run goes on by itself."""
    _decide(ctx.obj, DecideApproval(approval, False, message=message, environment=model_environment()))


def _decide(pane: Pane, command: DecideApproval) -> None:
    decided: Approval = pane.call(lambda client: client.do(command))
    pane.result(shapes.approval(decided), table([(decided.state.value, decided.tool, decided.summary)]))
