"""Adding or changing a tool server: a program or an address, what it is given, and which of that is secret."""

from __future__ import annotations

from dataclasses import dataclass, field

from PySide6.QtWidgets import QCheckBox, QLineEdit, QSizePolicy, QVBoxLayout, QWidget

from agentpane.domain.engine import McpServer
from agentpane.domain.limits import invalid
from agentpane.domain.mcp import check_server
from agentpane.errors import AgentPaneError
from agentpane.ui.parts.controls import Button, IconButton, Label, row, stack
from agentpane.ui.parts.one_of import OneOf
from agentpane.ui.parts.overriding import override
from agentpane.ui.parts.sheet import Sheet
from agentpane.ui.settings.permission_settings import lines_of
from agentpane.ui.settings.settings_parts import choice_row
from agentpane.ui.sheets.task_sheet import TextArea

PROGRAM, ADDRESS = "program", "address"
AREA_HEIGHT = 64


@dataclass(frozen=True, slots=True)
class ServerForm:
    """secrets: those whose value was typed; the others keep the value that is stored."""

    server: McpServer
    secrets: dict[str, str] = field(repr=False, default_factory=dict)


class SecretLine(QWidget):
    """The name of one secret and its value, which is never shown."""

    def __init__(self, number: int, name: str, *, stored: bool, field_name: str) -> None:
        super().__init__()
        self.stored = stored
        self.name = QLineEdit(name)
        self.name.setObjectName(f"{field_name}.name.{number}")
        self.name.setAccessibleName(self.tr("Name of a secret"))
        self.name.setPlaceholderText(self.tr("NAME"))
        self.value = QLineEdit()
        self.value.setObjectName(f"{field_name}.value.{number}")
        self.value.setEchoMode(QLineEdit.EchoMode.Password)
        self.value.setAccessibleName(self.tr("Value of a secret"))
        self.value.setPlaceholderText(self.tr("stored; type to replace it") if stored else self.tr("value"))
        self.remove = IconButton("x", self.tr("Leave this secret out"), name=f"{field_name}.remove.{number}")
        line = row(self.name, self.value, self.remove)
        line.setStretch(0, 2)
        line.setStretch(1, 3)
        self.setLayout(line)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)


class ServerSheet(Sheet):
    """Finishes with a ServerForm. The name of a server that exists stays: its secrets are kept by it."""

    def __init__(self, host: QWidget, server: McpServer | None, taken: frozenset[str]) -> None:
        title = self.tr("Edit tool server") if server else self.tr("Add tool server")
        super().__init__(host, title, "server_sheet", width=600)
        self._taken = taken
        given = server or McpServer("")
        self.name = self._line("server_sheet.name", self.tr("Name"), given.name, self.tr("notes"))
        self.name.setEnabled(server is None)
        choices = ((PROGRAM, self.tr("A program")), (ADDRESS, self.tr("An address")))
        self.kind = OneOf(self, "server_sheet.kind", choices, "segment")
        self.kind.show_choice(ADDRESS if given.url is not None else PROGRAM)
        self.kind.chosen.connect(lambda _: self._show_kind())
        self.command = self._line(
            "server_sheet.command", self.tr("Command"), given.command or "", "npx -y notes-server"
        )
        self.url = self._line("server_sheet.url", self.tr("Address"), given.url or "", "https://tracker.example/mcp")
        self.variables = TextArea("server_sheet.variables", self.tr("Variables"), "NOTES=~/notes")
        self.variables.setPlainText("\n".join(f"{name}={value}" for name, value in given.environment))
        self.variables.setFixedHeight(AREA_HEIGHT)
        self.enabled = QCheckBox(self.tr("Agents may use it"))
        self.enabled.setObjectName("server_sheet.enabled")
        self.enabled.setChecked(given.enabled)
        self._secrets: list[SecretLine] = []
        self._numbers = 0
        self._compose()
        for name in given.secret_environment:
            self._add_secret(name, stored=True)
        self._show_kind()

    def _compose(self) -> None:
        self.body.addLayout(
            row(
                stack(Label(self.tr("Name"), "caption"), self.name, spacing=4),
                stack(Label(self.tr("It is"), "caption"), choice_row(self.kind), spacing=4),
                spacing=16,
            )
        )
        self._where = Label("", "caption")
        self.body.addLayout(stack(self._where, self.command, self.url, spacing=4))
        self._about = Label("", "small", wrap=True)
        self.body.addWidget(self._about)
        self._given = Label("", "caption")
        self.body.addLayout(stack(self._given, self.variables, spacing=4))
        self._lines = QVBoxLayout()
        self._lines.setSpacing(6)
        add = Button(
            self.tr("Add a secret"), kind="quiet", icon_name="key", name="server_sheet.secret", pressed=self._new_secret
        )
        self.body.addLayout(stack(Label(self.tr("Secrets, kept as your key is"), "caption"), self._lines, spacing=4))
        self.body.addLayout(row(add, None))
        self.body.addWidget(self.enabled)
        self._fault = Label("", "danger", wrap=True)
        self._fault.setObjectName("server_sheet.fault")
        self._fault.hide()
        self.body.addWidget(self._fault)
        self.add_button(self.tr("Cancel"), self.dismiss, name="server_sheet.cancel")
        self._act = self.add_button(self.tr("Save and check"), self.accept, kind="primary", name="server_sheet.act")
        for one in (self.name, self.command, self.url):
            one.textChanged.connect(lambda _: self._look())

    def _show_kind(self) -> None:
        program = self.kind.current == PROGRAM
        self.command.setVisible(program)
        self.url.setVisible(not program)
        self._where.show_text(self.tr("Command") if program else self.tr("Address"))
        self._about.show_text(
            self.tr("It is started for each run and speaks on its standard input and output. It runs as you, outside")
            + " "
            + self.tr("the sandbox; what agents may call of it is the policy's to decide.")
            if program
            else self.tr("It speaks MCP over HTTP. What agents may call of it is the policy's to decide.")
        )
        self._given.show_text(
            self.tr("Variables that it is given, NAME=value, one a line")
            if program
            else self.tr("Headers that are sent, NAME=value, one a line")
        )
        self.variables.setAccessibleName(self.tr("Variables") if program else self.tr("Headers"))
        self.variables.setPlaceholderText("NOTES=~/notes" if program else "X-Team=blue")
        self._look()

    def _new_secret(self) -> None:
        self._add_secret("", stored=False).name.setFocus()

    def _add_secret(self, name: str, *, stored: bool) -> SecretLine:
        line = SecretLine(self._numbers, name, stored=stored, field_name="server_sheet.secret")
        self._numbers += 1
        line.remove.clicked.connect(lambda: self._drop_secret(line))
        self._secrets.append(line)
        self._lines.addWidget(line)
        line.show()
        return line

    def _drop_secret(self, line: SecretLine) -> None:
        self._secrets.remove(line)
        line.hide()
        line.deleteLater()
        self.name.setFocus() if self.name.isEnabled() else self.variables.setFocus()

    def _look(self) -> None:
        where = self.command if self.kind.current == PROGRAM else self.url
        self._act.setEnabled(bool(self.name.text().strip() and where.text().strip()))

    @override
    def accept(self) -> None:
        if not self._act.isEnabled():
            return
        try:
            self.finish(self._form())
        except AgentPaneError as error:
            self._fault.show_text(error.message)
            self._fault.show()

    def _form(self) -> ServerForm:
        """Raises AgentPaneError with VALIDATION_ERROR."""
        name = self.name.text().strip()
        if name.lower() in self._taken:
            raise invalid("name", self.tr("There is a tool server of this name already."))
        program = self.kind.current == PROGRAM
        secrets = {line.name.text().strip(): line for line in self._secrets if line.name.text().strip()}
        for secret, line in secrets.items():
            if not line.stored and not line.value.text():
                raise invalid("secrets", self.tr("The secret {0} has no value.").format(secret))
        server = McpServer(
            name,
            command=self.command.text().strip() if program else None,
            url=None if program else self.url.text().strip(),
            environment=tuple(_pair(line) for line in lines_of(self.variables)),
            secret_environment=tuple(secrets),
            enabled=self.enabled.isChecked(),
        )
        typed = {secret: line.value.text() for secret, line in secrets.items() if line.value.text()}
        return ServerForm(check_server(server), typed)

    def _line(self, name: str, spoken: str, text: str, placeholder: str) -> QLineEdit:
        line = QLineEdit(text)
        line.setCursorPosition(0)  # a long command shows how it begins
        line.setObjectName(name)
        line.setAccessibleName(spoken)
        line.setPlaceholderText(placeholder)
        return line


def _pair(text: str) -> tuple[str, str]:
    """Raises AgentPaneError with VALIDATION_ERROR for a line that is no NAME=value."""
    name, equals, value = text.partition("=")
    if not equals:
        raise invalid("environment", f"“{name}” has no value; write it as NAME=value.")
    return name.strip(), value.strip()
