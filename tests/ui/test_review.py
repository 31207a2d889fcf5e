"""The review page: the diff of exactly one commit, and the verdict on it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QImage
from PySide6.QtTest import QAbstractItemModelTester
from PySide6.QtWidgets import QApplication

from agentpane.api import commands
from agentpane.domain.board import Column
from agentpane.domain.diff import index_patch
from agentpane.domain.review import ApproveOutcome, ApproveResult, FileDiff, MergeStrategy, ReviewComment
from agentpane.ui.look.theme import Look
from agentpane.ui.review.diff_lines import DiffRows, RowKind
from agentpane.ui.review.diff_paint import file_words
from agentpane.ui.review.diff_view import DiffView
from agentpane.ui.review.file_list import FileModel
from tests.ui.conftest import Stage
from tests.ui.memory_engine import SHA
from tests.ui.patches import FILES, MODES, MODES_PATCH, PATCH, long_patch


@pytest.fixture
def task(stage: Stage) -> str:
    """A task that waits for approval, opened in the review."""
    project = stage.engine.add_project()
    made = stage.engine.add_task(project.id, "Round the tax")
    stage.engine.start(made.card.id, turns=6, cost_usd=0.21)
    stage.engine.finish(made.card.id, PATCH, FILES)
    window = stage.open()
    window.places.show_review(made.card.id)
    stage.until(lambda: diff(stage).row_count and stage.find("review.approve").isEnabled())
    return made.card.id


def diff(stage: Stage) -> DiffView:
    assert stage.window.places.review is not None
    return stage.window.places.review.diff


def test_the_page_says_what_is_reviewed(stage: Stage, task: str) -> None:
    assert stage.text("review.title") == "Round the tax"
    assert stage.text("review.commit") == SHA[:10]
    assert "$0.21" in stage.text("review.facts") and "6/50 turns" in stage.text("review.facts")
    assert SHA[:10] in stage.text("strategy.words") and "main" in stage.text("strategy.words")
    assert stage.text("review.viewed") == "0 of 3 looked at"


def test_the_commits_that_come_with_the_snapshot_are_named(stage: Stage, task: str) -> None:
    assert not stage.shown("review.commits")
    summary, patch = stage.engine.patches[task]
    below = (f"{'b' * 40} Round it", f"{'c' * 40} <b>Wrong</b> turn")
    stage.engine.patches[task] = (replace(summary, commits=below), patch)
    stage.engine.change(task)
    stage.until(lambda: stage.shown("review.commits"))
    assert stage.text("review.commits.words") == "2 commits below the snapshot come with it, unless it is squashed"
    stage.engine.patches[task] = (replace(summary, commits=below, more_commits=True), patch)
    stage.engine.change(task)
    stage.until(lambda: stage.text("review.commits.words").startswith("2+ commits"))
    assert not stage.shown("review.commit.bbbbbbbbbb")
    stage.click("review.commits.fold")
    assert stage.text("review.commit.cccccccccc") == "cccccccccc  <b>Wrong</b> turn"
    stage.engine.patches[task] = (summary, patch)
    stage.engine.change(task)
    stage.until(lambda: not stage.shown("review.commits"))


def test_approving_merges_the_commit_that_was_shown(stage: Stage, task: str) -> None:
    stage.click("strategy.squash")
    assert "one commit" in stage.text("strategy.words")
    stage.click("review.approve")
    stage.until(lambda: stage.titles(Column.VERIFIED) == ["Round the tax"])
    (command,) = stage.done(commands.Approve)
    assert command == commands.Approve(task, SHA, MergeStrategy.SQUASH)
    stage.until(lambda: stage.window.places.review_shown is None)
    assert stage.text("toast").startswith("Merged as 9999999999")


def test_control_return_approves_in_the_review(stage: Stage, task: str) -> None:
    stage.trigger("task.approve")
    stage.until(lambda: stage.titles(Column.VERIFIED) == ["Round the tax"])
    assert not stage.shown("approve_sheet")


@pytest.mark.parametrize(
    ("result", "code", "title"),
    [
        (ApproveResult.CONFLICTED, "MERGE_CONFLICT", "The change conflicts with the target branch"),
        (ApproveResult.REFUSED, "MERGE_CHECKOUT_DIRTY", "The merge was refused"),
    ],
)
def test_a_merge_that_cannot_be_made_lists_the_paths_and_what_is_kept(
    stage: Stage, task: str, result: ApproveResult, code: str, title: str
) -> None:
    stage.engine.outcomes[task] = ApproveOutcome(
        task, result, None, ("ledger/tax.py", "b\udcff.py"), code, "So.", "Do."
    )
    stage.click("review.approve")
    stage.until(lambda: stage.shown("review.outcome"))
    assert stage.text("review.outcome.title") == title
    assert stage.text("review.outcome.code") == code
    assert stage.text("review.outcome.paths") == "ledger/tax.py\nb\\xff.py"
    assert stage.find("review.approve").isEnabled()
    assert stage.titles(Column.WAITING_APPROVAL) == ["Round the tax"]


def test_rejecting_sends_the_reason_and_the_comments(stage: Stage, task: str) -> None:
    view = diff(stage)
    view.setFocus()
    for _ in range(4):
        stage.press(Qt.Key.Key_Down)
    stage.trigger("review.comment")
    stage.sheet("line_sheet")
    stage.write("line_sheet.text", "Keep the old name")
    stage.click("line_sheet.act")
    stage.until(lambda: stage.shown("review.remarks"))
    assert stage.text("review.remarks") == "1 comment"
    stage.click("review.reject")
    stage.sheet("reject_sheet")
    assert not stage.find("reject_sheet.act").isEnabled()
    stage.write("reject_sheet.reason", "Not yet")
    stage.click("reject_sheet.act")
    stage.until(lambda: stage.titles(Column.IN_PROGRESS) == ["Round the tax"])
    (command,) = stage.done(commands.Reject)
    assert isinstance(command, commands.Reject)
    assert (command.task, command.reason) == (task, "Not yet")
    assert command.comments == (ReviewComment("ledger/tax.py", 3, "Keep the old name", True),)
    stage.until(lambda: stage.window.places.review_shown is None)
    assert stage.window.places.review is not None
    assert not stage.window.places.review._comments  # they have been sent


def test_a_comment_can_be_taken_back(stage: Stage, task: str) -> None:
    review = stage.window.places.review
    assert review is not None
    review._comments.append(ReviewComment("ledger/tax.py", 2, "no"))
    review._comments_changed()
    stage.click("review.remarks")
    sheet = stage.sheet("remarks_sheet")
    sheet._remove(review._comments[0])  # type: ignore[attr-defined]
    stage.click("remarks.close")
    stage.until(lambda: not stage.shown("review.remarks"))


def test_a_reason_that_is_too_long_cannot_be_sent(stage: Stage, task: str) -> None:
    stage.click("review.reject")
    sheet = stage.sheet("reject_sheet")
    sheet.reason.setPlainText("x" * 1_001)  # type: ignore[attr-defined]
    assert not stage.find("reject_sheet.act").isEnabled()


def test_keys_go_through_files_and_changes(stage: Stage, task: str) -> None:
    view = diff(stage)
    view.setFocus()
    starts = [view.current_row]
    for key in ("n", "n", "n", "p"):
        stage.trigger("review.next_hunk" if key == "n" else "review.previous_hunk")
        starts.append(view.current_row)
    assert starts[1] < starts[2] < starts[3] and starts[4] == starts[2]
    files = stage.window.places.review
    assert files is not None
    stage.trigger("review.next_file")
    assert files.list.currentIndex().row() == 1
    assert stage.text("review.viewed") == "1 of 3 looked at"
    stage.trigger("review.previous_file")
    assert files.list.currentIndex().row() == 0


def test_the_reviews_keys_rest_outside_of_it(stage: Stage, task: str) -> None:
    assert stage.window.desk.actions["review.next_file"].isEnabled()
    stage.trigger("back")
    assert not stage.window.desk.actions["review.next_file"].isEnabled()


def test_finding_goes_around_and_says_when_there_is_nothing(stage: Stage, task: str) -> None:
    stage.trigger("find")
    stage.write("review.find.field", "RESULT")
    first = diff(stage).current_row
    stage.press(Qt.Key.Key_Return)
    second = diff(stage).current_row
    assert second > first
    stage.press(Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
    assert diff(stage).current_row == first
    stage.write("review.find.field", "zzz")
    assert not diff(stage).search("zzz")
    stage.trigger("back")
    assert not stage.shown("review.find")


def test_space_in_the_file_list_marks_a_file_as_looked_at(stage: Stage, task: str) -> None:
    files = stage.find("review.files")
    files.setFocus()
    stage.press(Qt.Key.Key_Space)
    assert stage.text("review.viewed") == "1 of 3 looked at"


def test_a_snapshot_that_is_replaced_is_read_anew(stage: Stage, task: str) -> None:
    rows = diff(stage).row_count
    summary, _ = stage.engine.patches[task]
    stage.engine.patches[task] = (replace(summary, snapshot="b" * 40), long_patch(1, 5))
    stage.engine.change(task, rejection_count=1)
    stage.until(lambda: stage.text("review.commit") == "b" * 10)
    stage.until(lambda: diff(stage).row_count not in {0, rows})


def test_a_patch_of_several_pieces_is_put_together(stage: Stage, task: str) -> None:
    patch = long_patch(40, 1_500)
    assert len(patch) > 1 << 20
    stage.engine.finish(task, patch, FILES)
    summary, data = stage.engine.patches[task]
    stage.engine.patches[task] = (replace(summary, snapshot="c" * 40), data)
    stage.engine.change(task, rejection_count=1)
    stage.until(lambda: diff(stage).row_count == 40 * (2 + 1 + 3_000))


def test_rows_show_hunks_without_gits_header_lines() -> None:
    rows = DiffRows(index_patch(PATCH))
    kinds = [(row.kind, row.line and rows.text(row.line)) for row in rows.rows(0, rows.count)]
    assert kinds[0] == (RowKind.FILE, None)
    texts = [text for _, text in kinds if text is not None]
    assert "index 1111111..2222222 100644" not in texts
    assert "def tax(amount, rate):" in texts
    assert "    tabbed ␛[31mred" in texts  # tabs are blanks, escapes are seen
    assert len(rows.hunk_rows()) == 3
    assert all(rows.rows(row, 1)[0].line.kind.value == "hunk" for row in rows.hunk_rows())  # type: ignore[union-attr]


def test_a_file_without_lines_says_why_it_has_none() -> None:
    heads = (
        ("new file mode 100644\nindex 0000000..e69de29", "f   (new, empty)"),
        ("deleted file mode 100644\nindex e69de29..0000000", "f   (deleted, was empty)"),
        ("old mode 100644\nnew mode 100755", "f   (no change of content)"),
        ("deleted file mode 100644\nindex aaaaaaa..0000000\nBinary files a/f and /dev/null differ", "f   (binary)"),
    )
    patch = "".join(f"diff --git a/f b/f\n{head}\n" for head, _ in heads)
    assert [file_words(file) for file in index_patch(patch.encode()).files()] == [words for _, words in heads]


def test_every_row_of_a_patch_can_be_asked_for_alone() -> None:
    rows = DiffRows(index_patch(PATCH))
    whole = rows.rows(0, rows.count)
    assert [rows.row(number) for number in range(rows.count)] == whole
    assert rows.rows(rows.count, 5) == []


def test_a_byte_of_the_patch_is_found_on_its_row() -> None:
    rows = DiffRows(index_patch(PATCH))
    at = PATCH.index(b"# rounded")
    number = rows.row_of_offset(at)
    assert number is not None
    row = rows.row(number)
    assert row is not None and row.line is not None and rows.text(row.line) == "    # rounded"
    assert rows.row_of_offset(PATCH.index(b"index 1111111")) is None


def test_copying_takes_the_text_without_numbers_and_marks(stage: Stage, task: str) -> None:
    view = diff(stage)
    view.setFocus()
    for _ in range(3):
        stage.press(Qt.Key.Key_Down)
    stage.press(Qt.Key.Key_Down, Qt.KeyboardModifier.ShiftModifier)
    stage.press(Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    assert QApplication.clipboard().text() == "def tax(amount):\n    return int(amount)"


def test_a_large_diff_paints_only_what_is_seen(qapp: QApplication) -> None:
    view = DiffView()
    view.resize(900, 700)
    view.show()
    view.show_patch(long_patch(20, 2_500))
    assert view.row_count > 100_000
    asked: list[int] = []
    assert view._rows is not None
    inks = view._paint._highlighter.inks
    view._paint._highlighter.inks = lambda path, text: (asked.append(1), inks(path, text))[1]  # type: ignore[method-assign, func-returns-value]
    view.grab()
    assert 0 < len(asked) < 100
    view.go_to_file(19)
    view.grab()
    assert len(asked) < 200
    view.close()


def test_the_file_model_keeps_qts_rules(qapp: QApplication) -> None:
    model = FileModel()
    tester = QAbstractItemModelTester(model, QAbstractItemModelTester.FailureReportingMode.Fatal)
    model.show_files(FILES)
    model.mark(1, True)
    assert model.setData(model.index(0), Qt.CheckState.Checked.value, Qt.ItemDataRole.CheckStateRole)
    assert model.viewed == 2
    model.show_files((FILES[1], FileDiff("new.py", None, "A", 1, 0, False)), keep_viewed=True)
    assert model.viewed == 1
    assert tester is not None


def test_a_merge_is_undone_with_one_click_and_the_card_waits_again(stage: Stage) -> None:
    project = stage.engine.add_project()
    task = stage.engine.add_task(project.id, "Round the tax", Column.VERIFIED)
    stage.open()
    stage.window.desk.acts.open_requested.emit(task.card.id)
    stage.until(lambda: stage.window.desk.actions["task.undo"].isEnabled())
    stage.trigger("task.undo")
    stage.until(lambda: stage.titles(Column.WAITING_APPROVAL) == ["Round the tax"])
    (command,) = stage.done(commands.Undo)
    assert command == commands.Undo(task.card.id)
    stage.until(lambda: not stage.window.desk.actions["task.undo"].isEnabled())


def test_what_a_file_is_beside_its_text_is_said_where_it_is_read(stage: Stage) -> None:
    project = stage.engine.add_project()
    made = stage.engine.add_task(project.id, "Link the notes")
    stage.engine.start(made.card.id)
    stage.engine.finish(made.card.id, MODES_PATCH, MODES)
    window = stage.open()
    window.places.show_review(made.card.id)
    stage.until(lambda: diff(stage).row_count and stage.find("review.approve").isEnabled())
    review = window.places.review
    assert review is not None
    spoken = [review.files.index(row).data(Qt.ItemDataRole.AccessibleTextRole) for row in range(len(MODES))]
    assert "changes how git treats files" in spoken[0] and "made executable" in spoken[1]
    assert "leads outside, new symbolic link → /etc/passwd" in spoken[2]
    assert "submodule at 3333333" in spoken[3]
    picture, attention = diff(stage).viewport().grab().toImage(), Look.current().colour("attention_wash").rgb()
    marked = [file.path for file, row in zip(MODES, heads(stage), strict=True) if attention in row_inks(picture, row)]
    assert marked == [".gitattributes", "docs/notes"]


def heads(stage: Stage) -> list[int]:
    """The pixels at which the headings of the shown files are centred."""
    view = diff(stage)
    rows = view._rows
    assert rows is not None
    return [rows.first_row(number) * view._height + view._height // 2 for number in range(len(rows.files))]


def row_inks(picture: QImage, y: int) -> set[int]:
    return {picture.pixel(x, y) for x in range(picture.width())}
