"""What an agent is given when it goes on: the conversation so far, its tools, and where its words are sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agentpane.db import approvals, runs
from agentpane.domain.ids import RunId
from agentpane.domain.policy import EXIT_PLAN, Policy
from agentpane.domain.rules import readable
from agentpane.domain.sandbox import Network, Tier
from agentpane.domain.transcript import Conversation
from agentpane.orchestrator.agents.credentials import Credentials
from agentpane.orchestrator.backends.base import Brief, Pending, ToolCall
from agentpane.orchestrator.blobs import BlobStore
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.runs import prompts
from agentpane.orchestrator.runs.attendance import NOT_STARTED, check_attended
from agentpane.orchestrator.runs.cast import Cast
from agentpane.orchestrator.tools import FileMemory, ToolContext
from agentpane.orchestrator.tools.shells import Shells
from agentpane.sandbox import Sandbox, tool_environment
from agentpane.worktrees import Worktree


async def reach_of(core: Core, cast: Cast) -> Network:
    """What the commands of a run reach, with the hosts that a person always allows."""
    return cast.reach(readable(await core.db.read(approvals.always, cast.project.id)))


@dataclass(frozen=True, slots=True)
class Briefing:
    core: Core
    blobs: BlobStore
    credentials: Credentials
    tier: Tier  # how commands are confined here

    async def of(
        self,
        cast: Cast,
        worktree: Worktree,
        conversation: Conversation,
        seen: Mapping[str, str],
        shells: Shells,
        sandbox: Sandbox,
    ) -> Brief:
        network = await reach_of(self.core, cast)
        context = ToolContext(
            worktree=worktree.path,
            sandbox=sandbox,
            readable=(cast.repository.common_dir,),
            environment=tool_environment(worktree.path),
            network=network,
            memory=FileMemory(seen),
            outputs=self.blobs,
            shells=shells,
            rules=cast.rules,
        )
        root = RunId(cast.run.root_run_id or cast.run.id)
        endpoint = await self.credentials.endpoint(root, cast.agent.backend)
        planning = cast.run.plan and not await self.core.db.read(approvals.plan_approved, cast.run.id)
        check_attended(cast.agent, cast.policy, planning, self.tier, cast.project.config.unconfined, NOT_STARTED)
        proposes = planning or any(call.name == EXIT_PLAN for call in conversation.pending)
        return Brief(
            run_id=cast.run.id,
            task_id=cast.task.card.id,
            model=cast.run.model,
            system=prompts.system_prompt(
                str(worktree.path), network, cast.agent.config.system_prompt, cast.words, planning
            ),
            history=conversation.history,
            turns=conversation.turns,
            call_ids=conversation.call_ids,
            results=conversation.results,
            pending=tuple(
                Pending(ToolCall(call.id, call.name, call.input), call.started, call.cut)
                for call in conversation.pending
            ),
            first_turn=conversation.next_turn,
            tools=(*cast.tool_names, EXIT_PLAN) if proposes else cast.tool_names,
            context=context,
            endpoint=endpoint,
            agent=cast.agent.config,
            conversation=await self._kept(cast, conversation),
            state=self.core.folder.agents / cast.task.card.id / cast.agent.id,
            plan=planning,
            read_only=cast.policy is Policy.READ_ONLY,
            extra_tools=tuple(tool for tool in cast.extra if tool.name in cast.tool_names),
        )

    async def _kept(self, cast: Cast, conversation: Conversation) -> str | None:
        """The name of the agent's own conversation, unless what is told begins anew."""
        if not any(message["role"] == "assistant" for message in conversation.history):
            return None
        return await self.core.db.read(runs.conversation_of, cast.task.card.id, cast.agent.id)
