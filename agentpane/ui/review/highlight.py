"""Colours for the lines of a file, found with Pygments for the lines that are looked at and kept.

Pygments is imported when the first diff is shown: it costs the start of the window nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pygments.lexer import Lexer

KEPT = 4_000  # lines whose colours are kept
LONGEST = 1_000  # characters of a line that are coloured

DARK_INKS = {
    "Keyword": "#ff7b72",
    "Name.Function": "#d2a8ff",
    "Name.Class": "#ffa657",
    "Name.Decorator": "#d2a8ff",
    "Name.Builtin": "#79c0ff",
    "Name.Tag": "#7ee787",
    "Name.Attribute": "#79c0ff",
    "Literal.String": "#a5d6ff",
    "Literal.Number": "#79c0ff",
    "Comment": "#9aa4ae",
    "Operator.Word": "#ff7b72",
}
LIGHT_INKS = {
    "Keyword": "#b3202c",
    "Name.Function": "#6639ba",
    "Name.Class": "#8a4600",
    "Name.Decorator": "#6639ba",
    "Name.Builtin": "#0550ae",
    "Name.Tag": "#0e5a26",
    "Name.Attribute": "#0550ae",
    "Literal.String": "#0a3069",
    "Literal.Number": "#0550ae",
    "Comment": "#57606a",
    "Operator.Word": "#b3202c",
}


@dataclass(frozen=True, slots=True)
class Ink:
    """A run of characters of one colour."""

    start: int
    length: int
    colour: str


class Highlighter:
    """Colours single lines; what spans lines (a long string, say) is seen line by line."""

    def __init__(self, dark: bool) -> None:
        self._inks = DARK_INKS if dark else LIGHT_INKS
        self._lexers: dict[str, Lexer | None] = {}
        self._lines: OrderedDict[tuple[str, str], tuple[Ink, ...]] = OrderedDict()

    def inks(self, path: str, text: str) -> tuple[Ink, ...]:
        """The coloured runs of one line of the file at `path`."""
        suffix = path.rsplit("/", 1)[-1]
        key = (suffix.rsplit(".", 1)[-1] if "." in suffix else suffix, text)
        known = self._lines.get(key)
        if known is not None:
            self._lines.move_to_end(key)
            return known
        found = self._lines[key] = self._colour(suffix, key[0], text)
        if len(self._lines) > KEPT:
            self._lines.popitem(last=False)
        return found

    def _colour(self, name: str, kind: str, text: str) -> tuple[Ink, ...]:
        if kind not in self._lexers:
            self._lexers[kind] = lexer_for(name)
        lexer = self._lexers[kind]
        if lexer is None or len(text) > LONGEST:
            return ()
        found: list[Ink] = []
        for at, token, value in lexer.get_tokens_unprocessed(text):
            colour = self._ink(str(token))
            if colour is not None and value.strip():
                found.append(Ink(at, len(value), colour))
        return tuple(found)

    def _ink(self, token: str) -> str | None:
        name = token.removeprefix("Token.")
        while name:
            if name in self._inks:
                return self._inks[name]
            name = name.rpartition(".")[0]
        return None


def lexer_for(name: str) -> Lexer | None:
    """Pygments' lexer for a file of this name; None for plain text."""
    from pygments.lexers import get_lexer_for_filename  # imported with the first diff
    from pygments.util import ClassNotFound

    try:
        return get_lexer_for_filename(name, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None
