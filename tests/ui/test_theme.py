"""The tokens: what is written can be read, in both themes, and a change of theme reaches what is shown."""

from __future__ import annotations

import pytest
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import QApplication

from agentpane.paths import shipped
from agentpane.ui.desk.actions import ACTIONS
from agentpane.ui.look.icons import IconStore
from agentpane.ui.look.theme import Look
from agentpane.ui.look.tokens import CONTRAST_PAIRS, DARK, LIGHT, Tokens, contrast
from agentpane.ui.review.highlight import DARK_INKS, LIGHT_INKS

READABLE = 4.5


@pytest.mark.parametrize("tokens", [DARK, LIGHT], ids=["dark", "light"])
@pytest.mark.parametrize(("ink", "ground"), CONTRAST_PAIRS)
def test_what_is_written_stands_out_from_its_ground(tokens: Tokens, ink: str, ground: str) -> None:
    assert contrast(getattr(tokens, ink), getattr(tokens, ground)) >= READABLE


@pytest.mark.parametrize(("tokens", "inks"), [(DARK, DARK_INKS), (LIGHT, LIGHT_INKS)], ids=["dark", "light"])
def test_highlighted_code_can_be_read_on_every_line_of_a_diff(tokens: Tokens, inks: dict[str, str]) -> None:
    for ground in ("canvas", "added", "removed"):
        for ink in inks.values():
            assert contrast(ink, getattr(tokens, ground)) >= READABLE


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_choosing_a_theme_changes_palette_and_style_sheet_at_once(qapp: QApplication) -> None:
    look = Look.current()
    look.choose("light")
    assert qapp.palette().color(QPalette.ColorRole.Window).name() == LIGHT.canvas
    assert LIGHT.surface in qapp.styleSheet()
    look.choose("dark")
    assert qapp.palette().color(QPalette.ColorRole.Window).name() == DARK.canvas
    assert LIGHT.surface not in qapp.styleSheet()


def test_every_icon_that_an_action_names_can_be_drawn(qapp: QApplication) -> None:
    store = IconStore.current()
    for name in {spec.icon for spec in ACTIONS if spec.icon}:
        drawn = store.pixmap(name, store.look.colour("text"), 16, 1.0).toImage()
        assert any(drawn.pixelColor(x, y).alpha() for x in range(16) for y in range(16)), name


def test_our_icons_carry_nothing_but_drawings() -> None:
    for file in (shipped("resources") / "icons").glob("*.svg"):
        text = file.read_text()
        assert "<script" not in text and "href" not in text, file.name
