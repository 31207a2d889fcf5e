"""Markdown that fetches nothing: no image, no file, no raw HTML; a link opens only when a person presses it."""

from __future__ import annotations

import math
import re

from PySide6.QtCore import QByteArray, Qt, QUrl
from PySide6.QtGui import QDesktopServices, QResizeEvent, QTextDocument, QTextOption, QWheelEvent
from PySide6.QtWidgets import QFrame, QSizePolicy, QTextBrowser

from agentpane.ui.look.markdown_style import style_document
from agentpane.ui.look.theme import Look
from agentpane.ui.parts.overriding import override
from agentpane.ui.parts.plain import shown

IMAGE = re.compile(r"!\[([^\]\n]*)\]\([^)\n]*\)")
FEATURES = QTextDocument.MarkdownFeature.MarkdownDialectGitHub | QTextDocument.MarkdownFeature.MarkdownNoHTML


class ClosedDocument(QTextDocument):
    """A document that loads nothing, whatever it refers to."""

    @override
    def loadResource(self, type: int, name: QUrl | str) -> object:
        return QByteArray()


class MarkdownView(QTextBrowser):
    """As high as its text is at its width; it does not scroll itself."""

    def __init__(self, text: str = "", name: str = "") -> None:
        super().__init__()
        document = ClosedDocument(self)
        document.setDocumentMargin(0)
        document.setDefaultFont(Look.current().text_font())
        self.setDocument(document)
        self.setOpenLinks(False)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWordWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.setTabChangesFocus(True)
        self.viewport().setAutoFillBackground(False)
        if name:
            self.setObjectName(name)
        self.anchorClicked.connect(open_link)
        self._text = ""
        self.show_text(text)
        Look.current().changed.connect(self._render)

    def show_text(self, text: str) -> None:
        self._text = text
        self._render()

    def _render(self) -> None:
        self.document().setMarkdown(IMAGE.sub(r"(image: \1)", shown(self._text)), FEATURES)
        style_document(self.document(), Look.current())
        self.setAccessibleName(self.toPlainText())
        self._fit()

    @override
    def loadResource(self, type: int, name: QUrl | str) -> object:
        return QByteArray()

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    @override
    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()

    def _fit(self) -> None:
        document = self.document()
        document.setTextWidth(max(self.viewport().width(), 40))
        height = math.ceil(document.size().height())
        if height != self.height():
            self.setFixedHeight(max(height, 1))


def open_link(url: QUrl) -> None:
    """Open a link of the web; nothing else is opened from text that others wrote."""
    if url.scheme() in {"http", "https"}:
        QDesktopServices.openUrl(url)
