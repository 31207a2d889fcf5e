"""Painting one row of a diff: a file's heading, a line with its colours, numbers and remarks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from PySide6.QtCore import QCoreApplication, QPointF, QRect, QRectF, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter

from agentpane.domain.diff import LineKind, display_path
from agentpane.domain.filemodes import FileNote
from agentpane.domain.patch import PatchFile
from agentpane.ui.look.icons import IconStore
from agentpane.ui.look.theme import Look
from agentpane.ui.parts.plain import elide, one_line
from agentpane.ui.review.diff_lines import DiffRows, Row, RowKind, marker
from agentpane.ui.review.highlight import Highlighter

LEADING = 1.45  # height of a line over its font's
LONGEST = 2_000  # characters of a line that are painted
WASH = {LineKind.ADDED: "added", LineKind.REMOVED: "removed", LineKind.HUNK: "hunk"}
Line = tuple[str, int, bool]  # path, number, whether it is one of the old file


@dataclass(frozen=True, slots=True)
class Marks:
    """What a row shows beside its own text. scrolled: pixels to the right."""

    scrolled: int
    needle: str
    comments: Mapping[Line, list[str]]
    selected: bool
    cursor: bool
    notes: tuple[FileNote, ...] = ()  # of the row's file


def file_words(file: PatchFile) -> str:
    """What stands above a file's lines: its name, where it was renamed the old one too, and why it has no lines."""
    words = display_path(file.path)
    if file.old_path is not None and file.old_path != file.path:
        words = f"{display_path(file.old_path)}  →  {words}"
    if file.binary:
        why = QCoreApplication.translate("DiffView", "(binary)")
    elif file.hunk_count:
        return words
    elif file.old_path is None:
        why = QCoreApplication.translate("DiffView", "(new, empty)")
    elif file.deleted:
        why = QCoreApplication.translate("DiffView", "(deleted, was empty)")
    else:
        why = QCoreApplication.translate("DiffView", "(no change of content)")
    return f"{words}   {why}"


class DiffPainter:
    """Knows the measures of a row, in pixels, and paints it. Make a new one when the look changes."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._icons = IconStore.current()
        self._highlighter = Highlighter(look.tokens.dark)
        self._font = look.fixed_font(0.95)
        self._metrics = QFontMetricsF(self._font)
        self.cell = self._metrics.horizontalAdvance("0")
        self.height = max(round(self._metrics.height() * LEADING), 16)
        self._number = self.cell * 6
        self.gutter = self._number * 2 + self.cell * 2.5

    def advance(self, text: str) -> float:
        return self.cell * len(text) if text.isascii() else self._metrics.horizontalAdvance(text)

    def paint(self, painter: QPainter, rows: DiffRows, row: Row, box: QRect, marks: Marks) -> None:
        if row.kind is RowKind.FILE:
            self._file(painter, rows, row, box, marks.notes)
        elif row.line is not None:
            self._line(painter, rows, row, box, marks)
        if marks.cursor:
            painter.fillRect(QRect(0, box.top(), 3, box.height()), self._look.colour("accent"))

    def _file(self, painter: QPainter, rows: DiffRows, row: Row, box: QRect, notes: tuple[FileNote, ...]) -> None:
        file = rows.files[row.file]
        colour = self._look.colour
        painter.fillRect(box, colour("raised"))
        painter.fillRect(QRect(0, box.bottom(), box.width(), 1), colour("border"))
        painter.fillRect(QRect(0, box.top(), box.width(), 1), colour("border"))
        self._icons.draw(painter, "file", colour("muted"), 12, box.top() + (box.height() - 14) // 2, 14)
        words = file_words(file)
        room = box.adjusted(34, 0, -12, 0)
        for note in notes:
            if note.attention:
                room.setRight(self._bubble(painter, "alert", note.text, room, box) - 10)
        self._heading(painter, words, "  ·  ".join(note.text for note in notes if not note.attention), room)

    def _heading(self, painter: QPainter, words: str, note: str, room: QRect) -> None:
        """The file's name, and what it is beside its text; where both do not fit, each gives way."""
        strong, plain = self._look.text_font(0.95, strong=True), self._look.text_font(0.92)
        named, noted = (QFontMetricsF(strong).horizontalAdvance(words), QFontMetricsF(plain).horizontalAdvance(note))
        width = min(int(named) + 2, max(room.width() - int(noted) - 14, room.width() // 2)) if note else room.width()
        painter.setFont(strong)
        painter.setPen(self._look.colour("text"))
        fitted = painter.fontMetrics().elidedText(words, Qt.TextElideMode.ElideLeft, width)
        painter.drawText(room, Qt.AlignmentFlag.AlignVCenter, fitted)
        rest = room.adjusted(painter.fontMetrics().horizontalAdvance(fitted) + 14, 0, 0, 0)
        painter.setFont(plain)
        painter.setPen(self._look.colour("muted"))
        fitted = painter.fontMetrics().elidedText(note, Qt.TextElideMode.ElideRight, rest.width())
        painter.drawText(rest, Qt.AlignmentFlag.AlignVCenter, fitted)

    def _line(self, painter: QPainter, rows: DiffRows, row: Row, box: QRect, marks: Marks) -> None:
        assert row.line is not None
        colour, line = self._look.colour, row.line
        wash = WASH.get(line.kind)
        if wash is not None:
            painter.fillRect(box, colour(wash))
        if marks.selected:
            shade = QColor(colour("accent"))
            shade.setAlpha(50)
            painter.fillRect(box, shade)
        text = elide(rows.text(line), LONGEST)
        baseline = box.top() + (box.height() - self._metrics.height()) / 2 + self._metrics.ascent()
        left = self.gutter - marks.scrolled
        painter.setFont(self._font)
        painter.save()
        painter.setClipRect(box.adjusted(int(self.gutter), 0, 0, 0))
        if line.kind is LineKind.HUNK:
            painter.setPen(colour("muted"))
            painter.drawText(QPointF(left, baseline), text)
        else:
            if marks.needle:
                self._found(painter, left, text, marks.needle, box)
            self._text(painter, QPointF(left, baseline), text, rows.files[row.file].path, row.line.kind)
        painter.restore()
        if line.kind is not LineKind.HUNK:
            self._margin(painter, row, rows.files[row.file].path, box, baseline, marks)

    def _text(self, painter: QPainter, at: QPointF, text: str, path: str, kind: LineKind) -> None:
        if kind is LineKind.NO_NEWLINE:
            painter.setPen(self._look.colour("muted"))
            painter.drawText(at, text)
            return
        done, x = 0, at.x()
        ground = self._look.colour("text")
        for ink in self._highlighter.inks(path, text):
            for start, end, colour in (
                (done, ink.start, ground),
                (ink.start, ink.start + ink.length, QColor(ink.colour)),
            ):
                piece = text[start:end]
                if piece:
                    painter.setPen(colour)
                    painter.drawText(QPointF(x, at.y()), piece)
                    x += self.advance(piece)
            done = ink.start + ink.length
        if done < len(text):
            painter.setPen(ground)
            painter.drawText(QPointF(x, at.y()), text[done:])

    def _found(self, painter: QPainter, left: float, text: str, needle: str, box: QRect) -> None:
        shade = QColor(self._look.colour("attention"))
        shade.setAlpha(110)
        low, needle = text.lower(), needle.lower()
        at = low.find(needle)
        while at >= 0:
            x = left + self.advance(text[:at])
            painter.fillRect(
                QRectF(x, box.top() + 2, self.advance(text[at : at + len(needle)]), box.height() - 4), shade
            )
            at = low.find(needle, at + len(needle))

    def _margin(self, painter: QPainter, row: Row, path: str, box: QRect, baseline: float, marks: Marks) -> None:
        assert row.line is not None
        line = row.line
        painter.setPen(self._look.colour("muted"))
        for right, number in ((self._number, line.old_number), (2 * self._number, line.new_number)):
            if number is not None:
                words = str(number)
                painter.drawText(QPointF(right - self.advance(words) - self.cell, baseline), words)
        mark = marker(line.kind)
        if mark:
            painter.setPen(self._look.colour("success" if line.kind is LineKind.ADDED else "danger"))
            painter.drawText(QPointF(2 * self._number + self.cell * 0.5, baseline), mark)
        place = place_of(row)
        if place is not None and (bodies := marks.comments.get((path, *place))):
            self._comment(painter, box, bodies)

    def _comment(self, painter: QPainter, box: QRect, bodies: list[str]) -> None:
        words = elide(one_line(" · ".join(bodies)), 90)
        self._bubble(painter, "message", words, box.adjusted(0, 0, -12, 0), box)

    def _bubble(self, painter: QPainter, icon_name: str, words: str, room: QRect, box: QRect) -> int:
        """Words in the colour of attention at the right of `room`. Returns where they begin."""
        colour = self._look.colour
        painter.setFont(self._look.text_font(0.88))
        width = painter.fontMetrics().horizontalAdvance(words) + 34
        bubble = QRect(room.right() - width, box.top() + 1, width, box.height() - 2)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(colour("attention"))
        painter.setBrush(colour("attention_wash"))
        painter.drawRoundedRect(bubble, 5, 5)
        self._icons.draw(
            painter, icon_name, colour("attention"), bubble.left() + 7, bubble.top() + (bubble.height() - 13) // 2, 13
        )
        painter.setPen(colour("text"))
        painter.drawText(bubble.adjusted(26, 0, -6, 0), Qt.AlignmentFlag.AlignVCenter, words)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        return bubble.left()


def place_of(row: Row) -> tuple[int, bool] | None:
    """The line that a remark on this row is about, and whether it is one of the old file."""
    if row.line is None:
        return None
    if row.line.new_number is not None:
        return row.line.new_number, False
    return (row.line.old_number, True) if row.line.old_number is not None else None
