"""What a run is about, read once at its start, and what follows from it: its tools, its rules, its policy.

A sub-agent may do nothing that an agent above it may not: this is the one place that says so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from agentpane.db import runs
from agentpane.domain.agents import Agent, AgentConfig
from agentpane.domain.engine import McpServer
from agentpane.domain.policy import Grants, Policy, below
from agentpane.domain.projects import DEFAULT_TOOLS, Project, ProjectConfig
from agentpane.domain.reach import reach
from agentpane.domain.rules import Rule, RuleEffect, parse_all
from agentpane.domain.sandbox import Network, Tier
from agentpane.domain.tasks import Task
from agentpane.orchestrator.tools import Tool
from agentpane.worktrees import Repository


@dataclass(frozen=True, slots=True)
class Cast:
    """above: the agents that this one works for, the card's first. ceiling: the policy of the last of them."""

    run: runs.RunRow
    task: Task
    project: Project
    agent: Agent
    config: ProjectConfig  # the project's, with what is trusted of the repository's
    repository: Repository
    words: tuple[tuple[str, str], ...]  # the repository's instruction files
    untrusted: tuple[str, ...]  # what of the repository's configuration is left out, one line each
    tools: tuple[str, ...] | None = None  # of a sub-agent; None: as they are configured
    servers: tuple[McpServer, ...] = ()  # the repository's, where they are trusted
    extra: tuple[Tool, ...] = ()  # what the tool servers of the run offer
    above: tuple[AgentConfig, ...] = ()
    ceiling: Policy | None = None

    @property
    def tool_names(self) -> tuple[str, ...]:
        if self.tools is not None:
            return self.tools
        wanted = self.agent.config.allowed_tools or self.config.allowed_tools
        return (*(tool for tool in wanted if tool in DEFAULT_TOOLS), *(tool.name for tool in self.extra))

    @property
    def policy(self) -> Policy:
        """What the person has chosen for the run, else the agent's or the project's; a sub-agent is held below."""
        own = self.agent.config.policy
        if self.ceiling is not None:
            return below(self.ceiling, own)
        return Policy(self.run.policy or own or self.config.policy)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The project's, the agent's, and what the agents above it may not do or are asked about.

        Raises AgentPaneError with VALIDATION_ERROR for a rule that cannot be read.
        """
        limits = parse_all(rule for config in self.above for rule in config.rules)
        own = parse_all((*self.config.rules, *self.agent.config.rules))
        return (*own, *(rule for rule in limits if rule.effect is not RuleEffect.ALLOW))

    def grants(self, tier: Tier) -> Grants:
        """What its calls are judged by."""
        return Grants(
            tools=self.tool_names,
            policy=self.policy,
            tier=tier,
            rules=self.rules,
            unconfined=self.config.unconfined,
        )

    def reach(self, always: tuple[Rule, ...]) -> Network:
        """What its commands may reach. always: what the person has allowed for good."""
        return reach(self.config.reach(), self.rules, always)

    def below(self, run: runs.RunRow, agent: Agent, tools: tuple[str, ...]) -> Cast:
        """A sub-agent's, under this one."""
        above = (*self.above, self.agent.config)
        return replace(self, run=run, agent=agent, tools=tools, above=above, ceiling=self.policy)
