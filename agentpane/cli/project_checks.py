"""`project check …`: the commands that every merge of a project has to pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import typer

from agentpane.api.client import Client
from agentpane.api.commands import EditProject, GetProject, ListRepositoryChecks
from agentpane.cli import check_shapes, commands
from agentpane.cli.pane import Pane, project_ref, table
from agentpane.domain.checks import DEFAULT_TIMEOUT_S, Check, RepositoryChecks
from agentpane.domain.limits import invalid
from agentpane.domain.projects import Project
from agentpane.domain.repoconfig import CONFIG_PATH
from agentpane.errors import AgentPaneError

Ref = Annotated[str, typer.Argument(metavar="P", help="A project: its id or the beginning of it, its name or path.")]
NO_CHECK = "No check is set for this project: agentpane project check add P NAME COMMAND"


def register(project: typer.Typer) -> None:
    noun = commands.group(project, "check", "The commands that every merge of a project has to pass.")
    commands.add(noun, "list", list_, "project check list shop")
    commands.add(
        noun,
        "add",
        add,
        'project check add shop tests "npm test"',
        'project check add shop lint "npm run lint" --optional --timeout 60',
    )
    commands.add(noun, "remove", remove, "project check remove shop lint")


def list_(ctx: typer.Context, project: Ref) -> None:
    """List a project's own checks, and those of its repository, which hold beside them once they are trusted."""
    pane: Pane = ctx.obj
    _show(pane, pane.call(lambda client: client.do(GetProject(project_ref(project)))))


def add(
    ctx: typer.Context,
    project: Ref,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it, such as tests.")],
    command: Annotated[str, typer.Argument(metavar="COMMAND", help="A shell command; it passes if it ends with 0.")],
    optional: Annotated[bool, typer.Option("--optional", help="It only warns, and keeps no merge away.")] = False,
    timeout: Annotated[int, typer.Option(help="How many seconds it may take.")] = DEFAULT_TIMEOUT_S,
) -> None:
    """Have a command run on every merge before it is made."""
    pane: Pane = ctx.obj
    new = Check(name, command, not optional, timeout)
    _show(pane, _changed(pane, project, lambda checks: (*checks, new)))


def remove(
    ctx: typer.Context,
    project: Ref,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The check's name.")],
) -> None:
    """Take a check away."""
    pane: Pane = ctx.obj

    def without(checks: tuple[Check, ...]) -> tuple[Check, ...]:
        kept = tuple(check for check in checks if check.name != name)
        if len(kept) == len(checks):
            raise invalid("name", f"The project has no check “{name}”.", "`agentpane project check list P` shows them.")
        return kept

    try:
        changed = _changed(pane, project, without)
    except AgentPaneError as error:
        raise _of_repository(pane, project, name) or error from error
    _show(pane, changed)


def _of_repository(pane: Pane, project: str, name: str) -> AgentPaneError | None:
    """Why a check that the repository brings cannot be taken away here; None for another."""

    async def look(client: Client) -> RepositoryChecks:
        return await client.do(ListRepositoryChecks((await client.do(GetProject(project_ref(project)))).id))

    if name not in {check.name for check in pane.call(look).checks}:
        return None
    return invalid(
        "name",
        f"The check “{name}” comes from the repository, in {CONFIG_PATH}. Nothing has changed.",
        "Take it out there and commit that; or set one of your own by that name, which takes its place: "
        f"agentpane project check add P {name} COMMAND --optional",
    )


def _changed(pane: Pane, project: str, change: Callable[[tuple[Check, ...]], tuple[Check, ...]]) -> Project:
    async def carry_out(client: Client) -> Project:
        found = await client.do(GetProject(project_ref(project)))
        config = replace(found.config, checks=change(found.config.checks))
        return await client.do(EditProject(found.id, config=config))

    return pane.call(carry_out)


def _show(pane: Pane, value: Project) -> None:
    found = pane.call(lambda client: client.do(ListRepositoryChecks(value.id)))
    own = {check.name for check in value.config.checks}
    listed = [(check, "project", "yours") for check in value.config.checks]
    for check in found.checks:
        stands = ", replaced by yours" if check.name in own else "" if found.trusted else ", waits for trust"
        listed.append((check, "repository", f"the repository{stands}"))
    rows = (
        (check.name, "required" if check.required else "optional", f"{check.timeout_s} s", origin, check.command)
        for check, _, origin in listed
    )
    if found.problem:
        pane.note(found.problem)
    text = table(rows, ("NAME", "KIND", "TIME", "FROM", "COMMAND")) or ("" if found.problem else NO_CHECK)
    holding = {origin: "," not in origin for _, _, origin in listed}
    pane.result([check_shapes.check(check, asks, holding[origin]) for check, asks, origin in listed], text)
