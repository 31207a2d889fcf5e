"""`project filters`: which of git's filters, programs such as git-lfs, may run for a project's files."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from agentpane.api.client import Client
from agentpane.api.commands import EditProject, GetProject
from agentpane.cli import commands
from agentpane.cli.pane import Pane, line, project_ref
from agentpane.domain.projects import Project

Ref = Annotated[str, typer.Argument(metavar="P", help="A project: its id or the beginning of it, its name or path.")]
Names = list[str] | None


def register(noun: typer.Typer) -> None:
    commands.add(noun, "filters", filters, "project filters shop", "project filters shop --allow lfs")


def filters(
    ctx: typer.Context,
    project: Ref,
    allow: Annotated[Names, typer.Option("--allow", metavar="NAME", help="Let git run this filter.")] = None,
    forbid: Annotated[Names, typer.Option("--forbid", metavar="NAME", help="Let git run it no more.")] = None,
) -> None:
    """Show which of git's filters may run for a project's files, or change it.

    A filter is a program on this machine, outside of the sandbox. Your own configuration says which one it is.
    """
    pane: Pane = ctx.obj

    async def change(client: Client) -> Project:
        found = await client.do(GetProject(project_ref(project)))
        kept = [name for name in (*found.config.filters, *(allow or ())) if name not in (forbid or ())]
        if tuple(kept) == found.config.filters:
            return found
        config = replace(found.config, filters=tuple(dict.fromkeys(kept)))
        return await client.do(EditProject(found.id, config=config))

    found = pane.call(change)
    allowed = list(found.config.filters)
    told = ", ".join(map(line, allowed)) or "None: git runs no filter for this project."
    pane.result({"id": found.id, "name": found.name, "filters": allowed}, told)
