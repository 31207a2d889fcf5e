"""`agent …`: the agents of a project."""

from __future__ import annotations

from typing import Annotated

import typer

from agentpane.api.commands import AddAgent, ListAgents
from agentpane.cli import commands, shapes
from agentpane.cli.pane import Pane, pairs, project_ref, table
from agentpane.cli.project import Ref
from agentpane.domain.acp_presets import PRESETS
from agentpane.domain.agents import Agent, AgentConfig, BackendName
from agentpane.domain.runs import AgentType


def register(app: typer.Typer) -> None:
    noun = commands.group(app, "agent", "The agents of a project: list, add.")
    commands.add(noun, "list", list_, "agent list shop")
    commands.add(noun, "add", add, "agent add shop Careful --backend anthropic --model claude-opus-4-5 --default")


def list_(ctx: typer.Context, project: Ref) -> None:
    """List a project's agents."""
    pane: Pane = ctx.obj
    found = pane.call(lambda client: client.do(ListAgents(project_ref(project))))
    rows = (
        (
            each.name,
            each.backend.value,
            each.model,
            each.type.value,
            each.status.value,
            "default" if each.is_default else "",
        )
        for each in found
    )
    pane.result([shapes.agent(each) for each in found], table(rows, ("NAME", "BACKEND", "MODEL", "TYPE", "STATUS", "")))


def _default(agent: Agent) -> str:
    return "default" if agent.is_default else ""


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
