"""What a run is about, read once at its start, and what follows from it: its tools, its rules, its policy.

A sub-agent may do nothing that an agent above it may not: its calls are judged by its own terms and by those of each
agent above it, and the strictest holds. This is the one place that says so.
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
    """parent: of a sub-agent, the one that it works for."""

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
    parent: Cast | None = None

    @property
    def above(self) -> tuple[AgentConfig, ...]:
        """The agents that this one works for, the card's first."""
        return () if self.parent is None else (*self.parent.above, self.parent.agent.config)

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
        if self.parent is not None:
            return below(self.parent.policy, own)
        return Policy(self.run.policy or own or self.config.policy)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The project's, the agent's, and what the agents above it may not do or are asked about.

        Raises AgentPaneError with VALIDATION_ERROR for a rule that cannot be read.
        """
        limits = parse_all(rule for config in self.above for rule in config.rules)
        own = parse_all((*self.config.rules, *self.agent.config.rules))
        return (*own, *(rule for rule in limits if rule.effect is not RuleEffect.ALLOW))

    def grants(self, tier: Tier) -> tuple[Grants, ...]:
        """What its calls are judged by: its own, and those of each agent above it."""
        own = Grants(
            tools=self.tool_names,
            policy=self.policy,
            tier=tier,
            rules=self.rules,
            unconfined=self.config.unconfined,
        )
        return (own,) if self.parent is None else (own, *self.parent.grants(tier))

    def reach(self, always: tuple[Rule, ...]) -> Network:
        """What its commands may reach: no host that is allowed to a sub-agent alone. always: see `reach`."""
        allowed = [set(parse_all(config.rules)) for config in self.above]
        of_project = set(parse_all(self.config.rules))
        rules = (
            rule
            for rule in self.rules
            if rule.effect is not RuleEffect.ALLOW or rule in of_project or all(rule in theirs for theirs in allowed)
        )
        return reach(self.config.reach(), rules, always)

    def below(self, run: runs.RunRow, agent: Agent, tools: tuple[str, ...]) -> Cast:
        """A sub-agent's, under this one."""
        return replace(self, run=run, agent=agent, tools=tools, parent=self)
