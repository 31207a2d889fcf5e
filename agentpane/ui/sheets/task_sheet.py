"""New task, and the same fields again to edit a task of the backlog."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QCheckBox, QLineEdit, QPlainTextEdit, QWidget

from agentpane.domain import limits
from agentpane.domain.agents import Agent
from agentpane.domain.tasks import Task
from agentpane.errors import AgentPaneError
from agentpane.ui.parts.controls import Button, Label, row, set_state, stack
from agentpane.ui.parts.fields import ChoiceBox
from agentpane.ui.parts.overriding import override
from agentpane.ui.parts.plain import one_line
from agentpane.ui.parts.sheet import Sheet


@dataclass(frozen=True, slots=True)
class TaskForm:
    """What was filled in; the engine checks it again."""

    title: str
    description: str
    labels: tuple[str, ...]
    agent: str | None
    start: bool


@dataclass(frozen=True, slots=True)
class TaskDraft:
    """What stands in the fields, whether or not it would do."""

    title: str = ""
    description: str = ""
    labels: str = ""


class TextArea(QPlainTextEdit):
    """Plain text of several lines; Tab leaves it, so that the keyboard can get out.

    sends: Return emits `submitted`, and Shift+Return begins a new line.
    """

    submitted = Signal()

    def __init__(self, name: str, spoken: str, placeholder: str = "", *, sends: bool = False) -> None:
        super().__init__()
        self._sends = sends
        self.setObjectName(name)
        self.setAccessibleName(spoken)
        self.setPlaceholderText(placeholder)
        self.setTabChangesFocus(True)

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        is_return = event.key() in {Qt.Key.Key_Return, Qt.Key.Key_Enter}
        if is_return and event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            event.ignore()
        elif self._sends and is_return and not event.modifiers():
            self.submitted.emit()
        else:
            super().keyPressEvent(event)


class TaskSheet(Sheet):
    """Finishes with a TaskForm."""

    def __init__(self, host: QWidget, agents: list[Agent], *, task: Task | None = None, start: bool = False) -> None:
        super().__init__(host, self.tr("Edit task") if task else self.tr("New task"), "task_sheet", width=600)
        self._field_title = QLineEdit()
        self._field_title.setObjectName("task_sheet.title")
        self._field_title.setAccessibleName(self.tr("Title"))
        self._field_title.setPlaceholderText(self.tr("What is to be done"))
        self._description = TextArea(
            "task_sheet.description",
            self.tr("Description"),
            self.tr("What the agent should know: the goal, where to look, how to tell that it is done."),
        )
        self._description.setMinimumHeight(150)
        self._labels = QLineEdit()
        self._labels.setObjectName("task_sheet.labels")
        self._labels.setAccessibleName(self.tr("Labels"))
        self._labels.setPlaceholderText(self.tr("bug, docs"))
        self._agent = ChoiceBox()
        self._agent.setObjectName("task_sheet.agent")
        self._agent.setAccessibleName(self.tr("Agent"))
        self._start = QCheckBox(self.tr("Start now"))
        self._start.setObjectName("task_sheet.start")
        self._start.setChecked(start)
        self._fault = Label("", "danger", wrap=True)
        self._fault.setObjectName("task_sheet.fault")
        self._fault.hide()
        self._compose(agents, task)

    def _compose(self, agents: list[Agent], task: Task | None) -> None:
        for agent in sorted(agents, key=lambda agent: not agent.is_default):
            named = "  ·  ".join(one_line(part) for part in (agent.name, agent.model) if part)
            self._agent.addItem(named, agent.id)
        self.body.addLayout(stack(Label(self.tr("Title"), "caption"), self._field_title, spacing=4))
        self.body.addLayout(stack(Label(self.tr("Description"), "caption"), self._description, spacing=4))
        pair = row(
            stack(Label(self.tr("Labels, with commas between"), "caption"), self._labels, spacing=4),
            stack(Label(self.tr("Agent"), "caption"), self._agent, spacing=4),
            spacing=12,
        )
        pair.setStretch(0, 1)
        pair.setStretch(1, 1)
        self.body.addLayout(pair)
        self.body.addWidget(self._fault)
        if task is None:
            self.buttons.addWidget(self._start)
        else:
            self._field_title.setText(task.card.title)
            self._description.setPlainText(task.description)
            self._labels.setText(", ".join(task.card.labels))
            at = self._agent.findData(task.card.agent_id)
            self._agent.setCurrentIndex(max(at, 0))
        self.buttons.addStretch(1)
        self.buttons.addWidget(Button(self.tr("Cancel"), name="task_sheet.cancel", pressed=self.dismiss))
        words = self.tr("Save") if task else self.tr("Create task")
        self.buttons.addWidget(Button(words, kind="primary", name="task_sheet.create", pressed=self.accept))
        self._field_title.returnPressed.connect(self.accept)

    def draft(self) -> TaskDraft:
        return TaskDraft(self._field_title.text(), self._description.toPlainText(), self._labels.text())

    def fill(self, draft: TaskDraft) -> None:
        """Go on from what was typed before."""
        self._field_title.setText(draft.title)
        self._description.setPlainText(draft.description)
        self._labels.setText(draft.labels)

    @override
    def accept(self) -> None:
        set_state(self._field_title, "fault", False)
        try:
            form = TaskForm(
                limits.check_line("title", self._field_title.text(), limits.TASK_TITLE),
                limits.check_text("description", self._description.toPlainText(), limits.TASK_DESCRIPTION, least=0),
                limits.check_labels([label for label in self._labels.text().split(",") if label.strip()]),
                self._agent.currentData(),
                self._start.isChecked(),
            )
        except AgentPaneError as error:
            self._fault.show_text(error.message)
            self._fault.show()
            field = error.details.get("field")
            at_fault = {"description": self._description, "labels": self._labels}.get(str(field), self._field_title)
            set_state(at_fault, "fault", True)
            at_fault.setFocus()
            return
        self.finish(form)
