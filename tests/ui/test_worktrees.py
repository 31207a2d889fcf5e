"""The page of worktrees: what the doctor found, what is there, what is kept; nothing goes without a word."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QApplication, QComboBox, QLabel, QScrollArea

from agentpane.api import commands, events
from agentpane.domain.health import DoctorReport, Finding, StaleReason, WorktreeEntry
from agentpane.domain.ids import TaskId, WorktreeId
from agentpane.domain.recoveries import Beside, RecoveryId, RecoverySnapshot
from agentpane.domain.worktrees import WorktreeStatus
from agentpane.ui.desk.notices import Toast
from agentpane.ui.parts.sheet import open_sheet
from agentpane.ui.worktrees.worktree_words import doctor_words, entry_title, report_words
from tests.ui.conftest import Stage

NOW = datetime.now(UTC)
LEFT = Finding(
    "WORKTREE_STALE", "A worktree is left of a card that was merged.", "/src/.worktrees/old", "Remove it.",
    "stale-1", 4_000_000, True,
)  # fmt: skip
FOREIGN = Finding(
    "FOLDER_FOREIGN",
    "A folder that is not ours lies beside ours.",
    "/src/.worktrees/mine",
    "",
    "foreign-1",
)
EXPIRES = Finding(
    "RECOVERY_EXPIRES", "A recovery snapshot goes in 2 days.", "refs/agentpane/recovery/r", "", "expires-1", notice=True
)  # fmt: skip


def report(*findings: Finding) -> DoctorReport:
    return DoctorReport(all(one.notice for one in findings), findings, "A", {})


def filled(stage: Stage, *findings: Finding) -> str:
    """A window at the page, with a worktree in use, a stale one, a ready one and one thing in the bin."""
    project = stage.engine.add_project("ledger")
    task = stage.engine.add_task(project.id, "Fix the parser")
    rows = (
        ("w1", task.card.id, "Fix the parser", WorktreeStatus.ACTIVE, 5_200_000, True, ()),
        ("w2", None, None, WorktreeStatus.ACTIVE, 40_000_000, False, (StaleReason.ORPHANED, StaleReason.IDLE)),
        ("w3", None, None, WorktreeStatus.POOLED, 5_000_000, False, ()),
    )
    for at, (key, card, title, status, size, used, stale) in enumerate(rows):
        stage.engine.worktrees[key] = WorktreeEntry(
            WorktreeId(key), project.id, project.name, TaskId(card) if card else None, title,
            f"/src/.worktrees/{key}", f"agentpane/{key}", status, size, NOW - timedelta(days=9 * at), used, stale,
        )  # fmt: skip
    stage.engine.recoveries["r1"] = RecoverySnapshot(
        RecoveryId("r1"), project.id, task.card.id, "refs/agentpane/recovery/r1", "a" * 40, "cancel", 31_000,
        NOW - timedelta(days=3, hours=1), NOW + timedelta(days=27, hours=1), 4, "Fix the parser", project.name,
        branch="agentpane/w1", beside=Beside(2, 1, 2, 3, ("sub",), ("torn",)),
    )  # fmt: skip
    stage.engine.health = report(*findings)
    stage.open()
    stage.trigger("place.worktrees")
    stage.until(lambda: stage.shown("worktree.w1"))
    return project.id


def test_every_worktree_is_listed_with_its_size_and_why_it_may_go(stage: Stage) -> None:
    filled(stage)
    assert stage.text("worktrees.total") == "3 worktrees, 50.2 MB  ·  1 in the recovery bin, 31.0 kB"
    assert "Fix the parser, In use, ledger  ·  5.2 MB" in stage.text("worktree.w1")
    assert "No card, Belongs to no card, Idle for a week" in stage.text("worktree.w2")
    assert "used 9 days ago" in stage.text("worktree.w2")
    entry = replace(stage.engine.worktrees["w2"], restored_from="Old card")
    assert entry_title(entry) == "Brought back from the recovery bin: Old card"
    assert "Ready for the next card" in stage.text("worktree.w3")
    kept = stage.text("recovery.r1")
    assert kept.startswith(
        "Fix the parser, Kept when the card was stopped, Also kept: 2 commits that no branch holds, what was staged,"
        " the history of sub, not the history of torn, ledger  ·  4 files  ·  31.0 kB"
    )
    assert kept.endswith("3 days ago  ·  goes in 28 days")
    assert not stage.find("worktree.w1.remove").isEnabled()


def test_a_worktree_goes_only_after_a_word_and_the_keys_stay_on_the_page(stage: Stage) -> None:
    filled(stage)
    stage.find("worktree.w2.remove").setFocus()
    stage.click("worktree.w2.remove")
    stage.sheet("confirm_sheet")
    assert stage.find("confirm_sheet.cancel").hasFocus()
    stage.press(Qt.Key.Key_Return)  # presses what has the ring
    stage.until(lambda: open_sheet(stage.window) is None)
    assert not stage.done(commands.RemoveWorktree)
    stage.press(Qt.Key.Key_Return)
    stage.sheet("confirm_sheet")
    stage.press(Qt.Key.Key_Tab)
    stage.press(Qt.Key.Key_Enter, Qt.KeyboardModifier.KeypadModifier)
    stage.until(lambda: not stage.shown("worktree.w2"))
    assert stage.done(commands.RemoveWorktree) == [commands.RemoveWorktree("w2")]
    focused = QApplication.focusWidget()
    assert focused is not None and stage.find("worktrees.list").isAncestorOf(focused)


def test_what_the_bin_holds_is_restored_at_once_and_deleted_after_a_word(stage: Stage) -> None:
    filled(stage)
    stage.engine.holds[commands.RestoreRecovery] = held = asyncio.Event()
    for _ in range(2):
        stage.click("recovery.r1.restore")
        stage.settle()
    held.set()
    stage.until(lambda: stage.shown("toast"))
    assert stage.text("toast") == "Restored. The card goes on with it."
    assert len(stage.done(commands.RestoreRecovery)) == 1
    toast = stage.find("toast")
    assert toast.geometry().right() < stage.find("recovery.r1.restore").mapTo(stage.window, QPoint()).x()
    stage.click("recovery.r1.delete")
    asked = " ".join(label.text() for label in stage.sheet("confirm_sheet").findChildren(QLabel))
    assert "“Fix the parser”\n\nKept when the card was stopped  ·  " in asked and "\n4 files, 31.0 kB\n" in asked
    assert "Also kept: 2 commits that no branch holds, what was staged" in asked
    stage.click("confirm_sheet.act")
    stage.until(lambda: not stage.shown("recovery.r1"))
    assert "is empty" in stage.text("worktrees.kept.about")


def test_the_doctor_is_heard_and_mends_only_what_he_is_told_to(stage: Stage) -> None:
    filled(stage, LEFT, FOREIGN, EXPIRES)
    assert stage.text("worktrees.findings.about") == "The doctor found 2 things, and 1 more is worth knowing."
    assert report_words((EXPIRES,)) == "Nothing is wrong, 1 thing is worth knowing."
    assert stage.text("rail.worktrees") == "Worktrees, The doctor found 2 things"
    assert not stage.shown("finding.foreign-1.mend") and not stage.shown("finding.expires-1.mend")
    stage.click("finding.stale-1.mend")
    stage.until(lambda: not stage.shown("finding.stale-1.mend"))
    assert stage.done(commands.Repair) == [commands.Repair(("stale-1",))]
    stage.until(lambda: stage.text("toast") == "Mended.")


def test_what_is_looked_at_stays_in_its_place_while_lines_come_and_go(stage: Stage) -> None:
    filled(stage, LEFT, *(replace(LEFT, id=f"stale-{at}") for at in range(2, 12)))
    stage.window.resize(1200, 600)
    stage.settle()
    page = stage.find("worktrees.scroll")
    assert isinstance(page, QScrollArea)
    bar, mend = page.verticalScrollBar(), stage.find("finding.stale-1.mend")
    at = mend.mapTo(stage.window, mend.rect().center())
    stage.click("finding.stale-1.mend")
    stage.until(lambda: not stage.shown("finding.stale-1.mend"))
    stage.until(lambda: stage.text("toast") == "Mended.")
    stage.settle()
    assert bar.value() == 0 and "Mended." in stage.text("finding.stale-1")
    under = stage.window.childAt(at)
    assert under is not None and not under.objectName().endswith(".mend")

    bar.setValue(bar.maximum())
    stage.settle()
    top = stage.find("recovery.r1").mapTo(stage.window, QPoint()).y()
    stage.engine.worktrees["w0"] = replace(stage.engine.worktrees["w1"], id="w0")
    stage.click("recovery.r1.restore")
    stage.until(lambda: stage.shown("worktree.w0"))
    stage.settle()
    assert stage.find("recovery.r1").mapTo(stage.window, QPoint()).y() == top
    stage.click("worktrees.look")
    stage.until(lambda: not stage.shown("finding.stale-1"))


def test_return_pressed_twice_mends_no_more_than_the_one_thing(stage: Stage) -> None:
    other = replace(LEFT, id="stale-2", what="Another one is left.")
    filled(stage, LEFT, other)
    stage.find("finding.stale-1.mend").setFocus(Qt.FocusReason.TabFocusReason)
    stage.press(Qt.Key.Key_Return)
    stage.until(lambda: not stage.shown("finding.stale-1.mend"))
    stage.press(Qt.Key.Key_Return)
    stage.press(Qt.Key.Key_Space)
    stage.until(lambda: stage.text("toast") == "Mended.")
    stage.settle()
    stage.press(Qt.Key.Key_Return)
    assert stage.done(commands.Repair) == [commands.Repair(("stale-1",))] and stage.shown("finding.stale-2.mend")
    assert stage.find("worktrees.findings.heading").hasFocus()


def test_entering_the_page_asks_the_doctor_anew_and_what_is_gone_meanwhile_is_no_failure(stage: Stage) -> None:
    stage.engine.add_project("ledger")
    stage.engine.health = replace(report(LEFT), at=NOW)
    stage.open()
    stage.engine.health = replace(report(), at=NOW)
    stage.trigger("place.worktrees")
    stage.until(lambda: stage.text("worktrees.findings.about").startswith("Nothing is wrong. Looked at "))
    assert not stage.shown("finding.stale-1") and stage.find("worktrees.look").hasFocus()
    for _ in range(2):  # who goes in and out does not keep the doctor busy
        stage.trigger("place.board")
        stage.trigger("place.worktrees")
        stage.settle()
    assert stage.done(commands.Doctor) == [commands.Doctor()]
    stage.engine.publish(events.HealthChanged(report(LEFT)))
    stage.until(lambda: stage.shown("finding.stale-1"))
    stage.click("finding.stale-1.mend")
    stage.until(lambda: not stage.shown("finding.stale-1.mend"))
    stage.until(lambda: stage.text("toast") == "It was in order already. Nothing had to be done.")
    said = doctor_words(replace(report(LEFT), at=NOW), looking=True)
    assert said.startswith("The doctor found 1 thing. Looked at ") and said.endswith(". Looking again …")


def test_what_the_doctor_finds_by_himself_is_said_once_wherever_one_is(stage: Stage) -> None:
    stage.engine.add_project("ledger")
    stage.open()
    assert not stage.shown("toast")
    stage.engine.publish(events.HealthChanged(report(EXPIRES)))
    stage.settle()
    assert not stage.shown("toast")
    for _ in range(2):
        stage.engine.publish(events.HealthChanged(report(FOREIGN)))
        stage.until(lambda: stage.text("rail.worktrees") == "Worktrees, The doctor found 1 thing")
    stage.click("toast.action")
    stage.until(lambda: stage.shown("finding.foreign-1"))
    stage.engine.publish(events.HealthChanged(report()))
    stage.until(lambda: stage.text("worktrees.findings.about") == "Nothing is wrong.")


def test_one_project_alone_can_be_looked_at_with_what_it_keeps_ready(stage: Stage) -> None:
    project = filled(stage)
    box = stage.find("worktrees.project")
    assert isinstance(box, QComboBox)
    box.setCurrentIndex(1)
    stage.until(lambda: stage.shown("worktrees.list.about"))
    assert stage.done(commands.ListWorktrees)[-1] == commands.ListWorktrees(project)
    assert stage.text("worktrees.list.about").startswith("1 of 1 made in advance")
    assert "ledger" not in stage.text("worktree.w1")


def test_a_long_bin_is_shown_in_part_and_whole_on_demand(stage: Stage) -> None:
    filled(stage)
    kept = stage.engine.recoveries["r1"]
    for number in range(60):
        key = RecoveryId(f"n{number}")
        stage.engine.recoveries[key] = RecoverySnapshot(
            key, kept.project_id, None, f"refs/agentpane/recovery/{key}", "b" * 40, "cancel", 1, NOW, NOW
        )
    stage.trigger("place.worktrees")
    stage.until(lambda: stage.shown("worktrees.kept.all"))
    assert not stage.shown("recovery.n50") and "A worktree that was kept ready" in stage.text("recovery.n1")
    stage.find("worktrees.kept.all").setFocus()
    stage.press(Qt.Key.Key_Space)
    stage.settle()
    assert stage.shown("recovery.n50") and not stage.shown("worktrees.kept.all")


@pytest.mark.parametrize("width", [960, 1600])
def test_nothing_on_the_page_is_wider_than_it(stage: Stage, width: int) -> None:
    filled(stage, LEFT, FOREIGN, EXPIRES)
    stage.window.resize(width, 800)
    stage.settle()
    page = stage.window.places.worktrees_shown
    assert page is not None
    for name in ("worktrees.look", "finding.stale-1.mend", "worktree.w2.remove", "recovery.r1.delete"):
        widget = stage.find(name)
        right = widget.mapTo(page, widget.rect().topRight()).x()
        assert right < page.width(), name


def test_what_leaves_the_bin_soon_is_said_and_the_page_follows_the_bin(stage: Stage) -> None:
    filled(stage)
    kept = stage.engine.recoveries["r1"]
    stage.engine.publish(events.RecoveriesExpiring((kept,)))
    stage.until(lambda: stage.shown("toast"))
    assert stage.text("toast") == "1 recovery snapshot goes in 28 days."
    del stage.engine.recoveries["r1"]
    stage.engine.publish(events.RecoveriesChanged(kept.project_id))
    stage.until(lambda: not stage.shown("recovery.r1"))


def test_a_worktree_leads_to_its_card_in_any_project_or_to_its_folder(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()) or True)
    filled(stage)
    other = stage.engine.add_project("abacus")
    stage.window.desk.known.apply_project(other)
    stage.window.desk.acts.show_project(other.id)
    stage.until(lambda: stage.window.desk.known.current is not None and stage.window.desk.known.current.id == other.id)
    stage.click("worktree.w2.open")
    stage.until(lambda: opened == ["/src/.worktrees/w2"])
    stage.click("worktree.w1.open")
    stage.until(lambda: stage.window.places.task_shown == stage.engine.worktrees["w1"].task_id)


def test_stopping_a_card_says_whether_something_of_it_is_in_the_bin_and_leads_there(stage: Stage) -> None:
    project = stage.engine.add_project()
    first, second = (stage.engine.add_task(project.id, title).card.id for title in ("One", "Two"))
    stage.engine.kept_by_cancel[second] = RecoverySnapshot(
        RecoveryId("r2"), project.id, second, "refs/agentpane/recovery/r2", "b" * 40, "cancel", 9_000,
        NOW, NOW + timedelta(days=30), 1, "Two", project.name,
    )  # fmt: skip
    window = stage.open()
    for task, told in (
        (first, "Back in the backlog: One."),
        (second, "Back in the backlog: Two. What its worktree held beyond its branch is in the recovery bin."),
    ):
        stage.engine.start(task)
        window.desk.acts.put_back(task, confirmed=True)
        stage.until(lambda told=told: told in {toast.accessibleName() for toast in window.findChildren(Toast)})
    stage.click("toast.action")
    stage.until(lambda: stage.shown("recovery.r2"))
    stage.trigger("place.board")
    window.desk.acts.open_requested.emit(first)
    stage.settle()
    assert not stage.shown("task.kept")
    window.desk.acts.open_requested.emit(second)  # long after the toast has gone
    stage.until(lambda: stage.shown("task.kept"))
    stage.find("task.kept.restore").setFocus(Qt.FocusReason.TabFocusReason)
    stage.engine.holds[commands.RestoreRecovery] = held = asyncio.Event()
    stage.press(Qt.Key.Key_Return)
    stage.until(lambda: stage.text("task.kept.restore") == "Restoring …")
    stage.press(Qt.Key.Key_Return)  # a second one would be laid out in a worktree of its own
    stage.settle()
    held.set()
    stage.until(lambda: stage.text("task.kept.restore") == "Restore")
    assert stage.done(commands.RestoreRecovery) == [commands.RestoreRecovery("r2")]
    stage.engine.change(second, restored=True)
    stage.until(lambda: not stage.shown("task.kept"))
    stage.press(Qt.Key.Key_Return)  # and nothing else is pressed with it
    assert not stage.done(commands.StartRun)
