"""The banners above the pages: the engine's state, recorded replies, what waits for trust, the first start."""

from __future__ import annotations

from typing import TypeVar

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from agentpane.api import commands
from agentpane.domain.engine import KeySource
from agentpane.ui.desk.desk import Desk
from agentpane.ui.desk.link import LinkState, model_environment
from agentpane.ui.desk.notices import Banner
from agentpane.ui.parts.plain import one_line
from agentpane.ui.welcome import Welcome

B = TypeVar("B", bound=QWidget)


class Strips(QWidget):
    """Each banner is there exactly while what it says holds, or until the person has read it."""

    key_requested = Signal()
    trust_requested = Signal(str, str)  # project, digest of what the banner shows

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._was_lost = False
        self._start_read = False
        self._detected_for: KeySource | None = None  # what agents there are depends on the key
        self._trust_shown = ""
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(8)
        self.engine = self._add(Banner("banner.engine", "fault"))
        self._again = self.engine.add_button(self.tr("Try now"), desk.link.try_again, "banner.engine.again")
        add_project = desk.actions["project.add"].trigger
        self.start = self._add(Welcome(self.key_requested.emit, add_project, self._close_start))
        self.recorded = self._add(Banner("banner.recorded", "ask"))
        self.recorded.say(
            self.tr(
                "Sample project: the agent's replies are recorded and no model is called."
                " The worktree, the tools, the diff and the merge are real."
            )
        )
        self.trust = self._add(Banner("banner.trust", "ask"))
        self.trust.add_button(self.tr("Trust this content"), self._trust, "banner.trust.act")
        for changed in (
            desk.known.loaded,
            desk.known.current_changed,
            desk.known.projects_changed,
            desk.known.key_changed,
        ):
            changed.connect(self.refresh)
        desk.link.changed.connect(self._link_changed)
        self.refresh()

    def refresh(self) -> None:
        known = self._desk.known
        project = known.current
        only_sample = known.ready and all(project.recorded for project in known.projects.values())
        self.start.setVisible(only_sample and not self._start_read)
        self.start.key.setVisible(known.key.source is KeySource.NONE)
        if known.key.source is KeySource.NONE:
            words = self.tr(
                "Drag a card to In Progress to watch an agent work."
                " For your own code, drop a folder here; then add a key, or an agent that this machine has."
            )
        else:
            words = self.tr(
                "Drag a card to In Progress to watch an agent work. For your own code, drop a repository's folder here."
            )
        self.start.say(words)
        if not self.start.isHidden() and self._detected_for is not known.key.source:
            self._detected_for = known.key.source
            self._desk.jobs.start(self._detect(), self.tr("Looking for agents on this machine"), self._not_detected)
        self.recorded.setVisible(project is not None and project.recorded)
        self.trust.setVisible(project is not None and bool(project.trust_pending))
        if project is not None and project.trust_pending:
            self._trust_shown = project.trust_digest or ""
            waiting = "; ".join(one_line(line) for line in project.trust_pending)
            self.trust.say(self.tr("This repository's own configuration waits for your trust: {0}").format(waiting))
        self._fit()

    async def _detect(self) -> None:
        self.start.show_agents(None)
        found = await self._desk.link.do(commands.DetectBackends(model_environment()))
        self.start.show_agents(found)

    def _not_detected(self, _: BaseException) -> bool:
        self.start.show_no_answer()
        return True

    def _add(self, banner: B) -> B:
        banner.hide()
        self._layout.addWidget(banner)
        return banner

    def _link_changed(self, state: LinkState) -> None:
        if not self._desk.known.ready:
            return
        if state is LinkState.READY:
            self.engine.hide()
            if self._was_lost:
                self._was_lost = False
                self._desk.toasts.say(self.tr("The engine is back. Runs that were cut off show as interrupted."))
        else:
            self._was_lost = True
            error = self._desk.link.error
            words = self.tr("The engine has ended. It is being started again; nothing that was stored is lost.")
            if state is LinkState.STOPPED:
                words = self.tr("The engine was stopped.")
            self._again.setText(self.tr("Start") if state is LinkState.STOPPED else self.tr("Try now"))
            self._again.describe(self._again.text())
            if state is LinkState.REFUSED and error is not None:
                words = f"{error.message} {error.hint}"
            self.engine.say(words)
            self.engine.show()
        self._fit()

    def _fit(self) -> None:
        shown = any(not banner.isHidden() for banner in (self.engine, self.start, self.recorded, self.trust))
        self._layout.setContentsMargins(0, 0, 0, 8 if shown else 0)

    def _close_start(self) -> None:
        self._start_read = True
        self.refresh()

    def _trust(self) -> None:
        project = self._desk.known.current
        if project is not None:
            self.trust_requested.emit(project.id, self._trust_shown)
