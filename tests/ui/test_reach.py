"""Everything can be reached by keyboard and has a name; nothing that others wrote is taken for markup."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QAccessible
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractScrollArea,
    QApplication,
    QComboBox,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QScrollArea,
    QSpinBox,
    QWidget,
)

from agentpane.domain.board import Column
from agentpane.domain.costs import CostGroup, CostLine
from agentpane.domain.health import DoctorReport, Finding
from agentpane.domain.sessions import EventKind
from agentpane.ui.cards.card_text import spoken
from agentpane.ui.parts.plain import plain_tip, shown
from agentpane.ui.parts.sheet import open_sheet
from tests.ui.conftest import Stage
from tests.ui.patches import FILES, PATCH

EVIL = "<img src=file:///etc/passwd> <b>bold</b> \u202egnp"
CONTROLS = (QAbstractButton, QAbstractItemView, QComboBox, QLineEdit, QPlainTextEdit, QSpinBox)


def populated(stage: Stage) -> None:
    project = stage.engine.add_project(EVIL)
    stage.engine.add_task(project.id, EVIL, description=EVIL, labels=(EVIL[:40],))
    waiting = stage.engine.add_task(project.id, EVIL)
    stage.engine.start(waiting.card.id)
    stage.engine.finish(waiting.card.id, PATCH, FILES)
    running = stage.engine.add_task(project.id, EVIL)
    stage.engine.start(running.card.id)
    stage.engine.say(running.card.id, EventKind.TEXT, {"text": EVIL})
    stage.engine.say(running.card.id, EventKind.ANSWER, {"text": EVIL})
    stage.engine.ask(running.card.id, "Bash", {"command": EVIL}, EVIL)
    stage.engine.costs = {CostGroup.DAY: (CostLine("2026-01-02", EVIL, 1, 10, 10, 0, 0, 0.5, 0, 900),)}
    finding = Finding("FOLDER_FOREIGN", EVIL, EVIL, EVIL, "f1", 5, True)
    stage.engine.health = DoctorReport(False, (finding,), "A", {})
    stage.open()


def open_panel(stage: Stage) -> None:
    stage.window.desk.acts.open_requested.emit(stage.view(Column.IN_PROGRESS).shown()[0].id)


def open_review(stage: Stage) -> None:
    stage.window.places.show_review(stage.view(Column.WAITING_APPROVAL).shown()[0].id)


def open_costs(stage: Stage) -> None:
    stage.trigger("place.costs")
    stage.until(lambda: stage.shown("costs.table"))


def open_worktrees(stage: Stage) -> None:
    stage.trigger("place.worktrees")
    stage.until(lambda: stage.shown("finding.f1.mend"))


PLACES: dict[str, Callable[[Stage], object]] = {
    "board": lambda stage: None,
    "panel": open_panel,
    "review": open_review,
    "settings": lambda stage: stage.trigger("place.settings"),
    "worktrees": open_worktrees,
    "costs": open_costs,
    "new task": lambda stage: stage.trigger("task.new"),
    "palette": lambda stage: stage.trigger("palette"),
    "keys": lambda stage: stage.trigger("keys"),
}


def controls(root: QWidget) -> list[QWidget]:
    found = [widget for widget in root.findChildren(QWidget) if isinstance(widget, CONTROLS) and widget.isVisible()]
    inner = (QComboBox, QSpinBox, QLineEdit)
    return [widget for widget in found if not isinstance(widget.parentWidget(), inner) and own(widget)]


def own(widget: QWidget) -> bool:
    """Whether a control is ours and not a part that Qt made inside another one."""
    return not widget.objectName().startswith("qt_") and "QComboBoxPrivate" not in type(widget).__name__


@pytest.mark.parametrize("place", PLACES)
def test_every_control_has_a_name_for_a_screen_reader(stage: Stage, place: str) -> None:
    populated(stage)
    PLACES[place](stage)
    stage.settle()
    root: QWidget = open_sheet(stage.window) or stage.window
    nameless = []
    for widget in controls(root):
        interface = QAccessible.queryAccessibleInterface(widget)
        if interface is None or not interface.text(QAccessible.Text.Name):
            nameless.append(f"{type(widget).__name__} {widget.objectName()}")
    assert not nameless


@pytest.mark.parametrize("place", [place for place in PLACES if place != "keys"])
def test_every_control_is_reached_with_tab(stage: Stage, place: str) -> None:
    populated(stage)
    PLACES[place](stage)
    stage.settle()
    root: QWidget = open_sheet(stage.window) or stage.window
    wanted = {widget for widget in controls(root) if widget.isEnabled() and reachable(widget)}
    stage.window.activateWindow()
    reached: set[QWidget] = set()
    for _ in range(150):
        focused = QApplication.focusWidget()
        if focused is not None:
            reached.add(focused)
            parent = focused.parentWidget()
            if parent is not None:
                reached.add(parent)
        stage.press(Qt.Key.Key_Tab)
    missed = [f"{type(widget).__name__} {widget.objectName()} {widget.accessibleName()}" for widget in wanted - reached]
    assert not missed


def reachable(widget: QWidget) -> bool:
    """Lists inside the palette are steered from its field; segments and tabs share one stop with arrows."""
    if widget.objectName() == "palette.list":
        return False
    one_of = widget.property("kind") in {"tab", "segment"}
    return not one_of or bool(widget.isChecked())  # type: ignore[attr-defined]


@pytest.mark.parametrize("place", PLACES)
def test_no_label_guesses_at_markup(stage: Stage, place: str) -> None:
    populated(stage)
    PLACES[place](stage)
    stage.settle()
    for label in stage.window.findChildren(QLabel):
        if own(label) and "<" in label.text():
            assert label.textFormat() is Qt.TextFormat.PlainText, label.text()
    for widget in stage.window.findChildren(QWidget):
        tip = widget.toolTip()
        assert "<img" not in tip and "<b>" not in tip, tip


def test_text_that_hides_something_is_made_visible(stage: Stage) -> None:
    populated(stage)
    assert "\u202e" not in shown(EVIL) and "U+202E" in shown(EVIL)
    assert "&lt;img" in plain_tip(EVIL)
    open_panel(stage)
    assert "\u202e" not in stage.text("task.title")


def test_a_card_is_one_sentence_for_a_screen_reader(stage: Stage) -> None:
    project = stage.engine.add_project()
    task = stage.engine.add_task(project.id, "Fix it", labels=("bug",))
    stage.engine.start(task.card.id)
    stage.engine.finish(task.card.id, PATCH, FILES)
    card = stage.engine.tasks[task.card.id].card
    assert spoken(card) == "Fix it; Waiting Approval; +6 −3 3 files; labels bug; agent default"


def test_scroll_areas_do_not_take_a_stop_of_their_own(stage: Stage) -> None:
    populated(stage)
    stage.trigger("place.settings")
    stage.settle()
    for area in stage.window.findChildren(QScrollArea):
        if area.isVisible() and area.objectName() != "session.scroll":
            assert area.focusPolicy() is Qt.FocusPolicy.NoFocus
    assert isinstance(stage.view(Column.BACKLOG), QAbstractScrollArea)
