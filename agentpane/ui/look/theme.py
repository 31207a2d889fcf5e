"""How the window looks: palette, fonts and style sheet, made from the tokens of one theme.

`Look` belongs to the application; whatever paints asks it for colours, and hears when they change.
"""

from __future__ import annotations

from functools import cached_property
from typing import cast

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontDatabase, QGuiApplication, QPalette
from PySide6.QtWidgets import QApplication

from agentpane.paths import shipped
from agentpane.ui.look.stylesheet import style_sheet
from agentpane.ui.look.tokens import DARK, LIGHT, Tokens

TEXT_FACES = (
    "Inter",
    "SF Pro Text",
    ".AppleSystemUIFont",
    "Segoe UI",
    "Noto Sans",
    "Cantarell",
    "Ubuntu",
    "Liberation Sans",
    "Nimbus Sans",
    "DejaVu Sans",
)
FIXED_FACES = ("JetBrains Mono", "Cascadia Code", "SF Mono", "Noto Sans Mono", "Liberation Mono", "DejaVu Sans Mono")
# What a font may draw in place of the characters that are there: an arrow for "->" hides what a file says.
SUBSTITUTIONS = ("liga", "clig", "dlig", "calt")
SMALLEST_PT = 9.0
LARGEST_PT = 18.0
USUAL_PT = 10.0


class Look(QObject):
    """The theme in force. `choice` is what the person chose: system, light or dark."""

    changed = Signal()

    def __init__(self, application: QApplication, choice: str = "system") -> None:
        super().__init__(application)
        self.application = application
        self._choice = choice
        self._colours: dict[str, QColor] = {}
        families = frozenset(QFontDatabase.families())
        self._text_face = next((face for face in TEXT_FACES if face in families), "")
        self._fixed_face = next((face for face in FIXED_FACES if face in families), "")
        size = QFontDatabase.systemFont(QFontDatabase.SystemFont.GeneralFont).pointSizeF()
        self.base_pt = min(max(size, SMALLEST_PT), LARGEST_PT) if size > 0 else USUAL_PT
        self.tokens: Tokens = self._wanted()
        hints = QGuiApplication.styleHints()
        hints.colorSchemeChanged.connect(self._system_changed)

    @staticmethod
    def current() -> Look:
        """The application's look. One is made when there is none, so that a widget may stand alone."""
        application = cast(QApplication, QApplication.instance())
        found = application.findChild(Look, options=Qt.FindChildOption.FindDirectChildrenOnly)
        if found is None:
            found = Look(application)
            found.apply()
        return found

    @property
    def choice(self) -> str:
        return self._choice

    def choose(self, choice: str) -> None:
        """Follow the system, or be light or dark whatever the system says."""
        if choice != self._choice:
            self._choice = choice
            self._settle()

    def apply(self) -> None:
        """Put palette, font and style sheet in force."""
        icons = (shipped("resources") / "icons").as_posix()
        self.application.setStyle("Fusion")
        self.application.setFont(self.text_font())
        self.application.setPalette(self._palette())
        self.application.setStyleSheet(style_sheet(self.tokens, self.base_pt, self._fixed_face, icons))

    def colour(self, token: str) -> QColor:
        """The colour that a token has in this theme."""
        found = self._colours.get(token)
        if found is None:
            found = self._colours[token] = QColor(getattr(self.tokens, token))
        return found

    def text_font(self, scale: float = 1.0, strong: bool = False) -> QFont:
        font = QFont(self._text_face) if self._text_face else QFont()
        font.setPointSizeF(self.base_pt * scale)
        font.setWeight(QFont.Weight.DemiBold if strong else QFont.Weight.Normal)
        return literal(font)

    def fixed_font(self, scale: float = 0.95) -> QFont:
        font = QFont(self._fixed_face) if self._fixed_face else QFont("monospace")
        font.setStyleHint(QFont.StyleHint.Monospace)
        font.setPointSizeF(self.base_pt * scale)
        return literal(font)

    @cached_property
    def still(self) -> bool:
        """The person asked for less motion: nothing is animated."""
        return not self.application.isEffectEnabled(Qt.UIEffect.UI_General)

    def _wanted(self) -> Tokens:
        if self._choice == "light":
            return LIGHT
        if self._choice == "dark":
            return DARK
        scheme = QGuiApplication.styleHints().colorScheme()
        return LIGHT if scheme is Qt.ColorScheme.Light else DARK

    def _system_changed(self) -> None:
        if self._choice == "system":
            self._settle()

    def _settle(self) -> None:
        wanted = self._wanted()
        if wanted is self.tokens:
            return
        self.tokens = wanted
        self._colours.clear()
        self.apply()
        self.changed.emit()

    def _palette(self) -> QPalette:
        tokens, palette = self.tokens, QPalette()
        role = QPalette.ColorRole
        for where, colour in (
            (role.Window, tokens.canvas),
            (role.Base, tokens.canvas),
            (role.AlternateBase, tokens.surface),
            (role.Button, tokens.raised),
            (role.WindowText, tokens.text),
            (role.Text, tokens.text),
            (role.ButtonText, tokens.text),
            (role.ToolTipBase, tokens.raised),
            (role.ToolTipText, tokens.text),
            (role.PlaceholderText, tokens.muted),
            (role.Highlight, tokens.accent),
            (role.HighlightedText, tokens.on_fill),
            (role.Link, tokens.accent),
            (role.LinkVisited, tokens.done),
            (role.Light, tokens.border),
            (role.Midlight, tokens.border),
            (role.Mid, tokens.border),
            (role.Dark, tokens.border),
            (role.Shadow, tokens.canvas),
            (role.BrightText, tokens.danger),
        ):
            palette.setColor(where, QColor(colour))
        for where in (role.WindowText, role.Text, role.ButtonText):
            palette.setColor(QPalette.ColorGroup.Disabled, where, QColor(tokens.muted))
        return palette


def literal(font: QFont) -> QFont:
    """The font, told to draw every character as itself. What is derived from it, in a style sheet too, keeps that."""
    for feature in SUBSTITUTIONS:
        font.setFeature(QFont.Tag(feature), 0)
    return font
