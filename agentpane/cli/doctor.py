"""`doctor`: what is wrong with the data and the surroundings."""

from __future__ import annotations

import typer

from agentpane.api.commands import Doctor
from agentpane.cli import commands, shapes
from agentpane.cli.exits import DONE, SURROUNDINGS
from agentpane.cli.pane import Pane, block, pairs
from agentpane.domain.health import DoctorReport


def register(app: typer.Typer) -> None:
    commands.add(app, "doctor", doctor, "doctor", "doctor --json")


def doctor(ctx: typer.Context) -> None:
    """Say what is wrong with the data, git, sandbox or backends."""
    pane: Pane = ctx.obj
    report = pane.call(lambda client: client.do(Doctor()))
    pane.status = DONE if report.ok else SURROUNDINGS
    pane.result(shapes.doctor(report), _told(report))


def _told(report: DoctorReport) -> str:
    parts = [
        f"{each.code}: {block(each.what)}\n  where: {block(each.where)}"
        + (f"\n  mend: {block(each.fix)}" if each.fix else "")
        for each in report.findings
    ]
    if not parts:
        parts.append("Nothing is wrong.")
    parts.append(pairs({"sandbox tier": report.sandbox_tier, **report.versions}))
    return "\n\n".join(parts)
