"""`project policy`: what decides about the calls of a project's agents."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from agentpane.api.client import Client
from agentpane.api.commands import EditProject, GetProject
from agentpane.cli import commands, shapes
from agentpane.cli.pane import Pane, line, project_ref
from agentpane.domain.policy import Policy
from agentpane.domain.projects import Project
from agentpane.domain.rules import parse
from agentpane.errors import AgentPaneError, ErrorCode

Ref = Annotated[str, typer.Argument(metavar="P", help="A project: its id or the beginning of it, its name or path.")]
RULE = "RULE"
SHOWN = ("rule: ", "always: ")


def register(noun: typer.Typer) -> None:
    commands.add(
        noun,
        "policy",
        policy,
        "project policy shop",
        'project policy shop --preset careful --allow "Bash(npm test:*)" --deny "Read(.env)"',
        'project policy shop --remove "allow Bash(npm test:*)"',
    )


def policy(
    ctx: typer.Context,
    project: Ref,
    preset: Annotated[Policy | None, typer.Option(help="What is decided where no rule speaks.")] = None,
    allow: Annotated[list[str] | None, typer.Option(metavar=RULE, help="Allow, as in Bash(npm test:*).")] = None,
    ask: Annotated[list[str] | None, typer.Option(metavar=RULE, help="Ask each time, as in Write(db/**).")] = None,
    deny: Annotated[list[str] | None, typer.Option(metavar=RULE, help="Deny, as in Read(.env); wins always.")] = None,
    remove: Annotated[list[str] | None, typer.Option(metavar=RULE, help="Take a rule away, as it is shown.")] = None,
    unconfined: Annotated[
        bool | None,
        typer.Option("--unconfined/--confined", help="Let runs that nobody is asked about play without a sandbox."),
    ] = None,
) -> None:
    """Show what decides about calls in a project, or change it."""
    pane: Pane = ctx.obj
    given = {"allow": allow or [], "ask": ask or [], "deny": deny or []}
    added = [parse(f"{effect} {rule}").text for effect, rules in given.items() for rule in rules]
    gone = [_as_kept(rule) for rule in remove or []]
    changes: dict[str, object] = {}
    if preset is not None:
        changes["policy"] = preset.value
    if unconfined is not None:
        changes["unconfined"] = unconfined

    async def change(client: Client) -> Project:
        found = await client.do(GetProject(project_ref(project)))
        if not (added or gone or changes):
            return found
        missing = [rule for rule in gone if rule not in {*found.config.rules, *found.always}]
        if missing:
            raise AgentPaneError(
                ErrorCode.VALIDATION_ERROR,
                f"The project has no rule “{missing[0]}”.",
                hint="`agentpane project policy P` shows its rules. Nothing has changed.",
                details={"field": "remove"},
            )
        rules = tuple(dict.fromkeys(rule for rule in (*found.config.rules, *added) if rule not in gone))
        config = replace(found.config, rules=rules, **changes)  # type: ignore[arg-type]
        always = tuple(rule for rule in found.always if rule not in gone)
        return await client.do(EditProject(found.id, config=config, always=always))

    changed = pane.call(change)
    pane.result(shapes.policy(changed), _told(changed))


def _as_kept(rule: str) -> str:
    """A rule in the words in which it is kept, given with or without the word before it that says where it stands.

    One that cannot be read is looked for as it is.
    """
    for shown in SHOWN:
        rule = rule.removeprefix(shown)
    try:
        return parse(rule).text
    except AgentPaneError:
        return rule


def _told(value: Project) -> str:
    lines = [f"preset: {value.config.policy}"]
    lines += [f"{SHOWN[0]}{line(rule)}" for rule in value.config.rules]
    lines += [f"{SHOWN[1]}{line(rule)}" for rule in value.always]
    if value.config.unconfined:
        lines.append("unconfined: runs that nobody is asked about may play without a sandbox")
    return "\n".join(lines)
