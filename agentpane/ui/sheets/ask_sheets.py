"""The small dialogs: what went wrong, are you sure and what is kept, a reason, what approving will do."""

from __future__ import annotations

import traceback
from functools import partial

from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QLineEdit, QWidget

from agentpane.domain import limits
from agentpane.domain.review import MergeStrategy
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.ui.parts import figures
from agentpane.ui.parts.controls import Button, Chip, Frame, Label, row
from agentpane.ui.parts.overriding import override
from agentpane.ui.parts.plain import display_path
from agentpane.ui.parts.sheet import Sheet
from agentpane.ui.sheets.merge_words import StrategyPicker
from agentpane.ui.sheets.task_sheet import TextArea

MOST_PATHS = 12


class ErrorSheet(Sheet):
    """Says what happened and what to do. A bug of ours can be copied as a report."""

    def __init__(self, host: QWidget, error: BaseException, what: str) -> None:
        ours = not isinstance(error, AgentPaneError) or error.code is ErrorCode.INTERNAL
        title = self.tr("AgentPane has made a mistake") if ours else (what or self.tr("That did not work"))
        super().__init__(host, title, "error_sheet", width=520)
        message = error.message if isinstance(error, AgentPaneError) else f"{type(error).__name__}: {error}"
        self.message = Label(message, wrap=True, selectable=True)
        self.message.setObjectName("error_sheet.message")
        self.body.addWidget(self.message)
        if isinstance(error, AgentPaneError):
            if error.hint:
                self.hint = Label(error.hint, "muted", wrap=True, selectable=True)
                self.hint.setObjectName("error_sheet.hint")
                self.body.addWidget(self.hint)
            paths = error.details.get("paths")
            if not isinstance(paths, list | tuple) or any(display_path(str(path)) not in message for path in paths):
                add_paths(self, paths)
        code = error.code.value if isinstance(error, AgentPaneError) else ErrorCode.INTERNAL.value
        self.code = Chip(code)
        self.code.setObjectName("error_sheet.code")
        self.buttons.addWidget(self.code)
        self.buttons.addStretch(1)
        if ours:
            report = report_of(error, what)
            self.buttons.addWidget(
                Button(
                    self.tr("Copy report"),
                    icon_name="copy",
                    name="error_sheet.copy",
                    pressed=lambda: QGuiApplication.clipboard().setText(report),
                )
            )
        self.buttons.addWidget(Button(self.tr("Close"), kind="primary", name="error_sheet.ok", pressed=self.dismiss))


class ConfirmSheet(Sheet):
    """Asks before something is ended; says what is kept. Finishes with True."""

    def __init__(self, host: QWidget, title: str, words: str, act: str, *, kind: str = "reject") -> None:
        super().__init__(host, title, "confirm_sheet", width=460)
        self.body.addWidget(Label(words, wrap=True))
        self.add_button(self.tr("Cancel"), self.dismiss, name="confirm_sheet.cancel")
        self._act = self.add_button(act, lambda: self.finish(True), kind=kind, name="confirm_sheet.act")

    @override
    def accept(self) -> None:
        self.finish(True)


class RejectSheet(Sheet):
    """Asks for the reason of a rejection. Finishes with it."""

    def __init__(self, host: QWidget, comments: int = 0) -> None:
        super().__init__(host, self.tr("Reject and send back"), "reject_sheet", width=520)
        words = self.tr("The same agent goes on in the same worktree and reads your reason.")
        if comments:
            words += " " + figures.plural(
                comments, self.tr("{0} comment goes with it."), self.tr("{0} comments go with it.")
            )
        self.body.addWidget(Label(words, "muted", wrap=True))
        self.reason = TextArea("reject_sheet.reason", self.tr("Reason"), self.tr("What should be different"))
        self.reason.setMinimumHeight(110)
        self.body.addWidget(self.reason)
        self._count = Label("", "small")
        self.buttons.addWidget(self._count)
        self.buttons.addStretch(1)
        self.buttons.addWidget(Button(self.tr("Cancel"), name="reject_sheet.cancel", pressed=self.dismiss))
        self._act = Button(self.tr("Reject"), kind="reject", name="reject_sheet.act", pressed=self.accept)
        self.buttons.addWidget(self._act)
        self.reason.textChanged.connect(self._changed)
        self._changed()

    @override
    def accept(self) -> None:
        if self._act.isEnabled():
            self.finish(self.reason.toPlainText().strip())

    def _changed(self) -> None:
        length = len(self.reason.toPlainText().strip())
        self._count.show_text(self.tr("{0} of {1}").format(figures.count(length), figures.count(limits.REASON)))
        self._act.setEnabled(0 < length <= limits.REASON)


class ApproveSheet(Sheet):
    """Says what approving will do, before it does it. Finishes with the MergeStrategy."""

    def __init__(
        self,
        host: QWidget,
        title: str,
        sha: str,
        target: str,
        strategy: MergeStrategy,
        keeps: str = "",
        *,
        conflicts: bool = False,
    ) -> None:
        """keeps: why it cannot be approved as it stands, as far as that is known. conflicts: it cannot be merged."""
        super().__init__(host, self.tr("Approve and merge"), "approve_sheet", width=520)
        self.body.addWidget(Label(title, "strong", wrap=True))
        if keeps:
            warning = Label(keeps, "danger", wrap=True)
            warning.setObjectName("approve_sheet.keeps")
            self.body.addWidget(warning)
        self.picker = StrategyPicker(sha, target, strategy)
        self.body.addWidget(self.picker)
        self.add_button(self.tr("Cancel"), self.dismiss, name="approve_sheet.cancel")
        self._act = self.add_button(
            self.tr("Approve"), self.accept, kind="approve", name="approve_sheet.act", icon_name="check"
        )
        if conflicts:
            self.picker.hide()
            self._act.setEnabled(False)
            words = self.tr("Hand the conflict to the agent, or resolve it yourself: both are in the card's foot.")
            self.body.addWidget(Label(words, wrap=True))

    @override
    def accept(self) -> None:
        if self._act.isEnabled():
            self.finish(self.picker.strategy)


class LineSheet(Sheet):
    """Asks for one line or paragraph. Finishes with the text."""

    def __init__(self, host: QWidget, title: str, placeholder: str, act: str) -> None:
        super().__init__(host, title, "line_sheet", width=520)
        self.field = TextArea("line_sheet.text", title, placeholder)
        self.field.setMinimumHeight(90)
        self.body.addWidget(self.field)
        self.add_button(self.tr("Cancel"), self.dismiss, name="line_sheet.cancel")
        self.add_button(act, self.accept, kind="primary", name="line_sheet.act")

    @override
    def accept(self) -> None:
        text = self.field.toPlainText().strip()
        if text:
            self.finish(text)


class KeySheet(Sheet):
    """Asks for the key of the model API. Finishes with it."""

    def __init__(self, host: QWidget) -> None:
        super().__init__(host, self.tr("Key for the model"), "key_sheet", width=520)
        self.body.addWidget(
            Label(
                self.tr(
                    "It is kept in the system keyring, or, where there is none, in a file that only you can read;"
                    " never in the database or a log. No tool of an agent sees it."
                ),
                "muted",
                wrap=True,
            )
        )
        self.field = QLineEdit()
        self.field.setObjectName("key_sheet.key")
        self.field.setAccessibleName(self.tr("Key"))
        self.field.setEchoMode(QLineEdit.EchoMode.Password)
        self.field.setPlaceholderText("sk-ant-…")
        self.field.returnPressed.connect(self.accept)
        self.body.addWidget(self.field)
        self.add_button(self.tr("Cancel"), self.dismiss, name="key_sheet.cancel")
        self.add_button(self.tr("Store key"), self.accept, kind="primary", name="key_sheet.act", icon_name="")

    @override
    def accept(self) -> None:
        if self.field.text().strip():
            self.finish(self.field.text().strip())


class CloseSheet(Sheet):
    """The window closes while runs are alive. Finishes with "keep", "pause" or "stop"."""

    def __init__(self, host: QWidget, runs: int) -> None:
        super().__init__(host, self.tr("Agents are at work"), "close_sheet", width=520)
        words = figures.plural(runs, self.tr("{0} run is alive."), self.tr("{0} runs are alive."))
        self.body.addWidget(Label(words + " " + self.tr("The engine can go on without the window."), wrap=True))
        for text, detail, value, kind in (
            (self.tr("Keep running"), self.tr("The window closes, the agents go on."), "keep", "primary"),
            (self.tr("Pause and quit"), self.tr("Every run pauses where it is and can be resumed."), "pause", ""),
            (
                self.tr("Stop and quit"),
                self.tr("Runs end, recovery snapshots are kept, cards go to the backlog. What git ignores goes."),
                "stop",
                "danger",
            ),
        ):
            box = Frame("inset", across=True)
            line = row(Label(detail, "muted", wrap=True), spacing=12)
            button = Button(text, kind=kind, name=f"close_sheet.{value}", pressed=partial(self.finish, value))
            button.setMinimumWidth(130)
            box.box.addWidget(button)
            box.box.addLayout(line, 1)
            self.body.addWidget(box)


def add_paths(sheet: Sheet, paths: object) -> None:
    """List the paths that an error names, if it does."""
    if isinstance(paths, list | tuple) and paths:
        lines = [display_path(str(path)) for path in paths[:MOST_PATHS]]
        if len(paths) > MOST_PATHS:
            lines.append(f"… {figures.count(len(paths) - MOST_PATHS)}")
        box = Frame("inset")
        box.box.addWidget(Label("\n".join(lines), "fixed", selectable=True))
        sheet.body.addWidget(box)


def report_of(error: BaseException, what: str) -> str:
    """What a person can send to whoever mends AgentPane. It holds no key and nothing of a repository's text."""
    details = dict(error.details) if isinstance(error, AgentPaneError) else {}
    return "\n".join((f"AgentPane: {what}", "".join(traceback.format_exception(error)), f"details: {details}"))
