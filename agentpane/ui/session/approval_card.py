"""A tool call that waits for the person: exactly what would be done, and Allow, Always, Deny."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QLineEdit

from agentpane.domain.approvals import Approval
from agentpane.ui.parts.code_box import CodeBox
from agentpane.ui.parts.controls import Button, Frame, IconLabel, Label, row
from agentpane.ui.parts.plain import one_line, shown
from agentpane.ui.session.tool_text import Part, parts, title_of


class ApprovalCard(Frame):
    """Emits the decision once; its buttons are off from then on."""

    decided = Signal(str, bool, bool, str)  # approval, allow, always, message

    def __init__(self, approval: Approval) -> None:
        super().__init__("ask", margin=12, spacing=8)
        self.approval = approval
        self.setObjectName(f"approval.{approval.id}")
        title = self.tr("The agent asks to use {0}").format(title_of(approval.tool))
        self.setAccessibleName(title)
        self.box.addLayout(row(IconLabel("alert", "attention"), Label(title, "strong"), None))
        for part in self._parts():
            if part.caption:
                self.box.addWidget(Label(part.caption, "small", wrap=True))
            if part.text:
                self.box.addWidget(CodeBox(part.text, self.tr("What would be done"), diff=part.diff, most_lines=7))
        self.message = QLineEdit()
        self.message.setObjectName("approval.message")
        self.message.setAccessibleName(self.tr("Message to the agent if you deny"))
        self.message.setPlaceholderText(self.tr("Message to the agent if you deny"))
        self.message.setMaxLength(1_000)
        self.message.returnPressed.connect(lambda: self._decide(False, False))
        self.box.addWidget(self.message)
        self._buttons = (
            Button(self.tr("Deny"), kind="danger", name="approval.deny", pressed=lambda: self._decide(False, False)),
            self._always(),
            Button(
                self.tr("Allow"), kind="primary", name="approval.allow", icon_name="check",
                pressed=lambda: self._decide(True, False),
            ),
        )  # fmt: skip
        self.box.addLayout(row(None, *self._buttons))

    def _parts(self) -> list[Part]:
        """What would be done: as the engine says it, a diff for a file's change, else all of the call."""
        detail = self.approval.detail
        if not self.approval.input:
            return [Part(self.tr("The call takes no input."), "")]
        if not detail:
            return parts(self.approval.tool, self.approval.input)
        is_diff = detail.startswith(("--- ", "+++ ", "@@ "))
        return [Part(shown(self.approval.summary) if is_diff else "", shown(detail), diff=is_diff)]

    def _always(self) -> Button:
        """Says exactly what would be allowed from now on."""
        rules = [one_line(rule.removeprefix("allow ")) for rule in self.approval.rules]
        word = rules[0] if len(rules) == 1 and len(rules[0]) <= 32 else one_line(self.approval.tool)
        button = Button(
            self.tr("Always allow {0}").format(word),
            name="approval.always",
            tip=self.tr("From now on in this project: {0}").format("; ".join(rules)),
            pressed=lambda: self._decide(True, True),
        )
        if not rules:
            button.hide()
        return button

    def _decide(self, allow: bool, always: bool) -> None:
        for button in self._buttons:
            button.setEnabled(False)
        self.decided.emit(self.approval.id, allow, always, "" if allow else self.message.text().strip())
