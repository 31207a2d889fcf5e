"""A box of fixed-width text, as high as it needs to be up to a limit; the lines of a diff have their colours."""

from __future__ import annotations

from PySide6.QtGui import QTextCursor, QTextFormat
from PySide6.QtWidgets import QPlainTextEdit, QTextEdit

from agentpane.ui.look.theme import Look

MOST_LINES = 14
LONGEST = 60_000  # characters that are shown; the rest is in the session's file


class CodeBox(QPlainTextEdit):
    """Read-only, plain, selectable."""

    def __init__(self, text: str, spoken: str, *, diff: bool = False, most_lines: int = MOST_LINES) -> None:
        super().__init__()
        self._diff = diff
        self._most = most_lines
        self.setProperty("kind", "fixed")
        self.setReadOnly(True)
        self.setAccessibleName(spoken)
        self.setTabChangesFocus(True)
        self.setFont(Look.current().fixed_font(0.92))
        self.setUndoRedoEnabled(False)
        self.show_text(text)
        Look.current().changed.connect(self._colour)

    def show_text(self, text: str) -> None:
        self.setPlainText(text if len(text) <= LONGEST else text[:LONGEST] + "\n…")
        lines = min(max(self.blockCount(), 1), self._most)
        wide = any(len(line) > 60 for line in text[:LONGEST].split("\n", self._most + 1))
        self.setFixedHeight(self.fontMetrics().lineSpacing() * (lines + (1 if wide else 0)) + 22)
        self._colour()

    def _colour(self) -> None:
        if not self._diff:
            return
        look = Look.current()
        marks: list[QTextEdit.ExtraSelection] = []
        block = self.document().firstBlock()
        while block.isValid() and len(marks) < 2_000:
            token = {"+": "added", "-": "removed"}.get(block.text()[:1])
            if token is not None:
                mark = QTextEdit.ExtraSelection()
                mark.cursor = QTextCursor(block)
                mark.format.setBackground(look.colour(token))
                mark.format.setProperty(QTextFormat.Property.FullWidthSelection, True)
                marks.append(mark)
            block = block.next()
        self.setExtraSelections(marks)
