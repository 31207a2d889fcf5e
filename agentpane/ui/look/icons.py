"""Our own stroke icons, drawn in the colour of the theme that is in force when they are painted."""

from __future__ import annotations

from PySide6.QtCore import QByteArray, QObject, QPoint, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QGuiApplication, QIcon, QIconEngine, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer

from agentpane.paths import shipped
from agentpane.ui.look.theme import Look

BLACK = b"#000"
WIDER = 3


class IconStore(QObject):
    """The icons' drawings and what has been rendered of them; it belongs to the application's look."""

    def __init__(self, look: Look) -> None:
        super().__init__(look)
        self.look = look
        self._ratio = QGuiApplication.devicePixelRatio(look.application)  # the highest of all screens
        self._folder = shipped("resources") / "icons"
        self._sources: dict[str, bytes] = {}
        self._pixmaps: dict[tuple[str, str, int, float], QPixmap] = {}

    @staticmethod
    def current() -> IconStore:
        look = Look.current()
        found = look.findChild(IconStore, options=Qt.FindChildOption.FindDirectChildrenOnly)
        return found if found is not None else IconStore(look)

    def pixmap(self, name: str, colour: QColor, size: int, ratio: float) -> QPixmap:
        """The icon `name` at `size` device-independent pixels."""
        key = (name, colour.name(), size, ratio)
        found = self._pixmaps.get(key)
        if found is None:
            found = self._pixmaps[key] = self._render(name, colour, size, ratio)
        return found

    def draw(self, painter: QPainter, name: str, colour: QColor, x: int, y: int, size: int) -> None:
        painter.drawPixmap(QPoint(x, y), self.pixmap(name, colour, size, self._ratio))

    def _render(self, name: str, colour: QColor, size: int, ratio: float) -> QPixmap:
        source = self._sources.get(name)
        if source is None:
            source = self._sources[name] = (self._folder / f"{name}.svg").read_bytes()
        renderer = QSvgRenderer(QByteArray(source.replace(BLACK, colour.name().encode())))
        pixmap = QPixmap(round(size * ratio), round(size * ratio))
        pixmap.fill(Qt.GlobalColor.transparent)
        painter = QPainter(pixmap)
        renderer.render(painter, QRectF(0, 0, pixmap.width(), pixmap.height()))
        painter.end()
        pixmap.setDevicePixelRatio(ratio)
        return pixmap


class TokenIconEngine(QIconEngine):
    """Looks its colour up when it paints, so an icon follows the theme without being made anew."""

    def __init__(self, store: IconStore, name: str, token: str) -> None:
        super().__init__()
        self._store = store
        self._name = name
        self._token = token

    def paint(self, painter: QPainter, rect: QRect, mode: QIcon.Mode, state: QIcon.State) -> None:
        side = min(rect.width(), rect.height())
        token = "muted" if mode is QIcon.Mode.Disabled else self._token
        left = rect.x() + ((rect.width() - side) // 2 if rect.width() < rect.height() + WIDER else 0)
        top = rect.y() + (rect.height() - side) // 2
        self._store.draw(painter, self._name, self._store.look.colour(token), left, top, side)

    def pixmap(self, size: QSize, mode: QIcon.Mode, state: QIcon.State) -> QPixmap:
        token = "muted" if mode is QIcon.Mode.Disabled else self._token
        side = min(size.width(), size.height())
        drawn = self._store.pixmap(self._name, self._store.look.colour(token), side, 1.0)
        if size.width() < size.height() + WIDER:
            return drawn
        wide = QPixmap(size)  # the icon at its left, so that a button's words stand off a little
        wide.fill(Qt.GlobalColor.transparent)
        painter = QPainter(wide)
        painter.drawPixmap(0, (size.height() - side) // 2, drawn)
        painter.end()
        return wide

    def clone(self) -> QIconEngine:
        return TokenIconEngine(self._store, self._name, self._token)


def icon(name: str, token: str = "text") -> QIcon:
    """The icon `name` in the colour of `token`."""
    return QIcon(TokenIconEngine(IconStore.current(), name, token))
