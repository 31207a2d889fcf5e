"""A bar for each day: what it has cost, or what was read and written where no cost is known."""

from __future__ import annotations

from datetime import date, timedelta

from PySide6.QtCore import QEvent, QPointF, QRectF, Qt
from PySide6.QtGui import QHelpEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from agentpane.domain.costs import CostLine
from agentpane.ui.costs import cost_words
from agentpane.ui.look.theme import Look
from agentpane.ui.parts import figures
from agentpane.ui.parts.overriding import override
from agentpane.ui.parts.plain import plain_tip

HEIGHT = 132
FOOT = 22  # where the days are written
HEAD = 18  # where the highest value is written
WIDEST = 36.0
MOST_DAYS = 90


class DayBars(QWidget):
    """From the first day to the last without a gap; the table below has the same in figures."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._days: list[tuple[date, CostLine | None]] = []
        self._in_money = True

    def show_lines(self, lines: tuple[CostLine, ...], first: date | None, last: date) -> None:
        """Show the days from `first` (None: the first with a line) to `last`, the newest MOST_DAYS of them."""
        by_day = {day: line for line in lines if (day := cost_words.as_day(line.key)) is not None}
        start = first or min(by_day, default=last)
        last = max(last, max(by_day, default=last))
        start = max(start, last - timedelta(days=MOST_DAYS - 1))
        days = [start + timedelta(days=number) for number in range((last - start).days + 1)]
        self._days = [(day, by_day.get(day)) for day in days]
        self._in_money = any(line.cost_usd for line in by_day.values())
        self.setAccessibleName(self._spoken())
        self.update()

    def _spoken(self) -> str:
        said = [f"{cost_words.day_words(day.isoformat())}: {self._words(line)}" for day, line in self._days if line]
        return self.tr("By day: {0}").format("; ".join(said)) if said else self.tr("By day: nothing")

    def _value(self, line: CostLine | None) -> float:
        if line is None:
            return 0.0
        return line.cost_usd if self._in_money else float(cost_words.read_tokens(line) + line.output_tokens)

    def _words(self, line: CostLine) -> str:
        if self._in_money:
            return cost_words.cost_words(line)
        return self.tr("{0} tokens").format(figures.tokens(round(self._value(line))))

    def _bar(self, at: int) -> QRectF:
        """Where the bar of a day may stand."""
        step = self.width() / max(len(self._days), 1)
        width = max(min(step * 0.7, WIDEST), 1.0)
        return QRectF(at * step + (step - width) / 2, HEAD, width, self.height() - HEAD - FOOT)

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        look = Look.current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        most = max((self._value(line) for _, line in self._days), default=0.0)
        for at, (_, line) in enumerate(self._days):
            box = self._bar(at)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(look.colour("border"))
            painter.drawRoundedRect(QRectF(box.left(), box.bottom() - 2, box.width(), 2), 1, 1)
            if line is not None and most > 0:
                height = max(box.height() * self._value(line) / most, 3.0)
                painter.setBrush(look.colour("accent"))
                radius = min(3.0, box.width() / 2)
                painter.drawRoundedRect(QRectF(box.left(), box.bottom() - height, box.width(), height), radius, radius)
        self._paint_words(painter, most)

    def _paint_words(self, painter: QPainter, most: float) -> None:
        if not self._days:
            return
        look = Look.current()
        painter.setFont(look.text_font(0.84))
        painter.setPen(look.colour("muted"))
        line = QRectF(0, self.height() - FOOT + 4, self.width(), FOOT - 4)
        first, last = (cost_words.day_words(self._days[at][0].isoformat()) for at in (0, -1))
        if len(self._days) == 1:
            painter.drawText(line, Qt.AlignmentFlag.AlignHCenter, first)
        else:
            painter.drawText(line, Qt.AlignmentFlag.AlignLeft, first)
            painter.drawText(line, Qt.AlignmentFlag.AlignRight, last)
        highest = max((line for _, line in self._days if line), key=self._value, default=None)
        if highest is not None and most > 0:
            words = self.tr("at most {0} a day").format(self._words(highest))
            painter.drawText(QRectF(0, 0, self.width(), HEAD), Qt.AlignmentFlag.AlignLeft, words)

    @override
    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            self._tell(event)
            return True
        return super().event(event)

    def _tell(self, event: QHelpEvent) -> None:
        if not self._days:
            return
        at = int(QPointF(event.pos()).x() / (self.width() / len(self._days)))
        day, line = self._days[min(max(at, 0), len(self._days) - 1)]
        words = self._words(line) if line is not None else self.tr("nothing")
        QToolTip.showText(event.globalPos(), plain_tip(f"{cost_words.day_words(day.isoformat())}: {words}"), self)
