"""Every action of the window, once: its words, keys and icon. Menu, palette, buttons and keys all show these."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from PySide6.QtCore import QCoreApplication, Qt
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QWidget

from agentpane.domain.board import Column
from agentpane.domain.checks import CheckState
from agentpane.domain.resolving import Resolver
from agentpane.domain.runs import ACTIVE, PauseReason, RunStatus
from agentpane.domain.tasks import TaskCard
from agentpane.ui.look.icons import icon
from agentpane.ui.parts.sheet import open_sheet


def QT_TRANSLATE_NOOP(context: str, text: str) -> str:
    """Marks a text for lupdate; it is translated where it is shown. (Qt's own is not typed.)"""
    return text


@dataclass(frozen=True, slots=True)
class ActionSpec:
    """One row of the table. `group` is the heading under which `?` and the menu show it."""

    id: str
    group: str
    text: str
    keys: tuple[str, ...] = ()
    icon: str = ""


GO, TASK, REVIEW, WINDOW = (
    QT_TRANSLATE_NOOP("actions", "Go"),
    QT_TRANSLATE_NOOP("actions", "Task"),
    QT_TRANSLATE_NOOP("actions", "Review"),
    QT_TRANSLATE_NOOP("actions", "Window"),
)

ACTIONS: tuple[ActionSpec, ...] = (
    ActionSpec("palette", GO, QT_TRANSLATE_NOOP("actions", "Command palette"), ("Ctrl+K",), "search"),
    ActionSpec("projects", GO, QT_TRANSLATE_NOOP("actions", "Go to project"), ("Ctrl+P",), "folder"),
    ActionSpec("place.board", GO, QT_TRANSLATE_NOOP("actions", "Board"), ("Ctrl+1",), "board"),
    ActionSpec("place.worktrees", GO, QT_TRANSLATE_NOOP("actions", "Worktrees"), ("Ctrl+2",), "branch"),
    ActionSpec("place.costs", GO, QT_TRANSLATE_NOOP("actions", "Costs"), ("Ctrl+3",), "coin"),
    ActionSpec("place.settings", GO, QT_TRANSLATE_NOOP("actions", "Settings"), ("Ctrl+4", "Ctrl+,"), "settings"),
    ActionSpec("project.add", GO, QT_TRANSLATE_NOOP("actions", "Add project"), ("Ctrl+O",), "folder-plus"),
    ActionSpec("archive.open", GO, QT_TRANSLATE_NOOP("actions", "Archived tasks"), (), "archive"),
    ActionSpec("find", GO, QT_TRANSLATE_NOOP("actions", "Find"), ("Ctrl+F",), "search"),
    ActionSpec("back", GO, QT_TRANSLATE_NOOP("actions", "Back"), ("Esc",), "arrow-left"),
    ActionSpec("task.new", TASK, QT_TRANSLATE_NOOP("actions", "New task"), ("Ctrl+T",), "plus"),
    ActionSpec("task.open", TASK, QT_TRANSLATE_NOOP("actions", "Open task"), (), "open"),
    ActionSpec("task.run", TASK, QT_TRANSLATE_NOOP("actions", "Run"), ("Ctrl+R",), "play"),
    ActionSpec("task.plan", TASK, QT_TRANSLATE_NOOP("actions", "Run with a plan"), ("Ctrl+Alt+R",), "list"),
    ActionSpec("task.pause", TASK, QT_TRANSLATE_NOOP("actions", "Pause"), ("Ctrl+Shift+P",), "pause"),
    ActionSpec("task.resume", TASK, QT_TRANSLATE_NOOP("actions", "Resume"), ("Ctrl+Shift+R",), "play"),
    ActionSpec("task.afresh", TASK, QT_TRANSLATE_NOOP("actions", "Retry afresh"), (), "retry"),
    ActionSpec("task.finish", TASK, QT_TRANSLATE_NOOP("actions", "Finish here"), (), "check"),
    ActionSpec("task.message", TASK, QT_TRANSLATE_NOOP("actions", "Message"), ("Ctrl+M",), "message"),
    ActionSpec("task.stop", TASK, QT_TRANSLATE_NOOP("actions", "Stop"), ("Ctrl+.",), "stop"),
    ActionSpec("task.edit", TASK, QT_TRANSLATE_NOOP("actions", "Edit"), ("Ctrl+E",), "edit"),
    ActionSpec("task.delete", TASK, QT_TRANSLATE_NOOP("actions", "Delete"), ("Ctrl+Del",), "trash"),
    ActionSpec("task.archive", TASK, QT_TRANSLATE_NOOP("actions", "Archive"), (), "archive"),
    ActionSpec("archive.all", TASK, QT_TRANSLATE_NOOP("actions", "Archive all verified"), (), "archive"),
    ActionSpec("task.review", REVIEW, QT_TRANSLATE_NOOP("actions", "Review"), ("Ctrl+D",), "eye"),
    ActionSpec("task.approve", REVIEW, QT_TRANSLATE_NOOP("actions", "Approve"), ("Ctrl+Return",), "check"),
    ActionSpec("task.reject", REVIEW, QT_TRANSLATE_NOOP("actions", "Reject"), ("Ctrl+Shift+Return",), "x"),
    ActionSpec("task.undo", REVIEW, QT_TRANSLATE_NOOP("actions", "Undo the merge"), (), "undo"),
    ActionSpec("task.hand_over", REVIEW, QT_TRANSLATE_NOOP("actions", "Hand the conflict to the agent"), (), "merge"),
    ActionSpec("task.resolve", REVIEW, QT_TRANSLATE_NOOP("actions", "Resolve it myself"), (), "edit"),
    ActionSpec("task.folder", REVIEW, QT_TRANSLATE_NOOP("actions", "Open the worktree"), (), "folder"),
    ActionSpec("task.take", REVIEW, QT_TRANSLATE_NOOP("actions", "I have resolved it"), (), "check"),
    ActionSpec("task.abandon", REVIEW, QT_TRANSLATE_NOOP("actions", "Give the resolution up"), (), "undo"),
    ActionSpec("task.checks", REVIEW, QT_TRANSLATE_NOOP("actions", "Run the checks"), (), "play"),
    ActionSpec("task.stop_checks", REVIEW, QT_TRANSLATE_NOOP("actions", "Stop the checks"), (), "stop"),
    ActionSpec("review.next_file", REVIEW, QT_TRANSLATE_NOOP("actions", "Next file"), ("J",)),
    ActionSpec("review.previous_file", REVIEW, QT_TRANSLATE_NOOP("actions", "Previous file"), ("K",)),
    ActionSpec("review.next_hunk", REVIEW, QT_TRANSLATE_NOOP("actions", "Next change"), ("N",)),
    ActionSpec("review.previous_hunk", REVIEW, QT_TRANSLATE_NOOP("actions", "Previous change"), ("P",)),
    ActionSpec("review.comment", REVIEW, QT_TRANSLATE_NOOP("actions", "Comment on the line"), ("C",), "message"),
    ActionSpec("rail", WINDOW, QT_TRANSLATE_NOOP("actions", "Fold or unfold the sidebar"), ("Ctrl+B",), "sidebar"),
    ActionSpec("key", WINDOW, QT_TRANSLATE_NOOP("actions", "Set the key for the model"), (), "key"),
    ActionSpec("theme.system", WINDOW, QT_TRANSLATE_NOOP("actions", "Theme: as the system")),
    ActionSpec("theme.light", WINDOW, QT_TRANSLATE_NOOP("actions", "Theme: light")),
    ActionSpec("theme.dark", WINDOW, QT_TRANSLATE_NOOP("actions", "Theme: dark")),
    ActionSpec("keys", WINDOW, QT_TRANSLATE_NOOP("actions", "Keys"), ("?", "F1"), "keyboard"),
    ActionSpec("quit", WINDOW, QT_TRANSLATE_NOOP("actions", "Quit"), ("Ctrl+Q",)),
)

# Keys that the board itself answers to, shown beside the actions.
BOARD_KEYS: tuple[tuple[str, str], ...] = (
    ("←  →", QT_TRANSLATE_NOOP("actions", "Between columns")),
    ("↑  ↓", QT_TRANSLATE_NOOP("actions", "Between cards")),
    ("Enter", QT_TRANSLATE_NOOP("actions", "Open the card")),
    ("Space", QT_TRANSLATE_NOOP("actions", "Pick the card up; arrows carry it, Space puts it down, Esc lets it be")),
)

# What still works while a sheet is open: it means the sheet then.
OVER_SHEETS = frozenset({"back", "quit", "task.approve", "task.reject"})

TASK_ACTIONS = tuple(spec.id for spec in ACTIONS if spec.id.startswith("task.") and spec.id != "task.new")
REVIEW_ACTIONS = tuple(spec.id for spec in ACTIONS if spec.id.startswith("review."))


class Actions:
    """The table as QActions of one window. An action that nobody has taken up does nothing and is disabled."""

    def __init__(self, window: QWidget) -> None:
        self._window = window
        self._actions = {spec.id: _make(spec, window) for spec in ACTIONS}
        window.addActions(list(self._actions.values()))

    def __getitem__(self, action_id: str) -> QAction:
        return self._actions[action_id]

    def __iter__(self) -> Iterator[QAction]:
        return iter(self._actions.values())

    def on(self, action_id: str, act: Callable[[], object]) -> None:
        """Have `act` done when the action is triggered; a sheet that is open has the keys to itself."""
        through = action_id in OVER_SHEETS
        self._actions[action_id].triggered.connect(
            lambda: act() if through or open_sheet(self._window) is None else None
        )

    def allow(self, wanted: frozenset[str]) -> None:
        """Enable those task actions that apply to the card at hand, and no others."""
        for action_id in TASK_ACTIONS:
            self._actions[action_id].setEnabled(action_id in wanted)


def applicable(card: TaskCard | None) -> frozenset[str]:
    """The actions that apply to a card as it stands."""
    if card is None:
        return frozenset()
    match card.column:
        case Column.BACKLOG:
            away = {"task.delete"} if card.run is None else {"task.archive"} if not card.restored else set()
            return frozenset({"task.open", "task.run", "task.plan", "task.edit", *away})
        case Column.IN_PROGRESS:
            at_rest = card.run is not None and card.run.status not in {RunStatus.QUEUED, *ACTIVE}
            resolving = {"task.abandon", *({"task.take"} if at_rest else ())} if card.resolving is not None else set()
            return frozenset({"task.open", "task.message", "task.stop", "task.folder", *_of_run(card), *resolving})
        case Column.WAITING_APPROVAL:
            verdict = set() if card.resolving is not None else {"task.reject"}
            if card.resolving is None and not card.conflicts:
                verdict.add("task.approve")
            return frozenset(
                {"task.open", "task.review", "task.folder", *verdict, *_of_conflict(card), *_of_checks(card)}
            )
        case Column.VERIFIED:
            return frozenset({"task.open", "task.undo", "task.archive"})


def _of_conflict(card: TaskCard) -> set[str]:
    if card.resolving is not None:
        by_hand = card.resolving.by is Resolver.PERSON
        return {"task.hand_over", "task.take", "task.abandon"} if by_hand else {"task.abandon"}
    return {"task.hand_over", "task.resolve"} if card.conflicts else set()


def _of_checks(card: TaskCard) -> set[str]:
    if not card.checks or card.conflicts or card.resolving is not None:
        return set()
    running = any(check.state is CheckState.RUNNING for check in card.checks)
    return {"task.stop_checks"} if running else {"task.checks"}


def _of_run(card: TaskCard) -> set[str]:
    run = card.run
    if run is None:
        return {"task.resume"}
    if run.status in ACTIVE:
        return {"task.pause"}
    if run.status is RunStatus.PAUSED:
        if run.pause_reason in {PauseReason.APPROVAL, PauseReason.PLAN, PauseReason.QUESTION}:
            return set()  # the answer lets it go on
        at_limit = run.pause_reason in {PauseReason.TURN_LIMIT, PauseReason.BUDGET}
        return {"task.resume", "task.finish"} if at_limit else {"task.resume"}
    if run.status in {RunStatus.ERROR, RunStatus.INTERRUPTED}:
        return {"task.resume", "task.afresh", "task.finish"}
    return {"task.afresh"} if run.status is RunStatus.COMPLETED else set()


def _make(spec: ActionSpec, window: QWidget) -> QAction:
    action = QAction(QCoreApplication.translate("actions", spec.text), window)
    action.setObjectName(spec.id)
    action.setProperty("group", spec.group)
    action.setShortcuts([QKeySequence(keys) for keys in spec.keys])
    action.setShortcutContext(Qt.ShortcutContext.WindowShortcut)
    if spec.icon:
        action.setProperty("icon_name", spec.icon)
        action.setIcon(icon(spec.icon, "muted"))
        action.setIconVisibleInMenu(True)
    return action
