"""The commands that a project's merges have to pass: listed in their order, added, changed, moved and removed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from PySide6.QtWidgets import QCheckBox, QLineEdit, QVBoxLayout, QWidget

from agentpane.api import commands
from agentpane.domain.checks import DEFAULT_TIMEOUT_S, TIMEOUTS_S, Check, check_checks
from agentpane.domain.projects import Project
from agentpane.errors import AgentPaneError
from agentpane.ui.desk.desk import Desk
from agentpane.ui.parts import figures
from agentpane.ui.parts.controls import (
    Button,
    Chip,
    ElidedLabel,
    Frame,
    IconButton,
    Label,
    clear,
    focus_again,
    focused_within,
    row,
    stack,
)
from agentpane.ui.parts.fields import NumberBox
from agentpane.ui.parts.overriding import override
from agentpane.ui.parts.plain import one_line
from agentpane.ui.parts.sheet import Sheet, open_sheet
from agentpane.ui.settings.settings_parts import Section

MINUTE = 60


class ChecksSection(Section):
    """The checks of the shown project. What a repository asks for itself is listed where its trust is."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(
            self.tr("Checks"),
            self.tr(
                "Commands that run in the sandbox on the files as they would be after the merge."
                " What is required and does not pass is not merged."
                " What the repository asks for itself holds besides, once it is trusted."
            ),
        )
        self._desk = desk
        self._shown: tuple[str, tuple[Check, ...]] | None = None
        self._wanted = ""  # the button that has the keys when the list is there again
        self._list = QVBoxLayout()
        self._list.setSpacing(8)
        self.box.addLayout(self._list)
        self.add_button = Button(self.tr("Add check"), icon_name="plus", name="settings.check.add", pressed=self._add)
        self.box.addLayout(row(None, self.add_button))

    def refresh(self) -> None:
        project = self._desk.known.current
        self.setVisible(project is not None)
        if project is None or (project.id, project.config.checks) == self._shown:
            return
        self._shown = (project.id, project.config.checks)
        wanted, self._wanted = self._wanted or focused_within(self), ""
        clear(self._list)
        for at, check in enumerate(project.config.checks):
            line = self._line(project, at, check)
            self._list.addWidget(line)
            line.show()
        focus_again(self, wanted)

    def _line(self, project: Project, at: int, check: Check) -> Frame:
        box = Frame("inset", across=True, margin=10)
        name = one_line(check.name)
        about = ElidedLabel(one_line(check.command), "fixed")
        words = stack(Label(check.name, "strong"), about, spacing=2)
        box.box.addLayout(words, 1)
        limit = self.tr("at most {0}").format(figures.rough(check.timeout_s))
        box.box.addWidget(Label(limit, "small"))
        if not check.required:
            box.box.addWidget(Chip(self.tr("Only warns")))
        last = at == len(project.config.checks) - 1
        for icon, words_, what, allowed in (
            ("chevron-up", self.tr("Move {0} up"), "up", at > 0),
            ("chevron-down", self.tr("Move {0} down"), "down", not last),
            ("edit", self.tr("Edit {0}"), "edit", True),
            ("trash", self.tr("Remove {0}"), "remove", True),
        ):
            button = IconButton(icon, words_.format(name), name=f"settings.check.{what}.{at}")
            button.clicked.connect(self._acts(what, at))
            button.setEnabled(allowed)
            box.box.addWidget(button)
        return box

    def _acts(self, what: str, at: int) -> Callable[[], None]:
        match what:
            case "up":
                return lambda: self._move(at, at - 1)
            case "down":
                return lambda: self._move(at, at + 1)
            case "edit":
                return lambda: self._ask(at)
        return lambda: self._store_checks([check for n, check in enumerate(self._checks()) if n != at])

    def _checks(self) -> list[Check]:
        project = self._desk.known.current
        return list(project.config.checks) if project is not None else []

    def _move(self, at: int, to: int) -> None:
        checks = self._checks()
        checks.insert(to, checks.pop(at))
        self._wanted = f"settings.check.{'up' if to < at else 'down'}.{to}"
        self._store_checks(checks)

    def _store_checks(self, checks: list[Check]) -> None:
        project = self._desk.known.current
        if project is not None:
            config = replace(project.config, checks=tuple(checks))
            self.store(self._desk, commands.EditProject(project.id, config=config), self.tr("Checks saved"))

    def _add(self) -> None:
        self._ask(None)

    def _ask(self, at: int | None) -> None:
        if self._desk.known.current is not None and open_sheet(self._desk.window) is None:
            self._desk.jobs.start(self._asked(at), self.tr("Saving the check"))

    async def _asked(self, at: int | None) -> None:
        checks = self._checks()
        others = [check for number, check in enumerate(checks) if number != at]
        sheet = CheckSheet(self._desk.window, checks[at] if at is not None else None, tuple(others))
        sheet.open(sheet.name)
        check = await sheet.answer()
        if not isinstance(check, Check):
            return
        if at is None:
            checks.append(check)
        else:
            checks[at] = check
        self._store_checks(checks)


class CheckSheet(Sheet):
    """One check. Finishes with it; what would not do is said here."""

    def __init__(self, host: QWidget, check: Check | None, others: tuple[Check, ...]) -> None:
        super().__init__(host, self.tr("Edit check") if check else self.tr("Add check"), "check_sheet", width=560)
        self._others = others
        given = check or Check("", "")
        self.name = self._line("check_sheet.name", self.tr("Name"), given.name, self.tr("tests"))
        self.command = self._line("check_sheet.command", self.tr("Command"), given.command, "pytest -q")
        self.minutes = NumberBox()
        self.minutes.setObjectName("check_sheet.minutes")
        self.minutes.setAccessibleName(self.tr("Longest time in minutes"))
        self.minutes.setRange(1, TIMEOUTS_S[-1] // MINUTE)
        self.minutes.setValue(max((given.timeout_s if check else DEFAULT_TIMEOUT_S) // MINUTE, 1))
        self.minutes.setMaximumWidth(110)
        self.required = QCheckBox(self.tr("Nothing is merged unless it passes"))
        self.required.setObjectName("check_sheet.required")
        self.required.setChecked(given.required)
        self._fault = Label("", "danger", wrap=True)
        self._fault.setObjectName("check_sheet.fault")
        self._fault.hide()
        self._seconds = given.timeout_s
        for words, field in ((self.tr("Name"), self.name), (self.tr("Command"), self.command)):
            self.body.addLayout(stack(Label(words, "small"), field, spacing=4))
        time = row(self.minutes, Label(self.tr("minutes at most"), "muted"), None, spacing=8)
        self.body.addLayout(time)
        self.body.addWidget(self.required)
        self.body.addWidget(self._fault)
        self.add_button(self.tr("Cancel"), self.dismiss, name="check_sheet.cancel")
        self.add_button(self.tr("Save"), self.accept, kind="primary", name="check_sheet.act")

    @override
    def accept(self) -> None:
        same = self.minutes.value() == max(self._seconds // MINUTE, 1)
        seconds = self._seconds if same else self.minutes.value() * MINUTE
        check = Check(self.name.text(), self.command.text(), self.required.isChecked(), seconds)
        try:
            checked = check_checks((*self._others, check))[-1]
        except AgentPaneError as error:
            self._fault.show_text(error.message)
            self._fault.show()
        else:
            self.finish(checked)

    def _line(self, name: str, spoken: str, text: str, placeholder: str) -> QLineEdit:
        field = QLineEdit(text)
        field.setObjectName(name)
        field.setAccessibleName(spoken)
        field.setPlaceholderText(placeholder)
        return field
