"""Text that others wrote, made safe to show: nothing in it is markup, and nothing in it can hide."""

from __future__ import annotations

import html
import re

from agentpane.domain.gitpaths import display_path, visible_text

__all__ = ["display_path", "elide", "one_line", "plain_tip", "shown"]

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")


def shown(text: str) -> str:
    """Text of several lines: terminal escapes are taken out, other controls become visible."""
    if text.isprintable():
        return text
    return visible_text(_ANSI.sub("", text).replace("\r\n", "\n"))


def one_line(text: str) -> str:
    """The same for one line: every run of white space is a blank."""
    return shown(" ".join(text.split()))


def elide(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def plain_tip(text: str) -> str:
    """A tool tip that shows exactly this text. Qt guesses at markup there, so it gets markup of ours."""
    return f'<p style="white-space:pre-wrap">{html.escape(elide(shown(text), 2_000))}</p>'
