"""What an agent may do: each tool call is allowed, asked about or denied, and it is said by which rule."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from agentpane.domain.sandbox import Tier

# Tools that change nothing by themselves; what a sub-agent does is judged call by call.
READ_ONLY_TOOLS = frozenset({"Read", "Glob", "Grep", "BashOutput", "KillShell", "TodoWrite", "AskUser", "Task"})


class Policy(StrEnum):
    CAREFUL = "careful"  # asks for every write and command
    BALANCED = "balanced"  # edits are free; commands are free in the sandbox, asked for otherwise
    FREE = "free"  # everything inside the sandbox
    READ_ONLY = "read_only"  # what CAREFUL would ask for is denied


class Effect(StrEnum):
    """What a call does, whatever its tool is called."""

    READ = "read"
    WRITE = "write"
    EXECUTE = "execute"
    FETCH = "fetch"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Use:
    """What a tool call would do, as far as a rule can speak of it.

    path: relative to the worktree where it lies inside, absolute otherwise.
    """

    tool: str
    effect: Effect
    path: str | None = None
    command: str | None = None
    host: str | None = None


class Judgement(StrEnum):
    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Verdict:
    judgement: Judgement
    rule: str  # which rule decided, for the audit log


def judge(tool: str, policy: Policy, tier: Tier, allowed_tools: Collection[str], always: Collection[str]) -> Verdict:
    """Decide about one tool call.

    allowed_tools: the tools of this agent; anything else is denied.
    always: the tools that the person has allowed for good in this project.
    """
    if tool not in allowed_tools:
        return Verdict(Judgement.DENY, "tool is not among the agent's tools")
    if tool in READ_ONLY_TOOLS:
        return Verdict(Judgement.ALLOW, "read-only tool")
    if policy is Policy.READ_ONLY:
        return Verdict(Judgement.DENY, "policy: deny")
    if tool in always:
        return Verdict(Judgement.ALLOW, "always allowed in this project")
    if policy is Policy.CAREFUL:
        return Verdict(Judgement.ASK, "policy: careful")
    if tool == "Bash" and tier is Tier.NONE:
        return Verdict(Judgement.ASK, "no sandbox: every command is asked for")
    return Verdict(Judgement.ALLOW, f"policy: {policy}")
