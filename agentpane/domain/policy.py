"""What an agent may do: each tool call is allowed, asked about or denied, and it is said by which rule.

The order: a denying rule wins; then what the person has allowed for good; then a rule that asks; then one that
allows; then the preset. A shell command is as bad as its worst part.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from agentpane.domain import rules as r
from agentpane.domain.json import JsonObject
from agentpane.domain.rules import Rule, RuleEffect
from agentpane.domain.sandbox import Tier
from agentpane.domain.shell import Match, Part, Script, Touch

EXIT_PLAN = "ExitPlanMode"
MCP_PREFIX = "mcp__"


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
    """edited: the input with which the call is made in the place of its own, as the person has changed it."""

    judgement: Judgement
    rule: str  # which rule decided, for the audit log
    edited: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class Grants:
    """Everything that a run's calls are judged by.

    tools: the tools of this agent; anything else is denied. rules: the project's and the agent's.
    always: what the person has allowed in this project when asked. unconfined: see `ProjectConfig`.
    foreign: the agent is a program of its own, whose tools have names of their own.
    """

    tools: Collection[str]
    policy: Policy
    tier: Tier
    rules: tuple[Rule, ...] = ()
    always: tuple[Rule, ...] = ()
    unconfined: bool = False
    foreign: bool = False


# What the in-process tools do. The calls of a sub-agent are judged for themselves; a question changes nothing.
_EFFECTS: Mapping[str, Effect] = {
    "Read": Effect.READ,
    "Glob": Effect.READ,
    "Grep": Effect.READ,
    "TodoWrite": Effect.READ,
    "AskUser": Effect.READ,
    "BashOutput": Effect.READ,
    "KillBash": Effect.READ,
    "KillShell": Effect.READ,
    "Task": Effect.READ,
    EXIT_PLAN: Effect.READ,
    "Write": Effect.WRITE,
    "Edit": Effect.WRITE,
    "MultiEdit": Effect.WRITE,
    "NotebookEdit": Effect.WRITE,
    "Bash": Effect.EXECUTE,
}
# Effect.READ, and yet no rule about files speaks of them.
_OPEN_NO_FILE = frozenset({"TodoWrite", "AskUser", "BashOutput", "KillBash", "KillShell", "Task", EXIT_PLAN})
_WORST: Mapping[Judgement, int] = {Judgement.ALLOW: 0, Judgement.ASK: 1, Judgement.DENY: 2}
_FAMILIES: Mapping[Effect, frozenset[str]] = {Effect.WRITE: r.WRITERS, Effect.EXECUTE: frozenset({"Bash"})}
_PERSON = "denied by the person"
_FREEDOM = (Policy.READ_ONLY, Policy.CAREFUL, Policy.BALANCED, Policy.FREE)


def strictest(policies: Iterable[Policy]) -> Policy:
    """The one under which least is free."""
    return min(policies, key=_FREEDOM.index)


def below(ceiling: Policy, own: str | None) -> Policy:
    """The policy of an agent that works for another: that one's, or its own where it is stricter."""
    return strictest((ceiling, Policy(own))) if own else ceiling


def effect_of(tool: str) -> Effect:
    return _EFFECTS.get(tool, Effect.OTHER)


def has_tool(grants: Grants, use: Use) -> bool:
    """Is the tool, or for another program's tool one that does the same, among the agent's?"""
    if use.tool in grants.tools or use.tool == EXIT_PLAN:
        return True
    if not grants.foreign or use.tool in _EFFECTS:
        return False
    family = _FAMILIES.get(use.effect)
    return family is None or bool(family & set(grants.tools))


def judge(use: Use, grants: Grants, script: Script | None = None) -> Verdict:
    """Decide about one call. script: its command, taken apart."""
    if not has_tool(grants, use):
        return Verdict(Judgement.DENY, "tool is not among the agent's tools")
    verdict = _command(use, grants, script) if use.effect is Effect.EXECUTE else _plain(use, grants)
    if grants.policy is Policy.READ_ONLY and verdict.judgement is Judgement.ASK:
        return Verdict(Judgement.DENY, f"policy: read_only, where nobody is asked ({verdict.rule})")
    return verdict


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The first of the worst; of allowances, all their rules."""
    found = tuple(verdicts)
    top = max(found, key=lambda verdict: _WORST[verdict.judgement])
    if top.judgement is not Judgement.ALLOW:
        return top
    return Verdict(Judgement.ALLOW, "; ".join(dict.fromkeys(verdict.rule for verdict in found)))


def while_planning(use: Use, verdict: Verdict) -> Verdict:
    """Before a plan is approved an agent may look and ask, and nothing else."""
    looks = use.effect is Effect.READ and use.tool != "Task"
    if looks or verdict.judgement is Judgement.DENY:
        return verdict
    return Verdict(
        Judgement.DENY,
        f"the plan is not approved yet, and nothing may be changed or run before; propose it with {EXIT_PLAN}",
    )


def unattended(policy: Policy, tier: Tier, asks: bool = True) -> bool:
    """Would anything be done outside the full sandbox with nobody asked?

    asks: whether its backend puts each call to the policy at all.
    """
    return tier is not Tier.BUBBLEWRAP and (policy is Policy.FREE or not asks)


def must_stay(policy: Policy, planning: bool, asks: bool) -> bool:
    """Does the sandbox have to keep the run from writing its worktree, since no judgement does?"""
    return not asks and (planning or policy is Policy.READ_ONLY)


def denied_by_person(message: str | None) -> str:
    return f"{_PERSON}: {message}" if message else f"{_PERSON}."


def is_persons(denial: str) -> bool:
    return denial.startswith(_PERSON)


def _plain(use: Use, grants: Grants) -> Verdict:
    if use.effect is Effect.FETCH:
        return _decided(grants, lambda rule: r.on_host(rule, use.tool, use.host), _preset(use, grants))
    if use.effect in {Effect.READ, Effect.WRITE} and use.tool not in _OPEN_NO_FILE:
        writes = use.effect is Effect.WRITE
        return _decided(grants, lambda rule: r.on_path(rule, use.tool, use.path, writes), _preset(use, grants))
    return _decided(grants, lambda rule: r.on_tool(rule, use.tool), _preset(use, grants))


def _command(use: Use, grants: Grants, script: Script | None) -> Verdict:
    preset = _preset(use, grants)
    if script is None or script.problem is not None:
        why = script.problem if script is not None and script.problem else "it is not known"
        if preset.judgement is Judgement.ALLOW and grants.policy is not Policy.FREE:
            preset = Verdict(Judgement.ASK, f"the command cannot be judged: {why}")
        return _decided(grants, _attended(r.on_unread, grants), preset)
    verdicts = [_part(part, grants, preset) for part in script.parts]
    verdicts += [_touch(touch, grants, preset) for touch in script.touches]
    verdicts += [verdict for part in script.parts if (verdict := _named(part, grants)) is not None]
    return worst(verdicts) if verdicts else _decided(grants, _attended(_any_command, grants), preset)


def _part(part: Part, grants: Grants, preset: Verdict) -> Verdict:
    return _decided(grants, _attended(lambda rule: r.on_part(rule, part), grants), preset)


def _named(part: Part, grants: Grants) -> Verdict | None:
    """What rules about files say of a command that names one, if they say anything."""
    asked: Verdict | None = None
    for rule in grants.rules:
        match = r.on_words(rule, part)
        if match is Match.YES and rule.effect is RuleEffect.DENY:
            return Verdict(Judgement.DENY, f"rule: {rule}")
        if match is not Match.NO:
            asked = asked or Verdict(Judgement.ASK, f"the command names what a rule speaks of: {rule}")
    return asked


def _touch(touch: Touch, grants: Grants, preset: Verdict) -> Verdict:
    """A redirection: by the rules about files; else as freely as any command, and freely where it reads a file that is
    named. Outside a sandbox that file may be any of the person's, and a link may lead away, so that neither that nor a
    rule about paths frees it there."""
    if touch.only_reads and grants.tier is not Tier.NONE:
        preset = Verdict(Judgement.ALLOW, "reads a file")
    free = _decided(grants, _attended(_any_command, grants), preset)
    confined = grants.tier is not Tier.NONE

    def matches(rule: Rule) -> Match:
        if rule.effect is RuleEffect.ALLOW and touch.write and not confined:
            return Match.NO
        return r.on_touch(rule, touch)

    return _decided(grants, matches, free)


def _attended(matches: Callable[[Rule], Match], grants: Grants) -> Callable[[Rule], Match]:
    """Without a sandbox somebody is asked about commands: a rule that allows every one of them frees none, as the
    preset free does not, unless the person has said that the project needs nobody."""
    if grants.tier is not Tier.NONE or grants.unconfined:
        return matches

    def narrow(rule: Rule) -> Match:
        return Match.NO if rule.effect is RuleEffect.ALLOW and not rule.words else matches(rule)

    return narrow


def _any_command(rule: Rule) -> Match:
    return Match.YES if rule.tool == "Bash" and not rule.words else Match.NO


def _decided(grants: Grants, matches: Callable[[Rule], Match], preset: Verdict) -> Verdict:
    unsure: Rule | None = None
    for rule in _of(grants.rules, RuleEffect.DENY):
        match = matches(rule)
        if match is Match.YES:
            return Verdict(Judgement.DENY, f"rule: {rule}")
        unsure = unsure or (rule if match is Match.MAYBE else None)
    if unsure is not None:
        return Verdict(Judgement.ASK, f"it cannot be told whether this is what a rule forbids: {unsure}")
    if grants.policy is not Policy.READ_ONLY:  # nobody was asked about a run that may only read
        for rule in grants.always:
            if matches(rule) is Match.YES:
                return Verdict(Judgement.ALLOW, f"always allowed in this project: {rule}")
    for rule in _of(grants.rules, RuleEffect.ASK):
        if matches(rule) is not Match.NO:
            return Verdict(Judgement.ASK, f"rule: {rule}")
    for rule in _of(grants.rules, RuleEffect.ALLOW):
        if matches(rule) is Match.YES:
            return Verdict(Judgement.ALLOW, f"rule: {rule}")
    return preset


def _of(rules: Iterable[Rule], effect: RuleEffect) -> Iterable[Rule]:
    return (rule for rule in rules if rule.effect is effect)


def _preset(use: Use, grants: Grants) -> Verdict:
    """What is decided where no rule speaks. READ_ONLY asks what CAREFUL asks; `judge` makes a denial of it."""
    policy, tier = grants.policy, grants.tier
    named = Verdict(Judgement.ALLOW, f"policy: {policy}")
    asked = Verdict(Judgement.ASK, f"policy: {policy}")
    inside = use.path is None or (not use.path.startswith(("/", "../", "~")) and use.path != "..")
    if not inside and not grants.foreign and use.effect in {Effect.READ, Effect.WRITE}:
        return Verdict(Judgement.ALLOW, "the tool itself refuses what lies outside the worktree")
    if use.effect is Effect.READ:
        if inside or tier is Tier.BUBBLEWRAP or policy is Policy.FREE:
            return Verdict(Judgement.ALLOW, "read-only tool")
        return asked
    if policy in {Policy.CAREFUL, Policy.READ_ONLY}:
        return asked
    if use.effect is Effect.WRITE:
        return named if inside else Verdict(Judgement.ASK, "outside the worktree")
    if use.effect is Effect.EXECUTE:
        return _preset_of_commands(policy, tier, grants.unconfined)
    return named if policy is Policy.FREE else asked


def _preset_of_commands(policy: Policy, tier: Tier, unconfined: bool) -> Verdict:
    if tier is Tier.BUBBLEWRAP or (policy is Policy.FREE and unconfined):
        return Verdict(Judgement.ALLOW, f"policy: {policy}")
    if tier is Tier.NONE:
        return Verdict(Judgement.ASK, "no sandbox: every command is asked for")
    return Verdict(Judgement.ASK, f"policy: {policy}; sandbox tier {tier.value}, in which commands are asked for")
