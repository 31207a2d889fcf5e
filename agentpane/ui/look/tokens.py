"""The colours of the window, by what they mean, in a dark and a light set.

Nothing else in the window names a colour. `CONTRAST_PAIRS` lists what is written on what; a test holds each to 4.5:1.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from agentpane.domain.board import Column


@dataclass(frozen=True, slots=True)
class Tokens:
    """One set of colours, as #rrggbb."""

    dark: bool
    canvas: str
    surface: str
    raised: str
    border: str
    strong: str  # the border of what is hovered or can be typed into
    hover: str
    selected: str
    text: str
    muted: str
    accent: str
    success: str
    danger: str
    attention: str
    done: str
    on_fill: str  # text on a filled accent, success or danger
    added: str
    added_strong: str
    removed: str
    removed_strong: str
    hunk: str
    attention_wash: str
    accent_wash: str
    danger_wash: str
    success_wash: str


DARK = Tokens(
    dark=True,
    canvas="#0d1117",
    surface="#161b22",
    raised="#21262d",
    border="#30363d",
    strong="#484f58",
    hover="#1c2129",
    selected="#1c2a3f",
    text="#e6edf3",
    muted="#8b949e",
    accent="#58a6ff",
    success="#3fb950",
    danger="#f85149",
    attention="#d29922",
    done="#a371f7",
    on_fill="#0d1117",
    added="#12261e",
    added_strong="#1d4428",
    removed="#2a1619",
    removed_strong="#542426",
    hunk="#131d2e",
    attention_wash="#221c10",
    accent_wash="#121d2f",
    danger_wash="#251418",
    success_wash="#12261e",
)

LIGHT = Tokens(
    dark=False,
    canvas="#ffffff",
    surface="#f6f8fa",
    raised="#ffffff",
    border="#d0d7de",
    strong="#afb8c1",
    hover="#eef1f4",
    selected="#ddf0ff",
    text="#1f2328",
    muted="#59636e",
    accent="#0969da",
    success="#1a7f37",
    danger="#cf222e",
    attention="#9a6700",
    done="#8250df",
    on_fill="#ffffff",
    added="#e9fbee",
    added_strong="#c4f0cf",
    removed="#fff1f0",
    removed_strong="#ffd2ce",
    hunk="#eff6ff",
    attention_wash="#fff8e1",
    accent_wash="#eef6ff",
    danger_wash="#fff1f0",
    success_wash="#eefbf2",
)

# (what is written, on what), by the names of the fields.
CONTRAST_PAIRS: tuple[tuple[str, str], ...] = (
    *((ink, ground) for ink in ("text", "muted") for ground in ("canvas", "surface", "raised", "hover")),
    *(
        (ink, ground)
        for ink in ("accent", "success", "danger", "attention", "done")
        for ground in ("canvas", "surface")
    ),
    ("accent", "raised"),
    ("success", "raised"),
    ("danger", "raised"),
    ("attention", "raised"),
    ("text", "selected"),
    ("muted", "selected"),
    ("on_fill", "accent"),
    ("on_fill", "success"),
    ("on_fill", "danger"),
    *(("text", ground) for ground in ("added", "removed", "added_strong", "removed_strong", "hunk")),
    ("muted", "added"),
    ("muted", "removed"),
    ("muted", "hunk"),
    ("text", "attention_wash"),
    ("attention", "attention_wash"),
    ("accent", "accent_wash"),
    ("danger", "danger_wash"),
    ("success", "success_wash"),
)

COLUMN_TOKENS = MappingProxyType(
    {
        Column.BACKLOG: "muted",
        Column.IN_PROGRESS: "accent",
        Column.WAITING_APPROVAL: "attention",
        Column.VERIFIED: "success",
    }
)

COLUMN_ICONS = MappingProxyType(
    {
        Column.BACKLOG: "ring",
        Column.IN_PROGRESS: "half",
        Column.WAITING_APPROVAL: "eye",
        Column.VERIFIED: "check-circle",
    }
)


def contrast(one: str, other: str) -> float:
    """The contrast of two colours as WCAG 2 defines it, from 1 to 21."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
