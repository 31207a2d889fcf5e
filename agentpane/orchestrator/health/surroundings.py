"""What the engine stands on: the database file, git, the sandbox, and the programs of the configured agents."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from agentpane.db import agents
from agentpane.domain.projects import Project
from agentpane.domain.sandbox import Tier
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.backends.registry import Backends
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.health.ailments import Ailment, ailment
from agentpane.sandbox import Sandbox, why_not_confined


async def database(core: Core) -> AsyncIterator[Ailment]:
    for what in await core.db.check():
        fix = "Restore a backup with: agentpane db restore FILE"
        yield ailment(ErrorCode.STORE_CORRUPT, what, str(core.folder.database), fix, about=(what,))


async def confinement(sandbox: Sandbox) -> AsyncIterator[Ailment]:
    if sandbox.tier is Tier.NONE:
        why: str | None = await asyncio.to_thread(why_not_confined)
        yield ailment(
            ErrorCode.SECURITY_SANDBOX_UNAVAILABLE,
            "Commands of agents are not confined, and each is asked for: "
            + (why or "AGENTPANE_SANDBOX has chosen so."),
            "sandbox",
            "Install bubblewrap (bwrap), and leave AGENTPANE_SANDBOX unset.",
        )


async def programs(core: Core, backends: Backends, on_board: Sequence[Project]) -> AsyncIterator[Ailment]:
    """Agents that could not be started here."""
    for project in on_board:
        for agent in await core.db.read(agents.list_for, project.id):
            try:
                await backends.check(agent.backend, agent.config)
            except AgentPaneError as error:
                if error.code is ErrorCode.AGENT_BACKEND_MISSING:
                    where = f"{project.name}: {agent.name}"
                    yield ailment(error.code, error.message, where, error.hint, about=(agent.id,), project=project.id)
