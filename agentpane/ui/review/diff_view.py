"""A diff, unified: it paints the visible lines straight from the patch's bytes and highlights only those."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QRect, Qt, Signal
from PySide6.QtGui import (
    QGuiApplication,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QResizeEvent,
)
from PySide6.QtWidgets import QAbstractScrollArea

from agentpane.domain.diff import PatchIndex
from agentpane.domain.filemodes import FileNote
from agentpane.domain.review import FileDiff, ReviewComment
from agentpane.ui.look.theme import Look
from agentpane.ui.parts.overriding import override
from agentpane.ui.review.diff_lines import DiffRows, Row
from agentpane.ui.review.diff_paint import LONGEST, DiffPainter, Marks, place_of

SEEK = 500  # rows that are looked through at once


class DiffView(QAbstractScrollArea):
    """Shows a patch. The cursor is a row; Shift and the arrows, or the mouse, select rows to copy."""

    file_changed = Signal(str)  # it was scrolled: this file is at the top
    comment_requested = Signal(str, int, bool)  # path, line, old side

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("diff")
        self.setAccessibleName(self.tr("Diff"))
        self.setFrameShape(QAbstractScrollArea.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._look = Look.current()
        self._rows: DiffRows | None = None
        self._hunks: list[int] = []
        self._paint = DiffPainter(self._look)
        self._comments: dict[tuple[str, int, bool], list[str]] = {}
        self._notes: dict[str, tuple[FileNote, ...]] = {}
        self._seen: set[str] = set()
        self._cursor = 0
        self._anchor = 0
        self._found: tuple[int, str] | None = None
        self._needle = ""
        self._widest = 80
        self._look.changed.connect(self._restyle)
        self.verticalScrollBar().valueChanged.connect(self._scrolled)

    # What is shown

    def show_patch(self, data: bytes) -> None:
        """Show another patch from its beginning."""
        self._rows = DiffRows(PatchIndex(data))
        self._hunks = self._rows.hunk_rows()
        self._widest = min(max((len(part) for part in data[:200_000].split(b"\n")), default=80), LONGEST)
        self._cursor = self._anchor = 0
        self._fit_bars()
        self.verticalScrollBar().setValue(0)
        self._scrolled()
        self.viewport().update()

    def clear(self) -> None:
        self._rows = None
        self._hunks = []
        self._comments.clear()
        self._notes.clear()
        self._seen.clear()
        self._fit_bars()
        self.viewport().update()

    def show_comments(self, comments: tuple[ReviewComment, ...]) -> None:
        """Mark the lines that have remarks."""
        self._comments = {}
        for comment in comments:
            if comment.line is not None:
                self._comments.setdefault((comment.path, comment.line, comment.old_side), []).append(comment.body)
        self.viewport().update()

    def show_notes(self, files: tuple[FileDiff, ...]) -> None:
        """Say on the heading of each file what it is beside its text."""
        self._notes = {file.path: file.notes for file in files}
        self.viewport().update()

    @property
    def row_count(self) -> int:
        return self._rows.count if self._rows is not None else 0

    @property
    def current_row(self) -> int:
        return self._cursor

    @property
    def current_file(self) -> int:
        return self._rows.file_of(self._cursor) if self._rows is not None else 0

    # Going places

    def go_to_file(self, number: int) -> None:
        if self._rows is not None and 0 <= number < len(self._rows.files):
            self._go(self._rows.first_row(number), at_top=True)

    def go_to_path(self, path: str) -> None:
        if self._rows is not None:
            paths = [file.path for file in self._rows.files]
            if path in paths:
                self.go_to_file(paths.index(path))

    def go_to_line(self, path: str, line: int) -> None:
        """Go to a line of the new file, or to the first shown one behind it; to the file's head for line 0."""
        self.go_to_path(path)
        rows = self._rows
        if rows is None or line < 1 or rows.files[self.current_file].path != path:
            return
        file, row = self.current_file, self._cursor + 1
        while part := [one for one in rows.rows(row, SEEK) if one.file == file]:
            for at, one in enumerate(part):
                if one.line is not None and (one.line.new_number or 0) >= line:
                    self._go(row + at, at_top=True)
                    return
            row += len(part)

    def step_hunk(self, by: int) -> None:
        """Go to the next or previous change."""
        if by > 0:
            target = next((row for row in self._hunks if row > self._cursor), None)
        else:
            target = next((row for row in reversed(self._hunks) if row < self._cursor), None)
        if target is not None:
            self._go(target, at_top=True)

    def search(self, text: str, forward: bool = True) -> bool:
        """Go to the next line that holds `text`, letters of either case alike. False: there is none."""
        self._needle = text
        self.viewport().update()
        if self._rows is None or not text:
            return False
        data, needle = self._rows.index.data.lower(), text.encode("utf-8", "surrogateescape").lower()
        start = self._offset_of(self._cursor)
        for _ in range(2):  # once around
            at = self._search_from(data, needle, start, forward)
            if at is not None:
                self._go(at)
                return True
            start = -1 if forward else len(data)
        return False

    def comment_here(self) -> None:
        """Ask for a remark on the line of the cursor."""
        row = self._rows.row(self._cursor) if self._rows is not None else None
        if row is not None and row.line is not None and self._rows is not None:
            place = place_of(row)
            if place is not None:
                self.comment_requested.emit(self._rows.files[row.file].path, *place)

    def selected_text(self) -> str:
        """The selected lines, without markers and numbers."""
        if self._rows is None:
            return ""
        first, last = sorted((self._anchor, self._cursor))
        rows = self._rows
        return "\n".join(rows.text(row.line) for row in rows.rows(first, last - first + 1) if row.line is not None)

    # Events

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = event.key()
        page = max(self.viewport().height() // self._height - 2, 1)
        steps = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1, Qt.Key.Key_PageUp: -page, Qt.Key.Key_PageDown: page}
        ends = {Qt.Key.Key_Home: 0, Qt.Key.Key_End: self.row_count - 1}
        keep = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        if key in steps:
            self._go(self._cursor + steps[Qt.Key(key)], keep_anchor=keep)
        elif key in ends:
            self._go(ends[Qt.Key(key)], keep_anchor=keep)
        elif event.keyCombination().key() == Qt.Key.Key_C and event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            QGuiApplication.clipboard().setText(self.selected_text())
        else:
            event.ignore()

    @override
    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() is Qt.MouseButton.LeftButton:
            keep = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
            self._go(self._row_at(event.position().toPoint()), keep_anchor=keep)

    @override
    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._go(self._row_at(event.position().toPoint()), keep_anchor=True)

    @override
    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self.comment_here()

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        self._fit_bars()

    @override
    def scrollContentsBy(self, dx: int, dy: int) -> None:
        if dx:
            self.viewport().update()
        else:
            self.viewport().scroll(0, dy)

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self.viewport())
        area = event.rect()
        painter.fillRect(area, self._look.colour("canvas"))
        if self._rows is None:
            return
        top = self.verticalScrollBar().value()
        first = (top + area.top()) // self._height
        count = area.height() // self._height + 2
        y = first * self._height - top
        for number, row in enumerate(self._rows.rows(first, count), first):
            self._paint_row(painter, self._rows, row, number, y)
            y += self._height

    def _paint_row(self, painter: QPainter, rows: DiffRows, row: Row, number: int, y: int) -> None:
        first, last = sorted((self._anchor, self._cursor))
        marks = Marks(
            scrolled=self.horizontalScrollBar().value(),
            needle=self._needle,
            comments=self._comments,
            selected=first <= number <= last and first != last,
            cursor=number == self._cursor and self.hasFocus(),
            notes=self._notes.get(rows.files[row.file].path, ()),
        )
        self._paint.paint(painter, rows, row, QRect(0, y, self.viewport().width(), self._height), marks)

    # Measures

    @property
    def _height(self) -> int:
        return self._paint.height

    def _fit_bars(self) -> None:
        view = self.viewport()
        bar = self.verticalScrollBar()
        bar.setRange(0, max(self.row_count * self._height - view.height(), 0))
        bar.setPageStep(max(view.height(), 1))
        bar.setSingleStep(self._height * 3)
        across = self.horizontalScrollBar()
        across.setRange(0, max(int(self._paint.gutter + self._widest * self._paint.cell - view.width()), 0))
        across.setPageStep(max(view.width(), 1))
        across.setSingleStep(int(self._paint.cell * 8))

    def _row_at(self, point: QPoint) -> int:
        return (self.verticalScrollBar().value() + point.y()) // self._height

    def _go(self, row: int, *, at_top: bool = False, keep_anchor: bool = False) -> None:
        if not self.row_count:
            return
        self._cursor = min(max(row, 0), self.row_count - 1)
        if not keep_anchor:
            self._anchor = self._cursor
        bar, top = self.verticalScrollBar(), self._cursor * self._height
        if at_top or top < bar.value():
            bar.setValue(top)
        elif top + self._height > bar.value() + self.viewport().height():
            bar.setValue(top + self._height - self.viewport().height())
        self._scrolled()
        self.viewport().update()

    def _scrolled(self) -> None:
        if self._rows is None or not self._rows.files:
            return
        file = self._rows.file_of((self.verticalScrollBar().value() + self._height // 2) // self._height)
        self.file_changed.emit(self._rows.files[file].path)

    def _offset_of(self, number: int) -> int:
        assert self._rows is not None
        row = self._rows.row(number)
        if row is None:
            return 0
        return row.line.start if row.line is not None else self._rows.files[row.file].start

    def _search_from(self, data: bytes, needle: bytes, start: int, forward: bool) -> int | None:
        """The row of the next hit in a shown line, from the byte `start` on."""
        assert self._rows is not None
        here = self._cursor if 0 <= start < len(data) else -1
        at = data.find(needle, start + 1) if forward else data.rfind(needle, 0, max(start, 0))
        while at >= 0:
            row = self._rows.row_of_offset(at)
            if row is not None and row != here:
                return row
            at = data.find(needle, at + 1) if forward else data.rfind(needle, 0, at)
        return None

    def _restyle(self) -> None:
        self._paint = DiffPainter(self._look)
        self.viewport().update()
