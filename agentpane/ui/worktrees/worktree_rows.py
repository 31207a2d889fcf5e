"""The lines of the page of worktrees: a finding, a worktree, a recovery snapshot. Each asks; none decides."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt

from agentpane.domain.health import Finding, WorktreeEntry
from agentpane.domain.recoveries import RecoverySnapshot, ways_to
from agentpane.ui.parts import figures
from agentpane.ui.parts.controls import Button, Chip, ElidedLabel, Frame, IconLabel, Label, stack
from agentpane.ui.parts.plain import display_path, one_line
from agentpane.ui.worktrees import worktree_words as words

Act = Callable[[], object]


class Row(Frame):
    """One line of the page."""


class FindingRow(Row):
    """What the doctor found, where, how large it is, and what would mend it; or that it has been mended."""

    def __init__(self, finding: Finding, mend: Act, done: str = "") -> None:
        """done: what has become of it."""
        super().__init__("inset", across=True, margin=12, spacing=12)
        self.setObjectName(f"finding.{finding.id}")
        icon, token = ("info", "accent") if finding.notice else ("alert", "attention")
        if done:
            icon, token = "check-circle", "success"
        mark = IconLabel(icon, token)
        self.box.addWidget(mark, 0, Qt.AlignmentFlag.AlignTop)
        parts = stack(Label(finding.what, wrap=True, selectable=True), spacing=4)
        where = one_line(finding.where)
        if finding.size_bytes:
            where = f"{figures.size(finding.size_bytes)}  ·  {where}"
        parts.addWidget(ElidedLabel(where, "small", Qt.TextElideMode.ElideMiddle))
        way = done or finding.fix
        if way:
            parts.addWidget(Label(way, "small", wrap=True, selectable=True))
        self.box.addLayout(parts, 1)
        if finding.repairable and not done:
            button = Button(self.tr("Mend"), name=f"finding.{finding.id}.mend", tip=finding.fix, pressed=mend)
            button.describe(self.tr("Mend: {0}").format(one_line(finding.what)))
            self.box.addWidget(button)
        self.setAccessibleName(". ".join(part for part in (one_line(finding.what), where, one_line(way)) if part))


class WorktreeRow(Row):
    """A worktree: whose it is, where, its size, and why it may go."""

    def __init__(self, entry: WorktreeEntry, project: str, remove: Act, open_it: Act) -> None:
        """project: shown where worktrees of several projects are; empty otherwise."""
        super().__init__("inset", across=True, margin=12, spacing=12)
        self.setObjectName(f"worktree.{entry.id}")
        title = words.entry_title(entry)
        marks = [(words.stale_words(reason), "badge") for reason in entry.stale]
        state, kind = words.entry_state(entry)
        marks += [(state, kind)] if state else []
        facts = [project, words.size_words(entry.size_bytes)]
        facts.append(self.tr("used {0}").format(figures.ago(entry.last_used)))
        about = "  ·  ".join(fact for fact in facts if fact)
        where = f"{one_line(entry.branch)}  ·  {display_path(entry.path)}" if entry.branch else display_path(entry.path)
        lines = stack(
            ElidedLabel(title, "strong"),
            ElidedLabel(where, "small", Qt.TextElideMode.ElideMiddle),
            Label(about, "small"),
            spacing=4,
        )
        self.box.addWidget(IconLabel("branch", "muted"), 0, Qt.AlignmentFlag.AlignTop)
        self.box.addLayout(lines, 1)
        for mark in marks:
            self.box.addWidget(Chip(*mark))
        opens = Button(self.tr("Open"), kind="quiet", name=f"worktree.{entry.id}.open", pressed=open_it)
        opens.describe(
            self.tr("Open the card {0}").format(title)
            if entry.task_id
            else self.tr("Open the folder {0}").format(where)
        )
        self.box.addWidget(opens)
        button = Button(self.tr("Remove"), kind="danger", name=f"worktree.{entry.id}.remove", pressed=remove)
        button.describe(self.tr("Remove the worktree of {0}").format(title))
        button.setEnabled(not entry.in_use)
        self.box.addWidget(button)
        self.setAccessibleName(", ".join((title, *(mark for mark, _ in marks), about, where)))


class RecoveryRow(Row):
    """A recovery snapshot: what it was kept from, how large and old it is, and how long it stays."""

    def __init__(self, kept: RecoverySnapshot, project: str, restore: Act, delete: Act) -> None:
        super().__init__("inset", across=True, margin=12, spacing=12)
        self.setObjectName(f"recovery.{kept.id}")
        title = words.recovery_title(kept)
        reason, facts = words.recovery_reason(kept), words.recovery_facts(kept)
        about = "  ·  ".join(part for part in (project, facts) if part)
        lines = stack(
            ElidedLabel(title, "strong"), ElidedLabel(reason, "small"), ElidedLabel(about, "small"), spacing=4
        )
        also = words.beside_words(kept.beside)
        if also:
            beside = Label(also, "small", wrap=True, selectable=True)
            beside.setToolTip("\n".join(ways_to(kept.ref, kept.beside)))
            lines.addWidget(beside)
        self.box.addWidget(IconLabel("clock", "muted"), 0, Qt.AlignmentFlag.AlignTop)
        self.box.addLayout(lines, 1)
        back = Button(self.tr("Restore"), icon_name="undo", name=f"recovery.{kept.id}.restore", pressed=restore)
        back.describe(self.tr("Restore {0}").format(title))
        gone = Button(self.tr("Delete"), kind="danger", name=f"recovery.{kept.id}.delete", pressed=delete)
        gone.describe(self.tr("Delete what was kept of {0}").format(title))
        self.box.addWidget(back)
        self.box.addWidget(gone)
        self.setAccessibleName(", ".join(part for part in (title, reason, also, about) if part))
