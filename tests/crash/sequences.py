"""What is done to a card, as data: where each sequence begins in the engine, which command leads to it, and its end.

A new sequence is a line in ENTRIES, an act that leads into it, and a place for that act in a story.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agentpane.api import commands as c
from agentpane.api.command import Command
from agentpane.domain.board import Column
from agentpane.domain.policy import Policy
from agentpane.domain.review import MergeStrategy
from agentpane.domain.runs import RESUMABLE, RunStatus
from agentpane.domain.tasks import Task

# The method in which a sequence begins; what happens within it is a step of the sequence.
ENTRIES: Mapping[str, str] = {
    "agentpane.orchestrator.workspaces.workspace:Workspaces.ready": "create",
    "agentpane.orchestrator.runs.completion:Completion.complete": "snapshot",
    "agentpane.orchestrator.merging.review:Review.approve": "approve",
    "agentpane.orchestrator.merging.undoing:Undoing.undo": "undo",
    "agentpane.orchestrator.runs.cancelling:Cancelling.cancel": "cancel",
    "agentpane.orchestrator.keeping.setting_back:SettingBack.reset": "reset",
    "agentpane.orchestrator.merging.resolving:Resolving.write": "write a conflict",
    "agentpane.orchestrator.merging.resolving:Resolving.take": "take a resolution",
    "agentpane.orchestrator.merging.resolving:Resolving.abandon": "abandon a resolution",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """What a story is about: the card, and how it is merged."""

    task: str
    agent: str
    strategy: MergeStrategy
    turn: str = ""  # the commit that holds what the card's newest turn left


Next = Callable[[Task, Setting], Command[Any] | None]


@dataclass(frozen=True, slots=True)
class Act:
    """Something that a person does with the card.

    done: whether it has its normal end. next: the command that leads there from here; None: wait. moves: whether the
    target's commit may change by it. once: it is done when its command is, which the card does not show.
    person: what the person does by themselves, by the name of the story's method; then there is no command.
    discards: it takes files away from the worktree, in which the person has left work before.
    """

    name: str
    sequences: tuple[str, ...]
    done: Callable[[Task], bool]
    next: Next
    moves: bool = False
    once: bool = False
    person: str = ""
    discards: bool = False


def status_of(task: Task) -> RunStatus | None:
    return task.runs[-1].status if task.runs else None


def _work(task: Task, setting: Setting) -> Command[Any] | None:
    if task.card.column is Column.BACKLOG:
        return c.StartRun(task.card.id, agent=setting.agent, policy=Policy.FREE)
    if status_of(task) in RESUMABLE:
        return c.ResumeRun(task.card.id)
    return None


def _fail(task: Task, setting: Setting) -> Command[Any] | None:
    if task.card.column is Column.BACKLOG:
        return c.StartRun(task.card.id, agent="Fails", policy=Policy.FREE)
    return c.ResumeRun(task.card.id) if status_of(task) is RunStatus.INTERRUPTED else None


def _is(column: Column) -> Callable[[Task], bool]:
    return lambda task: task.card.column is column


WORK = Act("work", ("create", "snapshot"), _is(Column.WAITING_APPROVAL), _work)
FAIL = Act("fail", ("create",), lambda task: status_of(task) is RunStatus.ERROR, _fail)
APPROVE = Act(
    "approve", ("approve",), _is(Column.VERIFIED),
    lambda task, setting: c.Approve(task.card.id, strategy=setting.strategy), moves=True, discards=True,
)  # fmt: skip
UNDO = Act("undo", ("undo",), _is(Column.WAITING_APPROVAL), lambda task, setting: c.Undo(task.card.id), moves=True)
CANCEL = Act(
    "cancel", ("cancel",), _is(Column.BACKLOG),
    lambda task, setting: c.CancelTask(task.card.id, confirmed=True), discards=True,
)  # fmt: skip
RESET = Act(
    "reset",
    ("reset",),
    lambda task: False,
    lambda task, setting: c.ResetWorktree(task.card.id, setting.turn),
    once=True,
    discards=True,
)
WRITE = Act(
    "write the conflict", ("write a conflict",), lambda task: False,
    lambda task, setting: c.WriteConflict(task.card.id), once=True, discards=True,
)  # fmt: skip
TAKE = Act(
    "take the resolution", ("take a resolution",), lambda task: task.card.resolving is None,
    lambda task, setting: c.TakeResolution(task.card.id),
)  # fmt: skip
ABANDON = Act(
    "abandon the resolution", ("abandon a resolution",), lambda task: task.card.resolving is None,
    lambda task, setting: c.AbandonResolution(task.card.id), discards=True,
)  # fmt: skip


def _by_the_person(name: str, how: str) -> Act:
    return Act(name, (), lambda task: True, lambda task, setting: None, person=how)


ADVANCE = _by_the_person("the person commits", "advance")
CLASH = _by_the_person("the person commits in the same place", "clash")
DECIDE = _by_the_person("the person decides the conflict", "decide")
NEIGHBOUR = _by_the_person("another card waits for the same target", "neighbour")
SPOIL = _by_the_person("the person spoils the worktree", "spoil")

STORIES: Mapping[str, tuple[Act, ...]] = {
    "there and back": (WORK, NEIGHBOUR, APPROVE, UNDO, APPROVE, ADVANCE, UNDO, APPROVE),
    "onto a target that has gone on": (WORK, ADVANCE, NEIGHBOUR, APPROVE, UNDO, CANCEL),
    "given up": (FAIL, SPOIL, RESET, CANCEL, WORK, CANCEL),
    "a conflict": (WORK, CLASH, WRITE, ABANDON, WRITE, DECIDE, TAKE, APPROVE),
}
