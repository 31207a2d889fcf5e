"""`budget`: how much a run, a task, a project and a day may use."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from agentpane.api.client import Client
from agentpane.api.commands import ChangeSettings, EditProject, GetProject, GetSettings
from agentpane.cli import commands, shapes
from agentpane.cli.pane import Pane, project_ref, table
from agentpane.domain.budgets import Budget
from agentpane.domain.limits import invalid

Usd = Annotated[float | None, typer.Option(metavar="USD", help="Dollars; 0 takes the limit away.")]
Tokens = Annotated[int | None, typer.Option(metavar="N", help="Tokens; 0 takes the limit away.")]


def register(app: typer.Typer) -> None:
    commands.add(app, "budget", budget, "budget shop --run 2 --project 50", "budget --day 20", "budget shop")


def budget(
    ctx: typer.Context,
    project: Annotated[str | None, typer.Argument(metavar="PROJECT", help="Whose budgets; none: the day's.")] = None,
    run: Usd = None,
    run_tokens: Tokens = None,
    task: Usd = None,
    task_tokens: Tokens = None,
    whole: Annotated[float | None, typer.Option("--project", metavar="USD", help="Of the whole project.")] = None,
    whole_tokens: Annotated[int | None, typer.Option("--project-tokens", metavar="N")] = None,
    day: Usd = None,
    day_tokens: Tokens = None,
) -> None:
    """Show or change what may be used: for each run and task of a project, the project, and all projects in a day.

    At 80 % the session warns; at 100 % a run pauses and asks.
    """
    pane: Pane = ctx.obj
    own = ((run, run_tokens), (task, task_tokens), (whole, whole_tokens))
    if project is None and any(value is not None for pair in own for value in pair):
        raise invalid("project", "Name the project whose budgets these are.")

    async def change(client: Client) -> dict[str, Budget]:
        settings = await client.do(GetSettings())
        of_day = _changed(settings.day_budget, day, day_tokens)
        if of_day != settings.day_budget:
            settings = await client.do(ChangeSettings(replace(settings, day_budget=of_day)))
        found = {"day": settings.day_budget}
        if project is not None:
            known = await client.do(GetProject(project_ref(project)))
            config = replace(
                known.config,
                run_budget=_changed(known.config.run_budget, run, run_tokens),
                task_budget=_changed(known.config.task_budget, task, task_tokens),
                project_budget=_changed(known.config.project_budget, whole, whole_tokens),
            )
            if config != known.config:
                known = await client.do(EditProject(known.id, config=config))
            found = {
                "run": known.config.run_budget,
                "task": known.config.task_budget,
                "project": known.config.project_budget,
            } | found
        return found

    budgets = pane.call(change)
    rows = [(name, *_words(value)) for name, value in budgets.items()]
    pane.result({name: shapes.budget(value) for name, value in budgets.items()}, table(rows, ("A", "USD", "TOKENS")))


def _changed(before: Budget, usd: float | None, tokens: int | None) -> Budget:
    return Budget(
        before.usd if usd is None else usd or None,
        before.tokens if tokens is None else tokens or None,
    )


def _words(value: Budget) -> tuple[str, str]:
    return (
        "no limit" if value.usd is None else f"${value.usd:,.2f}",
        "no limit" if value.tokens is None else f"{value.tokens:,}",
    )
