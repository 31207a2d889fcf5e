"""What is said of the events around the conversation: one sentence for each kind and state, never raw data."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QCoreApplication

from agentpane.domain.json import JsonObject, JsonValue
from agentpane.domain.runs import PauseReason
from agentpane.domain.sessions import EventKind, SessionEvent
from agentpane.ui.cards.card_text import pause_words
from agentpane.ui.parts import figures
from agentpane.ui.parts.plain import one_line


def tr(text: str) -> str:
    return QCoreApplication.translate("transcript", text)


@dataclass(frozen=True, slots=True)
class Note:
    """One line about what happened around the conversation."""

    icon: str
    token: str
    text: str


NOTES = {
    "queued": ("queue", "muted", "Queued for {agent}, {model}"),
    "running": ("play", "accent", "Started, sandbox tier {sandbox_tier}"),
    "completed": ("check", "success", "Finished"),
    "cancelled": ("stop", "muted", "Stopped"),
    "interrupted": ("alert", "danger", "Interrupted: the engine ended"),
    "turn_discarded": ("retry", "attention", "The answer was cut off and is asked for again"),
    "afresh": ("retry", "muted", "Started afresh"),
    "merged": ("merge", "success", "Merged into {target} as {commit:.10}"),
    "undone": ("undo", "attention", "The merge into {target} was undone"),
    "resolving": ("merge", "attention", "The conflict with {target} is in the worktree, to be resolved: {paths}"),
    "resolved": ("merge", "success", "The conflict with {target} is resolved, on top of both"),
    "resolution_abandoned": ("undo", "attention", "The resolution of the conflict with {target} was abandoned"),
    "worktree_kept": ("branch", "muted", "What the worktree held beyond its branch is in the recovery bin: {recovery}"),
    "ignored_gone": ("alert", "attention", "What git ignores went with the worktree: {paths}"),
    "ignored_not_known": ("alert", "attention", "What git ignored in the worktree, if anything, went with it"),
    "branch_kept": ("branch", "muted", "Its commits stay on branch {branch}; the next run begins another"),
    "not_trusted": ("alert", "attention", "Left out until you trust it: {pending}"),
    "turns_let_go": ("branch", "muted", "{count} older turns were let go of: of one card {most} are kept"),
    "turn_not_kept": ("alert", "attention", "What the turn left could not be kept: {message}"),
    "turn_limit_near": ("alert", "attention", "{turns} of {limit} turns are used"),
    "worktree_stays": ("alert", "attention", "The worktree could not be removed: {message}"),
    "rejected": ("x", "attention", "Rejected"),
    "budget_near": ("coin", "attention", "{message}"),
    "host_refused": ("shield", "attention", "A command wanted to reach {host}, which this project does not allow"),
    "command_ended": ("stop", "attention", "A command took too much of this machine. {message}"),
    "decision_used": ("check", "muted", "The same call again: your earlier decision holds for it"),
    "checks_started": ("play", "muted", "Checks are run on what the merge would make: {checks}"),
    "checks_finished": ("check", "muted", "{message}"),
    "checks_not_run": ("alert", "attention", "No check could be run: {message}"),
    "background_ended": ("stop", "attention", "Background commands ended with the run: {shells}"),
}
WORKTREES = {
    "created": ("branch", "Worktree made on {branch}"),
    "made_again": ("branch", "Worktree made again on {branch}"),
    "set_back": ("undo", "Worktree set back to {sha:.10}; what it held is in the recovery bin"),
    "restored": ("undo", "Work brought back from the recovery bin"),
    "taken_up": ("branch", "The agent goes on with what was brought back"),
}
# States that other blocks show.
SILENT = frozenset({"tool_started", "sub_run"})

REFUSALS = {
    "MERGE_CONFLICT": "Not merged: it conflicts with the target branch",
    "MERGE_BASE_MOVED": "Not merged: the target branch has moved meanwhile",
    "MERGE_CHECKOUT_DIRTY": "Not merged: the target branch is checked out with edits that it would overwrite",
    "MERGE_CHECKS_FAILED": "Not merged: required checks did not pass",
    "MERGE_REVIEW_STALE": "Not merged: what was reviewed is not the newest snapshot",
}


def note_of(event: SessionEvent, tool: str = "") -> Note | None:
    """The sentence for an event, or None for what need not be said. tool: what the call is of that it is about."""
    data = {key: one_line(_words(value)) for key, value in event.data.items() if value is not None}
    match event.kind:
        case EventKind.STATE:
            return _state(event.data, data)
        case EventKind.WORKTREE:
            icon, words = WORKTREES.get(data.get("state", ""), ("branch", "Worktree made again on {branch}"))
            return Note(icon, "muted", fill_in(tr(words), data))
        case EventKind.SNAPSHOT if "turn" in data:
            return _turn(event.data, data)
        case EventKind.SNAPSHOT:
            return Note(
                "commit", "success", fill_in(tr("Snapshot {sha:.10}: +{added} −{removed} in {files} files"), data)
            )
        case EventKind.RETRY:
            return Note("retry", "attention", fill_in(tr("{reason} Try {attempt} of {of}."), data))
        case EventKind.QUESTION:
            text = data.get("question", data.get("text", ""))
            return Note("message", "attention", text) if text else None
        case EventKind.APPROVAL_DECIDED:
            return _decided(event.data, data, tool)
    return None


def _state(given: JsonObject, data: dict[str, str]) -> Note | None:
    state = data.get("state", "")
    if state in SILENT or not state:
        return None
    if data.get("code") == "TASK_NO_DIFF":
        return Note("info", "attention", tr("Finished without changing anything"))
    match state:
        case "queued" if "model" not in data:
            return Note("queue", "muted", fill_in(tr("Queued for {agent}"), data))
        case "undone" if given.get("exact") is True:
            words = tr("The merge into {target} was undone: it stands where it stood before, at {commit:.10}")
            return Note("undo", "attention", fill_in(words, data))
        case "undone" if given.get("exact") is False:
            words = tr("The merge into {target} was undone by a commit that reverts it, {commit:.10}")
            return Note("undo", "attention", fill_in(words, data))
        case "undone" if "exact" in given:
            words = tr("{target} did not hold the merge any more and was left at {commit:.10}; the change waits again")
            return Note("undo", "attention", fill_in(words, data))
        case "paused":
            return Note("pause", "attention", _pause(data.get("reason", ""), data.get("message", "")))
        case "compacted":
            before = given.get("before")
            size = figures.tokens(before) if isinstance(before, int) else "–"
            return Note(
                "half", "muted", tr("The conversation was summarised to make room; it had {0} tokens").format(size)
            )
        case "worktree_kept":  # its ref ends with the id
            data["recovery"] = data.get("recovery", "").rpartition("/")[2]
        case "ignored_gone":
            paths, more = given.get("paths"), given.get("more")
            names = ", ".join(map(str, paths)) if isinstance(paths, list | tuple) else ""
            if isinstance(more, int) and more:
                names = tr("{0} and {1} more").format(names, figures.count(more))
            data["paths"] = one_line(names)
        case "merge_refused":
            words = REFUSALS.get(data.get("code", ""), "The merge was refused")
            return Note("alert", "attention", tr(words))
        case "tool_server":
            return _server(given, data)
    known = NOTES.get(state)
    if known is None:
        return Note("info", "muted", state.replace("_", " ").capitalize())
    icon, token, words = known
    return Note(icon, token, fill_in(tr(words), data))


def _turn(given: JsonObject, data: dict[str, str]) -> Note:
    """What a turn changed, and what of it is not kept."""
    files = given.get("files")
    count = files if isinstance(files, int) else 0
    changed = figures.plural(count, tr("{0} file"), tr("{0} files"))
    text = fill_in(tr("Turn {turn}: {files}, +{added} −{removed}"), {**data, "files": changed})
    if data.get("left_out"):
        text += ". " + tr("Not kept: {0}").format(data["left_out"])
    return Note("commit", "muted", text)


def _pause(reason: str, message: str) -> str:
    if reason == "engine_stop":
        return tr("Paused: the engine was stopped")
    if message:
        return message
    return pause_words(PauseReason(reason)) if reason in {one.value for one in PauseReason} else tr("Paused")


def _server(given: JsonObject, data: dict[str, str]) -> Note:
    """A tool server that is there for the run, or is not."""
    name = data.get("server", "–")
    if data.get("problem"):
        return Note("alert", "attention", tr("The tool server {0} cannot be used: {1}").format(name, data["problem"]))
    tools, refused = given.get("tools"), given.get("refused")
    count = tools if isinstance(tools, int) else 0
    words = figures.plural(count, tr("{0} tool"), tr("{0} tools"))
    left = len(refused) if isinstance(refused, list | tuple) else 0
    said = tr("Tool server {0}: {1}").format(name, words)
    if left:
        said += ", " + tr("{0} left out").format(figures.count(left))
    return Note("plug", "muted", said)


def _decided(given: JsonObject, data: dict[str, str], tool: str) -> Note:
    allowed = data.get("state") == "allowed"
    icon, token = ("check", "success") if allowed else ("x", "danger")
    if tool == "ExitPlanMode":
        changed = given.get("edited") is True
        text = (
            (tr("You approved the plan, with changes") if changed else tr("You approved the plan")) if allowed else ""
        )
        text = text or tr("You sent the plan back")
    else:
        text = tr("You allowed the call") if allowed else tr("You denied the call")
    if data.get("message"):
        text += f": {data['message']}"
    if data.get("rules"):
        text += ". " + tr("From now on: {0}").format(data["rules"])
    return Note(icon, token, text)


def _words(value: JsonValue) -> str:
    return "; ".join(str(item) for item in value) if isinstance(value, list | tuple) else str(value)


class _Blank(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "–"


def fill_in(words: str, data: dict[str, str]) -> str:
    return words.format_map(_Blank(data))
