"""Paints a card. Everything on it is drawn as plain text; its rows and their order are the same in every column."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QModelIndex, QObject, QPersistentModelIndex, QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QPainter, QPen, QTextLayout, QTextOption
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from agentpane.domain.board import Column
from agentpane.domain.tasks import TaskCard
from agentpane.ui.cards import standing_words
from agentpane.ui.cards.board_model import Activity, Role
from agentpane.ui.cards.card_text import (
    Line,
    diff_words,
    has_diff_row,
    primary,
    progress_words,
    rows,
    shorter_facts,
    state_line,
    tier_word,
)
from agentpane.ui.look.icons import IconStore
from agentpane.ui.look.theme import Look
from agentpane.ui.parts import figures
from agentpane.ui.parts.overriding import override
from agentpane.ui.parts.plain import one_line

PAD = 12
GAP = 8  # between the rows of a card, and between cards
RADIUS = 8.0
ICON = 14
TITLE_LINES = 2
NAME = 96  # of an agent's name this much is shown before any figure
METER = 44  # the width of the bar that shows how full the context is
NEARLY_FULL = 0.8

AnyIndex = QModelIndex | QPersistentModelIndex


@dataclass(frozen=True, slots=True)
class Faces:
    """The fonts of a card and how high their lines are."""

    title: QFont
    small: QFont
    strong: QFont
    title_metrics: QFontMetrics
    small_metrics: QFontMetrics

    @staticmethod
    def of(look: Look) -> Faces:
        title, small, strong = look.text_font(1.0, strong=True), look.text_font(0.88), look.text_font(0.88, strong=True)
        return Faces(title, small, strong, QFontMetrics(title), QFontMetrics(small))


class CardDelegate(QStyledItemDelegate):
    """One for each column. `carried` is the card in the person's hand, drawn faintly where it came from."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._look = Look.current()
        self._icons = IconStore.current()
        self._faces = Faces.of(self._look)
        self._heights: dict[str, tuple[TaskCard, int, int]] = {}
        self.hovered = ""
        self.carried = ""

    @override
    def sizeHint(self, option: QStyleOptionViewItem, index: AnyIndex) -> QSize:
        card: TaskCard = index.data(Role.CARD)
        width = max(option.rect.width(), 120)
        known = self._heights.get(card.id)
        if known is None or known[1] != width or (known[0] is not card and rows(known[0]) != rows(card)):
            known = self._heights[card.id] = (card, width, self._height(card, width))
        elif known[0] is not card:
            self._heights[card.id] = (card, width, known[2])
        return QSize(width, known[2])

    @override
    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: AnyIndex) -> None:
        card: TaskCard = index.data(Role.CARD)
        box: QRect = option.rect.adjusted(0, 0, 0, -GAP)
        selected = bool(option.state & QStyle.StateFlag.State_Selected)
        focused = selected and bool(option.state & QStyle.StateFlag.State_HasFocus)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if card.id == self.carried:
            painter.setOpacity(0.35)
        self._box(painter, box, selected=selected, focused=focused, hovered=card.id == self.hovered)
        button = self.button_rect(box, card) if (card.id == self.hovered or focused) and not self.carried else QRect()
        inner, activity, held = box.adjusted(PAD, PAD, -PAD, -PAD), index.data(Role.ACTIVITY), index.data(Role.HELD)
        self._content(painter, inner, card, activity, held, button.width())
        if not button.isNull():
            self._button(painter, button, card)
        painter.restore()

    def button_rect(self, box: QRect, card: TaskCard) -> QRect:
        """Where the primary action of a card lies. `box`: the card without the gap below it."""
        width = QFontMetrics(self._faces.strong).horizontalAdvance(primary(card)[1]) + ICON + 24
        height = self._faces.small_metrics.height() + 10
        return QRect(box.right() - width - 7, box.bottom() - height - 7, width, height)

    def forget_heights(self) -> None:
        self._heights.clear()

    def _height(self, card: TaskCard, width: int) -> int:
        faces = self._faces
        wide = faces.title_metrics.horizontalAdvance(card.title) > width - 2 * PAD
        height = 2 * PAD + faces.title_metrics.lineSpacing() * (TITLE_LINES if wide else 1)
        small = faces.small_metrics.height()
        if card.labels:
            height += GAP + small + 4
        if has_diff_row(card):
            height += GAP + small
        said = (state_line(card) is not None) + len(standing_words.lines(card))
        height += said * (GAP + small)
        if progress_words(card) is not None:
            height += GAP + small
        return height + GAP + small + GAP

    def _box(self, painter: QPainter, box: QRect, *, selected: bool, focused: bool, hovered: bool) -> None:
        colour = self._look.colour
        frame = QRectF(box).adjusted(0.5, 0.5, -0.5, -0.5)
        edge, width = colour("border"), 1.0
        if focused:
            edge, width = colour("accent"), 2.0
            frame.adjust(0.5, 0.5, -0.5, -0.5)
        elif selected:
            edge = colour("accent")
        elif hovered:
            edge = colour("strong")
        painter.setPen(QPen(edge, width))
        painter.setBrush(colour("selected" if selected else "raised"))
        painter.drawRoundedRect(frame, RADIUS, RADIUS)

    def _content(
        self, painter: QPainter, box: QRect, card: TaskCard, activity: Activity | None, held: bool, button_width: int
    ) -> None:
        small = self._faces.small_metrics.height()
        top = box.top() + self._title(painter, box, card.title)
        if card.labels:
            top += GAP
            self._labels(painter, QRect(box.left(), top, box.width(), small + 4), card.labels)
            top += small + 4
        if has_diff_row(card):
            top += GAP
            self._diff(painter, QRect(box.left(), top, box.width(), small), card)
            top += small
        line = state_line(card, activity.line if activity else None, activity.retry_in if activity else None, held=held)
        for said in (*([] if line is None else [line]), *standing_words.lines(card)):
            top += GAP
            self._line(painter, QRect(box.left(), top, box.width(), small), said)
            top += small
        progress = progress_words(card)
        if progress is not None:
            top += GAP
            self._progress(painter, QRect(box.left(), top, box.width(), small), *progress)
            top += small
        self._meta(painter, QRect(box.left(), top + GAP, box.width(), small), card, button_width)

    def _title(self, painter: QPainter, box: QRect, title: str) -> int:
        """Draw the title on at most two lines, the last one elided. Returns the height taken."""
        metrics = self._faces.title_metrics
        painter.setFont(self._faces.title)
        painter.setPen(self._look.colour("text"))
        spacing = metrics.lineSpacing()
        text = one_line(title)
        if metrics.horizontalAdvance(text) <= box.width():
            painter.drawText(QPointF(box.left(), box.top() + metrics.ascent()), text)
            return spacing
        cut = first_line(text, self._faces.title, box.width())
        rest = metrics.elidedText(text[cut:].strip(), Qt.TextElideMode.ElideRight, box.width())
        painter.drawText(QPointF(box.left(), box.top() + metrics.ascent()), text[:cut].rstrip())
        painter.drawText(QPointF(box.left(), box.top() + spacing + metrics.ascent()), rest)
        return 2 * spacing

    def _labels(self, painter: QPainter, box: QRect, labels: tuple[str, ...]) -> None:
        metrics = self._faces.small_metrics
        painter.setFont(self._faces.small)
        left = box.left()
        for number, label in enumerate(labels):
            text = metrics.elidedText(one_line(label), Qt.TextElideMode.ElideRight, box.width() // 2)
            width = metrics.horizontalAdvance(text) + 14
            more = len(labels) - number
            if left + width > box.right() - (26 if more > 1 else 0):
                painter.setPen(self._look.colour("muted"))
                painter.drawText(QRect(left, box.top(), 40, box.height()), Qt.AlignmentFlag.AlignVCenter, f"+{more}")
                return
            pill = QRectF(left, box.top(), width, box.height()).adjusted(0.5, 0.5, -0.5, -0.5)
            painter.setPen(QPen(self._look.colour("strong"), 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(pill, pill.height() / 2, pill.height() / 2)
            painter.setPen(self._look.colour("muted"))
            painter.drawText(pill, Qt.AlignmentFlag.AlignCenter, text)
            left += width + 4

    def _diff(self, painter: QPainter, box: QRect, card: TaskCard) -> None:
        words = diff_words(card)
        if words is None:
            return
        left = box.left()
        rejected = f"  ·  rejected {card.rejection_count}×" if card.rejection_count else ""
        for text, token, font in (
            (words[0], "success", self._faces.strong),
            (words[1], "danger", self._faces.strong),
            (f"·  {words[2]}{rejected}", "muted", self._faces.small),
        ):
            painter.setFont(font)
            painter.setPen(self._look.colour(token))
            painter.drawText(
                QRect(left, box.top(), box.right() - left, box.height()), Qt.AlignmentFlag.AlignVCenter, text
            )
            left += QFontMetrics(font).horizontalAdvance(text) + 8

    def _line(self, painter: QPainter, box: QRect, line: Line) -> None:
        colour = self._look.colour(line.token)
        self._icons.draw(painter, line.icon, colour, box.left(), box.top() + (box.height() - ICON) // 2, ICON)
        room = box.adjusted(ICON + 6, 0, 0, 0)
        fits = self._faces.small_metrics.horizontalAdvance(line.text) <= room.width()
        self._text(painter, room, line.text if fits else line.short or line.text, colour)

    def _progress(self, painter: QPainter, box: QRect, done: str, full: float | None) -> None:
        """The agent's list on the left, how full its context is on the right, as a word and a bar."""
        muted = self._look.colour("muted")
        room = box
        if full is not None:
            token = "attention" if full >= NEARLY_FULL else "muted"
            word = self.tr("context {0}").format(figures.percent(full))
            width = self._faces.small_metrics.horizontalAdvance(word)
            bar = QRectF(box.right() - METER + 1, box.center().y() - 2, METER, 4)
            self._bar(painter, bar, full, self._look.colour("accent" if token == "muted" else token))
            painter.setFont(self._faces.small)
            painter.setPen(self._look.colour(token))
            place = box.adjusted(0, 0, -METER - 8, 0)
            painter.drawText(place, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, word)
            room = box.adjusted(0, 0, -METER - width - 20, 0)
        if done and room.width() > 40:
            self._icons.draw(painter, "list", muted, room.left(), room.top() + (room.height() - ICON) // 2, ICON)
            self._text(painter, room.adjusted(ICON + 6, 0, 0, 0), done, muted)

    def _bar(self, painter: QPainter, bar: QRectF, share: float, colour: QColor) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._look.colour("border"))
        painter.drawRoundedRect(bar, 2, 2)
        painter.setBrush(colour)
        painter.drawRoundedRect(QRectF(bar.left(), bar.top(), max(4.0, bar.width() * share), bar.height()), 2, 2)

    def _meta(self, painter: QPainter, box: QRect, card: TaskCard, button_width: int) -> None:
        """Agent and figures in one row; the figures make room for the button while it is there."""
        muted = self._look.colour("muted")
        tier = tier_word(card.run.sandbox_tier) if card.run is not None and card.column is Column.IN_PROGRESS else ""
        metrics = self._faces.small_metrics
        name = card.agent or self.tr("Default agent")
        room = box.width() - ICON - 14 - min(metrics.horizontalAdvance(one_line(name)), NAME)
        for said in shorter_facts(card.run):  # the tier stays, however narrow the card is
            facts = "  ·  ".join([*said, *([tier] if tier else [])])
            taken = metrics.horizontalAdvance(facts)
            if taken <= room:
                break
        if button_width:
            facts, taken = "", button_width
        painter.setFont(self._faces.small)
        painter.setPen(muted)
        painter.drawText(box, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, facts)
        left = box.adjusted(0, 0, -taken - (8 if taken else 0), 0)
        if left.width() > 40:
            self._icons.draw(painter, "agent", muted, left.left(), left.top() + (left.height() - ICON) // 2, ICON)
            self._text(painter, left.adjusted(ICON + 6, 0, 0, 0), name, muted)

    def _text(self, painter: QPainter, box: QRect, text: str, colour: QColor) -> None:
        painter.setFont(self._faces.small)
        painter.setPen(colour)
        fitted = self._faces.small_metrics.elidedText(one_line(text), Qt.TextElideMode.ElideRight, box.width())
        painter.drawText(box, Qt.AlignmentFlag.AlignVCenter, fitted)

    def _button(self, painter: QPainter, box: QRect, card: TaskCard) -> None:
        _, word, icon_name = primary(card)
        colour = self._look.colour
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(colour("accent"))
        painter.drawRoundedRect(QRectF(box), 6, 6)
        ink = colour("on_fill")
        self._icons.draw(painter, icon_name, ink, box.left() + 8, box.top() + (box.height() - ICON) // 2, ICON)
        painter.setPen(ink)
        painter.setFont(self._faces.strong)
        painter.drawText(box.adjusted(ICON + 13, 0, -8, 0), Qt.AlignmentFlag.AlignVCenter, word)


def first_line(text: str, font: QFont, width: int) -> int:
    """How many characters of `text` the first of its lines takes."""
    layout = QTextLayout(text, font)
    option = QTextOption()
    option.setWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
    layout.setTextOption(option)
    layout.beginLayout()
    line = layout.createLine()
    line.setLineWidth(width)
    layout.endLayout()
    return line.textLength()
