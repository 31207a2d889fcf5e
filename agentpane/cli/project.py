"""`project …`: the repositories on the board."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import Annotated

import typer

from agentpane.api.client import Client
from agentpane.api.commands import (
    AddProject,
    GetPool,
    GetProject,
    ListProjects,
    ListRepositoryChecks,
    RemoveProject,
    TrustProject,
)
from agentpane.cli import commands, policies, pool, project_checks, project_filters, shapes
from agentpane.cli.pane import Pane, absolute, line, pairs, project_ref, table
from agentpane.domain.gitpaths import display_path
from agentpane.domain.pool import PoolStatus
from agentpane.domain.projects import Project
from agentpane.errors import AgentPaneError, ErrorCode

DIGEST_SHOWN = 12  # characters

Ref = Annotated[str, typer.Argument(metavar="P", help="A project: its id or the beginning of it, its name or path.")]


def register(app: typer.Typer) -> None:
    noun = commands.group(app, "project", "The repositories on the board: add, list, show, trust, remove.")
    commands.add(noun, "add", add, "project add .", "project add ~/code/shop --base develop --json")
    commands.add(noun, "list", list_, "project list")
    commands.add(noun, "show", show, "project show shop")
    commands.add(noun, "trust", trust_, "project trust shop", "project trust shop --yes --digest 3f2a9c1d0b7e")
    commands.add(noun, "remove", remove, "project remove shop")
    policies.register(noun)
    pool.register(noun)
    project_checks.register(noun)
    project_filters.register(noun)


def add(
    ctx: typer.Context,
    path: Annotated[str, typer.Argument(metavar="PATH", help="The folder of a git repository.")],
    name: Annotated[str | None, typer.Option(help="What to call it; else the folder's name.")] = None,
    base: Annotated[str | None, typer.Option(help="The branch that work is merged into; else what HEAD names.")] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Trust the repository's own configuration as it stands on that branch.")
    ] = False,
    allow_filter: Annotated[
        list[str] | None, typer.Option("--allow-filter", metavar="NAME", help="Let git run this filter, such as lfs.")
    ] = None,
) -> None:
    """Put a git repository on the board.

    With --trust, one that is there already has its present configuration trusted.
    """
    pane: Pane = ctx.obj
    filters = tuple(allow_filter or ())
    command = AddProject(absolute(path) if path.strip() else path, name, base, filters=filters)
    added = pane.call(lambda client: _trusted(client, command, pane) if trust else client.do(command))
    for waiting in added.trust_pending:
        pane.note(f"Waits for trust (--trust): {line(waiting)}")
    pane.result(shapes.project(added), _told(added))


def list_(ctx: typer.Context) -> None:
    """List the projects."""
    pane: Pane = ctx.obj
    found = pane.call(lambda client: client.do(ListProjects()))
    rows = ((each.name, each.base_branch, PurePath(each.path), each.id) for each in found)
    pane.result(
        [shapes.project(each) for each in found],
        table(rows, ("NAME", "BASE", "PATH", "ID")) or "No project yet: agentpane project add PATH",
    )


def show(ctx: typer.Context, project: Ref) -> None:
    """Show a project."""
    pane: Pane = ctx.obj

    async def look(client: Client) -> tuple[Project, PoolStatus]:
        found = await client.do(GetProject(project_ref(project)))
        return found, await client.do(GetPool(found.id))

    found, ready = pane.call(look)
    shown = {**shapes.project(found), "pool": pool.shape(ready)}
    pane.result(shown, _told(found, {"ready worktrees": pool.told(ready)}))


def trust_(
    ctx: typer.Context,
    project: Ref,
    yes: Annotated[bool, typer.Option("--yes", help="Trust what waits.")] = False,
    digest: Annotated[
        str | None, typer.Option(help="Only if it is still this content: its digest as it was shown.")
    ] = None,
) -> None:
    """Show what of a repository's own configuration waits for trust, or trust it.

    What is trusted is exactly that content on the base branch; another needs trust again.
    """
    pane: Pane = ctx.obj

    async def look(client: Client) -> Project:
        found = await client.do(GetProject(project_ref(project)))
        waits = found.trust_digest
        if waits is not None and digest is not None and not (digest and waits.startswith(digest)):
            raise AgentPaneError(
                ErrorCode.PROJECT_NOT_TRUSTED,
                f"{found.base_branch} has another configuration than {digest}.",
                hint="`agentpane project trust P` shows what waits now. Nothing has changed.",
                details={"project_id": found.id, "digest": waits},
            )
        if yes and waits is not None:
            return replace(await client.do(TrustProject(found.id, waits)), trust_pending=found.trust_pending)
        return found

    found = pane.call(look)
    problem = pane.call(lambda client: client.do(ListRepositoryChecks(found.id))).problem
    pane.result(shapes.trust(found), problem or _trust_told(found))


def remove(
    ctx: typer.Context,
    project: Ref,
    purge: Annotated[bool, typer.Option("--purge", help="Delete its cards and sessions, never the audit.")] = False,
) -> None:
    """Take a project off the board; what is not committed is kept first."""
    pane: Pane = ctx.obj
    gone = pane.call(lambda client: client.do(RemoveProject(project_ref(project), purge)))
    pane.result(shapes.project(gone), f"{line(gone.name)} is off the board; {display_path(gone.path)} stays as it is.")


async def _trusted(client: Client, command: AddProject, pane: Pane) -> Project:
    """The project, added unless it is there already, with its configuration trusted as it is told here."""
    try:
        project = await client.do(command)
    except AgentPaneError as error:
        known = error.details.get("project_id")
        other = command.name is not None or command.base_branch is not None
        if error.code is not ErrorCode.PROJECT_PATH_EXISTS or not isinstance(known, str) or other:
            raise
        project = await client.do(GetProject(known))
    if project.trust_digest is None:
        return project
    trusted = await client.do(TrustProject(project.id, project.trust_digest))
    for each in project.trust_pending:
        pane.note(f"Trusted: {line(each)}")
    return trusted


def _trust_told(value: Project) -> str:
    pending = "\n".join(f"  {line(each)}" for each in value.trust_pending)
    if value.trust_digest is None:
        return f"Trusted:\n{pending}" if pending else "Nothing waits for trust."
    how = f"agentpane project trust {value.id} --yes --digest {value.trust_digest[:DIGEST_SHOWN]}"
    return f"Waits for trust, on {line(value.base_branch)}:\n{pending}\nRead it there, then: {how}"


def _told(value: Project, more: Mapping[str, str] | None = None) -> str:
    return pairs(
        {
            "id": value.id,
            "name": value.name,
            "path": PurePath(value.path),
            "base branch": value.base_branch,
            "trusted": "yes" if value.trusted else "no",
            **(more or {}),
        }
    )
