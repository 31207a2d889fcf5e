"""What the shown project's agents may do: the policy and its rules, what commands reach, and what may be spent."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtWidgets import QCheckBox, QComboBox, QLineEdit

from agentpane.api import commands
from agentpane.domain.budgets import Budget
from agentpane.domain.limits import invalid
from agentpane.domain.policy import Policy
from agentpane.domain.projects import Project
from agentpane.domain.sandbox import NetworkMode
from agentpane.errors import AgentPaneError
from agentpane.ui.desk.desk import Desk
from agentpane.ui.parts.controls import Label, row
from agentpane.ui.parts.fields import ChoiceBox
from agentpane.ui.settings.settings_parts import Section, same_settings
from agentpane.ui.sheets.task_sheet import TextArea


class PermissionSection(Section):
    """Policy, rules and network of the project."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(
            self.tr("What agents may do"),
            self.tr("For every call: allow, ask or deny. A rule that denies always wins; what no rule names is the")
            + " "
            + self.tr("policy's to decide."),
        )
        self._desk = desk
        self._shown: Project | None = None
        self.policy = policy_box()
        self.policy.setObjectName("settings.project.policy")
        self.add_row(self.tr("Policy"), self.policy)
        self.rules = TextArea(
            "settings.project.rules",
            self.tr("Rules"),
            "allow Bash(npm test:*)\nask Bash(git push:*)\ndeny Read(secrets/**)",
        )
        self.rules.setFixedHeight(110)
        hint = self.tr("One a line: allow, ask or deny, then a tool, and in brackets a command's beginning, a path or")
        self.add_row(self.tr("Rules"), self.rules, hint + " " + self.tr("a host that it is about."))
        self.network = ChoiceBox()
        self.network.setObjectName("settings.project.network")
        for mode, words in (
            (NetworkMode.NONE, self.tr("Nothing")),
            (NetworkMode.HOSTS, self.tr("The hosts below, through a proxy")),
            (NetworkMode.ALL, self.tr("Everything")),
        ):
            self.network.addItem(words, mode.value)
        self.add_row(self.tr("Commands reach"), self.network)
        self.hosts = TextArea("settings.project.hosts", self.tr("Hosts"), "docs.example.org\n*.example.com")
        self.hosts.setFixedHeight(64)
        self.add_row(self.tr("Hosts"), self.hosts, self.tr("One a line; a star at the beginning stands for any name."))
        self.network.currentIndexChanged.connect(lambda _: self._hosts_wanted())
        self.unconfined = QCheckBox(self.tr("Runs that nobody is asked about may play without a sandbox"))
        self.unconfined.setObjectName("settings.project.unconfined")
        self.add_row("", self.unconfined)
        self.add_save("settings.project.permissions.save", self.save)

    def refresh(self) -> None:
        """Show the project, unless the person is changing the very same."""
        project = self._desk.known.current
        self.setVisible(project is not None)
        if project is None or (self._shown is not None and same_settings(self._shown, project)):
            return
        self._shown = project
        config = project.config
        self.policy.setCurrentIndex(max(self.policy.findData(config.policy), 0))
        self.rules.setPlainText("\n".join(config.rules))
        self.network.setCurrentIndex(max(self.network.findData(config.network), 0))
        self.hosts.setPlainText("\n".join(config.hosts))
        self.unconfined.setChecked(config.unconfined)
        self._hosts_wanted()

    def save(self) -> None:
        project = self._desk.known.current
        if project is None:
            return
        config = replace(
            project.config,
            policy=str(self.policy.currentData()),
            rules=lines_of(self.rules),
            network=str(self.network.currentData()),
            hosts=lines_of(self.hosts),
            unconfined=self.unconfined.isChecked(),
        )
        self.store(self._desk, commands.EditProject(project.id, config=config), self.tr("Saved what agents may do"))

    def _hosts_wanted(self) -> None:
        self.hosts.setEnabled(self.network.currentData() == NetworkMode.HOSTS.value)


class BudgetSection(Section):
    """What a run, a task, the project and a day may use."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(
            self.tr("Budgets"),
            self.tr("At 80 % the session warns; at 100 % a run pauses and asks. An empty field is no limit."),
        )
        self._desk = desk
        self._shown: Project | None = None
        self.fields = {
            "run": BudgetFields("run", self.tr("A run")),
            "task": BudgetFields("task", self.tr("A task")),
            "project": BudgetFields("project", self.tr("The project")),
            "day": BudgetFields("day", self.tr("A day, all projects")),
        }
        for one in self.fields.values():
            line = row(one.usd, Label(self.tr("dollars"), "muted"), one.tokens, Label(self.tr("tokens"), "muted"), None)
            self.add_row(one.title, line)
        self.add_save("settings.budgets.save", self.save)

    def refresh(self) -> None:
        project = self._desk.known.current
        if not self._focused():
            self.fields["day"].show_budget(self._desk.known.settings.day_budget)
        for name in ("run", "task", "project"):
            self.fields[name].set_enabled(project is not None)
        if project is None or (self._shown is not None and same_settings(self._shown, project)):
            return
        self._shown = project
        self.fields["run"].show_budget(project.config.run_budget)
        self.fields["task"].show_budget(project.config.task_budget)
        self.fields["project"].show_budget(project.config.project_budget)

    def save(self) -> None:
        try:
            budgets = {name: one.budget() for name, one in self.fields.items()}
        except AgentPaneError as error:
            self._refused(error)
            return
        settings = self._desk.known.settings
        if settings.day_budget != budgets["day"]:
            self.store(self._desk, commands.ChangeSettings(replace(settings, day_budget=budgets["day"])))
        project = self._desk.known.current
        if project is None:
            return
        config = replace(
            project.config,
            run_budget=budgets["run"],
            task_budget=budgets["task"],
            project_budget=budgets["project"],
        )
        if config != project.config:
            self.store(self._desk, commands.EditProject(project.id, config=config), self.tr("Budgets saved"))

    def _focused(self) -> bool:
        return any(one.usd.hasFocus() or one.tokens.hasFocus() for one in self.fields.values())


class BudgetFields:
    """Two fields of one budget: dollars and tokens."""

    def __init__(self, name: str, title: str) -> None:
        self.title = title
        self._name = name
        self.usd, self.tokens = QLineEdit(), QLineEdit()
        for field, unit, placeholder in ((self.usd, "usd", "$"), (self.tokens, "tokens", "")):
            field.setObjectName(f"settings.budget.{name}.{unit}")
            field.setAccessibleName(f"{title}, {unit}")
            field.setPlaceholderText(placeholder)
            field.setMaximumWidth(130)

    def set_enabled(self, enabled: bool) -> None:
        self.usd.setEnabled(enabled)
        self.tokens.setEnabled(enabled)

    def show_budget(self, budget: Budget) -> None:
        self.usd.setText("" if budget.usd is None else f"{budget.usd:g}")
        self.tokens.setText("" if budget.tokens is None else str(budget.tokens))

    def budget(self) -> Budget:
        """Raises AgentPaneError with VALIDATION_ERROR where a text is no number."""
        try:
            usd = self.usd.text().strip().lstrip("$").replace(",", "")
            tokens = self.tokens.text().strip().replace(",", "").replace("_", "")
            return Budget(float(usd) if usd else None, int(tokens) if tokens else None)
        except ValueError as fault:
            raise invalid(f"{self._name}_budget", f"{self.title}: that is not a number.") from fault


def policy_box(*, inherit: str | None = None) -> ChoiceBox:
    """The policies in words; `inherit` is the word for none of them."""
    box = ChoiceBox()
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    if inherit is not None:
        box.addItem(inherit, None)
    for policy, words in (
        (Policy.CAREFUL, box.tr("Careful: asks for every write and command")),
        (Policy.BALANCED, box.tr("Balanced: edits are free, commands are free in the sandbox")),
        (Policy.FREE, box.tr("Free: everything inside the sandbox")),
        (Policy.READ_ONLY, box.tr("Read only: writes and commands are denied")),
    ):
        box.addItem(words, policy.value)
    return box


def lines_of(area: TextArea) -> tuple[str, ...]:
    """The lines that are not blank, without what surrounds them."""
    return tuple(line.strip() for line in area.toPlainText().splitlines() if line.strip())
