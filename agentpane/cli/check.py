"""`check`: the checks of one card, run on what its merge would make."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from agentpane.api.commands import RunChecks, StopChecks
from agentpane.cli import check_shapes, commands
from agentpane.cli.exits import DONE, REFUSED
from agentpane.cli.pane import Pane, block, line, table
from agentpane.cli.project_checks import NO_CHECK
from agentpane.cli.task import Ref
from agentpane.domain.checks import CheckResult


def register(app: typer.Typer) -> None:
    commands.add(app, "check", check, "check k3x9", "check k3x9 --json", "check k3x9 --stop")


def check(
    ctx: typer.Context,
    task: Ref,
    stop: Annotated[bool, typer.Option("--stop", help="End the checks that are under way instead.")] = False,
) -> None:
    """Run all checks of a card on what its merge would make, and wait for them; they go on after Ctrl-C."""
    pane: Pane = ctx.obj
    if stop:
        results = pane.call(lambda client: client.do(StopChecks(task))).card.checks
    else:
        results = pane.call(lambda client: client.do(RunChecks(task)))
        pane.status = REFUSED if any(result.blocks for result in results) else DONE
    pane.result([check_shapes.result(result) for result in results], told(results) or NO_CHECK)


def told(results: Sequence[CheckResult]) -> str:
    """Results in words, each that did not pass with the end of what it wrote."""
    rows = ((result.name, result.how, "" if result.required else "optional", _took(result)) for result in results)
    outputs = [f"\n{line(result.name)}:\n{block(result.output)}" for result in results if result.output]
    return "\n".join([table(rows), *outputs])


def _took(result: CheckResult) -> str:
    return "" if result.seconds is None else f"{result.seconds:.1f} s"
