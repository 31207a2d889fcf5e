"""`costs`: what models have cost, by run, task, agent, project, day or model."""

from __future__ import annotations

from typing import Annotated

import typer

from agentpane.api.commands import ListCosts
from agentpane.cli import commands, shapes
from agentpane.cli.pane import Pane, project_ref, table
from agentpane.domain.costs import CostGroup, CostLine


def register(app: typer.Typer) -> None:
    commands.add(app, "costs", costs, "costs", "costs shop --by task --days 7")


def costs(
    ctx: typer.Context,
    project: Annotated[str | None, typer.Argument(metavar="PROJECT", help="Of this project only.")] = None,
    by: Annotated[CostGroup, typer.Option(help="What the sums are of.")] = CostGroup.DAY,
    days: Annotated[int | None, typer.Option(help="Only of the last so many days, today among them.")] = None,
) -> None:
    """Add up what models have cost."""
    pane: Pane = ctx.obj
    command = ListCosts(by, project_ref(project) if project else None, days)
    lines = pane.call(lambda client: client.do(command))
    rows = (
        (
            line.label,
            f"{line.calls:,}",
            f"{line.input_tokens + line.cache_read_tokens + line.cache_write_tokens:,}",
            f"{line.output_tokens:,}",
            money(line),
        )
        for line in lines
    )
    headings = (by.value.upper(), "CALLS", "READ", "WRITTEN", "COST")
    pane.result([shapes.cost_line(line) for line in lines], table(rows, headings) or "Nothing has been used yet.")


def money(line: CostLine) -> str:
    """The known cost, and how many calls it is without."""
    if line.unpriced == line.calls:
        return "unknown"
    return f"${line.cost_usd:,.4f}" + (f" + {line.unpriced} unknown" if line.unpriced else "")
