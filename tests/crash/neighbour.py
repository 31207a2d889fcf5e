"""Another card of the same target, approved right after a death: it may go ahead of nothing that was left half done."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from agentpane.api import commands as c
from agentpane.domain.agents import AgentConfig, BackendName
from agentpane.domain.board import Column
from agentpane.domain.policy import Policy
from agentpane.domain.review import ApproveResult, MergeStrategy
from tests.crash.host import BOUND_S, Host

PAUSE_S = 0.1


@dataclass(slots=True)
class Neighbour:
    """A card whose change meets nobody else's. merge: the commit that merged it; empty while it waits for approval."""

    task: str
    merge: str = ""

    @classmethod
    async def ready(cls, host: Host, project: str) -> Neighbour:
        config = AgentConfig(command="echo beside > beside.txt")
        await host.do(c.AddAgent(project, "Beside", BackendName.COMMAND, config=config))
        task = (await host.do(c.AddTask(project, "Another card"))).card.id
        await host.do(c.StartRun(task, agent="Beside", policy=Policy.FREE))
        until = time.monotonic() + BOUND_S
        while (found := await host.do(c.GetTask(task))).card.column is not Column.WAITING_APPROVAL:
            assert time.monotonic() < until, found.runs
            await asyncio.sleep(PAUSE_S)
        return cls(task)

    async def approve(self, host: Host, bound_s: float) -> str:
        """Why it is not merged, however often it is asked for; empty when it is."""
        until = time.monotonic() + bound_s
        while True:
            answer = await host.do(c.Approve(self.task, strategy=MergeStrategy.MERGE))
            if answer.result is ApproveResult.MERGED:
                self.merge = str(answer.merge_commit)
                return ""
            if time.monotonic() > until:
                return f"the other card is not merged: {answer.code} {answer.message}"
            await asyncio.sleep(PAUSE_S)
