"""Asks how much more a run may use whose budget is used up."""

from __future__ import annotations

from PySide6.QtWidgets import QWidget

from agentpane.domain.budgets import Standing, check_budget
from agentpane.errors import AgentPaneError
from agentpane.ui.parts.controls import Label, row
from agentpane.ui.parts.overriding import override
from agentpane.ui.parts.sheet import Sheet
from agentpane.ui.settings.permission_settings import BudgetFields
from agentpane.ui.task.run_words import scope_words, standing_words


class BudgetSheet(Sheet):
    """Finishes with the Budget that the run may use from here on."""

    def __init__(self, host: QWidget, standings: tuple[Standing, ...]) -> None:
        super().__init__(host, self.tr("How much more may it use?"), "budget_sheet", width=480)
        for one in standings:
            token = "attention" if one.is_reached else "muted"
            self.body.addWidget(Label(f"{scope_words(one.scope)}: {standing_words(one)}", token, wrap=True))
        self.body.addWidget(
            Label(
                self.tr("What you give here is this run's own, in the place of every other budget in the same unit."),
                "muted",
                wrap=True,
            )
        )
        self.fields = BudgetFields("more", self.tr("More"))
        self.body.addLayout(
            row(
                self.fields.usd,
                Label(self.tr("dollars"), "muted"),
                self.fields.tokens,
                Label(self.tr("tokens"), "muted"),
                None,
            )
        )
        self._fault = Label("", "danger", wrap=True)
        self._fault.hide()
        self.body.addWidget(self._fault)
        self.add_button(self.tr("Cancel"), self.dismiss, name="budget_sheet.cancel")
        self._act = self.add_button(self.tr("Go on"), self.accept, kind="primary", name="budget_sheet.act")
        for field in (self.fields.usd, self.fields.tokens):
            field.textChanged.connect(lambda _: self._look())
        self._look()

    def _look(self) -> None:
        self._act.setEnabled(bool(self.fields.usd.text().strip() or self.fields.tokens.text().strip()))

    @override
    def accept(self) -> None:
        if not self._act.isEnabled():
            return
        try:
            self.finish(check_budget("more", self.fields.budget()))
        except AgentPaneError as error:
            self._fault.show_text(error.message)
            self._fault.show()
