"""The files of a diff: status, path, lines, and whether the person has looked at each."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from PySide6.QtCore import QAbstractListModel, QEvent, QModelIndex, QObject, QRect, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter
from PySide6.QtWidgets import QAbstractItemView, QListView, QStyle, QStyledItemDelegate, QStyleOptionViewItem

from agentpane.domain.review import FileDiff
from agentpane.ui.cards.board_model import ROOT, AnyIndex
from agentpane.ui.look.icons import IconStore
from agentpane.ui.parts import figures
from agentpane.ui.parts.overriding import override
from agentpane.ui.parts.plain import display_path, plain_tip

ROW_HEIGHT = 44
CHECK = 18
STATUS = {
    "A": ("success", "A", "added"),
    "M": ("attention", "M", "modified"),
    "D": ("danger", "D", "deleted"),
    "R": ("accent", "R", "renamed"),
    "C": ("accent", "C", "copied"),
    "T": ("muted", "T", "type changed"),
}


class FileRole(IntEnum):
    FILE = Qt.ItemDataRole.UserRole + 1
    VIEWED = Qt.ItemDataRole.UserRole + 2


class FileModel(QAbstractListModel):
    """The changed files, in git's order."""

    viewed_changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._files: tuple[FileDiff, ...] = ()
        self._viewed: set[str] = set()

    def show_files(self, files: tuple[FileDiff, ...], *, keep_viewed: bool = False) -> None:
        self.beginResetModel()
        self._files = files
        self._viewed = self._viewed & {file.path for file in files} if keep_viewed else set()
        self.endResetModel()
        self.viewed_changed.emit()

    def file(self, row: int) -> FileDiff:
        return self._files[row]

    def index_of(self, path: str) -> QModelIndex:
        row = next((row for row, file in enumerate(self._files) if file.path == path), -1)
        return self.index(row) if row >= 0 else ROOT

    @property
    def viewed(self) -> int:
        return len(self._viewed)

    def mark(self, row: int, viewed: bool) -> None:
        path = self._files[row].path
        if viewed != (path in self._viewed):
            (self._viewed.add if viewed else self._viewed.discard)(path)
            self.dataChanged.emit(self.index(row), self.index(row), [FileRole.VIEWED, Qt.ItemDataRole.CheckStateRole])
            self.viewed_changed.emit()

    @override
    def rowCount(self, parent: AnyIndex = ROOT) -> int:
        return 0 if parent.isValid() else len(self._files)

    @override
    def data(self, index: AnyIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not 0 <= index.row() < len(self._files):
            return None
        file = self._files[index.row()]
        match role:
            case FileRole.FILE:
                return file
            case FileRole.VIEWED:
                return file.path in self._viewed
            case Qt.ItemDataRole.DisplayRole:
                return display_path(file.path)
            case Qt.ItemDataRole.ToolTipRole:
                return plain_tip("\n".join([display_path(file.path), *(note.text for note in file.notes)]))
            case Qt.ItemDataRole.CheckStateRole:
                return Qt.CheckState.Checked if file.path in self._viewed else Qt.CheckState.Unchecked
            case Qt.ItemDataRole.AccessibleTextRole:
                looked = self.tr("looked at") if file.path in self._viewed else self.tr("not looked at")
                status = self.tr(STATUS.get(file.status, STATUS["M"])[2])
                lines = self.tr("binary") if file.added is None else f"+{file.added} −{file.removed}"
                return ", ".join([display_path(file.path), status, *(note.text for note in file.notes), lines, looked])
        return None

    @override
    def flags(self, index: AnyIndex) -> Qt.ItemFlag:
        if not index.isValid():
            return Qt.ItemFlag.NoItemFlags
        return Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsUserCheckable

    @override
    def setData(self, index: AnyIndex, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        if role != Qt.ItemDataRole.CheckStateRole or not index.isValid():
            return False
        self.mark(index.row(), Qt.CheckState(value) is Qt.CheckState.Checked)
        return True


class FileList(QListView):
    """Chooses a file; Space, or the circle at its right, says that it has been looked at."""

    chosen = Signal(int)

    def __init__(self, model: FileModel) -> None:
        super().__init__()
        self.setObjectName("review.files")
        self.setAccessibleName(self.tr("Changed files"))
        self.setModel(model)
        self._files = model
        self.setItemDelegate(FileDelegate(self))
        self.setUniformItemSizes(True)
        self.setMouseTracking(True)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.clicked.connect(lambda index: self.chosen.emit(index.row()))
        self.activated.connect(lambda index: self.chosen.emit(index.row()))

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        row = self.currentIndex().row()
        if event.key() == Qt.Key.Key_Space and row >= 0:
            self._files.mark(row, not self.currentIndex().data(FileRole.VIEWED))
        elif event.text().isalpha() and not event.modifiers():
            event.ignore()  # letters are for the review's own keys
        else:
            super().keyPressEvent(event)
            if self.currentIndex().row() not in {row, -1}:
                self.chosen.emit(self.currentIndex().row())

    @override
    def mousePressEvent(self, event: QMouseEvent) -> None:
        index = self.indexAt(event.position().toPoint())
        if index.isValid() and check_box(self.visualRect(index)).contains(event.position().toPoint()):
            self._files.mark(index.row(), not index.data(FileRole.VIEWED))
            return
        super().mousePressEvent(event)


class FileDelegate(QStyledItemDelegate):
    """Name over folder, lines at the right, and the circle that says whether it was looked at."""

    @override
    def sizeHint(self, option: QStyleOptionViewItem, index: AnyIndex) -> QSize:
        return QSize(120, ROW_HEIGHT)

    @override
    def editorEvent(
        self, event: QEvent, model: object, option: QStyleOptionViewItem, index: QModelIndex | AnyIndex
    ) -> bool:
        return False

    @override
    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: AnyIndex) -> None:
        file: FileDiff = index.data(FileRole.FILE)
        viewed = bool(index.data(FileRole.VIEWED))
        store = IconStore.current()
        colour = store.look.colour
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        chosen = bool(option.state & QStyle.StateFlag.State_Selected)
        if chosen or option.state & QStyle.StateFlag.State_MouseOver:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(colour("selected" if chosen else "hover"))
            painter.drawRoundedRect(option.rect.adjusted(4, 1, -4, -1), 6, 6)
        box = option.rect.adjusted(14, 4, -10, -4)
        circle = check_box(option.rect)
        store.draw(
            painter, "check-circle" if viewed else "ring", colour("success" if viewed else "muted"),
            circle.left(), circle.top(), CHECK,
        )  # fmt: skip
        right = self._counts(painter, file, QRect(box.left(), box.top(), circle.left() - 8 - box.left(), box.height()))
        token, letter, _ = STATUS.get(file.status, STATUS["M"])
        painter.setFont(store.look.text_font(0.84, strong=True))
        painter.setPen(colour(token))
        painter.drawText(QRect(box.left(), box.top(), 14, box.height()), Qt.AlignmentFlag.AlignVCenter, letter)
        self._path(painter, file, QRect(box.left() + 18, box.top(), right - box.left() - 26, box.height()), viewed)
        painter.restore()

    def _counts(self, painter: QPainter, file: FileDiff, box: QRect) -> int:
        """Draw the counts at the right end of `box`; returns where they begin."""
        look = IconStore.current().look
        painter.setFont(look.text_font(0.84))
        right = box.right()
        if file.added is None or file.removed is None:
            words: tuple[tuple[str, str], ...] = ((self.tr("binary"), "muted"),)
        else:
            words = ((f"−{figures.count(file.removed)}", "danger"), (f"+{figures.count(file.added)}", "success"))
        for text, token in words:
            width = painter.fontMetrics().horizontalAdvance(text)
            painter.setPen(look.colour(token))
            painter.drawText(QRect(right - width, box.top(), width, box.height()), Qt.AlignmentFlag.AlignVCenter, text)
            right -= width + 6
        return right

    def _path(self, painter: QPainter, file: FileDiff, box: QRect, viewed: bool) -> None:
        look = IconStore.current().look
        folder, _, name = display_path(file.path).rpartition("/")
        half = box.height() // 2
        painter.setFont(look.text_font(0.97))
        painter.setPen(look.colour("muted" if viewed else "text"))
        low_line = [(note.text, "attention" if note.attention else "muted") for note in file.notes]
        low_line += [(folder, "muted")] if folder else []
        top = QRect(box.left(), box.top(), box.width(), half) if low_line else box
        fitted = painter.fontMetrics().elidedText(name, Qt.TextElideMode.ElideMiddle, box.width())
        painter.drawText(top, Qt.AlignmentFlag.AlignVCenter, fitted)
        painter.setFont(look.text_font(0.82))
        low = QRect(box.left(), box.top() + half, box.width(), half)
        for text, token in low_line:  # what needs attention first, the folder last
            mode = Qt.TextElideMode.ElideLeft if text == folder else Qt.TextElideMode.ElideRight
            painter.setPen(look.colour(token))
            fitted = painter.fontMetrics().elidedText(text, mode, low.width())
            painter.drawText(low, Qt.AlignmentFlag.AlignVCenter, fitted)
            low.setLeft(low.left() + painter.fontMetrics().horizontalAdvance(fitted) + 10)


def check_box(box: QRect) -> QRect:
    """Where the circle of a row lies."""
    return QRect(box.right() - 12 - CHECK, box.top() + (box.height() - CHECK) // 2, CHECK, CHECK)
