"""Pictures of tool results: decoded from bytes that are at hand, never from a path or an address, and shown small."""

from __future__ import annotations

from PySide6.QtCore import QBuffer, QByteArray, QCoreApplication, QIODevice, QSize, Qt
from PySide6.QtGui import QImage, QImageReader, QPixmap
from PySide6.QtWidgets import QVBoxLayout, QWidget

from agentpane.ui.parts import figures
from agentpane.ui.parts.controls import Label

FORMATS = {"image/png": b"png", "image/jpeg": b"jpeg", "image/gif": b"gif", "image/webp": b"webp"}
LARGEST = QSize(400, 300)
MOST_POINTS = 40_000_000  # of the picture as it is stored


def read_picture(content: bytes, media_type: str) -> tuple[QImage, QSize] | None:
    """A picture no larger than LARGEST, and how large it is; None for what is none, or a huge one."""
    form = FORMATS.get(media_type)
    if form is None:
        return None
    buffer = QBuffer()
    buffer.setData(QByteArray(content))
    buffer.open(QIODevice.OpenModeFlag.ReadOnly)
    reader = QImageReader(buffer, QByteArray(form))
    reader.setAutoDetectImageFormat(False)
    whole = reader.size()
    if not reader.canRead() or not whole.isValid() or whole.width() * whole.height() > MOST_POINTS:
        return None
    if whole.width() > LARGEST.width() or whole.height() > LARGEST.height():
        reader.setScaledSize(whole.scaled(LARGEST, Qt.AspectRatioMode.KeepAspectRatio).expandedTo(QSize(1, 1)))
    image = reader.read()
    return None if image.isNull() else (image, whole)


class PictureView(QWidget):
    """One picture with its size in words, or the words alone where it cannot be shown.

    Whoever makes it has it read by `read_picture`, away from the window's thread, and hands over what was found.
    """

    def __init__(self, media_type: str, content: bytes) -> None:
        super().__init__()
        self.setObjectName("picture")
        self.media_type, self.content = media_type, content
        self._view, self._words = Label(), Label("", "small")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self._view)
        layout.addWidget(self._words)
        self._view.hide()
        self._say(QCoreApplication.translate("pictures", "Opening the picture…"))

    def show_picture(self, found: tuple[QImage, QSize] | None) -> None:
        """Show what `read_picture` has made of it."""
        self.content = b""
        words = picture_words(found[1] if found else None)
        if found is not None:
            self._view.setPixmap(QPixmap.fromImage(found[0]))
            self._view.setAccessibleName(words)
            self._view.show()
        self._say(words)

    def _say(self, words: str) -> None:
        self._words.show_text(words)
        self.setAccessibleName(words)


def picture_words(size: QSize | None) -> str:
    if size is None:
        return QCoreApplication.translate("pictures", "A picture that cannot be shown")
    words = QCoreApplication.translate("pictures", "Picture, {0} × {1}")
    return words.format(figures.count(size.width()), figures.count(size.height()))
