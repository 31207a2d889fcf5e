"""What happened around the conversation, in words for a terminal: one line for each state of a run."""

from __future__ import annotations

from collections.abc import Mapping

from agentpane.cli.pane import line
from agentpane.domain.gitpaths import display_path
from agentpane.domain.json import JsonObject, JsonValue
from agentpane.domain.policy import EXIT_PLAN

STATES: Mapping[str, str] = {
    "queued": "queued for {agent}, {model}",
    "running": "started, sandbox tier {sandbox_tier}",
    "completed": "finished",
    "cancelled": "stopped",
    "interrupted": "interrupted: the engine ended",
    "turn_discarded": "the answer was cut off and is asked for again",
    "afresh": "started afresh",
    "compacted": "the conversation was summarised to make room",
    "merged": "merged into {target} as {commit:.10}",
    "merge_refused": "not merged: {code}",
    "resolving": "the conflict with {target} is in the worktree, for the {by}: {paths}",
    "resolved": "the conflict with {target} is resolved: committed on top of both",
    "resolution_abandoned": "the resolution of the conflict with {target} was abandoned",
    "worktree_kept": "what the worktree held beyond its branch is in the recovery bin: {recovery}",
    "ignored_gone": "what git ignores went with the worktree: {paths}",
    "ignored_not_known": "what git ignored in the worktree, if anything, went with it",
    "branch_kept": "its commits stay on branch {branch}; the next run begins another",
    "not_trusted": "left out until it is trusted: {pending}",
    "turns_let_go": "{count} older turns were let go of: of one card {most} are kept",
    "turn_not_kept": "what the turn left could not be kept: {message}",
    "turn_limit_near": "{turns} of {limit} turns are used",
    "worktree_stays": "the worktree could not be removed: {message}",
    "budget_near": "{message}",
    "sub_run": "a sub-agent, {agent}, begins: {description}",
    "host_refused": "the network refused {host}",
    "command_ended": "a command took too much. {message}",
    "decision_used": "the same call again: the earlier decision holds for it",
    "checks_started": "checks are run on what the merge would make: {checks}",
    "checks_finished": "{message}",
    "checks_not_run": "no check could be run: {message}",
    "background_ended": "background commands ended with the run: {shells}",
}
UNDONE: Mapping[bool | None, str] = {  # by whether it stands where it stood before the merge; None: it was not moved
    True: "the merge into {target} was undone: it stands where it stood before, at {commit:.10}",
    False: "the merge into {target} was undone by a commit that reverts it, {commit:.10}",
    None: "{target} did not hold the merge any more and was left at {commit:.10}; the change can be approved again",
}
PATHS = frozenset({"path", "paths", "left_out"})  # what is shown as it is, spaces and all
WORKTREES: Mapping[str, str] = {
    "created": "worktree made on {branch}: {path}",
    "set_back": "worktree set back to {sha:.10}; what it held is in the recovery bin: {recovery}",
    "restored": "work brought back from the recovery bin: {path}",
    "taken_up": "goes on with what was brought back: {path}",
    "made_again": "worktree made again from {branch}, without what no snapshot held: {path}",
}
PAUSES: Mapping[str, str] = {
    "approval": "it asks whether it may make a call",
    "turn_limit": "it has used its turns",
    "key": "the key for the model is missing or was refused",
    "spend_limit": "the account's spend limit is reached",
    "person": "you asked for it",
    "question": "it asks a question",
    "plan": "it proposes a plan",
    "budget": "its budget is used up",
    "engine_stop": "the engine was stopped",
}


def state(data: JsonObject) -> str:
    """A STATE event. One that is not known is told by its own name, made readable."""
    told = _told(data)
    name = told.get("state", "")
    if name == "paused":
        return f"= paused: {told.get('message') or PAUSES.get(told.get('reason', ''), told.get('reason', ''))}"
    if name == "ignored_gone" and data.get("more"):
        told["paths"] += f" and {told['more']} more"
    if name == "tool_server":
        problem = told.get("problem")
        return f"= tool server {told.get('server', '–')}: " + (
            f"cannot be used: {problem}" if problem else f"{told.get('tools', '–')} tools"
        )
    if name == "queued" and "model" not in told:
        return _filled("= queued for {agent}", told)
    if name == "undone":
        exact = data.get("exact", False)
        return _filled(f"= {UNDONE[exact if isinstance(exact, bool) else None]}", told)
    if name == "completed" and told.get("code") == "TASK_NO_DIFF":
        return "= finished without changing anything"
    return "= " + _filled(STATES.get(name, name.replace("_", " ")), told)


def worktree(data: JsonObject) -> str:
    told = _told(data)
    return "= " + _filled(WORKTREES.get(told.get("state", ""), "worktree {state} {path}"), told)


def snapshot(data: JsonObject) -> str:
    """The commit that is reviewed, or what a turn left."""
    told = _told(data)
    if "turn" not in data:
        return _filled("= snapshot {sha:.10}", told)
    left_out = _filled(", without {left_out}", told) if data.get("left_out") else ""
    return _filled("= turn {turn} left {sha:.10}: {files} file(s), +{added} −{removed}", told) + left_out


def asks(tool: str, summary: str) -> str:
    """A call that waits for a person."""
    what = "it proposes a plan" if tool == EXIT_PLAN else f"may it use {line(tool)}"
    return f"? {what}: {summary}" if summary else f"? {what}"


class _Blank(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "–"


def _filled(words: str, told: Mapping[str, str]) -> str:
    return words.format_map(_Blank(told)).rstrip()


def _told(data: JsonObject) -> dict[str, str]:
    return {name: _words(value, name in PATHS) for name, value in data.items() if value is not None}


def _words(value: JsonValue, is_path: bool = False) -> str:
    shown = display_path if is_path else line
    return "; ".join(shown(str(each)) for each in (value if isinstance(value, list | tuple) else (value,)))
