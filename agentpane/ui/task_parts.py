"""The task panel's quieter tabs: what the task is, what changed, which runs there were."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QGridLayout, QScrollArea, QVBoxLayout, QWidget

from agentpane.domain.board import Column
from agentpane.domain.review import DiffSummary, FileDiff
from agentpane.domain.runs import Run, RunStatus
from agentpane.domain.tasks import Task
from agentpane.ui import figures
from agentpane.ui.card_text import pause_words
from agentpane.ui.controls import Button, Chip, ElidedLabel, Frame, IconLabel, Label, clear, row
from agentpane.ui.markdown import MarkdownView
from agentpane.ui.plain import display_path, one_line

STATUS_WORDS = {
    RunStatus.QUEUED: ("queue", "muted", "Queued"),
    RunStatus.STARTING: ("clock", "accent", "Starting"),
    RunStatus.RUNNING: ("dot", "accent", "Running"),
    RunStatus.PAUSED: ("pause", "attention", "Paused"),
    RunStatus.COMPLETED: ("check", "success", "Completed"),
    RunStatus.ERROR: ("error", "danger", "Failed"),
    RunStatus.CANCELLED: ("stop", "muted", "Stopped"),
    RunStatus.INTERRUPTED: ("alert", "danger", "Interrupted"),
}
FILE_ICONS = {"A": "plus", "M": "edit", "D": "trash", "R": "open", "C": "copy", "T": "retry"}


class ScrollPage(QScrollArea):
    """A page that scrolls from top to bottom."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.setObjectName(name)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        inside = QWidget()
        self.box = QVBoxLayout(inside)
        self.box.setContentsMargins(16, 14, 16, 16)
        self.box.setSpacing(12)
        self.setWidget(inside)


class DescriptionTab(ScrollPage):
    """What is to be done, and the facts around it."""

    def __init__(self) -> None:
        super().__init__("task.description")
        self.reason = Frame("ask", margin=10, spacing=4)
        self.reason.box.addWidget(Label(self.tr("Sent back because"), "caption"))
        self._reason = Label("", wrap=True, selectable=True)
        self.reason.box.addWidget(self._reason)
        self.box.addWidget(self.reason)
        self.text = MarkdownView(name="task.description.text")
        self.box.addWidget(self.text)
        self.none = Label(self.tr("No description. The agent gets the title alone."), "muted", wrap=True)
        self.box.addWidget(self.none)
        self._facts = QGridLayout()
        self._facts.setHorizontalSpacing(12)
        self._facts.setVerticalSpacing(8)
        self._facts.setColumnStretch(1, 1)
        holder = Frame("inset")
        holder.box.addLayout(self._facts)
        self.box.addWidget(holder)
        self.box.addStretch(1)

    def show_task(self, task: Task) -> None:
        self.text.setVisible(bool(task.description.strip()))
        self.none.setVisible(not task.description.strip())
        self.text.show_text(task.description)
        self.reason.setVisible(bool(task.rejection_reason) and task.card.column is not Column.VERIFIED)
        self._reason.show_text(task.rejection_reason or "")
        clear(self._facts)
        facts = (
            (self.tr("Labels"), ", ".join(task.card.labels)),
            (self.tr("Agent"), task.card.agent or ""),
            (self.tr("Branch"), task.branch or ""),
            (self.tr("Base"), f"{task.base_branch or ''} {(task.base_sha or '')[:10]}".strip()),
            (self.tr("Worktree"), display_path(task.worktree) if task.worktree else ""),
            (self.tr("Snapshot"), (task.snapshot or "")[:10]),
            (self.tr("Merged as"), (task.merge_commit or "")[:10]),
            (self.tr("Approved by"), task.approved_by or ""),
            (self.tr("Created"), figures.moment(task.created_at)),
        )
        for line, (name, value) in enumerate((name, value) for name, value in facts if value):
            self._facts.addWidget(Label(name, "small"), line, 0)
            words = ElidedLabel(value, mode=Qt.TextElideMode.ElideMiddle)
            self._facts.addWidget(words, line, 1)


class ChangesTab(ScrollPage):
    """The files of the diff; pressing one opens the review there."""

    file_requested = Signal(str)

    def __init__(self) -> None:
        super().__init__("task.changes")
        self._words = Label("", "muted", wrap=True)
        self._words.setObjectName("task.changes.words")
        self.box.addWidget(self._words)
        self._files = QVBoxLayout()
        self._files.setSpacing(2)
        self.box.addLayout(self._files)
        self.box.addStretch(1)

    def show_nothing(self, column: Column) -> None:
        clear(self._files)
        self._words.show_text(
            {
                Column.BACKLOG: self.tr("There is no diff yet: the task has not been run."),
                Column.IN_PROGRESS: self.tr(
                    "The diff is there when the agent has finished and its work is snapshotted."
                ),
            }.get(column, self.tr("There is no diff to show."))
        )
        self._words.show()

    def show_diff(self, diff: DiffSummary) -> None:
        clear(self._files)
        added = sum(file.added or 0 for file in diff.files)
        removed = sum(file.removed or 0 for file in diff.files)
        files = figures.plural(len(diff.files), self.tr("{0} file"), self.tr("{0} files"))
        self._words.show_text(
            self.tr("{0}, +{1} −{2}, snapshot {3} against {4}.").format(
                files, figures.count(added), figures.count(removed), diff.snapshot[:10], one_line(diff.target)
            )
        )
        for file in diff.files:
            self._files.addWidget(self._line(file))

    def _line(self, file: FileDiff) -> QWidget:
        path = display_path(file.path)
        button = Button("", kind="line", name=f"change.{path}", pressed=lambda: self.file_requested.emit(file.path))
        button.setMinimumHeight(34)
        button.describe(self.tr("Review {0}").format(path))
        line = row(
            IconLabel(FILE_ICONS.get(file.status, "file"), "muted", 14),
            name := ElidedLabel(path, "fixed", Qt.TextElideMode.ElideLeft),
            *counts_of(file),
            spacing=8,
            margins=(8, 0, 8, 0),
        )
        line.setStretchFactor(name, 1)
        button.setLayout(line)
        for part in (*button.findChildren(Label), *button.findChildren(IconLabel)):
            part.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        return button


def counts_of(file: FileDiff) -> tuple[Label, ...]:
    if file.binary or file.added is None or file.removed is None:
        return (Label("binary", "small"),)
    return (Label(f"+{figures.count(file.added)}", "added"), Label(f"−{figures.count(file.removed)}", "removed"))


class RunsTab(ScrollPage):
    """Every attempt, the newest first."""

    def __init__(self) -> None:
        super().__init__("task.runs")
        self._words = Label(self.tr("The task has not been run."), "muted", wrap=True)
        self.box.addWidget(self._words)
        self._runs = QVBoxLayout()
        self._runs.setSpacing(8)
        self.box.addLayout(self._runs)
        self.box.addStretch(1)

    def show_runs(self, runs: tuple[Run, ...]) -> None:
        clear(self._runs)
        self._words.setVisible(not runs)
        for number, run in reversed(list(enumerate(runs, 1))):
            self._runs.addWidget(self._card(number, run))

    def _card(self, number: int, run: Run) -> Frame:
        box = Frame("inset", spacing=6)
        icon_name, token, word = STATUS_WORDS[run.status]
        words = pause_words(run.pause_reason) if run.status is RunStatus.PAUSED else self.tr(word)
        box.box.addLayout(
            row(
                IconLabel(icon_name, token, 14),
                Label(self.tr("Run {0}").format(figures.count(number)), "strong"),
                Label(words, "muted"),
                None,
                Label(figures.moment(run.queued_at), "small"),
            )
        )
        box.box.addWidget(ElidedLabel(f"{run.agent}  ·  {run.model}", "muted"))
        facts = [
            self.tr("{0} of {1} turns").format(figures.count(run.turns), figures.count(run.turn_limit)),
            self.tr("{0} in, {1} out").format(figures.tokens(run.input_tokens), figures.tokens(run.output_tokens)),
            figures.money(run.cost_usd),
            figures.elapsed(run.started_at, run.ended_at or run.paused_at),
            self.tr("sandbox tier {0}").format(run.sandbox_tier) if run.sandbox_tier else "",
        ]
        box.box.addWidget(Label("  ·  ".join(fact for fact in facts if fact), "small", wrap=True))
        if run.error is not None:
            box.box.addWidget(
                Label(f"{run.error.message} {run.error.hint}".strip(), "danger", wrap=True, selectable=True)
            )
            box.box.addLayout(row(Chip(run.error.code), None))
        return box
