"""A task, a run and an event in words for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import PurePath

from agentpane.cli import notes
from agentpane.cli.pane import block, line, pairs
from agentpane.cli.shapes import task_code
from agentpane.cli.standing import standing
from agentpane.domain.board import COLUMN_TITLES, Column
from agentpane.domain.checks import progress as progress_of_checks
from agentpane.domain.json import JsonObject, JsonValue
from agentpane.domain.projects import Project
from agentpane.domain.queueing import places
from agentpane.domain.resolving import Resolving
from agentpane.domain.runs import PauseReason, Run, RunStatus
from agentpane.domain.sessions import EventKind, SessionEvent
from agentpane.domain.tasks import Task, TaskCard
from agentpane.domain.transcript import TOOL_STARTED
from agentpane.errors import AgentPaneError, ErrorCode

SUMMARY_WIDTH = 100

PAUSES: Mapping[PauseReason, str] = {
    PauseReason.APPROVAL: "It asks whether it may make a tool call: agentpane approvals {id}",
    PauseReason.TURN_LIMIT: "It has used its turns: agentpane resume {id} --turns N, or --finish",
    PauseReason.KEY: "It needs another key for the model. Then: agentpane resume {id}",
    PauseReason.SPEND_LIMIT: "The account's spend limit is reached. When it is raised: agentpane resume {id}",
    PauseReason.PERSON: "It was paused: agentpane resume {id}",
    PauseReason.QUESTION: "It asks a question: agentpane session show {id}, then agentpane answer {id} “…”",
    PauseReason.PLAN: "It proposes a plan: agentpane approvals {id}, then agentpane allow or deny it",
    PauseReason.BUDGET: "Its budget is used up: agentpane resume {id} --budget USD, or --finish",
}


def problem(error: AgentPaneError) -> str:
    said = f"{error.code.value}: {block(error.message)}"
    return f"{said}\n{block(error.hint)}" if error.hint else said


def counts(card: TaskCard) -> str:
    if card.files_changed is None:
        return ""
    return f"{card.files_changed} file(s), +{card.lines_added or 0} −{card.lines_removed or 0}"


def run_state(card: TaskCard) -> str:
    """What a card's newest run does, in a word or two; of one that waits for approval, what it waits for.

    Of a card that is at rest: that it is merged, or nothing, whatever became of its runs.
    """
    if card.column in {Column.VERIFIED, Column.BACKLOG}:
        return "merged" if card.column is Column.VERIFIED else ""
    if card.column is Column.WAITING_APPROVAL:
        if card.resolving is not None:
            return "conflict, by hand" if card.resolving.by_hand else "conflict, under way"
        return "conflicts" if card.conflicts else progress_of_checks(card.checks) or "waits for you"
    if card.run is None:
        return ""
    if card.code == ErrorCode.TASK_NO_DIFF:
        return "changed nothing" if card.resolving is None else "resolved to nothing"
    if card.run.queue_place is not None:
        return f"queued, place {card.run.queue_place}"
    return card.run.status.value


def queue(card: TaskCard, cards: Sequence[TaskCard], project: Project, now: datetime) -> str | None:
    """Why a queued run waits; None when it does not have to. cards: all of the project's."""
    place = card.run.queue_place if card.run is not None else None
    if place is None:
        return None
    others = (each.run for each in cards if each.run is not None and each.id != card.id)
    held = places(others, project.max_concurrent_agents, now)
    if held.taken + place - 1 < held.most:
        return None
    said = f"Queued, number {place}: {held.taken} of {held.most} places are taken"
    if held.paused:
        said += f", {held.paused} of them by paused runs that wait for you (agentpane task list {card.project_id})"
    return said + ". It starts when one is free."


def task(value: Task) -> str:
    """Everything about a task, the newest run last."""
    card = value.card
    shown = pairs(
        {
            "id": card.id,
            "title": card.title,
            "column": COLUMN_TITLES[card.column] + (", archived" if card.archived_at is not None else ""),
            "labels": ", ".join(card.labels),
            "agent": card.agent,
            "branch": value.branch,
            "worktree": PurePath(value.worktree) if value.worktree else None,
            "snapshot": value.snapshot,
            "changes": counts(card),
            "merged as": value.merge_commit,
            "rejections": card.rejection_count or None,
            "resolving": resolving(card.resolving),
            "checks": progress_of_checks(card.checks),
            "code": task_code(value),
        }
    )
    parts = [shown, *standing(value), *(run(each) for each in value.runs)]
    newest = value.runs[-1] if value.runs and card.column is Column.IN_PROGRESS else None
    if newest is not None and newest.error is not None:
        parts.append(f"  {newest.error.code}: {line(newest.error.message)}")
    if value.description:
        parts.insert(1, "\n" + block(value.description) + "\n")
    return "\n".join(parts)


def resolving(value: Resolving | None) -> str | None:
    """Who resolves a card's conflict, and where."""
    if value is None:
        return None
    who = "by hand, in the worktree" if value.by_hand else f"by its {value.by.value}"
    return f"the conflict with {value.target}, {who}: {value.count} path(s)"


def run(value: Run) -> str:
    cost = "cost unknown" if value.cost_usd is None else f"${value.cost_usd:.4f}"
    tokens = f"{value.input_tokens:,} tokens in, {value.output_tokens:,} out"
    return f"run {value.id}: {value.status.value}, {line(value.agent)}, {value.turns} turn(s), {tokens}, {cost}"


def outcome(value: Task) -> str:
    """What came of waiting for a run, and what to do next."""
    card, name = value.card, value.card.id
    if card.column is Column.WAITING_APPROVAL:
        return (
            f"Done: {counts(card)}. Look at it: agentpane diff {name} --patch\n"
            f"Then: agentpane approve {name}, or agentpane reject {name} --reason “…”"
        )
    if card.column is Column.VERIFIED:
        return f"Merged as {value.merge_commit}."
    newest = value.runs[-1] if value.runs else None
    if card.column is Column.BACKLOG or newest is None:
        return "The run was cancelled; the card is in the backlog."
    if newest.status is RunStatus.PAUSED and newest.pause_reason is not None:
        if newest.pause_reason is PauseReason.KEY and newest.error is not None:
            return f"Paused. {line(newest.error.message)}\n{line(newest.error.hint)} Then: agentpane resume {name}"
        return "Paused. " + PAUSES[newest.pause_reason].format(id=name)
    if newest.status is RunStatus.INTERRUPTED:
        return f"Interrupted: the engine died. Go on from the last finished turn: agentpane resume {name}"
    if task_code(value) == ErrorCode.TASK_NO_DIFF and card.resolving is not None:
        return (
            "The agent has resolved it so that nothing of the card is left.\n"
            f"Cancel it: agentpane cancel {name}, or back to review: agentpane resolve {name} --abandon"
        )
    if task_code(value) == ErrorCode.TASK_NO_DIFF:
        return f"The agent ended and has changed nothing. Say more: agentpane answer {name} “…”"
    if newest.error is not None:
        return f"Failed: {newest.error.code}: {line(newest.error.message)}\n{line(newest.error.hint)}".rstrip()
    return f"The run is {newest.status.value}."


def event(value: SessionEvent) -> str | None:
    """An event on a few lines, or None for those that only machines care about."""
    data = value.data
    match value.kind:
        case EventKind.TEXT:
            return block(_text(data, "text"))
        case EventKind.QUESTION:
            options = "".join(f"\n  - {_short(str(option))}" for option in _list(data, "options"))
            return "? " + block(_text(data, "question")) + options
        case EventKind.USER_MESSAGE | EventKind.ANSWER:
            return _quoted(_text(data, "text"))
        case EventKind.TOOL_CALL:
            return f"→ {_text(data, 'name')} {_input(data)}".rstrip()
        case EventKind.TOOL_RESULT:
            mark = "✗" if data.get("is_error") else "✓"
            return f"  {mark} {_short(_text(data, 'summary') or _text(data, 'content'))}"
        case EventKind.APPROVAL_REQUESTED:
            return notes.asks(_text(data, "tool"), _short(_text(data, "summary")))
        case EventKind.APPROVAL_DECIDED:
            return f"  {_text(data, 'state')} {_short(_text(data, 'message'))}".rstrip()
        case EventKind.RETRY:
            return f"… {_short(_text(data, 'reason'))} Try {data.get('attempt')} of {data.get('of')}."
        case EventKind.ERROR:
            return f"! {_text(data, 'code')}: {_short(_text(data, 'message'))}"
        case EventKind.SNAPSHOT:
            return notes.snapshot(data)
        case EventKind.WORKTREE:
            return notes.worktree(data)
        case EventKind.STATE if _text(data, "state") != TOOL_STARTED:
            return notes.state(data)
    return None


def progress(value: SessionEvent) -> str | None:
    """An event as it is shown while somebody waits: what the agent says and does."""
    told = {EventKind.TEXT, EventKind.TOOL_CALL, EventKind.APPROVAL_REQUESTED, EventKind.RETRY, EventKind.ERROR}
    failed = value.kind is EventKind.TOOL_RESULT and value.data.get("is_error")
    return event(value) if value.kind in told or failed else None


def clock(moment: datetime) -> str:
    return moment.astimezone().strftime("%H:%M:%S")


def _input(data: JsonObject) -> str:
    given = data.get("input")
    if not isinstance(given, Mapping):
        return ""
    for name in ("command", "file_path", "pattern", "path"):
        if name in given:
            return _short(str(given[name]))
    return ""


def _text(data: JsonObject, name: str) -> str:
    value = data.get(name)
    return value if isinstance(value, str) else ""


def _list(data: JsonObject, name: str) -> list[JsonValue]:
    value = data.get(name)
    return value if isinstance(value, list) else []


def _short(text: str) -> str:
    shown = line(text)
    return shown if len(shown) <= SUMMARY_WIDTH else shown[: SUMMARY_WIDTH - 1] + "…"


def _quoted(text: str) -> str:
    return "\n".join(f"> {each}" for each in block(text).splitlines())
