"""Worktrees: what the doctor found, every worktree with its size, and the recovery bin.

Nothing on this page goes without the person's word, and what goes can be had back from the bin.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from agentpane.api import commands, events
from agentpane.domain.health import Finding, RepairOutcome, WorktreeEntry
from agentpane.domain.pool import PoolStatus
from agentpane.domain.recoveries import RecoverySnapshot
from agentpane.errors import AgentPaneError
from agentpane.ui.desk.desk import Desk
from agentpane.ui.parts import figures
from agentpane.ui.parts.controls import Button, Frame, Label, Later, clear, focus_again, focused_within, row
from agentpane.ui.parts.fields import ChoiceBox
from agentpane.ui.parts.plain import display_path, one_line
from agentpane.ui.parts.scroll_page import ScrollPage
from agentpane.ui.parts.sheet import open_sheet
from agentpane.ui.sheets.ask_sheets import ConfirmSheet
from agentpane.ui.worktrees import worktree_words as words
from agentpane.ui.worktrees.steady import steady
from agentpane.ui.worktrees.worktree_rows import FindingRow, RecoveryRow, Row, WorktreeRow

T = TypeVar("T")
FIRST = 40  # lines of a list that are shown before the rest is asked for
WIDEST = 960
REFRESH_MS = 1_000
LOOK_AFTER_S = 5.0  # the doctor is not asked more often by somebody who goes in and out


class Part(Frame):
    """A card with a title, a word about it, and lines."""

    def __init__(self, name: str, title: str, empty: str) -> None:
        super().__init__("card", margin=20, spacing=12)
        self.setObjectName(f"worktrees.{name}")
        self._name, self._empty = name, empty
        self.setAccessibleName(title)
        self.about = Label("", "muted", wrap=True)
        self.about.setObjectName(f"worktrees.{name}.about")
        self.act = Button("", name=f"worktrees.{name}.act")
        self.act.hide()
        self._heading = Label(title, "heading")
        self._heading.setObjectName(f"worktrees.{name}.heading")
        self._heading.setFocusPolicy(Qt.FocusPolicy.ClickFocus)  # no stop of its own; see _keep_keys
        self.box.addLayout(row(self._heading, None, self.act))
        self.box.addWidget(self.about)
        self._lines = QVBoxLayout()
        self._lines.setSpacing(8)
        self.box.addLayout(self._lines)
        self._shown: tuple[object, ...] | None = None
        self._all = False

    def show_lines(
        self,
        items: Sequence[T],
        line: Callable[[T], QWidget],
        about: str = "",
        among: str | None = None,
        acts: bool = False,
    ) -> None:
        """Show one line for each; those that are there already stay as they are. among: the project they are of.

        acts: whether the part has its button.
        """
        self.about.show_text(about or ("" if items else self._empty))
        self.about.setVisible(bool(self.about.text()))
        shown = (*items, among)
        if shown == self._shown:
            return
        self._shown = shown
        focused = focused_within(self)
        if focused:
            self._heading.setFocus(Qt.FocusReason.OtherFocusReason)  # Qt scrolls to whatever it gives the keys to
        self.act.setVisible(acts)
        clear(self._lines)
        some = items if self._all or len(items) <= FIRST + 1 else items[:FIRST]
        for item in some:
            self._add(line(item))
        if len(some) < len(items):
            more = self.tr("Show all {0}").format(figures.count(len(items)))
            show = partial(self._show_all, items, line, among, acts)
            self._add(Button(more, kind="quiet", name=f"worktrees.{self._name}.all", pressed=show))
        self._keep_keys(focused)

    def _keep_keys(self, focused: str) -> None:
        """The keys go back to the control that had them. Where it is gone, to the heading: another line's button would
        be pressed by a second Return."""
        if any(one.objectName() == focused and one.isVisible() for one in self.findChildren(Button)):
            focus_again(self, focused)
        elif focused:
            self._heading.setFocus(Qt.FocusReason.OtherFocusReason)

    def _add(self, line: QWidget) -> None:
        self._lines.addWidget(line)
        line.show()  # at once: what is shown later cannot take the keys before

    def _show_all(self, items: Sequence[T], line: Callable[[T], QWidget], among: str | None, acts: bool) -> None:
        self._all, self._shown = True, None
        self.show_lines(items, line, self.about.text(), among, acts)


class WorktreesPage(QWidget):
    """A full page. It reads anew when it is shown, and while cards change under it. Who enters it asks the doctor."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.setObjectName("page")
        self._desk = desk
        self._job: asyncio.Task[object] | None = None
        self._projects: tuple[str, ...] = ()
        self.total = Label("", "muted")
        self.total.setObjectName("worktrees.total")
        self.project = ChoiceBox()
        self.project.setObjectName("worktrees.project")
        self.project.setAccessibleName(self.tr("Project"))
        self.project.setMinimumWidth(180)
        self.look = Button(self.tr("Look again"), icon_name="retry", name="worktrees.look", pressed=self._look)
        self.findings = Part("findings", self.tr("Doctor"), self.tr("Nothing is wrong."))
        self.findings.act.setText(self.tr("Mend all"))
        keeps_room = self.findings.act.sizePolicy()
        keeps_room.setRetainSizeWhenHidden(True)  # the lines below it stay where they are
        self.findings.act.setSizePolicy(keeps_room)
        self.findings.act.clicked.connect(self._mend_all)
        self.worktrees = Part(
            "list", self.tr("Worktrees"), self.tr("There is none. A card gets its own when it is started.")
        )
        self.kept = Part(
            "kept",
            self.tr("Recovery bin"),
            self.tr("It is empty. What a worktree holds is kept here for 30 days before it is discarded."),
        )
        self._looking = False
        self._restoring: set[str] = set()
        self._listed: tuple[Finding, ...] = ()
        self._mended: dict[str, str] = {}  # what became of findings; their lines stay until somebody looks again
        self._looked_at = -LOOK_AFTER_S  # on the clock that only goes forward
        self._fill_projects()
        self._compose()
        self.project.currentIndexChanged.connect(lambda _: self.refresh())
        self._later = Later(self, REFRESH_MS, lambda: self.refresh() if self.isVisible() else None)
        desk.link.published.connect(self._event)
        desk.known.projects_changed.connect(self._fill_projects)
        desk.known.health_changed.connect(self._show_health)

    def _compose(self) -> None:
        body = self._body = ScrollPage("worktrees.scroll")
        body.box.setContentsMargins(24, 8, 24, 32)
        column = QVBoxLayout()
        column.setSpacing(20)
        for part in (self.findings, self.worktrees, self.kept):
            part.setMaximumWidth(WIDEST)
            column.addWidget(part)
        column.addStretch(1)
        centre = QHBoxLayout()
        centre.addStretch(1)
        centre.addLayout(column, 20)
        centre.addStretch(1)
        body.box.addLayout(centre)
        head = row(
            Label(self.tr("Worktrees"), "title"), self.total, None, self.project, self.look,
            spacing=12, margins=(24, 16, 24, 8),
        )  # fmt: skip
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(head)
        layout.addWidget(body, 1)

    def enter(self) -> None:
        """Read what there is and have the doctor look; what he found last stays until he has."""
        self._mended, self._listed = {}, ()
        if time.monotonic() - self._looked_at >= LOOK_AFTER_S:
            self._desk.jobs.start(self._look_again(), self.tr("Looking for what is wrong"), _expected)
        self.refresh()

    def refresh(self) -> None:
        """Read what there is; the doctor's last findings are shown as they are known."""
        if self._job is not None:
            self._job.cancel()
        self._job = self._desk.jobs.start(self._read(), self.tr("Reading the worktrees"))
        self._show_health()

    def focus_first(self) -> None:
        self._body.verticalScrollBar().setValue(0)
        self.look.setFocus(Qt.FocusReason.OtherFocusReason)

    def _hold_keys(self) -> None:
        """The keys stay on the page when the button that had them is gone."""
        if self.isVisible() and open_sheet(self._desk.window) is None and not focused_within(self):
            self.look.setFocus(Qt.FocusReason.OtherFocusReason)

    # Reading

    async def _read(self) -> None:
        project = self.project.currentData() or None
        do = self._desk.link.do
        entries = await do(commands.ListWorktrees(project))
        kept = await do(commands.ListRecoveries(project, shown=True))
        pool: PoolStatus | None = None
        if project:
            pool = await do(commands.GetPool(project))
        with steady(self._body, Row):
            self.worktrees.show_lines(entries, self._entry_line, words.pool_words(pool) if pool else "", project)
            self.kept.show_lines(kept, self._kept_line, among=project)
        self.total.show_text(words.whole_size(entries, kept))
        self._hold_keys()

    def _show_health(self) -> None:
        report = self._desk.known.health
        found = report.findings if report is not None else ()
        there = {one.id for one in found}
        mended = tuple(one for one in self._listed if one.id in self._mended and one.id not in there)
        places = {one.id: at for at, one in enumerate(self._listed)}
        self._listed = tuple(sorted((*found, *mended), key=lambda one: (places.get(one.id, len(places)), one.notice)))
        told, several = words.doctor_words(report, looking=self._looking), len(_mendable(found)) > 1
        lines = tuple((one, "" if one.id in there else self._mended[one.id]) for one in self._listed)
        with steady(self._body, Row):
            self.findings.setVisible(report is not None or self._looking)
            self.findings.show_lines(lines, self._finding_line, told, acts=several)

    def _event(self, event: object) -> None:
        changes = events.TaskChanged | events.TaskRemoved | events.RecoveriesChanged
        if isinstance(event, changes) and self.isVisible():
            self._later.ask_if_idle()

    def _fill_projects(self) -> None:
        known = self._desk.known.projects.values()
        wanted = [(self.tr("All projects"), ""), *((one_line(one.name), one.id) for one in known)]
        ids = tuple(f"{key} {name}" for name, key in wanted)
        if ids == self._projects:
            return
        self._projects, chosen = ids, self.project.currentData()
        self.project.blockSignals(True)
        self.project.clear()
        for name, project in wanted:
            self.project.addItem(name, project)
        self.project.setCurrentIndex(max(self.project.findData(chosen), 0))
        self.project.blockSignals(False)

    # Lines

    def _finding_line(self, line: tuple[Finding, str]) -> QWidget:
        finding, done = line
        return FindingRow(finding, partial(self._mend, (finding,)), done)

    def _entry_line(self, entry: WorktreeEntry) -> QWidget:
        several = "" if self.project.currentData() else one_line(entry.project)
        remove = partial(self._start, self._remove, entry, self.tr("Removing"))
        return WorktreeRow(entry, several, remove, partial(self._start, self._open, entry, self.tr("Opening")))

    def _kept_line(self, kept: RecoverySnapshot) -> QWidget:
        several = "" if self.project.currentData() else one_line(kept.project)
        restore = partial(self._start, self._restore, kept, self.tr("Restoring"))
        delete = partial(self._start, self._delete, kept, self.tr("Deleting"))
        return RecoveryRow(kept, several, restore, delete)

    # Acts

    def _look(self) -> None:
        self._mended, self._listed = {}, ()
        self._desk.jobs.start(self._look_again(), self.tr("Looking for what is wrong"))

    async def _look_again(self) -> None:
        """One look at a time. The button stays as it is: a disabled one would lose the keys."""
        if self._looking:
            return
        self._looking, self._looked_at = True, time.monotonic()
        self._show_health()
        try:
            report = await self._desk.link.do(commands.Doctor())
        finally:
            self._looking, self._looked_at = False, time.monotonic()
            self._show_health()
        self._desk.known.take_health(report)
        self.refresh()

    def _mend(self, findings: tuple[Finding, ...]) -> None:
        if len(findings) == 1 or open_sheet(self._desk.window) is None:
            self._desk.jobs.start(self._repair(findings), self.tr("Mending"))

    def _mend_all(self) -> None:
        if self._desk.known.health is not None:
            self._mend(_mendable(self._desk.known.health.findings))

    async def _repair(self, findings: tuple[Finding, ...]) -> None:
        if len(findings) > 1 and not await self._sure(
            self.tr("Mend all of it?"), "\n\n".join(f"{one.what} {one.fix}" for one in findings), self.tr("Mend all")
        ):
            return
        report = await self._desk.link.do(commands.Repair(tuple(one.id for one in findings)))
        done, order = self.tr("Mended."), self.tr("It was in order already. Nothing had to be done.")
        self._mended |= {one.id: done if one.done else order for one in report.repairs}
        self._desk.known.take_health(report)
        self._tell(report.repairs, frozenset(finding.id for finding in report.findings))
        self.refresh()

    def _tell(self, repairs: tuple[RepairOutcome, ...], found: frozenset[str]) -> None:
        """Say what became of it. What is not found any more is no failure: it has left the list."""
        left = [one.words for one in repairs if not one.done and one.id in found]
        if left:
            self._desk.toasts.say(" ".join(left), "fault")
        elif any(one.done for one in repairs):
            self._desk.toasts.say(self.tr("Mended."))
        else:
            self._desk.toasts.say(self.tr("It was in order already. Nothing had to be done."), "note")

    def _start(self, act: Callable[[T], Coroutine[Any, Any, None]], item: T, what: str) -> None:
        if open_sheet(self._desk.window) is None:
            self._desk.jobs.start(act(item), what)

    async def _open(self, entry: WorktreeEntry) -> None:
        """The card of a worktree, whatever project it is of; the folder of one without a card."""
        known = self._desk.known
        if entry.task_id is not None:
            await known.show(entry.project_id)
        if entry.task_id is not None and known.board.card(entry.task_id) is not None:
            self._desk.acts.open_requested.emit(entry.task_id)
        else:
            self._desk.acts.show_folder(entry.path)

    async def _remove(self, entry: WorktreeEntry) -> None:
        where = display_path(entry.path)
        if await self._sure(
            self.tr("Remove this worktree?"),
            self.tr(
                "{0}\n\nWhat it holds goes into the recovery bin for 30 days."
                " Its branch {1} stays, and so does the card."
                " Files that git ignores go with it, except those that were copied into it."
            ).format(where, one_line(entry.branch)),
            self.tr("Remove"),
        ):
            await self._desk.link.do(commands.RemoveWorktree(entry.id))
            self._desk.toasts.say(self.tr("Removed. It is kept in the recovery bin."))
            self.refresh()

    async def _restore(self, kept: RecoverySnapshot) -> None:
        """Once at a time: a second one would be laid out beside the first."""
        if kept.id in self._restoring:
            return
        self._restoring.add(kept.id)
        try:
            work = await self._desk.link.do(commands.RestoreRecovery(kept.id))
        finally:
            self._restoring.discard(kept.id)
        said, act = self.tr("Restored on {0}.").format(one_line(work.branch)), self.tr("Open the folder")
        opens = partial(self._desk.acts.show_folder, work.path)
        if work.task_id is not None and self._desk.known.board.card(work.task_id) is not None:
            said, act = self.tr("Restored. The card goes on with it."), self.tr("Open the card")
            opens = partial(self._desk.acts.open_requested.emit, work.task_id)
        self._desk.toasts.say(said, "good", (act, opens))
        self.refresh()

    async def _delete(self, kept: RecoverySnapshot) -> None:
        if await self._sure(self.tr("Delete it for good?"), words.lost_words(kept), self.tr("Delete")):
            await self._desk.link.do(commands.DeleteRecovery(kept.id))
            self._desk.toasts.say(self.tr("Deleted from the recovery bin."))
            self.refresh()

    async def _sure(self, title: str, about: str, act: str) -> bool:
        sheet = ConfirmSheet(self._desk.window, title, about, act)
        sheet.open()
        return await sheet.answer() is True


def _expected(error: BaseException) -> bool:
    """Nobody asked for the look: where it cannot be had, the last report stays, with its time."""
    return isinstance(error, AgentPaneError)


def _mendable(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    return tuple(finding for finding in findings if finding.repairable and not finding.notice)
