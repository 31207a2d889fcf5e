"""The first start: what to try, which agents this machine has, and the way to one's own code."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt

from agentpane.domain.agents import BackendName, DetectedBackend
from agentpane.ui.parts.controls import Button, Frame, IconButton, IconLabel, Label, row, stack
from agentpane.ui.parts.plain import one_line

UNNAMED = frozenset({BackendName.COMMAND, BackendName.RECORDED})  # they are there on every machine


class Welcome(Frame):
    """Stays until the person has read it, or has a project beside the sample."""

    def __init__(
        self, add_key: Callable[[], object], add_project: Callable[[], object], close: Callable[[], object]
    ) -> None:
        super().__init__("note", across=True, margin=12, spacing=12)
        self.setObjectName("banner.start")
        self._words = Label("", wrap=True)
        self._words.setObjectName("banner.start.text")
        self._icon, self._found = IconLabel("clock", "muted", 14), Label("", "small", wrap=True)
        self._found.setObjectName("banner.start.agents")
        agents = row(self._icon, self._found, spacing=8)
        agents.setStretchFactor(self._found, 1)
        agents.setAlignment(self._icon, Qt.AlignmentFlag.AlignTop)
        title = Label(self.tr("Welcome"), "strong")
        self.box.addLayout(stack(title, self._words, 2, agents, spacing=4), 1)
        self.key = Button(self.tr("Add a key"), name="banner.start.key", pressed=add_key)
        project = Button(self.tr("Add project"), name="banner.start.project", pressed=add_project)
        shut = IconButton("x", self.tr("Close"), name="banner.start.close", pressed=close)
        for part in (IconLabel("logo", "accent", 20), self.key, project, shut):
            at = 0 if isinstance(part, IconLabel) else self.box.count()
            self.box.insertWidget(at, part, 0, Qt.AlignmentFlag.AlignTop)
        self.show_agents(None)

    def say(self, words: str) -> None:
        self._words.show_text(words)
        self._describe()

    def show_agents(self, detected: tuple[DetectedBackend, ...] | None) -> None:
        """Say what was found. None: it is being looked for."""
        if detected is None:
            self._icon.show_icon("clock", "muted")
            self._found.show_text(self.tr("Looking for agents on this machine…"))
        else:
            icon, token, words = self._told(detected)
            self._icon.show_icon(icon, token)
            self._found.show_text(words)
        self._describe()

    def show_no_answer(self) -> None:
        """What this machine has could not be found out; the settings look again."""
        self._icon.show_icon("info", "muted")
        self._found.show_text(self.tr("Which agents this machine has is shown in the settings."))

    def _told(self, detected: tuple[DetectedBackend, ...]) -> tuple[str, str, str]:
        usable = dict.fromkeys(self._name(one) for one in detected if one.usable and one.backend not in UNNAMED)
        there = {one.title for one in detected if one.usable}
        missing = dict.fromkeys(  # one program may be spoken to in two ways
            one_line(one.title)
            for one in detected
            if one.title not in there and one.backend not in UNNAMED | {BackendName.ANTHROPIC}
        )
        absent = self.tr("Not found: {0}.").format(", ".join(missing)) if missing else ""
        if usable:
            words = self.tr("On this machine: {0}.").format(", ".join(usable))
            return "check-circle", "success", f"{words} {absent}".strip()
        words = self.tr("No agent was found on this machine. With a key, the built-in one works at once.")
        return "info", "muted", f"{words} {absent}".strip()

    def _name(self, one: DetectedBackend) -> str:
        title = " ".join(part for part in (one_line(one.title), one_line(one.version or "")) if part)
        if one.backend is BackendName.ANTHROPIC:
            return self.tr("{0} with your key").format(one_line(one.title))
        return self.tr("{0} (signed in)").format(title) if one.signed_in else title

    def _describe(self) -> None:
        self.setAccessibleName(f"{self._words.text()} {self._found.text()}")
