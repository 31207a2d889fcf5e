"""`approvals`, `allow`, `deny`: tool calls that wait for a person."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Annotated

import typer

from agentpane.api.commands import DecideApproval, ListApprovals
from agentpane.cli import commands, shapes
from agentpane.cli.pane import Pane, block, line, model_environment, table
from agentpane.domain.approvals import Approval
from agentpane.domain.json import JsonObject
from agentpane.errors import AgentPaneError, ErrorCode

Ref = Annotated[str, typer.Argument(metavar="APPROVAL", help="An approval: its id or the beginning of it.")]


def register(app: typer.Typer) -> None:
    commands.add(app, "approvals", approvals, "approvals", "approvals k3x9 --json")
    commands.add(app, "allow", allow, "allow a8f2", "allow a8f2 --always", "allow a8f2 --plan-file plan.md")
    commands.add(app, "deny", deny, 'deny a8f2 --message "Do not touch the lock file."')


def approvals(
    ctx: typer.Context,
    task: Annotated[str | None, typer.Argument(metavar="[T]", help="Only those of this task.")] = None,
) -> None:
    """List the tool calls that wait for a decision, oldest first."""
    pane: Pane = ctx.obj
    found = pane.call(lambda client: client.do(ListApprovals(task)))
    pane.result([shapes.approval(each) for each in found], "\n\n".join(map(_told, found)) or "Nothing waits.")


def allow(
    ctx: typer.Context,
    approval: Ref,
    always: Annotated[
        bool, typer.Option("--always", help="Take the rules that `approvals` shows into the project, too.")
    ] = False,
    plan_file: Annotated[
        Path | None,
        typer.Option("--plan-file", metavar="FILE", help="Approve the plan as this file has it."),
    ] = None,
) -> None:
    """Allow a tool call, or approve a plan; its run goes on by itself."""
    edited: JsonObject | None = None if plan_file is None else {"plan": _read(plan_file)}
    command = DecideApproval(approval, True, always, edited=edited, environment=model_environment())
    _decide(ctx.obj, command)


def deny(
    ctx: typer.Context,
    approval: Ref,
    message: Annotated[str, typer.Option(help="What the agent reads instead of a result.")] = "",
) -> None:
    """Deny a tool call; its run goes on by itself."""
    _decide(ctx.obj, DecideApproval(approval, False, message=message, environment=model_environment()))


def _told(value: Approval) -> str:
    """The call, what it would do, whole, and what `allow --always` would add."""
    head = table([(value.tool, value.summary, value.task_id, value.id)])
    whole = textwrap.indent(block(value.detail.rstrip("\n")), "    ") if value.detail else ""
    rules = "\n".join(f"  always: {line(rule)}" for rule in value.rules)
    return "\n".join(part for part in (head, whole, rules) if part)


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AgentPaneError(
            ErrorCode.VALIDATION_ERROR,
            f"The plan cannot be read from {file}.",
            hint="Name a text file in UTF-8. Nothing is decided.",
            details={"field": "plan_file"},
        ) from error


def _decide(pane: Pane, command: DecideApproval) -> None:
    decided: Approval = pane.call(lambda client: client.do(command))
    pane.result(shapes.approval(decided), table([(decided.state.value, decided.tool, decided.summary)]))
