"""The task panel's first tab: what is to be done, the agent's own list, how its run stands and what it may use."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QVBoxLayout, QWidget

from agentpane.domain.board import Column
from agentpane.domain.budgets import Standing
from agentpane.domain.runs import Run
from agentpane.domain.tasks import Task, Todo, TodoState
from agentpane.ui.parts import figures
from agentpane.ui.parts.bars import ShareBar
from agentpane.ui.parts.controls import ElidedLabel, Frame, IconLabel, Label, clear, row, stack
from agentpane.ui.parts.markdown import MarkdownView
from agentpane.ui.parts.plain import display_path, plain_tip
from agentpane.ui.parts.scroll_page import ScrollPage
from agentpane.ui.task.run_words import run_facts, scope_words, standing_token, standing_words, status_words

NAME_WIDTH = 88
TODO_MARKS = {
    TodoState.COMPLETED: ("check-circle", "success", "done"),
    TodoState.IN_PROGRESS: ("half", "accent", "in progress"),
    TodoState.PENDING: ("ring", "muted", "to do"),
}


class FactsBox(Frame):
    """Names and values in two columns, made anew only when they differ."""

    def __init__(self, title: str) -> None:
        super().__init__("inset", margin=12, spacing=10)
        self._facts: tuple[tuple[str, str], ...] = ()
        self.box.addWidget(Label(title, "caption"))
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(12)
        self._grid.setVerticalSpacing(8)
        self._grid.setColumnMinimumWidth(0, NAME_WIDTH)
        self._grid.setColumnStretch(1, 1)
        self.box.addLayout(self._grid)

    def show_facts(self, facts: Iterable[tuple[str, str]]) -> None:
        """Show those that have a value."""
        known = tuple((name, value) for name, value in facts if value)
        if known == self._facts:
            return
        self._facts = known
        clear(self._grid)
        for line, (name, value) in enumerate(known):
            self._grid.addWidget(Label(name, "small"), line, 0)
            words = ElidedLabel(value, mode=Qt.TextElideMode.ElideMiddle)
            words.setAccessibleName(f"{name}: {words.whole}")
            self._grid.addWidget(words, line, 1)


class Checklist(Frame):
    """The agent's own list, as it keeps it with TodoWrite."""

    def __init__(self) -> None:
        super().__init__("inset", margin=12, spacing=10)
        self.setObjectName("task.checklist")
        self._todos: tuple[Todo, ...] = ()
        self._count = Label("", "small")
        self._bar = ShareBar()
        self.box.addLayout(row(Label(self.tr("The agent's list"), "caption"), None, self._count))
        self.box.addWidget(self._bar)
        self._lines = QVBoxLayout()
        self._lines.setSpacing(8)
        self.box.addLayout(self._lines)
        self.hide()

    def show_todos(self, todos: tuple[Todo, ...]) -> None:
        self.setVisible(bool(todos))
        if todos == self._todos:
            return
        self._todos = todos
        clear(self._lines)
        done = sum(todo.state is TodoState.COMPLETED for todo in todos)
        words = self.tr("{0} of {1} done").format(figures.count(done), figures.count(len(todos)))
        self._count.show_text(words)
        self._bar.show_share(done / len(todos) if todos else 0.0, "success")
        self.setAccessibleName(self.tr("The agent's list, {0}").format(words))
        for todo in todos:
            self._lines.addWidget(self._line(todo))

    def _line(self, todo: Todo) -> QWidget:
        icon, token, word = TODO_MARKS[todo.state]
        kind = {TodoState.COMPLETED: "muted", TodoState.IN_PROGRESS: "strong"}.get(todo.state, "")
        text, mark = Label(todo.text, kind, wrap=True), IconLabel(icon, token)
        text.setAccessibleName(f"{text.text()}, {self.tr(word)}")
        mark.setToolTip(plain_tip(self.tr(word)))
        line = row(mark, text, spacing=8)
        line.setStretchFactor(text, 1)
        line.setAlignment(mark, Qt.AlignmentFlag.AlignTop)
        holder = QWidget()
        holder.setLayout(line)
        return holder


class BudgetsBox(Frame):
    """Every budget that holds for the run, and how much of it is used."""

    def __init__(self) -> None:
        super().__init__("inset", margin=12, spacing=10)
        self.setObjectName("task.budgets")
        self._shown: tuple[Standing, ...] = ()
        self.box.addWidget(Label(self.tr("Budgets"), "caption"))
        self._lines = QVBoxLayout()
        self._lines.setSpacing(12)
        self.box.addLayout(self._lines)
        self.hide()

    def show_standings(self, standings: tuple[Standing, ...]) -> None:
        self.setVisible(bool(standings))
        if standings == self._shown:
            return
        self._shown = standings
        clear(self._lines)
        for one in standings:
            token, words = standing_token(one), standing_words(one)
            name = scope_words(one.scope)
            marks = {"danger": self.tr("used up"), "attention": self.tr("nearly used up")}
            mark = Label(marks.get(token, ""), token)
            figures_line = Label(words, "small", wrap=True)
            holder = QWidget()
            holder.setLayout(stack(row(Label(name), None, mark), ShareBar(one.share, token), figures_line, spacing=6))
            holder.setAccessibleName(", ".join(part for part in (name, words, marks.get(token, "")) if part))
            self._lines.addWidget(holder)


class DescriptionTab(ScrollPage):
    """What is to be done, and the facts around it."""

    def __init__(self) -> None:
        super().__init__("task.description")
        self.reason = Frame("ask", margin=10, spacing=4)
        self.reason.box.addWidget(Label(self.tr("Sent back because"), "caption"))
        self._reason = Label("", wrap=True, selectable=True)
        self.reason.box.addWidget(self._reason)
        self.restored = Frame("note", margin=10, spacing=4)
        self.restored.setObjectName("task.restored")
        self.restored.box.addWidget(Label(self.tr("Restored work"), "caption"))
        words = self.tr("Its worktree holds what was restored, not committed. The next run goes on from there.")
        self.restored.box.addWidget(Label(words, wrap=True))
        self.restored.setAccessibleName(words)
        self.text = MarkdownView(name="task.description.text")
        self.none = Label(self.tr("No description. The agent gets the title alone."), "muted", wrap=True)
        self.checklist = Checklist()
        self.run = FactsBox(self.tr("Newest run"))
        self.run.setObjectName("task.run")
        self._state_icon, self._state = IconLabel("ring", "muted"), Label("")
        self.run.box.insertLayout(1, row(self._state_icon, self._state, None, spacing=8))
        self.budgets = BudgetsBox()
        self._facts = FactsBox(self.tr("Details"))
        for part in (
            self.restored, self.reason, self.text, self.none, self.checklist, self.run, self.budgets, self._facts,
        ):  # fmt: skip
            self.box.addWidget(part)
        self.box.addStretch(1)

    def show_task(self, task: Task) -> None:
        self.restored.setVisible(task.is_restored)
        described = bool(task.description.strip())
        self.text.setVisible(described)
        self.none.setVisible(not described)
        self.text.show_text(task.description)
        self.reason.setVisible(bool(task.rejection_reason) and task.card.column is not Column.VERIFIED)
        self._reason.show_text(task.rejection_reason or "")
        self.checklist.show_todos(task.card.todos)
        self._show_run(task.runs)
        facts = (
            (self.tr("Labels"), ", ".join(task.card.labels)),
            (self.tr("Agent"), "" if task.runs else task.card.agent or ""),
            (self.tr("Branch"), task.branch or ""),
            (self.tr("Base"), f"{task.base_branch or ''} {(task.base_sha or '')[:10]}".strip()),
            (self.tr("Worktree"), display_path(task.worktree) if task.worktree else ""),
            (self.tr("Snapshot"), (task.snapshot or "")[:10]),
            (self.tr("Merged as"), (task.merge_commit or "")[:10]),
            (self.tr("Approved by"), task.approved_by or ""),
            (self.tr("Created"), figures.moment(task.created_at)),
        )
        self._facts.show_facts(facts)

    def show_standings(self, standings: tuple[Standing, ...]) -> None:
        """Show how the budgets of the task's newest run stand."""
        self.budgets.show_standings(standings)

    def _show_run(self, runs: tuple[Run, ...]) -> None:
        self.run.setVisible(bool(runs))
        if runs:
            icon, token, words = status_words(runs[-1])
            self._state_icon.show_icon(icon, token)
            self._state.show_text(words)
            self.run.setAccessibleName(self.tr("Newest run, {0}").format(words))
            self.run.show_facts(run_facts(runs))
