"""The style sheet, generated from tokens: one grid of 4, radii 6 and 12, borders instead of shadows.

Widgets say what they are through the dynamic property `kind` ("primary", "quiet", "danger", …) or an object name.
"""

from __future__ import annotations

from agentpane.ui.look.tokens import Tokens


def style_sheet(tokens: Tokens, base_pt: float, fixed_face: str, icons: str) -> str:
    """The whole sheet. Sizes of type follow `base_pt`, the person's own size. icons: the folder of our drawings."""
    t = tokens
    return "\n".join(
        (
            _ground(t, base_pt),
            _type(t, base_pt, fixed_face),
            _buttons(t),
            _inputs(t),
            _marks("dark" if t.dark else "light", icons),
            _lists(t),
            _surfaces(t),
            _scroll_bars(t),
            _menus(t, base_pt),
        )
    )


def _ground(t: Tokens, base_pt: float) -> str:
    return f"""
QWidget {{ color: {t.text}; }}
QMainWindow, QDialog, #page {{ background: {t.canvas}; }}
QToolTip {{
    background: {t.raised}; color: {t.text}; border: 1px solid {t.strong}; padding: 4px 8px;
    font-size: {base_pt * 0.9:.1f}pt;
}}
QSplitter::handle {{ background: {t.border}; }}
QSplitter::handle:hover {{ background: {t.accent}; }}
"""


def _type(t: Tokens, base_pt: float, fixed_face: str) -> str:
    return f"""
QLabel {{ background: transparent; }}
QLabel[kind="muted"] {{ color: {t.muted}; }}
QLabel[kind="small"] {{ color: {t.muted}; font-size: {base_pt * 0.88:.1f}pt; }}
QLabel[kind="caption"] {{ color: {t.muted}; font-size: {base_pt * 0.84:.1f}pt; font-weight: 600; }}
QLabel[kind="strong"] {{ font-weight: 600; }}
QLabel[kind="heading"] {{ font-size: {base_pt * 1.15:.1f}pt; font-weight: 600; }}
QLabel[kind="title"] {{ font-size: {base_pt * 1.5:.1f}pt; font-weight: 600; }}
QLabel[kind="danger"] {{ color: {t.danger}; }}
QLabel[kind="attention"] {{ color: {t.attention}; }}
QLabel[kind="success"] {{ color: {t.success}; }}
QLabel[kind="added"] {{ color: {t.success}; font-weight: 600; }}
QLabel[kind="removed"] {{ color: {t.danger}; font-weight: 600; }}
QLabel[kind="fixed"], QPlainTextEdit[kind="fixed"] {{
    font-family: "{fixed_face}"; font-size: {base_pt * 0.92:.1f}pt;
}}
QLabel[kind="chip"] {{
    color: {t.muted}; border: 1px solid {t.border}; border-radius: 9px; padding: 0 8px;
    font-size: {base_pt * 0.88:.1f}pt;
}}
QLabel[kind="badge"] {{
    color: {t.attention}; background: {t.attention_wash}; border: 1px solid {t.attention}; border-radius: 9px;
    padding: 0 8px; font-size: {base_pt * 0.88:.1f}pt;
}}
QLabel[kind="key"] {{
    color: {t.text}; background: {t.raised}; border: 1px solid {t.border}; border-radius: 4px; padding: 1px 6px;
    font-size: {base_pt * 0.88:.1f}pt;
}}
"""


def _buttons(t: Tokens) -> str:
    return f"""
QPushButton {{
    background: {t.raised}; border: 1px solid {t.border}; border-radius: 6px; padding: 5px 12px;
    min-height: 18px; font-weight: 600;
}}
QPushButton:hover {{ border-color: {t.strong}; background: {t.hover}; }}
QPushButton:pressed {{ background: {t.surface}; }}
QPushButton:focus {{ border: 2px solid {t.accent}; padding: 4px 11px; }}
QPushButton:disabled {{ color: {t.muted}; background: transparent; border-color: {t.border}; }}
QPushButton[kind="primary"] {{ background: {t.accent}; border-color: {t.accent}; color: {t.on_fill}; }}
QPushButton[kind="approve"] {{ background: {t.success}; border-color: {t.success}; color: {t.on_fill}; }}
QPushButton[kind="reject"] {{ background: {t.danger}; border-color: {t.danger}; color: {t.on_fill}; }}
QPushButton[kind="primary"]:hover, QPushButton[kind="approve"]:hover, QPushButton[kind="reject"]:hover {{
    border-color: {t.text};
}}
QPushButton[kind="primary"]:focus, QPushButton[kind="approve"]:focus, QPushButton[kind="reject"]:focus {{
    border: 2px solid {t.text};
}}
QPushButton[kind="primary"]:disabled,
QPushButton[kind="approve"]:disabled,
QPushButton[kind="reject"]:disabled {{
    background: transparent; border-color: {t.border}; color: {t.muted};
}}
QPushButton[kind="danger"] {{ color: {t.danger}; }}
QPushButton[kind="danger"]:hover {{ border-color: {t.danger}; background: {t.danger_wash}; }}
QPushButton[kind="danger"]:disabled {{ color: {t.muted}; }}
QPushButton[kind="quiet"] {{
    background: transparent; border-color: transparent; font-weight: 400; color: {t.muted}; padding: 5px 8px;
}}
QPushButton[kind="quiet"]:hover {{ background: {t.hover}; color: {t.text}; }}
QPushButton[kind="quiet"]:focus {{ border: 2px solid {t.accent}; padding: 4px 7px; color: {t.text}; }}
QPushButton[kind="quiet"]:checked {{ background: {t.selected}; color: {t.text}; }}
QPushButton[kind="nav"] {{
    background: transparent; border-color: transparent; text-align: left; font-weight: 400; color: {t.muted};
    padding: 6px 8px;
}}
QPushButton[kind="nav"]:hover {{ background: {t.hover}; color: {t.text}; }}
QPushButton[kind="nav"]:checked {{ background: {t.selected}; color: {t.text}; font-weight: 600; }}
QPushButton[kind="nav"]:focus {{ border: 2px solid {t.accent}; padding: 5px 7px; }}
QPushButton[kind="line"] {{
    background: transparent; border-color: transparent; text-align: left; font-weight: 400; padding: 5px 8px;
}}
QPushButton[kind="line"]:hover {{ background: {t.hover}; }}
QPushButton[kind="line"]:focus {{ border: 2px solid {t.accent}; padding: 4px 7px; }}
QPushButton[kind="tab"] {{
    background: transparent; border: none; border-bottom: 2px solid transparent; border-radius: 0;
    color: {t.muted}; padding: 8px 2px; font-weight: 400;
}}
QPushButton[kind="tab"]:hover {{ color: {t.text}; }}
QPushButton[kind="tab"]:checked {{ color: {t.text}; border-bottom-color: {t.accent}; }}
QPushButton[kind="tab"]:focus {{ background: {t.hover}; border-bottom-color: {t.accent}; }}
QPushButton[kind="segment"] {{ border-radius: 0; font-weight: 400; color: {t.muted}; background: transparent; }}
QPushButton[kind="segment"][end="first"] {{ border-top-left-radius: 6px; border-bottom-left-radius: 6px; }}
QPushButton[kind="segment"][end="last"] {{ border-top-right-radius: 6px; border-bottom-right-radius: 6px; }}
QPushButton[kind="segment"]:checked {{ background: {t.selected}; color: {t.text}; border-color: {t.accent}; }}
QPushButton[icononly="true"] {{ padding: 5px; min-width: 18px; }}
QPushButton[icononly="true"]:focus {{ padding: 4px; }}
QCheckBox {{ spacing: 8px; padding: 2px; border: 2px solid transparent; border-radius: 6px; }}
QCheckBox:focus {{ border-color: {t.accent}; }}
QCheckBox:disabled {{ color: {t.muted}; }}
QCheckBox::indicator {{
    width: 14px; height: 14px; border: 1px solid {t.strong}; border-radius: 4px; background: {t.canvas};
}}
QCheckBox::indicator:hover {{ border-color: {t.accent}; }}
QCheckBox::indicator:checked {{ background: {t.accent}; border-color: {t.accent}; }}
"""


def _marks(theme: str, icons: str) -> str:
    """The small drawings that a style sheet can only take from files."""
    return f"""
QComboBox::down-arrow {{ image: url("{icons}/mark-down-{theme}.svg"); width: 14px; height: 14px; }}
QSpinBox::up-arrow {{ image: url("{icons}/mark-up-{theme}.svg"); width: 12px; height: 12px; }}
QSpinBox::down-arrow {{ image: url("{icons}/mark-down-{theme}.svg"); width: 12px; height: 12px; }}
QCheckBox::indicator:checked {{ image: url("{icons}/mark-check-{theme}.svg"); }}
"""


def _inputs(t: Tokens) -> str:
    return f"""
QLineEdit, QPlainTextEdit, QComboBox, QSpinBox {{
    background: {t.canvas}; border: 1px solid {t.border}; border-radius: 6px; padding: 5px 8px;
    selection-background-color: {t.accent}; selection-color: {t.on_fill};
}}
QLineEdit, QComboBox, QSpinBox {{ min-height: 18px; }}
QLineEdit:hover, QPlainTextEdit:hover, QComboBox:hover, QSpinBox:hover {{ border-color: {t.strong}; }}
QLineEdit:focus, QPlainTextEdit:focus, QComboBox:focus, QSpinBox:focus {{
    border: 2px solid {t.accent}; padding: 4px 7px;
}}
QLineEdit:disabled, QPlainTextEdit:disabled, QComboBox:disabled, QSpinBox:disabled {{
    color: {t.muted}; background: {t.surface};
}}
QLineEdit[kind="search"] {{ background: {t.surface}; }}
QLineEdit[fault="true"], QPlainTextEdit[fault="true"] {{ border-color: {t.danger}; }}
QComboBox::drop-down {{ border: none; width: 24px; }}
QComboBox QAbstractItemView {{
    background: {t.raised}; border: 1px solid {t.strong}; padding: 4px; outline: 0;
    selection-background-color: {t.selected}; selection-color: {t.text};
}}
QSpinBox::up-button, QSpinBox::down-button {{ border: none; background: transparent; width: 18px; }}
QTextEdit, QTextBrowser {{
    background: transparent; border: none; selection-background-color: {t.accent}; selection-color: {t.on_fill};
}}
"""


def _lists(t: Tokens) -> str:
    return f"""
QListView {{ background: transparent; border: none; outline: 0; }}
QListView[kind="rows"]::item {{ padding: 6px 8px; border-radius: 6px; border: 2px solid transparent; }}
QListView[kind="rows"]::item:hover {{ background: {t.hover}; }}
QListView[kind="rows"]::item:selected {{ background: {t.selected}; color: {t.text}; }}
QTableView[kind="table"] {{
    background: {t.surface}; border: 1px solid {t.border}; border-radius: 6px; outline: 0;
}}
QTableView[kind="table"]:focus {{ border: 1px solid {t.accent}; }}
QTableView[kind="table"] QHeaderView {{ background: transparent; border: none; }}
QTableCornerButton::section {{ background: transparent; border: none; }}
"""


def _surfaces(t: Tokens) -> str:
    return f"""
#rail {{ background: {t.surface}; border: none; border-right: 1px solid {t.border}; }}
#panel {{ background: {t.canvas}; border: none; border-left: 1px solid {t.border}; }}
QFrame[kind="column"] {{ background: {t.surface}; border: 1px solid {t.border}; border-radius: 12px; }}
QFrame[kind="column"][state="allowed"] {{ border-color: {t.accent}; }}
QFrame[kind="column"][state="target"] {{ border-color: {t.accent}; background: {t.accent_wash}; }}
QFrame[kind="card"] {{ background: {t.surface}; border: 1px solid {t.border}; border-radius: 12px; }}
QFrame[kind="inset"] {{ background: {t.surface}; border: 1px solid {t.border}; border-radius: 6px; }}
QFrame[kind="call"] {{ background: transparent; border: 1px solid {t.border}; border-radius: 6px; }}
QFrame[kind="said"] {{ background: {t.selected}; border: none; border-radius: 6px; }}
QFrame[kind="ask"] {{ background: {t.attention_wash}; border: 1px solid {t.attention}; border-radius: 6px; }}
QFrame[kind="fault"] {{ background: {t.danger_wash}; border: 1px solid {t.danger}; border-radius: 6px; }}
QFrame[kind="note"] {{ background: {t.accent_wash}; border: 1px solid {t.border}; border-radius: 6px; }}
QFrame[kind="good"] {{ background: {t.success_wash}; border: 1px solid {t.success}; border-radius: 6px; }}
QFrame[kind="toast"] {{ background: {t.raised}; border: 1px solid {t.strong}; border-radius: 6px; }}
QFrame[kind="rule"] {{ background: {t.border}; border: none; min-height: 1px; max-height: 1px; }}
QFrame[kind="thread"] {{ background: {t.border}; border: none; min-width: 2px; max-width: 2px; }}
QFrame[kind="bar"] {{ background: {t.surface}; border: none; border-top: 1px solid {t.border}; }}
QFrame[kind="head"] {{ background: {t.canvas}; border: none; border-bottom: 1px solid {t.border}; }}
#sheet {{ background: {t.canvas}; border: 1px solid {t.strong}; border-radius: 12px; }}
QProgressBar {{ background: {t.border}; border: none; border-radius: 2px; max-height: 4px; min-height: 4px; }}
QProgressBar::chunk {{ background: {t.accent}; border-radius: 2px; }}
"""


def _scroll_bars(t: Tokens) -> str:
    return f"""
QScrollArea {{ background: transparent; border: none; }}
QScrollArea > QWidget > QWidget {{ background: transparent; }}
QScrollBar:vertical {{ background: transparent; width: 10px; margin: 2px; }}
QScrollBar:horizontal {{ background: transparent; height: 10px; margin: 2px; }}
QScrollBar::handle {{ background: {t.border}; border-radius: 3px; min-height: 32px; min-width: 32px; }}
QScrollBar::handle:hover {{ background: {t.strong}; }}
QScrollBar::add-line, QScrollBar::sub-line {{ width: 0; height: 0; background: none; border: none; }}
QScrollBar::add-page, QScrollBar::sub-page {{ background: none; }}
QAbstractScrollArea::corner {{ background: transparent; }}
"""


def _menus(t: Tokens, base_pt: float) -> str:
    return f"""
QMenu {{ background: {t.raised}; border: 1px solid {t.strong}; border-radius: 6px; padding: 4px; }}
QMenu::item {{ padding: 6px 24px 6px 12px; border-radius: 4px; }}
QMenu::item:selected {{ background: {t.selected}; color: {t.text}; }}
QMenu::item:disabled {{ color: {t.muted}; }}
QMenu::separator {{ height: 1px; background: {t.border}; margin: 4px 8px; }}
QMenu::icon {{ padding-left: 8px; }}
"""
