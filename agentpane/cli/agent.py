"""`agent …`: the agents of a project."""

from __future__ import annotations

from typing import Annotated

import typer

from agentpane.api.client import Client
from agentpane.api.commands import AddAgent, CheckAgentFiles, DetectBackends, ListAgents
from agentpane.cli import commands, shapes
from agentpane.cli.pane import Pane, line, model_environment, pairs, project_ref, table
from agentpane.cli.project import Ref
from agentpane.domain.acp_presets import PRESETS
from agentpane.domain.agents import Agent, AgentConfig, BackendName
from agentpane.domain.health import Finding
from agentpane.domain.runs import AgentType


def register(app: typer.Typer) -> None:
    noun = commands.group(app, "agent", "The agents of a project: list, add; detect says what this machine has.")
    commands.add(noun, "list", list_, "agent list shop")
    commands.add(noun, "add", add, "agent add shop Careful --backend anthropic --model claude-opus-4-5 --default")
    commands.add(noun, "detect", detect, "agent detect")


def list_(ctx: typer.Context, project: Ref) -> None:
    """List a project's agents."""
    pane: Pane = ctx.obj
    ref = project_ref(project)

    async def listed(client: Client) -> tuple[tuple[Agent, ...], tuple[Finding, ...]]:
        return await client.do(ListAgents(ref)), await client.do(CheckAgentFiles(ref))

    found, problems = pane.call(listed)
    for problem in problems:
        pane.note(f"! {line(problem.what)}")
    rows = (
        (
            each.name,
            each.backend.value,
            each.model,
            each.type.value,
            each.status.value,
            "default" if each.is_default else "",
            each.source or "",
        )
        for each in found
    )
    headings = ("NAME", "BACKEND", "MODEL", "TYPE", "STATUS", "", "FILE")
    pane.result([shapes.agent(each) for each in found], table(rows, headings))


def detect(ctx: typer.Context) -> None:
    """Say which backends this machine has. Nothing is sent anywhere to find out."""
    pane: Pane = ctx.obj
    found = pane.call(lambda client: client.do(DetectBackends(model_environment())))
    rows = (
        (
            each.title,
            f"{each.backend} {each.preset}" if each.preset else each.backend.value,
            "yes" if each.usable else "no",
            each.version or "",
            each.program or "",
            each.note,
        )
        for each in found
    )
    headings = ("NAME", "BACKEND", "USABLE", "VERSION", "PROGRAM", "NOTE")
    pane.result([shapes.detected(each) for each in found], table(rows, headings))


def add(
    ctx: typer.Context,
    project: Ref,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call the agent.")],
    backend: Annotated[BackendName, typer.Option(help="The program or interface that does the thinking.")],
    type_: Annotated[AgentType, typer.Option("--type", help="What kind of work it does.")] = AgentType.TASK,
    model: Annotated[str | None, typer.Option(help="The model; else the project's.")] = None,
    default: Annotated[bool, typer.Option("--default", help="New cards get this agent.")] = False,
    command: Annotated[
        str | None, typer.Option(help="For command: what to run. For acp: the program that speaks the protocol.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help=f"For acp, a known program: {', '.join(PRESETS)}.")] = None,
) -> None:
    """Configure an agent for a project."""
    pane: Pane = ctx.obj
    config = AgentConfig(model=model, command=command, preset=preset)
    wanted = AddAgent(project_ref(project), name, backend, type_, config, default)
    added = pane.call(lambda client: client.do(wanted))
    shown = {"id": added.id, "name": added.name, "backend": added.backend.value, "model": added.model}
    pane.result(shapes.agent(added), pairs(shown))
