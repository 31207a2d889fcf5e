"""The task panel's quieter tabs: what changed, which runs there were."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from agentpane.domain.board import Column
from agentpane.domain.review import DiffSummary, FileDiff
from agentpane.domain.runs import Run
from agentpane.ui.parts import figures
from agentpane.ui.parts.controls import Button, Chip, ElidedLabel, Frame, IconLabel, Label, clear, row
from agentpane.ui.parts.plain import display_path, one_line
from agentpane.ui.parts.scroll_page import ScrollPage
from agentpane.ui.task.run_words import status_words

FILE_ICONS = {"A": "plus", "M": "edit", "D": "trash", "R": "open", "C": "copy", "T": "retry"}


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
            *(Label(note.text, "attention" if note.attention else "small") for note in file.notes),
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
        icon_name, token, words = status_words(run)
        box.box.addLayout(
            row(
                IconLabel(icon_name, token, 14),
                Label(self.tr("Run {0}").format(figures.count(number)), "strong"),
                Label(words, "muted"),
                None,
                Label(figures.moment(run.queued_at), "small"),
            )
        )
        box.box.addWidget(ElidedLabel("  ·  ".join(part for part in (run.agent, run.model) if part), "muted"))
        facts = [
            self.tr("{0} of {1} turns").format(figures.count(run.turns), figures.count(run.turn_limit)),
            self.tr("{0} in, {1} out").format(figures.tokens(run.input_tokens), figures.tokens(run.output_tokens)),
            figures.money(run.cost_usd),
            figures.worked(run),
            self.tr("sandbox tier {0}").format(run.sandbox_tier) if run.sandbox_tier else "",
        ]
        box.box.addWidget(Label("  ·  ".join(fact for fact in facts if fact), "small", wrap=True))
        if run.error is not None:
            box.box.addWidget(
                Label(f"{run.error.message} {run.error.hint}".strip(), "danger", wrap=True, selectable=True)
            )
            box.box.addLayout(row(Chip(run.error.code), None))
        return box
