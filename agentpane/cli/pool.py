"""`project pool`: how many worktrees a project keeps ready for its next cards, and what they take on the disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import typer

from agentpane.api.client import Client
from agentpane.api.commands import EditProject, GetPool, GetProject
from agentpane.cli import commands
from agentpane.cli.pane import Pane, project_ref
from agentpane.cli.recovery import size
from agentpane.domain.pool import PoolStatus
from agentpane.domain.projects import Project

Ref = Annotated[str, typer.Argument(metavar="P", help="A project: its id or the beginning of it, its name or path.")]


def register(noun: typer.Typer) -> None:
    commands.add(noun, "pool", pool, "project pool shop", "project pool shop --size 2")


def pool(
    ctx: typer.Context,
    project: Ref,
    wanted: Annotated[
        int | None, typer.Option("--size", metavar="N", help="How many to keep ready, from 0 (none) to 8.")
    ] = None,
) -> None:
    """Show how many worktrees a project keeps ready, or set it. They are made and taken away when nothing starts."""
    pane: Pane = ctx.obj

    async def change(client: Client) -> tuple[Project, PoolStatus]:
        found = await client.do(GetProject(project_ref(project)))
        if wanted is not None:
            found = await client.do(EditProject(found.id, config=replace(found.config, pool_size=wanted)))
        return found, await client.do(GetPool(found.id))

    found, status = pane.call(change)
    pane.result({"id": found.id, "name": found.name, **shape(status)}, told(status))


def shape(value: PoolStatus) -> Mapping[str, Any]:
    """`off` says why none is ready although some are wanted; else it is null."""
    return {"wanted": value.wanted, "ready": value.ready, "size_bytes": value.size_bytes, "off": value.off or None}


def told(value: PoolStatus) -> str:
    counted = f"{value.ready} of {value.wanted}" + (f", {size(value.size_bytes)}" if value.ready else "")
    if value.ready > value.wanted:
        return f"{counted}; what is too many is taken away when nothing starts"
    return f"{counted}. {value.off}" if value.off else counted
