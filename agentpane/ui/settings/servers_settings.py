"""The tool servers: the person's own, tried out here, and those of the shown project's repository with their trust."""

from __future__ import annotations

import asyncio
from functools import partial

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QVBoxLayout

from agentpane.api import commands
from agentpane.domain.engine import McpServer
from agentpane.domain.mcp import PREFIX, McpCheck, RepositoryServers
from agentpane.errors import AgentPaneError
from agentpane.ui.desk.desk import Desk
from agentpane.ui.parts import figures
from agentpane.ui.parts.controls import Button, Chip, ElidedLabel, Frame, IconButton, IconLabel, Label, clear, row
from agentpane.ui.parts.plain import one_line
from agentpane.ui.parts.sheet import open_sheet
from agentpane.ui.settings.server_sheet import ServerForm, ServerSheet
from agentpane.ui.settings.settings_parts import Section
from agentpane.ui.sheets.ask_sheets import ConfirmSheet


class ServerLine(Frame):
    """One server of the person's: what it is, and what came of trying it out."""

    def __init__(self, server: McpServer) -> None:
        super().__init__("inset", margin=10, spacing=8)
        self.server = server
        self.setObjectName(f"settings.server.{server.name}")
        self.check = Button("", kind="quiet", name=f"settings.server.check.{server.name}")
        self.edit = IconButton(
            "edit", self.tr("Edit {0}").format(server.name), name=f"settings.server.edit.{server.name}"
        )
        self.remove = IconButton(
            "trash", self.tr("Remove {0}").format(server.name), name=f"settings.server.remove.{server.name}"
        )
        where = ElidedLabel(server.command or server.url or "", "fixed")
        line = row(IconLabel("plug"), Label(server.name, "strong"), where, spacing=8)
        line.setStretchFactor(where, 1)
        if not server.enabled:
            line.addWidget(Chip(self.tr("Off")))
        for button in (self.check, self.edit, self.remove):
            line.addWidget(button)
        self.box.addLayout(line)
        self._icon, self._words = IconLabel("clock"), Label("", "small", wrap=True)
        self._words.setObjectName(f"settings.server.result.{server.name}")
        self._result = row(self._icon, self._words, spacing=8)
        self._result.setStretchFactor(self._words, 1)
        self._result.setAlignment(self._icon, Qt.AlignmentFlag.AlignTop)
        self.box.addLayout(self._result)
        self.show_rest()

    def show_rest(self) -> None:
        """Nobody has tried it out yet, or the try was given up."""
        self._say("", "", "")
        self._button(self.tr("Check"), self.tr("Check {0}").format(self.server.name))

    def show_trying(self) -> None:
        self._say("clock", "accent", self.tr("Starting it and asking for its tools…"))
        self._button(self.tr("Cancel"), self.tr("Cancel the check of {0}").format(self.server.name))

    def show_check(self, found: McpCheck) -> None:
        self.show_rest()
        if found.problem:
            self._say("alert", "danger", self.tr("It cannot be used: {0}").format(one_line(found.problem)))
            return
        names = ", ".join(tool.name.removeprefix(f"{PREFIX}{found.name}__") for tool in found.tools)
        words = figures.plural(len(found.tools), self.tr("{0} tool: "), self.tr("{0} tools: ")) + names
        if not found.tools:
            words = self.tr("It answers, and offers no tool.")
        lines = [words, *(self.tr("Left out: {0}").format(one_line(why)) for why in found.refused)]
        self._say("check-circle", "success", "\n".join(lines))

    def show_fault(self, error: AgentPaneError) -> None:
        self.show_rest()
        self._say("alert", "danger", f"{error.message} {error.hint}".strip())

    def _say(self, icon: str, token: str, words: str) -> None:
        self._words.show_text(words)
        for part in (self._icon, self._words):
            part.setVisible(bool(words))
        if words:
            self._icon.show_icon(icon, token)

    def _button(self, text: str, spoken: str) -> None:
        self.check.setText(text)
        self.check.describe(spoken)


class ServersSection(Section):
    """Lists, adds, edits, removes and tries out the person's servers; shows the repository's."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(
            self.tr("Tool servers"),
            self.tr("Programs and addresses whose tools your agents may call, under the same policy as their own."),
        )
        self._desk = desk
        self._shown: tuple[McpServer, ...] | None = None
        self._lines: list[ServerLine] = []
        self._tries: dict[str, asyncio.Task[object]] = {}
        self._none = Label(
            self.tr("None yet. A server for your notes, your tracker or your database gives agents its tools."),
            "muted",
            wrap=True,
        )
        self._none.setObjectName("settings.servers.none")
        self.box.addWidget(self._none)
        self._list = QVBoxLayout()
        self._list.setSpacing(8)
        self.box.addLayout(self._list)
        self.add = Button(self.tr("Add tool server"), icon_name="plus", name="settings.server.add", pressed=self._add)
        self.box.addLayout(row(None, self.add))
        self.repository = RepositoryPart(desk)
        self.box.addWidget(self.repository)

    def refresh(self) -> None:
        """Show the person's servers, unless they are shown already."""
        servers = self._desk.known.settings.mcp_servers
        if servers == self._shown:
            return
        kept = {line.server: line for line in self._lines}
        self._shown = servers
        for line in self._lines:
            if line.server not in servers:
                self._list.removeWidget(line)
                line.hide()
                line.deleteLater()
        self._lines = [kept.get(server) or self._line(server) for server in servers]
        for at, line in enumerate(self._lines):
            self._list.insertWidget(at, line)
        self._none.setVisible(not servers)

    def _line(self, server: McpServer) -> ServerLine:
        line = ServerLine(server)
        line.check.clicked.connect(partial(self._try_or_cancel, line))
        line.edit.clicked.connect(partial(self._open, server))
        line.remove.clicked.connect(partial(self._remove, server))
        return line

    # Trying out

    def _try_or_cancel(self, line: ServerLine, _: bool = False) -> None:
        under_way = self._tries.get(line.server.name)
        if under_way is not None and not under_way.done():
            under_way.cancel()
            line.show_rest()
        else:
            line.show_trying()
            self._tries[line.server.name] = self._desk.jobs.start(
                self._try(line), self.tr("Checking the tool server"), partial(self._try_failed, line)
            )

    async def _try(self, line: ServerLine) -> None:
        found = await self._desk.link.do(commands.CheckMcpServer(line.server.name))
        if line in self._lines:
            line.show_check(found)

    def _try_failed(self, line: ServerLine, error: BaseException) -> bool:
        if isinstance(error, AgentPaneError) and line in self._lines:
            line.show_fault(error)
            return True
        return False

    # Changing

    def _add(self) -> None:
        self._open(None)

    def _open(self, server: McpServer | None, _: bool = False) -> None:
        if open_sheet(self._desk.window) is None:
            self._desk.jobs.start(self._ask(server), self.tr("Saving the tool server"), self._refused)

    async def _ask(self, server: McpServer | None) -> None:
        names = frozenset(one.name.lower() for one in self._desk.known.settings.mcp_servers)
        sheet = ServerSheet(self._desk.window, server, frozenset() if server else names)
        sheet.open()
        form = await sheet.answer()
        if not isinstance(form, ServerForm):
            return
        self._fault.hide()
        stored = await self._desk.link.do(commands.AddMcpServer(form.server, form.secrets))
        self._desk.known.take_settings(stored)
        self._desk.toasts.say(self.tr("Tool server saved"))
        for line in self._lines:
            if line.server == form.server and form.server.enabled:
                self._try_or_cancel(line)

    def _remove(self, server: McpServer, _: bool = False) -> None:
        if open_sheet(self._desk.window) is None:
            self._desk.jobs.start(self._ask_to_remove(server), self.tr("Removing the tool server"), self._refused)

    async def _ask_to_remove(self, server: McpServer) -> None:
        words = self.tr("Runs that have begun keep its tools to their end.")
        if server.secret_environment:
            words += " " + self.tr("Its secrets are forgotten: {0}.").format(", ".join(server.secret_environment))
        sheet = ConfirmSheet(
            self._desk.window, self.tr("Remove the tool server {0}?").format(server.name), words, self.tr("Remove")
        )
        sheet.open()
        if await sheet.answer() is True:
            self._desk.known.take_settings(await self._desk.link.do(commands.RemoveMcpServer(server.name)))
            self._desk.toasts.say(self.tr("Removed {0}").format(server.name))


class RepositoryPart(Frame):
    """What the shown project's repository names in its .mcp.json. Nothing of it is started before it is trusted."""

    def __init__(self, desk: Desk) -> None:
        super().__init__("plain", margin=0, spacing=8)
        self.setObjectName("settings.servers.repository")
        self._desk = desk
        self._read_for: tuple[str, str | None] | None = None
        self._title = Label("", "strong")
        self._about = Label("", "small", wrap=True)
        self.box.addWidget(self._title)
        self.box.addWidget(self._about)
        self._list = QVBoxLayout()
        self._list.setSpacing(8)
        self.box.addLayout(self._list)
        self._pending = Label("", "attention", wrap=True)
        self.trust = Button(
            self.tr("Trust this content"), icon_name="shield", name="settings.servers.trust", pressed=self._trust
        )
        self.box.addWidget(self._pending)
        self._foot = row(None, self.trust)
        self.box.addLayout(self._foot)
        self.hide()

    def refresh(self) -> None:
        """Ask for the servers of the shown project's repository."""
        project = self._desk.known.current
        if project is None:
            self.hide()
            return
        self._read_for = (project.id, project.trust_digest)
        self._desk.jobs.start(self._read(project.id), self.tr("Reading the repository's tool servers"))

    def follow(self) -> None:
        """Ask again when another project is shown, or another content waits for trust."""
        project = self._desk.known.current
        if project is None or self._read_for != (project.id, project.trust_digest):
            self.refresh()

    async def _read(self, project_id: str) -> None:
        found = await self._desk.link.do(commands.ListRepositoryServers(project_id))
        if self._desk.known.current is not None and self._desk.known.current.id == project_id:
            self._show(found)

    def _show(self, found: RepositoryServers) -> None:
        project = self._desk.known.current
        assert project is not None
        self.setVisible(bool(found.servers or found.problem))
        self._title.show_text(self.tr("In the repository of {0}").format(project.name))
        self._about.show_text(
            self.tr("Its .mcp.json cannot be read: {0}").format(found.problem)
            if found.problem
            else self.tr("Named in its .mcp.json on {0}. They are started in the sandbox, for each run.").format(
                project.base_branch
            )
        )
        clear(self._list)
        for server in found.servers:
            self._list.addWidget(self._line(server, trusted=found.trusted))
        waiting = () if found.trusted else project.trust_pending
        self._pending.show_text(
            self.tr("Waits for your trust, all of it together: {0}").format("; ".join(one_line(one) for one in waiting))
        )
        self._pending.setVisible(bool(waiting))
        self.trust.setVisible(bool(waiting))

    def _line(self, server: McpServer, *, trusted: bool) -> Frame:
        box = Frame("inset", across=True, margin=10)
        where = ElidedLabel(server.command or server.url or "", "fixed")
        box.box.addWidget(IconLabel("plug"))
        box.box.addWidget(Label(server.name, "strong"))
        box.box.addWidget(where, 1)
        words = self.tr("Trusted") if trusted else self.tr("Not trusted")
        box.box.addWidget(Chip(words) if trusted else Chip(words, "badge"))
        box.setAccessibleName(f"{one_line(server.name)}, {where.whole}, {words}")
        return box

    def _trust(self) -> None:
        project = self._desk.known.current
        if project is not None:
            command = commands.TrustProject(project.id, project.trust_digest or "")
            self._desk.jobs.start(self._trusted(command), self.tr("Trusting the configuration"))

    async def _trusted(self, command: commands.TrustProject) -> None:
        self._desk.known.apply_project(await self._desk.link.do(command))
        self._desk.toasts.say(self.tr("Trusted, until that content changes."))
        self.refresh()
