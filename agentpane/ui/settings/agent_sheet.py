"""Making or changing an agent: what thinks for it, what it may do and how much it may use."""

from __future__ import annotations

from dataclasses import dataclass, replace

from PySide6.QtCore import QCoreApplication
from PySide6.QtWidgets import QCheckBox, QHBoxLayout, QLayout, QLineEdit, QWidget

from agentpane.domain.agents import Agent, AgentConfig, BackendName, DetectedBackend, ModelChoice
from agentpane.domain.projects import DEFAULT_TOOLS
from agentpane.errors import AgentPaneError
from agentpane.ui.parts.controls import Label, row, stack
from agentpane.ui.parts.fields import ChoiceBox, NumberBox
from agentpane.ui.parts.overriding import override
from agentpane.ui.parts.sheet import Sheet
from agentpane.ui.settings.permission_settings import BudgetFields, lines_of, policy_box
from agentpane.ui.settings.settings_parts import chosen_model, fill_models
from agentpane.ui.sheets.task_sheet import TextArea

Kind = tuple[BackendName, str | None]  # a backend, and for the protocol's programs which one
TOOLS_IN_A_ROW = 5


def kind_title(one: DetectedBackend, detected: tuple[DetectedBackend, ...]) -> str:
    """The name of a backend, told apart from another that speaks to the same program in another way."""
    twice = sum(other.title == one.title for other in detected) > 1
    if not twice or one.backend is not BackendName.ACP:
        return one.title
    return QCoreApplication.translate("agents", "{0} over ACP").format(one.title)


@dataclass(frozen=True, slots=True)
class AgentForm:
    name: str
    backend: BackendName
    config: AgentConfig
    default: bool


class AgentSheet(Sheet):
    """Finishes with an AgentForm. The kind of an agent that exists stays as it is."""

    def __init__(
        self,
        host: QWidget,
        models: tuple[ModelChoice, ...],
        detected: tuple[DetectedBackend, ...],
        agent: Agent | None,
    ) -> None:
        title = self.tr("Edit agent") if agent else self.tr("Add agent")
        super().__init__(host, title, "agent_sheet", width=640)
        self._agent = agent
        self._config = config = agent.config if agent else AgentConfig()
        self._detected = {(one.backend, one.preset): one for one in detected}
        self.name = self._line("agent_sheet.name", self.tr("Name"), agent.name if agent else "")
        self.name.setMaxLength(100)
        self.kind = self._kinds(detected, agent)
        self.command = self._line("agent_sheet.command", self.tr("Command"), config.command or "")
        self.model = ChoiceBox()
        self.model.setObjectName("agent_sheet.model")
        self.model.setAccessibleName(self.tr("Model"))
        self.model.setEditable(True)
        fill_models(self.model, models, config.model or "")
        field = self.model.lineEdit()
        assert field is not None
        field.setAccessibleName(self.tr("Model"))
        field.setPlaceholderText(self.tr("As the project has it"))
        self.turns = NumberBox()
        self.turns.setObjectName("agent_sheet.turns")
        self.turns.setAccessibleName(self.tr("Turn limit"))
        self.turns.setRange(0, 1_000)
        self.turns.setSpecialValueText(self.tr("As the project has it"))
        self.turns.setValue(config.max_turns or 0)
        self.prompt = self._area("agent_sheet.prompt", self.tr("Instructions"), config.system_prompt or "", 72)
        self.prompt.setPlaceholderText(self.tr("What this agent should always keep to"))
        self.policy = policy_box(inherit=self.tr("As the project has it"))
        self.policy.setObjectName("agent_sheet.policy")
        self.policy.setAccessibleName(self.tr("Policy"))
        self.policy.setCurrentIndex(max(self.policy.findData(config.policy), 0))
        self.rules = self._area("agent_sheet.rules", self.tr("Rules"), "\n".join(config.rules), 56)
        self.rules.setPlaceholderText(self.tr("in addition to the project's, one a line"))
        self.budget = BudgetFields("agent", self.tr("A run"))
        self.budget.show_budget(config.budget)
        self.plan = QCheckBox(self.tr("Begins with a plan that you approve"))
        self.plan.setObjectName("agent_sheet.plan")
        self.plan.setChecked(config.plan)
        self.tools = {tool: QCheckBox(tool) for tool in DEFAULT_TOOLS}
        self.default = QCheckBox(self.tr("Default agent of this project"))
        self.default.setObjectName("agent_sheet.default")
        self.default.setChecked(agent.is_default if agent else False)
        self._compose(config)
        self._kind_changed()

    def _compose(self, config: AgentConfig) -> None:
        self.body.addLayout(_pair(stack(Label(self.tr("Name"), "caption"), self.name, spacing=4), self._kind_field()))
        self._command_box = _boxed(Label(self.tr("Command"), "caption"), self.command)
        self._note = Label("", "small", wrap=True)
        self._note.setObjectName("agent_sheet.note")
        self.body.addWidget(self._command_box)
        self.body.addWidget(self._note)
        self._model_box = _boxed(Label(self.tr("Model"), "caption"), self.model)
        self.body.addLayout(
            _pair(
                stack(self._model_box, spacing=0),
                stack(Label(self.tr("Turn limit"), "caption"), self.turns, spacing=4),
            )
        )
        self._prompt_box = _boxed(Label(self.tr("Instructions"), "caption"), self.prompt)
        self.body.addWidget(self._prompt_box)
        money = row(self.budget.usd, Label("$", "muted"), self.budget.tokens, Label(self.tr("tokens"), "muted"))
        self.body.addLayout(
            _pair(
                stack(Label(self.tr("Policy"), "caption"), self.policy, spacing=4),
                stack(Label(self.tr("Budget of a run"), "caption"), money, spacing=4),
            )
        )
        self.body.addLayout(stack(Label(self.tr("Rules"), "caption"), self.rules, spacing=4))
        self._tools_box = self._tool_boxes(config)
        self.body.addWidget(self._tools_box)
        self.body.addLayout(row(self.default, self.plan, None, spacing=20))
        self._fault = Label("", "danger", wrap=True)
        self._fault.setObjectName("agent_sheet.fault")
        self._fault.hide()
        self.body.addWidget(self._fault)
        self.add_button(self.tr("Cancel"), self.dismiss, name="agent_sheet.cancel")
        self._act = self.add_button(self.tr("Save"), self.accept, kind="primary", name="agent_sheet.act")
        for field in (self.name, self.command):
            field.textChanged.connect(lambda _: self._look())
        self._look()

    def _kind_field(self) -> QWidget:
        return _boxed(Label(self.tr("Kind"), "caption"), self.kind)

    def _tool_boxes(self, config: AgentConfig) -> QWidget:
        allowed = config.allowed_tools if config.allowed_tools is not None else DEFAULT_TOOLS
        lines = []
        boxes = list(self.tools.items())
        for tool, box in boxes:
            box.setObjectName(f"agent_sheet.tool.{tool}")
            box.setChecked(tool in allowed)
        for at in range(0, len(boxes), TOOLS_IN_A_ROW):
            lines.append(row(*(box for _, box in boxes[at : at + TOOLS_IN_A_ROW]), None, spacing=12))
        holder = QWidget()
        holder.setLayout(stack(Label(self.tr("Tools"), "caption"), *lines, spacing=6))
        return holder

    def _kinds(self, detected: tuple[DetectedBackend, ...], agent: Agent | None) -> ChoiceBox:
        box = ChoiceBox()
        box.setObjectName("agent_sheet.kind")
        box.setAccessibleName(self.tr("Kind"))
        for one in detected:
            if one.backend is not BackendName.RECORDED:
                missing = "" if one.usable else self.tr("  (not found)")
                box.addItem(kind_title(one, detected) + missing, (one.backend.value, one.preset or ""))
        box.addItem(self.tr("Another program that speaks ACP"), (BackendName.ACP.value, ""))
        if agent is not None:
            wanted = (agent.backend.value, agent.config.preset or "")
            at = next((at for at in range(box.count()) if tuple(box.itemData(at)) == wanted), -1)
            if at < 0:
                box.addItem(agent.backend.value, wanted)
                at = box.count() - 1
            box.setCurrentIndex(at)
            box.setEnabled(False)
        box.currentIndexChanged.connect(lambda _: self._kind_changed())
        return box

    def _chosen(self) -> Kind:
        backend, preset = self.kind.currentData()
        return BackendName(backend), preset or None

    def _kind_changed(self) -> None:
        backend, preset = self._chosen()
        own = backend is BackendName.ANTHROPIC
        self._command_box.setVisible(backend is BackendName.COMMAND or (backend is BackendName.ACP and preset is None))
        self.command.setPlaceholderText(
            self.tr("ruff format .   (the task's text is on standard input, or where {prompt} stands)")
            if backend is BackendName.COMMAND
            else self.tr("the program and its arguments")
        )
        self._model_box.setVisible(backend is not BackendName.COMMAND)
        self._prompt_box.setVisible(backend is not BackendName.COMMAND)
        self._tools_box.setVisible(own)
        self.plan.setVisible(backend is not BackendName.COMMAND)
        found = self._detected.get((backend, preset))
        self._note.show_text(found.note if found else "")
        self._note.setVisible(bool(found and found.note))
        self._look()

    def _look(self) -> None:
        complete = bool(self.name.text().strip())
        if not self._command_box.isHidden():
            complete = complete and bool(self.command.text().strip())
        self._act.setEnabled(complete)

    def _line(self, name: str, spoken: str, text: str) -> QLineEdit:
        field = QLineEdit(text)
        field.setObjectName(name)
        field.setAccessibleName(spoken)
        return field

    def _area(self, name: str, spoken: str, text: str, height: int) -> TextArea:
        area = TextArea(name, spoken)
        area.setPlainText(text)
        area.setFixedHeight(height)
        return area

    @override
    def accept(self) -> None:
        if not self._act.isEnabled():
            return
        try:
            budget = self.budget.budget()
        except AgentPaneError as error:
            self._fault.show_text(error.message)
            self._fault.show()
            return
        backend, preset = self._chosen()
        wanted = tuple(tool for tool, box in self.tools.items() if box.isChecked())
        config = replace(
            self._config,
            model=chosen_model(self.model) or None,
            allowed_tools=None if wanted == DEFAULT_TOOLS else wanted,
            max_turns=self.turns.value() or None,
            system_prompt=self.prompt.toPlainText().strip() or None,
            command=None if self._command_box.isHidden() else self.command.text().strip(),
            preset=preset,
            plan=self.plan.isChecked() and not self.plan.isHidden(),
            policy=self.policy.currentData(),
            rules=lines_of(self.rules),
            budget=budget,
        )
        self.finish(AgentForm(self.name.text().strip(), backend, config, self.default.isChecked()))


def _pair(left: QWidget | QLayout, right: QWidget | QLayout) -> QHBoxLayout:
    pair = row(left, right, spacing=12)
    pair.setStretch(0, 1)
    pair.setStretch(1, 1)
    return pair


def _boxed(*parts: QWidget) -> QWidget:
    holder = QWidget()
    holder.setLayout(stack(*parts, spacing=4))
    return holder
