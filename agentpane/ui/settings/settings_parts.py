"""What the settings are made of: titled cards, rows of a name and a field, choices of few, save buttons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from PySide6.QtWidgets import QComboBox, QGridLayout, QLayout, QWidget

from agentpane.api.command import Command
from agentpane.domain.agents import ModelChoice
from agentpane.domain.projects import Project
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.ui.desk.desk import Desk
from agentpane.ui.parts import figures
from agentpane.ui.parts.controls import Button, Frame, Label, row
from agentpane.ui.parts.one_of import OneOf

NAME_WIDTH = 150


class Section(Frame):
    """A card of rows. What the engine refuses in a field is said above the save button."""

    def __init__(self, title: str, words: str) -> None:
        super().__init__("card", margin=20, spacing=14)
        self._title = Label(title, "heading")
        self.box.addWidget(self._title)
        self.setAccessibleName(title)
        if words:
            self.box.addWidget(Label(words, "muted", wrap=True))
        self.body = self.box
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(16)
        self._grid.setVerticalSpacing(12)
        self._grid.setColumnMinimumWidth(0, NAME_WIDTH)
        self._grid.setColumnStretch(1, 1)
        self.box.addLayout(self._grid)
        self._fault = Label("", "danger", wrap=True)
        self._fault.setObjectName("settings.fault")
        self._fault.hide()
        self.box.addWidget(self._fault)

    def name_section(self, title: str) -> None:
        self._title.show_text(title)
        self.setAccessibleName(title)

    def add_row(self, name: str, field: QWidget | QLayout, hint: str = "") -> None:
        """Add a name and its field; `hint` stands below it."""
        line = self._grid.rowCount()
        label = Label(name, "muted")
        self._grid.addWidget(label, line, 0)
        if isinstance(field, QWidget):
            if not field.accessibleName():
                field.setAccessibleName(name)
            label.setBuddy(field)
            self._grid.addWidget(field, line, 1)
        else:
            self._grid.addLayout(field, line, 1)
        if hint:
            self._grid.addWidget(Label(hint, "small", wrap=True), line + 1, 1)

    def add_save(self, name: str, act: Callable[[], None]) -> None:
        self.save_button = Button(self.tr("Save"), kind="primary", name=name, pressed=act)
        self.save_button.describe(self.tr("Save {0}").format(self.accessibleName()))
        self.box.addLayout(row(None, self.save_button))

    def store(self, desk: Desk, command: Command[Any], done: str = "") -> None:
        """Have a command done; say that it was, or what was wrong with a field."""
        self._fault.hide()
        desk.jobs.start(self._store(desk, command, done or self.tr("Saved")), self.tr("Saving"), self._refused)

    async def _store(self, desk: Desk, command: Command[Any], done: str) -> None:
        await desk.link.do(command)
        desk.toasts.say(done)

    def _refused(self, error: BaseException) -> bool:
        if isinstance(error, AgentPaneError) and error.code in {
            ErrorCode.VALIDATION_ERROR,
            ErrorCode.PROJECT_CONFIG_INVALID,
        }:
            self._fault.show_text(f"{error.message} {error.hint}".strip())
            self._fault.show()
            return True
        return False


def choice_row(one_of: OneOf) -> QLayout:
    """The buttons of a choice, side by side."""
    line = row(*one_of.buttons.values(), spacing=0)
    line.addStretch(1)
    return line


def fill_models(box: QComboBox, models: tuple[ModelChoice, ...], chosen: str) -> None:
    """Offer the models with their prices, where they are known."""
    box.clear()
    for model in models:
        words = model.id
        if model.input_price is not None and model.output_price is not None:
            words += f"   {figures.money(model.input_price)} / {figures.money(model.output_price)}"
        box.addItem(words, model.id)
    box.setCurrentIndex(-1)
    at = box.findData(chosen)
    if at >= 0:
        box.setCurrentIndex(at)
    box.setEditText(chosen)


def chosen_model(box: QComboBox) -> str:
    """The model that is chosen or typed; empty: the default."""
    at = box.findText(box.currentText())
    data = box.itemData(at) if at >= 0 else None
    return str(data) if isinstance(data, str) else box.currentText().strip()


def same_settings(one: Project, other: Project) -> bool:
    """Whether only what happens in the project differs."""
    return replace(one, counts=other.counts) == other
