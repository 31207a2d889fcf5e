"""A plan that waits for the person: read it, change it, let the agent carry it out, or send it back."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QScrollArea

from agentpane.domain.approvals import Approval
from agentpane.ui.parts.controls import Button, Frame, IconLabel, Label, row
from agentpane.ui.parts.markdown import MarkdownView
from agentpane.ui.sheets.task_sheet import TextArea

PLAN_TOOL = "ExitPlanMode"
MOST_HEIGHT = 340


class PlanCard(Frame):
    """Emits the decision once; its buttons are off from then on."""

    decided = Signal(str, bool, str, object)  # approval, allow, message, the changed input or None

    def __init__(self, approval: Approval) -> None:
        super().__init__("ask", margin=12, spacing=8)
        self.approval = approval
        self.setObjectName(f"plan.{approval.id}")
        title = self.tr("The agent proposes a plan")
        self.setAccessibleName(title)
        self.box.addLayout(row(IconLabel("list", "attention"), Label(title, "strong"), None))
        self._plan = approval.detail or str(approval.input.get("plan", ""))
        self._view = QScrollArea()
        self._view.setWidgetResizable(True)
        self._view.setObjectName("plan.view")
        self._view.setAccessibleName(self.tr("The plan"))
        shown = MarkdownView(self._plan, "plan.text")
        self._view.setWidget(shown)
        self._view.setMaximumHeight(MOST_HEIGHT)
        self._view.setMinimumHeight(min(MOST_HEIGHT, 24 * (self._plan.count("\n") + 2)))
        self.box.addWidget(self._view)
        self.editor = TextArea("plan.editor", self.tr("The plan, to be changed"), "")
        self.editor.setPlainText(self._plan)
        self.editor.setMinimumHeight(220)
        self.editor.hide()
        self.box.addWidget(self.editor)
        self.message = TextArea(
            "plan.message",
            self.tr("What should be different"),
            self.tr("What should be different, if you send it back"),
        )
        self.message.setFixedHeight(self.message.fontMetrics().lineSpacing() * 2 + 16)
        self.box.addWidget(self.message)
        self._buttons = (
            Button(self.tr("Send back"), kind="danger", name="plan.deny", pressed=self._deny),
            Button(self.tr("Change the plan"), name="plan.edit", icon_name="edit", pressed=self._edit),
            Button(self.tr("Carry it out"), kind="primary", name="plan.allow", icon_name="check", pressed=self._allow),
        )
        self.box.addLayout(row(None, *self._buttons))

    def _edit(self) -> None:
        editing = self.editor.isHidden()
        self.editor.setVisible(editing)
        self._view.setVisible(not editing)
        if editing:
            self.editor.setFocus()

    def _allow(self) -> None:
        text = self.editor.toPlainText().strip()
        changed = not self.editor.isHidden() and text != self._plan.strip()
        self._done(True, "", {"plan": text} if changed and text else None)

    def _deny(self) -> None:
        self._done(False, self.message.toPlainText().strip(), None)

    def _done(self, allow: bool, message: str, edited: object) -> None:
        for button in self._buttons:
            button.setEnabled(False)
        self.decided.emit(self.approval.id, allow, message, edited)
