"""`audit …`: the chained log of everything that was done."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import typer

from agentpane.api.client import Client
from agentpane.api.commands import ListAudit, VerifyAudit
from agentpane.cli import commands, shapes
from agentpane.cli.exits import DONE, SURROUNDINGS
from agentpane.cli.pane import Pane, project_ref, table
from agentpane.cli.project import Ref
from agentpane.domain.audit import AuditEntry

PAGE = 500


def register(app: typer.Typer) -> None:
    noun = commands.group(app, "audit", "The log of everything that was done: list, verify, export.")
    commands.add(noun, "list", list_, "audit list shop", "audit list shop --last 50")
    commands.add(noun, "verify", verify, "audit verify --json")
    commands.add(noun, "export", export, "audit export shop > audit.jsonl")


def list_(
    ctx: typer.Context,
    project: Ref,
    last: Annotated[int | None, typer.Option(min=1, help="Only the newest so many.")] = None,
) -> None:
    """List a project's entries, oldest first."""
    pane: Pane = ctx.obj
    entries = _read(pane, project)[-(last or 0) :]
    rows = (
        (
            each.number,
            each.record.at.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
            each.record.actor,
            each.record.tool,
            each.record.status.value,
            each.record.error or "",
        )
        for each in entries
    )
    pane.result(
        [shapes.audit_entry(each) for each in entries],
        table(rows, ("NO", "AT", "WHO", "WHAT", "STATUS", "")) or "No entry yet.",
    )


def verify(ctx: typer.Context) -> None:
    """Find a changed, missing or reordered entry in any project's log."""
    pane: Pane = ctx.obj
    verdict = pane.call(lambda client: client.do(VerifyAudit()))
    pane.status = DONE if verdict.ok else SURROUNDINGS
    bad = verdict.first_bad
    said = "" if bad is None else f"The first bad one: project {bad.project_id}, number {bad.number}: {bad.what}"
    text = f"{verdict.entries:,} entries, all as they were written." if verdict.ok else f"Not as it was written. {said}"
    pane.result(shapes.audit_verdict(verdict), text)


def export(ctx: typer.Context, project: Ref) -> None:
    """Write a project's entries to stdout, as JSON Lines."""
    pane: Pane = ctx.obj
    entries = [shapes.audit_entry(each) for each in _read(pane, project)]
    if pane.as_json:
        pane.document(entries)
        return
    for each in entries:
        pane.document(each)


def _read(pane: Pane, project: str) -> list[AuditEntry]:
    async def read(client: Client) -> list[AuditEntry]:
        return [entry async for entry in _entries(client, project_ref(project))]

    return pane.call(read)


async def _entries(client: Client, project: str) -> AsyncIterator[AuditEntry]:
    after = 0
    while page := await client.do(ListAudit(project, after, PAGE)):
        for entry in page:
            yield entry
        after = page[-1].number
