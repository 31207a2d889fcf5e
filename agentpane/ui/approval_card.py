"""A tool call that waits for the person: exactly what would be done, and Allow, Always, Deny."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QLineEdit

from agentpane.domain.approvals import Approval
from agentpane.ui.code_box import CodeBox
from agentpane.ui.controls import Button, Frame, IconLabel, Label, row
from agentpane.ui.plain import one_line
from agentpane.ui.tool_text import parts


class ApprovalCard(Frame):
    """Emits the decision once; its buttons are off from then on."""

    decided = Signal(str, bool, bool, str)  # approval, allow, always, message

    def __init__(self, approval: Approval) -> None:
        super().__init__("ask", margin=12, spacing=8)
        self.approval = approval
        self.setObjectName(f"approval.{approval.id}")
        title = self.tr("The agent asks to use {0}").format(one_line(approval.tool))
        self.setAccessibleName(title)
        self.box.addLayout(row(IconLabel("alert", "attention"), Label(title, "strong"), None))
        for part in parts(approval.tool, approval.input):
            if part.caption:
                self.box.addWidget(Label(part.caption, "small", wrap=True))
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
            Button(
                self.tr("Always allow {0}").format(one_line(approval.tool)),
                name="approval.always",
                tip=self.tr("Allow this tool in this project from now on"),
                pressed=lambda: self._decide(True, True),
            ),
            Button(
                self.tr("Allow"), kind="primary", name="approval.allow", icon_name="check",
                pressed=lambda: self._decide(True, False),
            ),
        )  # fmt: skip
        self.box.addLayout(row(None, *self._buttons))

    def _decide(self, allow: bool, always: bool) -> None:
        for button in self._buttons:
            button.setEnabled(False)
        self.decided.emit(self.approval.id, allow, always, "" if allow else self.message.text().strip())
