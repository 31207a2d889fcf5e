"""`doctor`: what is wrong with the data and the surroundings, and mending what the person agrees to."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from agentpane.api.commands import Doctor, Repair
from agentpane.cli import commands, shapes
from agentpane.cli.exits import DONE, SURROUNDINGS
from agentpane.cli.pane import Pane, block, pairs
from agentpane.cli.recovery import size
from agentpane.domain.health import DoctorReport, Finding


def register(app: typer.Typer) -> None:
    commands.add(app, "doctor", doctor, "doctor", "doctor --fix", "doctor --fix --yes --json")


def doctor(
    ctx: typer.Context,
    fix: Annotated[
        bool, typer.Option("--fix", help="Mend what can be mended, asking about each. Without a terminal: only say so.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --fix: mend everything that can be mended.")] = False,
) -> None:
    """Say what is wrong with the data, worktrees, git, sandbox or backends.

    What would be lost by mending is put into the recovery bin first. What AgentPane did not make is never touched.
    """
    pane: Pane = ctx.obj
    report = pane.call(lambda client: client.do(Doctor()))
    mendable = [each for each in report.findings if each.repairable]
    chosen = _chosen(pane, mendable, yes) if fix else []
    if chosen:
        ids = tuple(each.id for each in chosen)
        report = pane.call(lambda client: client.do(Repair(ids)))
    would = [] if chosen or not fix else mendable
    pane.status = DONE if report.ok else SURROUNDINGS
    shape = shapes.doctor(report)
    pane.result({**shape, "would_repair": [each.id for each in would]} if fix else shape, _told(report, would))


def _chosen(pane: Pane, mendable: Sequence[Finding], yes: bool) -> list[Finding]:
    """Those that the person agrees to; none where nobody can be asked."""
    if yes:
        return list(mendable)
    if not pane.for_people or not sys.stdin.isatty():
        return []
    return [each for each in mendable if _agreed(each)]


def _agreed(finding: Finding) -> bool:
    return bool(typer.confirm(f"{_finding(finding)}\nDo that?", err=True))


def _told(report: DoctorReport, would: Sequence[Finding] = ()) -> str:
    parts = [f"{'Mended' if each.done else 'Not mended'}: {block(each.words)}\n  {each.id}" for each in report.repairs]
    parts += _listed(report, lambda each: not each.notice) or ["Nothing is wrong."]
    parts += _listed(report, lambda each: each.notice)
    if would:
        parts.append(f"{len(would)} of these can be mended: agentpane doctor --fix at a terminal asks, --yes does it.")
    kept = f"{report.recoveries}, {size(report.recoveries_bytes)}" if report.recoveries else None
    parts.append(pairs({"sandbox tier": report.sandbox_tier, **report.versions, "recovery bin": kept}))
    return "\n\n".join(parts)


def _listed(report: DoctorReport, wanted: Callable[[Finding], bool]) -> list[str]:
    return [_finding(each) for each in report.findings if wanted(each)]


def _finding(finding: Finding) -> str:
    code = f"{finding.code} (only to know)" if finding.notice else finding.code
    lines = [f"{code}: {block(finding.what)}", f"  where: {block(finding.where)}"]
    if finding.size_bytes:
        lines.append(f"  size: {size(finding.size_bytes)}")
    if finding.fix:
        lines.append(f"  mend: {block(finding.fix)}")
    if finding.repairable:
        lines.append(f"  id: {finding.id}")
    return "\n".join(lines)
