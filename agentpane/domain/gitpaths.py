"""Paths as git prints them and as a person may read them.

A path is bytes to git and a string with surrogate escapes here, so that nothing of it is lost.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from agentpane.errors import AgentPaneError, ErrorCode


class MalformedGitOutputError(AgentPaneError):
    """Git printed something that its manual does not describe."""

    def __init__(self, what: str) -> None:
        super().__init__(ErrorCode.INTERNAL, f"Git's output could not be read: {what}.")


def decode_path(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")


def encode_path(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


_ESCAPE = re.compile(rb"\\([abfnrtv\\\"]|[0-7]{3})")
_ESCAPES = {
    b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v",
    b"\\": b"\\", b'"': b'"',
}  # fmt: skip


def unquote(name: bytes) -> bytes:
    """Undo git's quoting of a path (core.quotePath): `"caf\\303\\251"` is `café`."""
    if not (name.startswith(b'"') and name.endswith(b'"') and len(name) > 1):
        return name
    return _ESCAPE.sub(lambda found: _ESCAPES.get(found[1]) or bytes([int(found[1], 8) & 255]), name[1:-1])


def visible_text(text: bytes | str) -> str:
    """Text in which nothing can hide: controls, escapes, bidirectional and zero-width characters are shown.

    Controls get their Unicode picture (ESC is ␛), a carriage return ␍, other invisible characters their number
    in brackets, and a byte that is not UTF-8 becomes `\\xNN`. Tabs and newlines stay.
    """
    decoded = text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else text
    if decoded.isprintable():
        return decoded
    return "".join(char if char.isprintable() or char in "\t\n" else _picture(char) for char in decoded)


def _picture(char: str) -> str:
    number = ord(char)
    if number < 0x20:
        return chr(0x2400 + number)
    if number == 0x7F:
        return "␡"
    if 0xDC80 <= number <= 0xDCFF:
        return f"\\x{number - 0xDC00:02x}"
    return char if unicodedata.category(char) == "Zs" else f"⟨U+{number:04X}⟩"


def display_path(path: str | bytes) -> str:
    """A path for a person: what is not printable is shown as an escape, and a backslash is doubled then."""
    text = path.decode("utf-8", "surrogateescape") if isinstance(path, bytes) else path
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() and char != "\\" else _path_escape(char) for char in text)


def shown_paths(paths: Sequence[str], most: int = 5) -> str:
    """The first of some paths for a line of text, and how many more there are."""
    more = f" and {len(paths) - most} more" if len(paths) > most else ""
    return ", ".join(map(display_path, paths[:most])) + more


def _path_escape(char: str) -> str:
    number = ord(char)
    named = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\"}
    if char in named:
        return named[char]
    if 0xDC80 <= number <= 0xDCFF:
        return f"\\x{number - 0xDC00:02x}"
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
